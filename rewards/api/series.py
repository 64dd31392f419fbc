"""Series over HTTP: read by everybody, made and handed out by marketing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from edge.fields import checked_body
from edge.idempotency import claim_of, idempotent
from rewards import actions
from rewards.actions import SeriesTerms
from rewards.api.permissions import MarketingOnly, PublicToRead, person
from rewards.api.serializers import HandOutIn, HandOutOut, SeriesIn, SeriesOut, SeriesView
from rewards.codes import CheckScheme
from rewards.importing import SeriesUnknown
from rewards.models import Series
from rewards.redemption.rules import Kind
from rewards.units import UnitCounts, counts_of, units_of
from wallet.api.schema import MONEY, WRITES, answers, sample
from wallet.people import PersonUnknown

A_SERIES = {
    "code": "STADIUM-DRINK", "title": "A drink at any stadium bar", "description": "",
    "issuer": "Arena Catering", "terms": "One drink a match day.",
    "face_value": {"amount": 450, "asset": "EUR"}, "valid_from": None,
    "expires_at": "2027-06-30T00:00:00.000000Z", "kind": "amount", "discount_bps": None,
    "is_redeemed_here": False, "is_personal": False, "state": "issued",
    "units": {"issued": 400, "revealed": 12, "available": 388}, "own_units": 3,
}  # fmt: skip
TERMS = {
    "code": "STADIUM-DRINK", "title": "A drink at any stadium bar", "issuer": "Arena Catering",
    "face_value": {"amount": 450, "asset": "EUR"}, "expires_at": "2027-06-30T00:00:00Z",
}  # fmt: skip
MADE_BADLY = (
    actions.SeriesExists(),
    actions.CurrencyUnknown(),
    actions.ValidityImpossible(),
    actions.TermsInvalid("An amount and a gift balance have a face value."),
)


class SeriesList(ListAPIView[Any]):
    """Voucher series."""

    permission_classes = (PublicToRead,)
    serializer_class = SeriesOut

    def get_queryset(self) -> QuerySet[Series]:
        return Series.objects.public()

    def paginate_queryset(self, queryset: Any) -> Any:
        """Page the series, then put units beside them: two queries for the page."""
        return seen_by(self.request, super().paginate_queryset(queryset) or [])

    @extend_schema(
        operation_id="list_series",
        summary="List voucher series",
        tags=["vouchers"],
        responses=answers({200: SeriesOut(many=True)}),
        examples=[sample("a series", A_SERIES)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List what has been issued, newest first, with your own units if you are signed in."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="create_series",
        summary="Set up a series",
        tags=["vouchers"],
        request=SeriesIn,
        responses=answers({201: SeriesOut}, *WRITES, *MADE_BADLY),
        examples=[sample("ask", TERMS, is_request=True), sample("made", A_SERIES)],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Set up a series as a draft; its first codes issue it. For marketing."""
        body = checked_body(SeriesIn, request)
        face_value = body.pop("face_value") or {}
        kind = body.pop("kind", None)
        promise = SeriesTerms(
            issuer_name=body.pop("issuer"),
            check_scheme=CheckScheme(body.pop("check_scheme")),
            kind=Kind(kind) if kind else None,
            face_value_minor=face_value.get("amount"),
            face_value_currency=face_value.get("asset"),
            **body,
        )
        made = actions.create_series(promise, actor=person(request))
        [seen] = seen_by(request, [made])
        return Response(SeriesOut(seen).data, status=201)


class OneSeries(APIView):
    """One voucher series."""

    permission_classes = (PublicToRead,)

    @extend_schema(
        operation_id="get_series",
        summary="Read a series",
        tags=["vouchers"],
        responses=answers({200: SeriesOut}, SeriesUnknown()),
        examples=[sample("a series", A_SERIES)],
    )
    def get(self, request: Request, series_code: str) -> Response:
        """Read one series: its terms, how many vouchers are left, how many are yours."""
        series = Series.objects.public().filter(asset__code=series_code).first()
        if series is None:
            raise SeriesUnknown
        [seen] = seen_by(request, [series])
        return Response(SeriesOut(seen).data)


class HandOuts(APIView):
    """Units from the treasury to people."""

    permission_classes = (MarketingOnly,)

    @extend_schema(
        operation_id="hand_out_units",
        summary="Hand out units",
        tags=["vouchers"],
        request=HandOutIn,
        responses=answers({201: HandOutOut}, *WRITES, SeriesUnknown(), PersonUnknown(), *MONEY),
        examples=[sample("ask", {"to": "ada", "amount": 3}, is_request=True)],
    )
    @idempotent
    def post(self, request: Request, series_code: str) -> Response:
        """Give units from the series' treasury to a person. For marketing."""
        body = checked_body(HandOutIn, request)
        owner = named_person(body["to"])
        transfer_id = actions.hand_out(
            series_code,
            owner=owner,
            amount=body["amount"],
            reference=claim_of(request).digest.hex,
            actor=person(request),
        )
        answer = {"transfer_id": transfer_id, "to": owner.handle, "amount": body["amount"]}
        return Response(HandOutOut(answer).data, status=201)


def seen_by(request: Request, series: Iterable[Series]) -> list[SeriesView]:
    """Put units beside series: how many there are, and how many are the caller's."""
    rows = list(series)
    asset_ids = [row.asset_id for row in rows]
    counts = counts_of(asset_ids)
    own = units_of(request.user.pk, asset_ids) if isinstance(request.user, User) else None
    return [
        SeriesView(
            row,
            counts.get(row.asset_id, UnitCounts(0, 0, 0)),
            None if own is None else own.get(row.asset_id, 0),
        )
        for row in rows
    ]


def named_person(handle: str) -> User:
    """Find an active person by handle, or refuse."""
    found = User.objects.by_handle(handle)
    if found is None:
        raise PersonUnknown
    return found
