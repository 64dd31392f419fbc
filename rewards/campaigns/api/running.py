"""What marketing asks: set a campaign up, write versions, publish, pause, end."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from edge.fields import checked_body
from edge.idempotency import idempotent
from rewards.campaigns import problems, publishing
from rewards.campaigns.api import examples
from rewards.campaigns.api.permissions import OWN, Marketing, ReadByAll, person
from rewards.campaigns.api.serializers import (
    CampaignIn,
    CampaignOut,
    CheckedOut,
    NothingIn,
    SeedOut,
    VersionIn,
    VersionOut,
    WhyIn,
)
from rewards.campaigns.chance import odds
from rewards.campaigns.directory import compiled
from rewards.campaigns.models import Campaign, CampaignVersion
from rewards.campaigns.problems import CampaignUnknown, VersionUnknown
from rewards.campaigns.rules import Fault
from rewards.campaigns.terms import Chance, stored
from wallet.api.schema import MONEY, WRITES, answers, sample

BAD_TERMS = problems.TermsRefused(
    [Fault("/rule/of/0/any_of", "unknown_reference", "Segment 'vips' is unknown.")]
)
DECIDING = (
    CampaignUnknown(),
    VersionUnknown(),
    problems.VersionDecided(),
    problems.OwnVersion(),
)
CHANGING = (CampaignUnknown(), problems.CampaignStateDiffers(), problems.ReasonMissing())


def campaign_out(rows: list[Campaign]) -> list[dict[str, Any]]:
    """Spell campaigns as everybody may read them: with what the version that counts gives."""
    now = timezone.now()
    entries = compiled(rows)
    told = []
    for row in rows:
        version = entries[row.pk].version_at(now)
        terms = version.terms if version else None
        effects = terms.effects if terms else ()
        told.append(
            {
                "code": row.code,
                "title": row.title,
                "description": row.description,
                "state": row.state,
                "version": version.number if version else None,
                "starts_at": terms.starts_at if terms else None,
                "ends_at": terms.ends_at if terms else None,
                "effects": stored(terms)["effects"] if terms else [],
                "odds": [
                    odds([outcome.weight for outcome in effect.outcomes])
                    for effect in effects
                    if isinstance(effect, Chance)
                ],
                "commitment": _commitment(row, version.number) if version else None,
            }
        )
    return told


def _commitment(row: Campaign, number: int) -> str:
    return row.versions.values_list("commitment", flat=True).get(number=number)


class Campaigns(ListAPIView[Campaign]):
    """All campaigns."""

    permission_classes = (ReadByAll,)
    serializer_class = CampaignOut

    def get_queryset(self) -> QuerySet[Campaign]:
        return Campaign.objects.exclude(state=Campaign.State.DRAFT)

    @extend_schema(
        operation_id="list_campaigns",
        summary="List campaigns",
        tags=["campaigns"],
        responses=answers({200: CampaignOut(many=True)}),
        examples=[sample("a campaign", examples.CAMPAIGN)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the campaigns that were ever published, newest first."""
        page = self.paginate_queryset(self.get_queryset())
        assert page is not None
        return self.get_paginated_response(CampaignOut(campaign_out(list(page)), many=True).data)

    @extend_schema(
        operation_id="create_campaign",
        summary="Set up a campaign",
        tags=["campaigns"],
        request=CampaignIn,
        responses=answers(
            {201: CampaignOut}, *WRITES, problems.CampaignExists(), problems.NameInvalid()
        ),
        examples=[
            sample("ask", examples.CAMPAIGN_IN, is_request=True),
            sample("made", examples.CAMPAIGN | {"state": "draft", "version": None}),
        ],
    )
    @idempotent
    def post(self, request: Request) -> HttpResponse:
        """Set up a campaign. It gives nothing until a version of it is published."""
        made = publishing.create(**checked_body(CampaignIn, request), actor=person(request))
        return Response(CampaignOut(campaign_out([made])[0]).data, status=201)


class OneCampaign(APIView):
    """One campaign."""

    permission_classes = (OWN,)

    @extend_schema(
        operation_id="get_campaign",
        summary="Read a campaign",
        tags=["campaigns"],
        responses=answers({200: CampaignOut}, CampaignUnknown()),
        examples=[sample("a campaign", examples.CAMPAIGN)],
    )
    def get(self, request: Request, code: str) -> Response:
        """Read a campaign: what it gives now, until when, and the odds of its draws."""
        found = Campaign.objects.filter(code=code).exclude(state=Campaign.State.DRAFT).first()
        if found is None:
            raise CampaignUnknown
        return Response(CampaignOut(campaign_out([found])[0]).data)


class Versions(ListAPIView[CampaignVersion]):
    """Versions of a campaign."""

    permission_classes = (Marketing,)
    serializer_class = VersionOut
    page_key = ("-number",)

    def get_queryset(self) -> QuerySet[CampaignVersion]:
        return all_versions().filter(campaign__code=self.kwargs["code"])

    @extend_schema(
        operation_id="list_versions",
        summary="List the versions of a campaign",
        tags=["campaigns"],
        responses=answers({200: VersionOut(many=True)}),
        examples=[sample("a version", examples.VERSION)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List what the campaign said, says and might say, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="draft_version",
        summary="Write a version",
        tags=["campaigns"],
        request=VersionIn,
        responses=answers(
            {201: VersionOut, 200: CheckedOut}, *WRITES, CampaignUnknown(), BAD_TERMS,
            problems.CampaignStateDiffers(),
        ),
        examples=[
            sample("ask", {"terms": examples.TERMS}, is_request=True),
            sample("written", examples.VERSION),
        ],
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, code: str) -> HttpResponse:
        """Write a version for somebody else to publish; `dry_run` only checks the terms.

        Terms that contradict, never match or refer to nothing are refused with the path to
        each fault.
        """
        body = checked_body(VersionIn, request)
        if body["dry_run"]:
            terms = publishing.check(code, body["terms"])
            return Response({"state": "checked", "terms": stored(terms)})
        made = publishing.draft(code, body["terms"], actor=person(request))
        return Response(VersionOut(all_versions().get(pk=made.pk)).data, status=201)


def all_versions() -> QuerySet[CampaignVersion]:
    return CampaignVersion.objects.select_related("campaign", "proposed_by", "decided_by")


class OneVersion(APIView):
    """One version."""

    permission_classes = (Marketing,)

    @extend_schema(
        operation_id="get_version",
        summary="Read a version",
        tags=["campaigns"],
        responses=answers({200: VersionOut}, VersionUnknown()),
        examples=[sample("a version", examples.VERSION)],
    )
    def get(self, request: Request, code: str, number: int) -> Response:
        """Read what a version says."""
        return Response(VersionOut(one_version(code, number)).data)


def one_version(code: str, number: int) -> CampaignVersion:
    found = all_versions().filter(campaign__code=code, number=number).first()
    if found is None:
        raise VersionUnknown
    return found


class PublishVersion(APIView):
    """The second pair of eyes says yes."""

    permission_classes = (Marketing,)

    @extend_schema(
        operation_id="publish_version",
        summary="Publish a version",
        tags=["campaigns"],
        request=NothingIn,
        responses=answers(
            {200: VersionOut}, *WRITES, *DECIDING, problems.CampaignStateDiffers(),
            problems.VersionSuperseded(), problems.BudgetBelowSpent(), problems.SourceMissing(),
            *MONEY,
        ),
        examples=[sample("published", examples.VERSION | {"state": "published"})],
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, code: str, number: int) -> HttpResponse:
        """Publish a version that somebody else wrote. Its budgets are funded at once."""
        checked_body(NothingIn, request)
        publishing.publish(code, number, actor=person(request))
        return Response(VersionOut(one_version(code, number)).data)


class RejectVersion(APIView):
    """The second pair of eyes says no."""

    permission_classes = (Marketing,)

    @extend_schema(
        operation_id="reject_version",
        summary="Reject a version",
        tags=["campaigns"],
        request=WhyIn,
        responses=answers({200: VersionOut}, *WRITES, *DECIDING, problems.ReasonMissing()),
        examples=[
            sample("why", {"reason": "Too dear."}, is_request=True),
            sample("rejected", examples.VERSION | {"state": "rejected", "note": "Too dear."}),
        ],
    )
    @idempotent
    def post(self, request: Request, code: str, number: int) -> HttpResponse:
        """Turn down a version that somebody else wrote, and say why."""
        note = checked_body(WhyIn, request)["reason"]
        publishing.reject(code, number, actor=person(request), note=note)
        return Response(VersionOut(one_version(code, number)).data)


class Seed(APIView):
    """The proof of a version's draws."""

    permission_classes = (OWN,)

    @extend_schema(
        operation_id="get_seed",
        summary="Check the draws of a version",
        tags=["campaigns"],
        responses=answers({200: SeedOut}, VersionUnknown(), problems.SeedSecret()),
        examples=[sample("shown", {"commitment": "9f2b…", "seed": "41c0…"})],
    )
    def get(self, request: Request, code: str, number: int) -> Response:
        """See the seed once the version is over. docs/campaigns.md says how to check a draw."""
        commitment, seed = publishing.revealed_seed(code, number)
        return Response({"commitment": commitment, "seed": seed})


class _Change(APIView):
    """One of pause, resume and end."""

    permission_classes = (Marketing,)

    def change(self, request: Request, code: str, verb: str) -> HttpResponse:
        reason = checked_body(WhyIn, request)["reason"]
        do = {
            "pause": publishing.pause,
            "resume": publishing.resume,
            "end": publishing.end,
        }[verb]
        row = do(code, actor=person(request), reason=reason)
        return Response(CampaignOut(campaign_out([row])[0]).data)


WHY = sample("why", {"reason": "The stock came late"}, is_request=True)


class Pause(_Change):
    """No claims for now."""

    @extend_schema(
        operation_id="pause_campaign",
        summary="Pause a campaign",
        tags=["campaigns"],
        request=WhyIn,
        responses=answers({200: CampaignOut}, *WRITES, *CHANGING),
        examples=[WHY, sample("paused", examples.CAMPAIGN | {"state": "paused"})],
    )
    @idempotent
    def post(self, request: Request, code: str) -> HttpResponse:
        """Stop claims for now; those being decided are decided first."""
        return self.change(request, code, "pause")


class Resume(_Change):
    """Claims again."""

    @extend_schema(
        operation_id="resume_campaign",
        summary="Resume a campaign",
        tags=["campaigns"],
        request=WhyIn,
        responses=answers({200: CampaignOut}, *WRITES, *CHANGING),
        examples=[WHY, sample("live", examples.CAMPAIGN)],
    )
    @idempotent
    def post(self, request: Request, code: str) -> HttpResponse:
        """Let claims in again."""
        return self.change(request, code, "resume")


class End(_Change):
    """Over."""

    @extend_schema(
        operation_id="end_campaign",
        summary="End a campaign",
        tags=["campaigns"],
        request=WhyIn,
        responses=answers({200: CampaignOut}, *WRITES, *CHANGING),
        examples=[WHY, sample("ended", examples.CAMPAIGN | {"state": "ended"})],
    )
    @idempotent
    def post(self, request: Request, code: str) -> HttpResponse:
        """End a campaign for good. What is left of its budgets goes back where it came from."""
        return self.change(request, code, "end")
