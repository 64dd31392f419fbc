"""Disputes over HTTP: a holder opens one, the issuer answers, our support decides."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from edge.callers import client_ip
from edge.fields import (
    AssetCode,
    Id,
    StrictSerializer,
    UtcDateTime,
    checked_body,
    checked_query,
)
from edge.idempotency import REPLAYED, claim_of, idempotent
from edge.idempotency_keys import KeyInvalid, KeyMissing, KeyReused
from rewards.api.permissions import OWN_VOUCHERS, SupportOnly, person
from rewards.api.protection import RefundOut
from rewards.disputes import actions
from rewards.disputes.problems import (
    AnotherMustAgree,
    DisputeMovedOn,
    DisputeRefused,
    DisputeUnknown,
    EvidenceMissing,
    OwnDispute,
)
from rewards.disputes.rules import Fault
from rewards.models import Dispute
from rewards.revealing import RevealUnknown
from wallet.api.permissions import SessionRequired
from wallet.api.schema import WRITES, answers, sample
from wallet.api.serializers import PageQuery

A_DISPUTE = {
    "id": "12", "reveal_id": "4711", "series": "STADIUM-DRINK", "holder": "ann",
    "issuer": "arena", "problem": "unknown",
    "evidence": "The bar at gate 4 did not know the code.",
    "refund": {"amount": 450, "asset": "EUR"}, "state": "asked",
    "opened_at": "2026-01-31T12:00:00.000000Z", "answer_by": "2026-02-02T12:00:00.000000Z",
    "answer": "", "reason": "", "ended_by": None, "ended_at": None, "proposal": None,
    "transfer_id": None,
}  # fmt: skip
ENDED = {"ended_at": "2026-02-01T09:00:00.000000Z", "transfer_id": "981234567890123"}
STATES = [state.label for state in Dispute.State]


class DisputeIn(StrictSerializer):
    """What went wrong, and what can be checked about it."""

    problem = serializers.ChoiceField(Dispute.Problem.choices)
    evidence = serializers.CharField(min_length=10, max_length=actions.LONGEST_TEXT)


class AnswerIn(StrictSerializer):
    """The issuer's word: `accept` refunds at once, `contest` needs words."""

    verdict = serializers.ChoiceField(["accept", "contest"])
    words = serializers.CharField(max_length=actions.LONGEST_TEXT, required=False)


class DecisionIn(StrictSerializer):
    """Our support's word, and why."""

    verdict = serializers.ChoiceField(["refund", "reject"])
    reason = serializers.CharField(max_length=500)


class DisputeQuery(PageQuery):
    """Which disputes: those one opened, or those one has to answer."""

    role = serializers.ChoiceField(["holder", "issuer"], required=False)
    state = serializers.ChoiceField(STATES, required=False)


class DisputeOut(serializers.Serializer[Dispute]):
    """A dispute as it stands. The code itself is never in it."""

    id = Id(source="pk")
    reveal_id = Id(source="cover_id")
    series = AssetCode(source="cover.guarantee.series.code")
    holder = serializers.CharField(source="holder.handle")
    issuer = serializers.CharField(source="cover.guarantee.issuer.handle")
    problem = serializers.ChoiceField(Dispute.Problem.choices)
    evidence = serializers.CharField()
    refund = RefundOut(source="cover.guarantee")
    state = serializers.SerializerMethodField()
    opened_at = UtcDateTime()
    answer_by = UtcDateTime()
    answer = serializers.CharField()
    reason = serializers.CharField()
    ended_by = serializers.SerializerMethodField()
    ended_at = UtcDateTime(allow_null=True)
    proposal = serializers.SerializerMethodField()
    transfer_id = Id(allow_null=True)

    @extend_schema_field(serializers.ChoiceField(STATES))
    def get_state(self, dispute: Dispute) -> str:
        return str(dispute.get_state_display())

    @extend_schema_field(serializers.ChoiceField(Dispute.End.values, allow_null=True))
    def get_ended_by(self, dispute: Dispute) -> str | None:
        return dispute.end or None

    @extend_schema_field(serializers.ChoiceField(["refund", "reject"], allow_null=True))
    def get_proposal(self, dispute: Dispute) -> str | None:
        return dispute.proposal or None


def _out(dispute: Dispute) -> Any:
    return DisputeOut(Dispute.objects.with_story().get(pk=dispute.pk)).data


class DisputeReveal(APIView):
    """A revealed code that did not work."""

    permission_classes = (OWN_VOUCHERS,)

    @extend_schema(
        operation_id="open_dispute",
        summary="Say that a code did not work",
        tags=["vouchers"],
        request=DisputeIn,
        responses=answers(
            {201: DisputeOut},
            KeyMissing(),
            KeyInvalid(),
            KeyReused(),
            RevealUnknown(),
            EvidenceMissing(),
            *(DisputeRefused(fault) for fault in Fault),
        ),
        examples=[
            sample(
                "ask",
                {"problem": "unknown", "evidence": "The bar at gate 4 did not know the code."},
                is_request=True,
            ),
            sample("opened", A_DISPUTE),
        ],
    )
    def post(self, request: Request, reveal_id: int) -> Response:
        """Freeze the issuer's money for this code, and ask the issuer. The code is out of use
        until it is decided. The same key brings the same dispute again, for ever."""
        body = checked_body(DisputeIn, request)
        opened = actions.open_dispute(
            reveal_id=reveal_id,
            holder=person(request),
            problem=Dispute.Problem(body["problem"]),
            evidence=body["evidence"],
            request=claim_of(request).digest,
            ip=client_ip(request),
        )
        headers = {REPLAYED: "true"} if opened.is_replay else {}
        return Response(_out(opened.dispute), status=201, headers=headers)


class Disputes(ListAPIView[Dispute]):
    """Disputes that you opened, or have to answer."""

    permission_classes = (OWN_VOUCHERS,)
    serializer_class = DisputeOut

    def get_queryset(self) -> QuerySet[Dispute]:
        query, me = checked_query(DisputeQuery, self.request), person(self.request)
        mine = {
            "holder": Q(holder=me),
            "issuer": Q(cover__guarantee__issuer=me),
        }
        chosen = mine[query["role"]] if "role" in query else mine["holder"] | mine["issuer"]
        found = Dispute.objects.with_story().filter(chosen)
        if "state" in query:
            found = found.filter(state=STATES.index(query["state"]))
        return found

    @extend_schema(
        operation_id="list_disputes",
        summary="List your disputes",
        tags=["vouchers"],
        parameters=[DisputeQuery],
        responses=answers({200: DisputeOut(many=True)}),
        examples=[sample("a dispute", A_DISPUTE)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List them, the newest first: `role=issuer&state=asked` waits for your answer."""
        return super().get(request, *args, **kwargs)


class OneDispute(APIView):
    """One of your disputes."""

    permission_classes = (OWN_VOUCHERS,)

    @extend_schema(
        operation_id="get_dispute",
        summary="Read a dispute",
        tags=["vouchers"],
        responses=answers({200: DisputeOut}, DisputeUnknown()),
        examples=[sample("a dispute", A_DISPUTE)],
    )
    def get(self, request: Request, dispute_id: int) -> Response:
        """Read a dispute that you opened or have to answer."""
        me = person(request)
        mine = Q(holder=me) | Q(cover__guarantee__issuer=me)
        found = Dispute.objects.with_story().filter(mine, pk=dispute_id).first()
        if found is None:
            raise DisputeUnknown
        return Response(DisputeOut(found).data)


class WithdrawDispute(APIView):
    """A dispute that was a mistake."""

    permission_classes = (OWN_VOUCHERS,)

    @extend_schema(
        operation_id="withdraw_dispute",
        summary="Withdraw a dispute",
        tags=["vouchers"],
        request=None,
        responses=answers({200: DisputeOut}, *WRITES, DisputeUnknown(), DisputeMovedOn()),
        examples=[
            sample("withdrawn", A_DISPUTE | ENDED | {"state": "withdrawn", "ended_by": "holder"})
        ],
    )
    @idempotent
    def post(self, request: Request, dispute_id: int) -> Response:
        """The code works after all: it can be used again, and cannot be disputed again."""
        return Response(_out(actions.withdraw(dispute_id, holder=person(request))))


class AnswerDispute(APIView):
    """The issuer's answer."""

    permission_classes = (OWN_VOUCHERS,)

    @extend_schema(
        operation_id="answer_dispute",
        summary="Answer a dispute",
        tags=["vouchers"],
        request=AnswerIn,
        responses=answers(
            {200: DisputeOut}, *WRITES, DisputeUnknown(), DisputeMovedOn(), EvidenceMissing()
        ),
        examples=[
            sample(
                "contest",
                {"verdict": "contest", "words": "Our till took the code at 20:14 at gate 2."},
                is_request=True,
            ),
            sample("contested", A_DISPUTE | {"state": "contested"}),
        ],
    )
    @idempotent
    def post(self, request: Request, dispute_id: int) -> Response:
        """Accept, and the holder is refunded; or contest, and our support decides. Who does not
        answer by `answer_by` has accepted."""
        body = checked_body(AnswerIn, request)
        answered = actions.answer(
            dispute_id,
            issuer=person(request),
            accepts=body["verdict"] == "accept",
            words=body.get("words", ""),
        )
        return Response(_out(answered))


class DecideDispute(APIView):
    """Our support's decision."""

    permission_classes = (SupportOnly,)

    @extend_schema(
        operation_id="decide_dispute",
        summary="Decide a contested dispute",
        tags=["vouchers"],
        request=DecisionIn,
        responses=answers(
            {200: DisputeOut},
            *WRITES,
            SessionRequired(),
            OwnDispute(),
            AnotherMustAgree(),
            DisputeUnknown(),
            DisputeMovedOn(),
        ),
        examples=[
            sample(
                "refund",
                {"verdict": "refund", "reason": "The till's log shows nothing."},
                is_request=True,
            ),
            sample("decided", A_DISPUTE | ENDED | {"state": "refunded", "ended_by": "support"}),
        ],
    )
    @idempotent
    def post(self, request: Request, dispute_id: int) -> Response:
        """Refund or reject. Above the guarantee's limit the first word is a `proposal`, and
        somebody else must say the same."""
        body = checked_body(DecisionIn, request)
        decided = actions.decide(
            dispute_id,
            actor=person(request),
            refunds=body["verdict"] == "refund",
            reason=body["reason"],
        )
        return Response(_out(decided))
