"""Payments between people, and the holds they make for one another."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.permissions import HasScope
from edge.fields import checked_body, checked_query
from edge.idempotency import idempotent
from wallet import people
from wallet.api.answers import key_of, person, posted
from wallet.api.schema import HOLDS, MONEY, WRITES, answers, sample
from wallet.api.serializers import (
    HoldIn,
    HoldOut,
    HoldPostIn,
    HoldQuery,
    HoldVoidIn,
    PaymentIn,
    TransferOut,
)
from wallet.api.wallets import A_TRANSFER, own_wallets
from wallet.items import HoldState
from wallet.models import Hold
from wallet.movements import held

MAY_WRITE = HasScope.of(read="wallet:read", write="wallet:write")
NAMED = (people.PersonUnknown(), people.AssetUnknown())

A_HOLD = {
    "id": "981234567890123", "at": "2026-01-31T12:00:00.000064Z", "code": "hold",
    "asset": "EUR", "amount": 2500, "remaining": 2500, "state": "open", "receiver": "ben",
    "memo": "deposit for the hall", "expires_at": "2026-02-10T12:00:00.000000Z",
}  # fmt: skip


class Payments(APIView):
    """Money from you to another person."""

    permission_classes = (MAY_WRITE,)

    @extend_schema(
        operation_id="make_payment",
        summary="Pay another person",
        tags=["wallet"],
        request=PaymentIn,
        responses=answers({201: TransferOut}, *WRITES, *NAMED, *MONEY),
        examples=[
            sample(
                "ask",
                {"to": "ben", "asset": "EUR", "amount": 500, "memo": "for lunch"},
                is_request=True,
            ),
            sample("paid", A_TRANSFER),
        ],
    )
    @idempotent
    def post(self, request: Request) -> HttpResponse:
        """Pay at once, and for good: the receiver alone can send it back."""
        body = checked_body(PaymentIn, request)
        body.setdefault("memo", "")
        return posted(people.pay(sender=person(request), key=key_of(request), **body))


class Holds(ListAPIView[Hold]):
    """Money set aside on your wallets."""

    permission_classes = (MAY_WRITE,)
    serializer_class = HoldOut
    page_key = ("-account_id", "-id")

    def get_queryset(self) -> QuerySet[Hold]:
        query = checked_query(HoldQuery, self.request)
        wallets = own_wallets(self.request)
        if "asset" in query:
            wallets = wallets.filter(asset__code=query["asset"])
        return Hold.objects.filter(account_id__in=wallets.values("pk"), state=HoldState.OPEN)

    def paginate_queryset(self, queryset: Any) -> Any:
        """Page the holds, then put the transfers that made them beside them."""
        return held(super().paginate_queryset(queryset) or [])

    @extend_schema(
        operation_id="list_holds",
        summary="List your open holds",
        tags=["wallet"],
        parameters=[HoldQuery],
        responses=answers({200: HoldOut(many=True)}),
        examples=[sample("a hold", A_HOLD)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List all that is set aside now, by wallet, newest first; orders' holds too."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="make_hold",
        summary="Set money aside for another person",
        tags=["wallet"],
        request=HoldIn,
        responses=answers({201: HoldOut}, *WRITES, *NAMED, people.HoldTooLong(), *MONEY),
        examples=[
            sample(
                "ask",
                {"to": "ben", "asset": "EUR", "amount": 2500, "memo": "deposit for the hall",
                 "expires_at": "2026-02-10T12:00:00Z"},
                is_request=True,
            ),
            sample("made", A_HOLD),
        ],
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> HttpResponse:
        """Set money aside: nothing else can spend it until you post or void, or it lapses."""
        body = checked_body(HoldIn, request)
        body.setdefault("memo", "")
        owner = person(request)
        result = people.hold(owner=owner, key=key_of(request), **body)
        return posted(result, lambda hold_id: hold_out(people.own_hold(owner, hold_id)))


class OwnHold(APIView):
    """One of your holds."""

    permission_classes = (MAY_WRITE,)

    @extend_schema(
        operation_id="get_hold",
        summary="Read one of your holds",
        tags=["wallet"],
        responses=answers({200: HoldOut}, people.HoldUnknown()),
        examples=[sample("a hold", A_HOLD)],
    )
    def get(self, request: Request, hold_id: int) -> Response:
        """Read a hold, open or over."""
        return Response(hold_out(people.own_hold(person(request), hold_id)))


class HoldPost(APIView):
    """Pay from a hold."""

    permission_classes = (MAY_WRITE,)

    @extend_schema(
        operation_id="post_hold",
        summary="Pay from a hold",
        tags=["wallet"],
        request=HoldPostIn,
        responses=answers(
            {201: TransferOut}, *WRITES, people.HoldUnknown(), people.HoldNotYours(), *HOLDS
        ),
        examples=[
            sample("a part", {"amount": 1000, "rest_is_kept": True}, is_request=True),
            sample("paid", A_TRANSFER | {"kind": "post", "hold_id": "981234567890000"}),
        ],
    )
    @idempotent
    def post(self, request: Request, hold_id: int) -> HttpResponse:
        """Pay the hold's receiver `amount`, or all of it; the rest is released unless kept."""
        body = checked_body(HoldPostIn, request)
        result = people.post_hold(
            owner=person(request),
            hold_id=hold_id,
            amount=body.get("amount"),
            rest_is_kept=body["rest_is_kept"],
            key=key_of(request),
        )
        return posted(result)


class HoldVoid(APIView):
    """Release a hold."""

    permission_classes = (MAY_WRITE,)

    @extend_schema(
        operation_id="void_hold",
        summary="Release a hold",
        tags=["wallet"],
        request=HoldVoidIn,
        responses=answers(
            {201: TransferOut}, *WRITES, people.HoldUnknown(), people.HoldNotYours(), *HOLDS
        ),
        examples=[
            sample("all of it", {}, is_request=True),
            sample(
                "released",
                A_TRANSFER | {"kind": "void", "code": "release", "hold_id": "981234567890000"},
            ),
        ],
    )
    @idempotent
    def post(self, request: Request, hold_id: int) -> HttpResponse:
        """Release `amount`, or all that remains: it can be spent again."""
        body = checked_body(HoldVoidIn, request)
        result = people.void_hold(
            owner=person(request), hold_id=hold_id, amount=body.get("amount"), key=key_of(request)
        )
        return posted(result)


def hold_out(hold: Hold) -> Any:
    """Lay out one hold."""
    return HoldOut(held([hold])[0]).data
