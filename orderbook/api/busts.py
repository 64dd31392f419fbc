"""Busts over HTTP: one of our people asks that a trade be undone, another decides."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from edge.answers import problem_response
from edge.callers import client_ip
from edge.fields import Id, StrictSerializer, UtcDateTime, checked_body, checked_query
from edge.idempotency import idempotent
from orderbook import busts
from orderbook.models import Bust
from wallet.api.permissions import SessionRequired
from wallet.api.schema import WRITES, answers, sample
from wallet.api.serializers import PageQuery
from wallet.freezing import LONGEST_REASON, ReasonMissing
from wallet.items import Refusal
from wallet.problems import LedgerRefusal

RIGHT = "orderbook.bust_trade"
STATES = [state.label for state in Bust.State]
A_BUST: dict[str, Any] = {
    "id": "3", "fill_id": "981234567890123", "market": "STADIUM-DRINK.EUR",
    "reason": "A price of 4.50 was typed as 45.00", "state": "open", "requested_by": "olga",
    "requested_at": "2026-01-31T13:00:00.000000Z", "decided_by": None, "decided_at": None,
    "note": "", "last_refusal": None, "reversal_ids": [],
}  # fmt: skip
DONE = {"state": "approved", "decided_by": "otto", "decided_at": "2026-01-31T14:00:00.000000Z",
        "reversal_ids": ["981234567899999", "981234567900000"]}  # fmt: skip


class MayBust(BasePermission):
    """A signed-in person with the right to bust trades; a program's key only reads."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not isinstance(request.user, User) or not request.user.has_perm(RIGHT):
            return False
        if request.auth is not None and request.method not in SAFE_METHODS:
            raise SessionRequired
        return True


class BustIn(StrictSerializer):
    """Which trade, and why."""

    fill_id = Id()
    reason = serializers.CharField(max_length=LONGEST_REASON)


class NoteIn(StrictSerializer):
    """Why not."""

    reason = serializers.CharField(max_length=LONGEST_REASON)


class BustQuery(PageQuery):
    """Which requests."""

    state = serializers.ChoiceField(STATES, required=False)


class BustOut(serializers.Serializer[Bust]):
    """A request to undo a trade, and what became of it."""

    id = Id(source="pk")
    fill_id = Id()
    market = serializers.CharField(source="market.code")
    reason = serializers.CharField()
    state = serializers.SerializerMethodField()
    requested_by = serializers.CharField(source="requested_by.handle")
    requested_at = UtcDateTime()
    decided_by = serializers.CharField(source="decided_by.handle", allow_null=True, default=None)
    decided_at = UtcDateTime(allow_null=True)
    note = serializers.CharField()
    last_refusal = serializers.SerializerMethodField()
    reversal_ids = serializers.ListField(child=Id())

    @extend_schema_field(serializers.ChoiceField(STATES))
    def get_state(self, bust: Bust) -> str:
        return str(bust.get_state_display())

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_last_refusal(self, bust: Bust) -> str | None:
        return bust.last_refusal or None


def all_busts() -> QuerySet[Bust]:
    return Bust.objects.select_related("market", "requested_by", "decided_by")


def _out(bust: Bust) -> Any:
    return BustOut(all_busts().get(pk=bust.pk)).data


class Busts(ListAPIView[Bust]):
    """Requests to undo trades."""

    permission_classes = (MayBust,)
    serializer_class = BustOut

    def get_queryset(self) -> QuerySet[Bust]:
        query = checked_query(BustQuery, self.request)
        found = all_busts()
        return found.filter(state=STATES.index(query["state"])) if "state" in query else found

    @extend_schema(
        operation_id="list_busts",
        summary="List bust requests",
        tags=["market operations"],
        parameters=[BustQuery],
        responses=answers({200: BustOut(many=True)}),
        examples=[sample("a request", A_BUST)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List requests, the newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="request_bust",
        summary="Ask that a trade be undone",
        tags=["market operations"],
        request=BustIn,
        responses=answers(
            {201: BustOut},
            *WRITES,
            SessionRequired(),
            ReasonMissing(),
            busts.TradeUnknown(),
            busts.BustExists(),
            busts.OwnBust(),
        ),
        examples=[
            sample(
                "ask",
                {"fill_id": "981234567890123", "reason": "A price of 4.50 was typed as 45.00"},
                is_request=True,
            ),
            sample("asked", A_BUST),
        ],
    )
    @idempotent
    def post(self, request: Request) -> HttpResponse:
        """Ask, and say why. Nothing moves until somebody else approves."""
        body = checked_body(BustIn, request)
        assert isinstance(request.user, User)
        made = busts.request_bust(
            body["fill_id"], actor=request.user, reason=body["reason"], ip=client_ip(request)
        )
        return Response(_out(made), status=201)


class ApproveBust(APIView):
    """Approve a bust that somebody else asked for."""

    permission_classes = (MayBust,)

    @extend_schema(
        operation_id="approve_bust",
        summary="Undo a trade",
        tags=["market operations"],
        request=None,
        responses=answers(
            {200: BustOut},
            *WRITES,
            SessionRequired(),
            busts.OwnBust(),
            busts.BustUnknown(),
            busts.BustDecided(),
            LedgerRefusal(Refusal.INSUFFICIENT_FUNDS, account_id="12", asset="EUR", lacks=1_000),
            LedgerRefusal(Refusal.DEBIT_ACCOUNT_FROZEN),
        ),
        examples=[sample("undone", A_BUST | DONE)],
    )
    @idempotent
    def post(self, request: Request, bust_id: int) -> HttpResponse:
        """Units, price and both fees go back, or nothing does. If somebody spent what they got,
        the answer says who lacks how much; the request stays open, ask again with a new key."""
        assert isinstance(request.user, User)
        done, shortfall = busts.approve(bust_id, actor=request.user, ip=client_ip(request))
        if shortfall is not None:
            # Returned, not raised: the request has noted the refusal, and that must commit.
            return problem_response(
                LedgerRefusal(
                    Refusal[shortfall.refusal.upper()],
                    shortfall.words,
                    account_id=str(shortfall.account_id),
                    asset=shortfall.asset,
                    lacks=shortfall.lacks,
                )
            )
        return Response(_out(done))


class RejectBust(APIView):
    """Turn down a bust that somebody else asked for."""

    permission_classes = (MayBust,)

    @extend_schema(
        operation_id="reject_bust",
        summary="Let a trade stand",
        tags=["market operations"],
        request=NoteIn,
        responses=answers(
            {200: BustOut},
            *WRITES,
            SessionRequired(),
            ReasonMissing(),
            busts.OwnBust(),
            busts.BustUnknown(),
            busts.BustDecided(),
        ),
        examples=[
            sample("why", {"reason": "The price was right."}, is_request=True),
            sample(
                "stands",
                A_BUST | DONE | {"state": "rejected", "note": "It was right.", "reversal_ids": []},
            ),
        ],
    )
    @idempotent
    def post(self, request: Request, bust_id: int) -> HttpResponse:
        """Nothing moves; the bust may be asked for anew."""
        body = checked_body(NoteIn, request)
        assert isinstance(request.user, User)
        done = busts.reject(bust_id, actor=request.user, note=body["reason"], ip=client_ip(request))
        return Response(_out(done))
