"""What fans ask: what can I get, give it to me, what did I get, where do I stand."""

from __future__ import annotations

from typing import Any

import msgspec
from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from edge.answers import problem_response
from edge.fields import checked_body, checked_query, format_time
from edge.idempotency import REPLAYED, claim_of, idempotent
from rewards.campaigns import claiming, deciding, reversing, standings
from rewards.campaigns.api import examples
from rewards.campaigns.api.permissions import OWN, Marketing, person
from rewards.campaigns.api.serializers import (
    AnswerOut,
    AnswersOut,
    ClaimIn,
    ClaimOut,
    ReversedOut,
    TiersOut,
    WhyIn,
)
from rewards.campaigns.claiming import Answer, Wish, progress_of
from rewards.campaigns.models import Claim
from rewards.campaigns.problems import (
    CampaignUnknown,
    ClaimReversed,
    ClaimUnknown,
    ReasonMissing,
    RewardSpent,
    RewardTakenBack,
    claim_refused,
)
from rewards.campaigns.standings import Place
from sequencer.waiting_room.actions import require_passes
from sequencer.waiting_room.guard import pass_required
from wallet.api.schema import MONEY, WRITES, answers, sample
from wallet.people import PersonUnknown

REASONS = tuple(
    claim_refused(deciding.refused(reason))
    for reason in (
        deciding.NOT_STARTED, deciding.ENDED, deciding.PAUSED, deciding.ACCOUNT_MERGED,
        deciding.RULE_NOT_MET,
        deciding.ORDER_MISSING, deciding.ORDER_USED, deciding.REFERRER_MISSING,
        deciding.SELF_REFERRAL, deciding.REFERRED_TOO_LATE, deciding.ALREADY_REFERRED,
        deciding.REFERRER_LIMIT, deciding.GROUP_USED, deciding.NOT_COMBINABLE,
        deciding.TOO_FAST, deciding.NOTHING_TO_GRANT, deciding.BUDGET_EXHAUSTED,
        ("limit_person", "At most 1 a person, a day."),
        ("limit_campaign", "At most 1000 a campaign, a day."),
    )
)  # fmt: skip
PARAMETERS = [
    OpenApiParameter("channel", str, description="The channel the claim would come by."),
    OpenApiParameter("order", str, description="The key of an order it would name."),
    OpenApiParameter("referrer", str, description="The handle of who would have referred you."),
]


class Claims(APIView):
    """Claims of one campaign."""

    permission_classes = (OWN,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """A claim that a waiting room guards needs its pass, as at the gateway."""
        super().initial(request, *args, **kwargs)
        require_passes(request, request.path, user_id=person(request).pk)

    @extend_schema(
        operation_id="claim_campaign",
        summary="Claim a campaign",
        tags=["campaigns"],
        request=ClaimIn,
        responses=answers(
            {201: ClaimOut},
            *WRITES,
            CampaignUnknown(),
            PersonUnknown(),
            *REASONS,
            *MONEY,
            pass_required("drop"),
        ),
        examples=[
            sample("ask", {"channel": "app"}, is_request=True),
            sample("got", examples.CLAIM),
        ],
    )
    @idempotent
    def post(self, request: Request, code: str) -> HttpResponse:
        """Get what the campaign gives, now. The same key brings the same claim, for ever.

        A refusal is answered 422 with its code; `misses` names each condition that decided.
        """
        body = checked_body(ClaimIn, request)
        wish = wish_of(request, code, body)
        outcome = claiming.claim(wish)
        if outcome.claim is None:
            assert outcome.refused is not None
            return problem_response(claim_refused(outcome.refused))
        headers = {REPLAYED: "true"} if outcome.is_replay else {}
        return Response(ClaimOut(full(outcome.claim)).data, status=201, headers=headers)


def wish_of(request: Request, code: str, body: dict[str, Any]) -> Wish:
    """Read a claim's body as a wish; its name is the digest of person, address and key."""
    return Wish(
        campaign=code,
        person=person(request),
        request=claim_of(request).digest,
        channel=body["channel"],
        order_key=body["order"],
        referrer=body["referrer"],
    )


def full(claim: Claim) -> Claim:
    return own_claims(claim.owner_id).get(pk=claim.pk)


def own_claims(owner_id: int) -> QuerySet[Claim]:
    return Claim.objects.filter(owner_id=owner_id).select_related("campaign", "version")


class QualifyForOne(APIView):
    """A dry run of one claim."""

    permission_classes = (OWN,)

    @extend_schema(
        operation_id="qualify_for_campaign",
        summary="Ask whether you could claim",
        tags=["campaigns"],
        parameters=PARAMETERS,
        responses=answers({200: AnswerOut}, CampaignUnknown(), PersonUnknown()),
        examples=[sample("not now", examples.ANSWER)],
    )
    def get(self, request: Request, code: str) -> Response:
        """Say whether a claim would be granted now, and if not, every reason. Nothing changes."""
        found = claiming.qualify(_dry_wish(request), [code])
        if not found:
            raise CampaignUnknown
        return Response(answer_out(found[0]))


class QualifyForAll(APIView):
    """A dry run of all live campaigns."""

    permission_classes = (OWN,)

    @extend_schema(
        operation_id="qualify",
        summary="Ask what you could claim",
        tags=["campaigns"],
        parameters=PARAMETERS,
        responses=answers({200: AnswersOut}, PersonUnknown()),
        examples=[sample("all live campaigns", {"results": [examples.ANSWER]})],
    )
    def get(self, request: Request) -> HttpResponse:
        """Say for each live campaign whether a claim would be granted now, and why not."""
        found = claiming.qualify(_dry_wish(request))
        # Hundreds of answers: Python's own encoder would take a quarter of the time.
        body = msgspec.json.encode({"results": [answer_out(answer) for answer in found]})
        return HttpResponse(body, content_type="application/json")


def _dry_wish(request: Request) -> Wish:
    query = checked_query(ClaimIn, request)
    return Wish(
        campaign="",
        person=person(request),
        request=claiming.NO_REQUEST,
        channel=query["channel"],
        order_key=query["order"],
        referrer=query["referrer"],
    )


def answer_out(answer: Answer) -> dict[str, Any]:
    """Spell an answer as `AnswerOut` describes it; 200 of them at once, so without a serializer."""
    no = answer.refused
    misses = [
        {"pointer": f"#{miss.path}", "leaf": miss.leaf, "detail": miss.says}
        for miss in (no.misses if no else ())
    ]
    return {
        "campaign": answer.campaign,
        "version": answer.version.number if answer.version else None,
        "qualifies": no is None,
        "variant": answer.variant,
        "code": no.code if no else None,
        "detail": no.says if no else None,
        "misses": misses,
        "progress": progress_of(answer),
    }


class OwnClaims(ListAPIView[Claim]):
    """Claims you were granted."""

    permission_classes = (OWN,)
    serializer_class = ClaimOut

    def get_queryset(self) -> QuerySet[Claim]:
        return own_claims(person(self.request).pk)

    @extend_schema(
        operation_id="list_claims",
        summary="List your claims",
        tags=["campaigns"],
        responses=answers({200: ClaimOut(many=True)}),
        examples=[sample("a claim", examples.CLAIM)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List what you were granted, newest first."""
        return super().get(request, *args, **kwargs)


class OneClaim(APIView):
    """A claim you were granted."""

    permission_classes = (OWN,)

    @extend_schema(
        operation_id="get_claim",
        summary="Read a claim",
        tags=["campaigns"],
        responses=answers({200: ClaimOut}, ClaimUnknown()),
        examples=[sample("a claim", examples.CLAIM)],
    )
    def get(self, request: Request, claim_id: int) -> Response:
        """Read one of your claims, with the version that granted it."""
        found = own_claims(person(request).pk).filter(pk=claim_id).first()
        if found is None:
            raise ClaimUnknown
        return Response(ClaimOut(found).data)


class ReverseClaim(APIView):
    """The undoing of a claim."""

    permission_classes = (Marketing,)

    @extend_schema(
        operation_id="reverse_claim",
        summary="Reverse a claim",
        tags=["campaigns"],
        request=WhyIn,
        responses=answers(
            {200: ReversedOut}, *WRITES, ClaimUnknown(), ClaimReversed(), RewardSpent(),
            RewardTakenBack(), ReasonMissing(), *MONEY,
        ),
        examples=[
            sample("why", {"reason": "The order was cancelled"}, is_request=True),
            sample("undone", {"claim": examples.CLAIM, "taken": [
                {"asset": "POINTS", "person": "42", "taken": 50, "owed": 0}]}),
        ],
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, claim_id: int) -> HttpResponse:
        """Take back everything a claim gave, and give back what its limits counted.

        Points and money that are spent become a debt; vouchers that are gone refuse it all.
        """
        body = checked_body(WhyIn, request)
        claim, taken = reversing.reverse(claim_id, actor=person(request), reason=body["reason"])
        return Response(ReversedOut({"claim": claim, "taken": taken}).data)


class Tiers(APIView):
    """Your standing."""

    permission_classes = (OWN,)

    @extend_schema(
        operation_id="list_tiers",
        summary="See your tiers",
        tags=["campaigns"],
        responses=answers({200: TiersOut}),
        examples=[sample("standing", {"results": [examples.TIER]})],
    )
    def get(self, request: Request) -> Response:
        """Say for each program what you have earned, what you still need, and by when."""
        places = standings.places_of(person(request).pk, timezone.now(), with_untouched=True)
        return Response({"results": [tier_out(place) for place in places]})


def tier_out(place: Place) -> dict[str, Any]:
    """Spell a standing as `TierOut` describes it."""
    standing = place.standing
    return {
        "program": place.program.code,
        "title": place.program.title,
        "level": place.level.code if place.level else None,
        "earned": standing.earned,
        "next_level": place.next_level.code if place.next_level else None,
        "needed_to_rise": standing.needed_to_rise,
        "needed_to_keep": standing.needed_to_keep,
        "period_ends_at": format_time(standing.period_ends_at),
        "keeps_until": format_time(standing.keeps_until),
    }
