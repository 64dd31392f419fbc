"""Reversals over HTTP: one person asks, another decides."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from edge.answers import problem_response
from edge.callers import client_ip
from edge.fields import checked_body, checked_query
from edge.idempotency import idempotent
from wallet import items, reversals
from wallet.api.answers import person
from wallet.api.permissions import FinanceDeed, SessionRequired
from wallet.api.schema import WRITES, answers, sample
from wallet.api.serializers import ReasonIn, ReversalIn, ReversalOut, ReversalQuery
from wallet.freezing import ReasonMissing
from wallet.models import ReversalRequest
from wallet.problems import LedgerRefusal

MAY_REVERSE = FinanceDeed.of("wallet.reverse_transfer")
DECIDING = (
    *WRITES,
    SessionRequired(),
    reversals.OwnRequest(),
    reversals.RequestUnknown(),
    reversals.RequestDecided(),
)
A_REQUEST = {
    "id": "12", "transfer_id": "981234567890123", "reason": "Sent twice by mistake",
    "state": "open", "requested_by": "clara", "requested_at": "2026-01-31T13:00:00.000000Z",
    "decided_by": None, "decided_at": None, "note": "", "reversal_id": None, "last_refusal": None,
}  # fmt: skip
DECIDED = {"decided_by": "dora", "decided_at": "2026-01-31T14:00:00.000000Z"}


def all_requests() -> QuerySet[ReversalRequest]:
    return ReversalRequest.objects.select_related("requested_by", "decided_by")


class Reversals(ListAPIView[ReversalRequest]):
    """Requests to undo transfers."""

    permission_classes = (MAY_REVERSE,)
    serializer_class = ReversalOut

    def get_queryset(self) -> QuerySet[ReversalRequest]:
        query = checked_query(ReversalQuery, self.request)
        requests = all_requests()
        return requests.filter(state=query["state"]) if "state" in query else requests

    @extend_schema(
        operation_id="list_reversals",
        summary="List reversal requests",
        tags=["finance"],
        parameters=[ReversalQuery],
        responses=answers({200: ReversalOut(many=True)}),
        examples=[sample("a request", A_REQUEST)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List requests, the newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="request_reversal",
        summary="Ask that a transfer be undone",
        tags=["finance"],
        request=ReversalIn,
        responses=answers(
            {201: ReversalOut},
            *WRITES,
            SessionRequired(),
            ReasonMissing(),
            reversals.TransferUnknown(),
            reversals.NotReversible(),
            reversals.ReversalExists(),
        ),
        examples=[
            sample(
                "ask",
                {"transfer_id": "981234567890123", "reason": "Sent twice by mistake"},
                is_request=True,
            ),
            sample("asked", A_REQUEST),
        ],
    )
    @idempotent
    def post(self, request: Request) -> HttpResponse:
        """Ask, and say why. Nothing moves until somebody else approves."""
        body = checked_body(ReversalIn, request)
        made = reversals.request_reversal(
            body["transfer_id"],
            actor=person(request),
            reason=body["reason"],
            ip=client_ip(request),
        )
        return Response(reversal_out(made), status=201)


class OneReversal(APIView):
    """One reversal request."""

    permission_classes = (MAY_REVERSE,)

    @extend_schema(
        operation_id="get_reversal",
        summary="Read a reversal request",
        tags=["finance"],
        responses=answers({200: ReversalOut}, reversals.RequestUnknown()),
        examples=[sample("a request", A_REQUEST)],
    )
    def get(self, request: Request, request_id: int) -> Response:
        """Read a request and what became of it."""
        found = all_requests().filter(pk=request_id).first()
        if found is None:
            raise reversals.RequestUnknown
        return Response(reversal_out(found))


class Approve(APIView):
    """Approve a reversal that somebody else asked for."""

    permission_classes = (MAY_REVERSE,)

    @extend_schema(
        operation_id="approve_reversal",
        summary="Approve a reversal",
        tags=["finance"],
        request=None,
        responses=answers(
            {200: ReversalOut},
            *DECIDING,
            LedgerRefusal(items.Refusal.INSUFFICIENT_FUNDS),
            LedgerRefusal(items.Refusal.DEBIT_ACCOUNT_FROZEN),
        ),
        examples=[
            sample(
                "approved",
                A_REQUEST | DECIDED | {"state": "approved", "reversal_id": "981234567899999"},
            )
        ],
    )
    @idempotent
    def post(self, request: Request, request_id: int) -> HttpResponse:
        """Move the money back. If the ledger refuses, the request stays open; ask again later
        with a new key."""
        decided = reversals.approve(request_id, actor=person(request), ip=client_ip(request))
        if decided.refusal is not None:
            # Returned, not raised: the request has noted the refusal, and that must commit.
            return problem_response(LedgerRefusal(decided.refusal))
        return Response(reversal_out(decided))


class Reject(APIView):
    """Turn down a reversal that somebody else asked for."""

    permission_classes = (MAY_REVERSE,)

    @extend_schema(
        operation_id="reject_reversal",
        summary="Reject a reversal",
        tags=["finance"],
        request=ReasonIn,
        responses=answers({200: ReversalOut}, *DECIDING, ReasonMissing()),
        examples=[
            sample("why", {"reason": "The customer keeps the goods."}, is_request=True),
            sample(
                "rejected",
                A_REQUEST | DECIDED | {"state": "rejected", "note": "The customer keeps it."},
            ),
        ],
    )
    @idempotent
    def post(self, request: Request, request_id: int) -> HttpResponse:
        """Nothing moves; the reversal may be asked for anew."""
        body = checked_body(ReasonIn, request)
        decided = reversals.reject(
            request_id, actor=person(request), note=body["reason"], ip=client_ip(request)
        )
        return Response(reversal_out(decided))


def reversal_out(request: ReversalRequest) -> Any:
    """Lay out one request."""
    return ReversalOut(request).data
