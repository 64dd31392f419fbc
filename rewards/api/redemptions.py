"""Redemptions over HTTP, for partners: keys with `redemptions:write`, of people on their staff."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from accounts.permissions import HasScope
from edge.fields import checked_body
from edge.idempotency import REPLAYED, claim_of
from edge.idempotency_keys import HEADER, KeyInvalid, KeyMissing, KeyReused
from rewards.api.permissions import person
from rewards.api.redemption_serializers import (
    AskIn,
    ConfirmIn,
    RedeemIn,
    RedemptionOut,
    VerdictOut,
    VoucherReasonIn,
)
from rewards.api.series import named_person
from rewards.codes import CodeProblem
from rewards.models import Partner, Redemption
from rewards.redemption import actions, problems
from rewards.redemption.actions import Outcome, Wish
from rewards.redemption.partners import partner_of
from rewards.redemption.rules import Reason
from wallet import items
from wallet.api.schema import answers, sample
from wallet.people import PersonUnknown
from wallet.problems import LedgerRefusal

AT_THE_TILL = HasScope.of(read="redemptions:read", write="redemptions:write")
ASK = {"code": "SUN-7K04-A8CDT", "order": 2_400, "reserve_s": 600, "reference": "receipt 4711"}
A_REDEMPTION = {
    "id": "4711", "partner": "fan-shop", "series": "TENOFF", "title": "Ten euros off",
    "kind": "amount", "state": "reserved", "value": {"amount": 1000, "asset": "EUR"},
    "order": 2_400, "customer": None, "reference": "receipt 4711",
    "reserved_until": "2026-06-01T12:10:00.000000Z", "made_at": "2026-06-01T12:00:00.000000Z",
    "ended_at": None, "transfer_id": None,
}  # fmt: skip
WHO = (problems.PartnerUnknown(), problems.PartnerAmbiguous())
WHICH = (
    problems.CodeUnknown(),
    problems.CodeMistyped(CodeProblem.CHECK_WRONG),
    problems.CodeMistyped("code_case_differs"),
    problems.CodeAmbiguous(series=["TENOFF", "SCARF"]),
    problems.TooManyGuesses(retry_after_s=3),
    PersonUnknown(),
)
WHETHER = tuple(problems.VoucherRefused([reason]) for reason in Reason)
KEY = OpenApiParameter(
    HEADER,
    str,
    OpenApiParameter.HEADER,
    required=True,
    description="1 to 255 visible ASCII characters. The same key brings the same redemption "
    "again, for ever, as it stands by then.",
)


def wish_of(body: dict[str, Any]) -> Wish:
    """Read what is asked for."""
    return Wish(
        typed=body["code"],
        series_code=body.get("series"),
        amount_minor=body.get("amount"),
        order_minor=body.get("order"),
        customer=named_person(body["customer"]) if "customer" in body else None,
        reference=body.get("reference", ""),
        reserve_s=body.get("reserve_s"),
    )


def own_partners(user: User) -> QuerySet[Partner]:
    """The partners a person redeems for."""
    return user.redeems_for.filter(is_active=True)


def partner_of_redemption(user: User, redemption_id: int) -> Partner:
    """Find the caller's partner that a redemption belongs to; others' do not exist for them."""
    partner_of_any(user)
    mine = Redemption.objects.filter(pk=redemption_id, partner__in=own_partners(user))
    found = mine.select_related("partner").first()
    if found is None:
        raise problems.RedemptionUnknown
    return found.partner


def partner_of_any(user: User) -> None:
    """Refuse whoever redeems for nobody."""
    if not own_partners(user).exists():
        raise problems.PartnerUnknown


def told(outcome: Outcome, status: int = 200) -> HttpResponse:
    """Answer with a redemption; a repeat says so."""
    headers = {REPLAYED: "true"} if outcome.is_replay else {}
    return Response(RedemptionOut(outcome.redemption).data, status=status, headers=headers)


class Qualify(APIView):
    """A dry run."""

    permission_classes = (AT_THE_TILL,)

    @extend_schema(
        operation_id="qualify_code",
        summary="See whether a code can be used",
        tags=["redemptions"],
        request=AskIn,
        responses=answers({200: VerdictOut}, *WHO, *WHICH),
        examples=[sample("ask", {"code": "SUN-7K04-A8CDT", "order": 2_400}, is_request=True)],
    )
    def post(self, request: Request) -> Response:
        """Say whether a code could be used, what it would be worth, and all that is against it."""
        body = checked_body(AskIn, request)
        partner = partner_of(person(request), body.get("partner"))
        verdict = actions.qualify(partner, wish_of(body), actor=person(request))
        return Response(VerdictOut(verdict).data, headers={"Cache-Control": "no-store"})


class Redemptions(ListAPIView[Redemption]):
    """Your partner's redemptions."""

    permission_classes = (AT_THE_TILL,)
    serializer_class = RedemptionOut

    def get_queryset(self) -> QuerySet[Redemption]:
        user = person(self.request)
        partner_of_any(user)
        return Redemption.objects.with_story().filter(partner__in=own_partners(user))

    @extend_schema(
        operation_id="list_redemptions",
        summary="List redemptions",
        tags=["redemptions"],
        responses=answers({200: RedemptionOut(many=True)}, WHO[0]),
        examples=[sample("a redemption", A_REDEMPTION)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List what was redeemed and reserved, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="redeem_code",
        summary="Redeem or reserve a code",
        tags=["redemptions"],
        request=RedeemIn,
        parameters=[KEY],
        responses=answers(
            {201: RedemptionOut}, KeyMissing(), KeyInvalid(), KeyReused(), *WHO, *WHICH, *WHETHER
        ),
        examples=[sample("ask", ASK, is_request=True), sample("reserved", A_REDEMPTION)],
    )
    def post(self, request: Request) -> HttpResponse:
        """Use a code at once, or reserve it and confirm later. The code itself is not kept."""
        # As with reveals, the redemption remembers the key: for ever, and without the body.
        body = checked_body(RedeemIn, request)
        partner = partner_of(person(request), body.get("partner"))
        outcome = actions.redeem(
            partner, wish_of(body), request=claim_of(request).digest, actor=person(request)
        )
        return told(outcome, 201)


class OneRedemption(APIView):
    """One redemption."""

    permission_classes = (AT_THE_TILL,)

    @extend_schema(
        operation_id="get_redemption",
        summary="Read a redemption",
        tags=["redemptions"],
        responses=answers({200: RedemptionOut}, problems.RedemptionUnknown(), WHO[0]),
        examples=[sample("a redemption", A_REDEMPTION)],
    )
    def get(self, request: Request, redemption_id: int) -> Response:
        """Read a redemption of your partner's."""
        partner_of_redemption(person(request), redemption_id)
        found = Redemption.objects.with_story().get(pk=redemption_id)
        return Response(RedemptionOut(found).data)


class Confirm(APIView):
    """The end of a reservation that was used."""

    permission_classes = (AT_THE_TILL,)

    @extend_schema(
        operation_id="confirm_redemption",
        summary="Confirm a reservation",
        tags=["redemptions"],
        request=ConfirmIn,
        responses=answers(
            {200: RedemptionOut},
            problems.RedemptionUnknown(),
            problems.RedemptionMovedOn(state="rolled_back"),
            problems.ReservationLapsed(),
            problems.VoucherRefused([Reason.BALANCE_TOO_SMALL]),
            WHO[0],
        ),
        examples=[sample("ask", {"amount": 800}, is_request=True)],
    )
    def post(self, request: Request, redemption_id: int) -> HttpResponse:
        """Use what was reserved, once however often it is asked."""
        body = checked_body(ConfirmIn, request)
        partner = partner_of_redemption(person(request), redemption_id)
        return told(
            actions.confirm(
                redemption_id,
                partner=partner,
                actor=person(request),
                amount_minor=body.get("amount"),
            )
        )


class RollBack(APIView):
    """The end of a reservation that was not used."""

    permission_classes = (AT_THE_TILL,)

    @extend_schema(
        operation_id="roll_back_redemption",
        summary="Roll a reservation back",
        tags=["redemptions"],
        request=None,
        responses=answers(
            {200: RedemptionOut},
            problems.RedemptionUnknown(),
            problems.RedemptionMovedOn(state="confirmed"),
            WHO[0],
        ),
    )
    def post(self, request: Request, redemption_id: int) -> HttpResponse:
        """Give back what was reserved, once however often it is asked."""
        partner = partner_of_redemption(person(request), redemption_id)
        return told(actions.roll_back(redemption_id, partner=partner, actor=person(request)))


class Reverse(APIView):
    """A redemption undone."""

    permission_classes = (AT_THE_TILL,)

    @extend_schema(
        operation_id="reverse_redemption",
        summary="Reverse a redemption",
        tags=["redemptions"],
        request=VoucherReasonIn,
        responses=answers(
            {200: RedemptionOut},
            problems.RedemptionUnknown(),
            problems.RedemptionMovedOn(state="reserved"),
            problems.ReversalTooLate(),
            LedgerRefusal(items.Refusal.INSUFFICIENT_FUNDS),
            WHO[0],
        ),
        examples=[sample("ask", {"reason": "goods returned"}, is_request=True)],
    )
    def post(self, request: Request, redemption_id: int) -> HttpResponse:
        """Undo a confirmed redemption: the credit goes back, the voucher can be used again."""
        body = checked_body(VoucherReasonIn, request)
        partner = partner_of_redemption(person(request), redemption_id)
        return told(
            actions.reverse(
                redemption_id, partner=partner, actor=person(request), reason=body["reason"]
            )
        )
