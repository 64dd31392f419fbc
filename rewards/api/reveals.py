"""Reveals over HTTP: burn a unit, see a code; see it again; list what one has seen."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from edge.callers import client_ip
from edge.fields import StrictSerializer, checked_body
from edge.idempotency import REPLAYED, claim_of
from edge.idempotency_keys import HEADER, KeyInvalid, KeyMissing
from edge.problems import Refusal
from rewards import revealing
from rewards.api.permissions import OWN_VOUCHERS, person
from rewards.api.serializers import MaskedRevealOut, RevealOut
from rewards.images import Form, NotDrawable, drawn
from rewards.importing import SeriesUnknown
from rewards.models import Reveal
from wallet import items
from wallet.api.schema import answers, sample
from wallet.problems import LedgerRefusal

PRIVATE = {"Cache-Control": "no-store"}
A_REVEAL = {
    "id": "4711", "series": "STADIUM-DRINK", "title": "A drink at any stadium bar",
    "code": "DRK-7KQ4-ABCD", "expires_at": "2027-07-01T00:00:00.000000Z",
    "revealed_at": "2026-01-31T12:00:00.000064Z", "transfer_id": "981234567890123",
    "disputable_until": None,
}  # fmt: skip
MASKED = {
    name: value for name, value in A_REVEAL.items() if name not in ("code", "disputable_until")
} | {"masked": "••••ABCD"}


class NothingIn(StrictSerializer):
    """A body that says nothing: `{}`, or none at all."""


class RevealOne(APIView):
    """A code for one of your units."""

    permission_classes = (OWN_VOUCHERS,)

    @extend_schema(
        operation_id="reveal_code",
        summary="Reveal a code",
        tags=["vouchers"],
        request=None,
        parameters=[
            OpenApiParameter(
                HEADER,
                str,
                OpenApiParameter.HEADER,
                required=True,
                description="1 to 255 visible ASCII characters. The same key brings the same code "
                "again, for ever, and burns nothing.",
            )
        ],
        responses=answers(
            {201: RevealOut},
            KeyMissing(),
            KeyInvalid(),
            SeriesUnknown(),
            revealing.SeriesNotYetValid(),
            revealing.NoUnits(),
            revealing.CodesExpired(),
            revealing.NoCodesLeft(),
            revealing.CodeUnavailable(),
            LedgerRefusal(items.Refusal.DEBIT_ACCOUNT_FROZEN),
        ),
        examples=[sample("revealed", A_REVEAL)],
    )
    def post(self, request: Request, series_code: str) -> Response:
        """Burn one unit of yours and see the code that expires soonest. It cannot be undone."""
        # The answer holds a code, so it is not remembered as others are (`@idempotent`): the
        # reveal itself remembers the key, and a repeat opens the sealed code again.
        checked_body(NothingIn, request)
        opened = revealing.reveal(
            series_code=series_code,
            owner=person(request),
            request=claim_of(request).digest,
            ip=client_ip(request),
        )
        headers = PRIVATE | ({REPLAYED: "true"} if opened.is_replay else {})
        return Response(RevealOut(opened).data, status=201, headers=headers)


class Reveals(ListAPIView[Reveal]):
    """Codes you revealed."""

    permission_classes = (OWN_VOUCHERS,)
    serializer_class = MaskedRevealOut

    def get_queryset(self) -> QuerySet[Reveal]:
        return Reveal.objects.of(person(self.request).pk)

    @extend_schema(
        operation_id="list_reveals",
        summary="List your reveals",
        tags=["vouchers"],
        responses=answers({200: MaskedRevealOut(many=True)}),
        examples=[sample("a reveal", MASKED)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List what you revealed, newest first; the codes are masked."""
        return super().get(request, *args, **kwargs)


class OneReveal(APIView):
    """A code you revealed."""

    permission_classes = (OWN_VOUCHERS,)

    @extend_schema(
        operation_id="get_reveal",
        summary="See a revealed code again",
        tags=["vouchers"],
        responses=answers({200: RevealOut}, revealing.RevealUnknown(), revealing.CodeUnavailable()),
        examples=[sample("a reveal", A_REVEAL)],
    )
    def get(self, request: Request, reveal_id: int) -> Response:
        """See the code again. Each look is written down."""
        opened = revealing.view(reveal_id=reveal_id, owner=person(request), ip=client_ip(request))
        return Response(RevealOut(opened).data, headers=PRIVATE)


class ImageUnknown(Refusal):
    """A code is drawn in two ways."""

    code = "image_unknown"
    title = "A code is drawn as image.qr or image.code128"
    status = 404


class ImageImpossible(Refusal):
    """The code has characters that this kind of picture cannot hold."""

    code = "image_impossible"
    title = "This code cannot be drawn so; a QR code holds it"
    status = 409


class RevealImage(APIView):
    """A code you revealed, as a picture."""

    permission_classes = (OWN_VOUCHERS,)

    @extend_schema(
        operation_id="draw_code",
        summary="Draw a revealed code",
        tags=["vouchers"],
        responses=answers(
            {(200, "image/svg+xml"): OpenApiTypes.STR},
            revealing.RevealUnknown(),
            revealing.CodeUnavailable(),
            ImageUnknown(),
            ImageImpossible(),
        ),
    )
    def get(self, request: Request, reveal_id: int, form: str) -> HttpResponse:
        """See the code as a QR code (`image.qr`) or a barcode (`image.code128`), in SVG."""
        if form not in list(Form):
            raise ImageUnknown
        opened = revealing.view(reveal_id=reveal_id, owner=person(request), ip=client_ip(request))
        try:
            image = drawn(opened.code.for_its_owner(), Form(form))
        except NotDrawable:
            raise ImageImpossible from None
        return HttpResponse(image, content_type="image/svg+xml", headers=PRIVATE)
