"""Presents over HTTP: units for a friend, who accepts or declines them."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from edge.fields import AssetCode, Id, StrictSerializer, UtcDateTime, checked_body
from edge.idempotency import REPLAYED, claim_of
from edge.idempotency_keys import HEADER, KeyInvalid, KeyMissing, KeyReused
from rewards.api.permissions import OWN_VOUCHERS, person
from rewards.importing import SeriesUnknown
from rewards.models import Present
from rewards.presents import actions
from rewards.presents.actions import Gift
from wallet import items
from wallet.api.schema import answers, sample
from wallet.people import PersonUnknown
from wallet.problems import LedgerRefusal

A_PRESENT = {
    "id": "7", "series": "STADIUM-DRINK", "from": "ada", "to": "ben", "amount": 1,
    "message": "Cheers!", "state": "open", "made_at": "2026-06-01T12:00:00.000000Z",
    "expires_at": "2026-06-15T12:00:00.000000Z", "ended_at": None,
}  # fmt: skip


class PresentIn(StrictSerializer):
    """Units for a friend."""

    series = AssetCode()
    to = serializers.CharField(max_length=31, help_text="A handle.")
    amount = serializers.IntegerField(min_value=1, max_value=actions.MOST_UNITS, default=1)
    message = serializers.CharField(
        max_length=actions.LONGEST_MESSAGE, required=False, default="", allow_blank=True
    )


class PresentOut(serializers.Serializer[Present]):
    """A present, from whom and for whom."""

    id = Id(source="pk")
    series = AssetCode(source="series.code")
    to = serializers.CharField(source="receiver.handle")
    amount = serializers.IntegerField()
    message = serializers.CharField()
    state = serializers.SerializerMethodField()
    made_at = UtcDateTime()
    expires_at = UtcDateTime()
    ended_at = UtcDateTime(allow_null=True)

    def get_fields(self) -> Any:
        return super().get_fields() | {"from": serializers.CharField(source="giver.handle")}

    @extend_schema_field(
        serializers.ChoiceField(["open", "accepted", "declined", "cancelled", "expired"])
    )
    def get_state(self, present: Present) -> str:
        return actions.state_of(present, timezone.now())


class Presents(ListAPIView[Present]):
    """Presents you gave and got."""

    permission_classes = (OWN_VOUCHERS,)
    serializer_class = PresentOut

    def get_queryset(self) -> QuerySet[Present]:
        me = person(self.request)
        mine = Present.objects.filter(Q(giver=me) | Q(receiver=me))
        return mine.select_related("series__asset", "giver", "receiver")

    @extend_schema(
        operation_id="list_presents",
        summary="List your presents",
        tags=["vouchers"],
        responses=answers({200: PresentOut(many=True)}),
        examples=[sample("a present", A_PRESENT)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List what you gave and what you were given, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="give_present",
        summary="Give vouchers to a friend",
        tags=["vouchers"],
        request=PresentIn,
        parameters=[OpenApiParameter(HEADER, str, OpenApiParameter.HEADER, required=True)],
        responses=answers(
            {201: PresentOut},
            KeyMissing(),
            KeyInvalid(),
            KeyReused(),
            SeriesUnknown(),
            PersonUnknown(),
            actions.PresentToYourself(),
            LedgerRefusal(items.Refusal.INSUFFICIENT_FUNDS),
        ),
        examples=[
            sample("ask", {"series": "STADIUM-DRINK", "to": "ben"}, is_request=True),
            sample("given", A_PRESENT),
        ],
    )
    def post(self, request: Request) -> HttpResponse:
        """Set units aside for a friend, who has two weeks to accept them."""
        body = checked_body(PresentIn, request)
        gift = Gift(series_code=body.pop("series"), **body)
        made, was_before = actions.give(
            gift, giver=person(request), request=claim_of(request).digest
        )
        headers = {REPLAYED: "true"} if was_before else {}
        return Response(PresentOut(made).data, status=201, headers=headers)


class EndPresent(APIView):
    """A present accepted, declined or taken back."""

    permission_classes = (OWN_VOUCHERS,)

    @extend_schema(
        operation_id="end_present",
        summary="Accept, decline or take back a present",
        tags=["vouchers"],
        request=None,
        responses=answers(
            {200: PresentOut}, actions.PresentUnknown(), actions.PresentMovedOn(state="accepted")
        ),
        examples=[sample("a present", A_PRESENT)],
    )
    def post(self, request: Request, present_id: int, deed: str) -> Response:
        """`accept` and `decline` are for who got it, `take-back` for who gave it."""
        me = person(request)
        if deed == "accept":
            present = actions.accept(present_id, receiver=me)
        elif deed == "decline":
            present = actions.decline(present_id, receiver=me)
        else:
            present = actions.take_back(present_id, giver=me)
        return Response(PresentOut(present).data)
