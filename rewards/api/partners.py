"""Partners and generic codes over HTTP, for marketing."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from edge.fields import checked_body
from edge.idempotency import idempotent
from rewards.api.permissions import MarketingOnly, person
from rewards.api.redemption_serializers import (
    GenericIn,
    GenericOut,
    PartnerIn,
    PartnerOut,
    PartnerSeriesIn,
    StaffIn,
    VoucherReasonIn,
)
from rewards.api.series import named_person
from rewards.importing import SeriesClosed, SeriesUnknown
from rewards.models import GenericCode, Partner
from rewards.redemption import generics, partners, problems
from wallet.api.schema import WRITES, answers, sample
from wallet.people import PersonUnknown

A_PARTNER = {"code": "fan-shop", "name": "Fan shop", "is_active": True, "staff": ["clerk"],
             "series": ["TENOFF"]}  # fmt: skip
A_GENERIC = {"id": "7", "series": "TENOFF", "code": "WELCOME10", "use_limit": 500,
             "person_limit": 1, "uses_left": 500, "expires_at": None,
             "is_active": True}  # fmt: skip


def answered(code: str) -> Response:
    """Answer with a partner as it is now."""
    found = Partner.objects.prefetch_related("staff", "series__asset").get(code=code)
    return Response(PartnerOut(found).data)


class Partners(ListAPIView[Partner]):
    """Who redeems."""

    permission_classes = (MarketingOnly,)
    serializer_class = PartnerOut

    def get_queryset(self) -> QuerySet[Partner]:
        return Partner.objects.prefetch_related("staff", "series__asset")

    @extend_schema(
        operation_id="list_partners",
        summary="List partners",
        tags=["redemptions"],
        responses=answers({200: PartnerOut(many=True)}),
        examples=[sample("a partner", A_PARTNER)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the partners, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="create_partner",
        summary="Set up a partner",
        tags=["redemptions"],
        request=PartnerIn,
        responses=answers(
            {201: PartnerOut}, *WRITES, partners.PartnerExists(), partners.PartnerInvalid()
        ),
        examples=[
            sample("ask", {"code": "fan-shop", "name": "Fan shop"}, is_request=True),
            sample("made", A_PARTNER),
        ],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Set up a partner. Then say who redeems for it, and what."""
        body = checked_body(PartnerIn, request)
        made = partners.create(body["code"], body["name"], actor=person(request))
        response = answered(made.code)
        response.status_code = 201
        return response


class PartnerStaff(APIView):
    """Who redeems for a partner."""

    permission_classes = (MarketingOnly,)

    @extend_schema(
        operation_id="set_partner_staff",
        summary="Let somebody redeem for a partner, or no more",
        tags=["redemptions"],
        request=StaffIn,
        responses=answers({200: PartnerOut}, partners.NoSuchPartner(), PersonUnknown()),
        examples=[sample("ask", {"handle": "clerk", "redeems": True}, is_request=True)],
    )
    def put(self, request: Request, partner_code: str) -> Response:
        """Say whether a person redeems for a partner. Asking again changes nothing."""
        body = checked_body(StaffIn, request)
        clerk = named_person(body["handle"])
        partners.set_staff(partner_code, clerk, body["redeems"], actor=person(request))
        return answered(partner_code)


class PartnerSeries(APIView):
    """What a partner redeems."""

    permission_classes = (MarketingOnly,)

    @extend_schema(
        operation_id="set_partner_series",
        summary="Let a partner redeem a series, or no more",
        tags=["redemptions"],
        request=PartnerSeriesIn,
        responses=answers(
            {200: PartnerOut},
            partners.NoSuchPartner(),
            SeriesUnknown(),
            problems.NotRedeemedHere(),
        ),
        examples=[sample("ask", {"series": "TENOFF", "redeems": True}, is_request=True)],
    )
    def put(self, request: Request, partner_code: str) -> Response:
        """Say whether a partner redeems a series. Asking again changes nothing."""
        body = checked_body(PartnerSeriesIn, request)
        partners.set_series(partner_code, body["series"], body["redeems"], actor=person(request))
        return answered(partner_code)


class GenericCodes(ListAPIView[GenericCode]):
    """Codes for many."""

    permission_classes = (MarketingOnly,)
    serializer_class = GenericOut

    def get_queryset(self) -> QuerySet[GenericCode]:
        codes = GenericCode.objects.select_related("series__asset")
        return codes.filter(series__asset__code=self.kwargs["series_code"])

    @extend_schema(
        operation_id="list_generic_codes",
        summary="List generic codes",
        tags=["vouchers"],
        responses=answers({200: GenericOut(many=True)}),
        examples=[sample("a generic code", A_GENERIC)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the codes of a series that many people use, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="create_generic_code",
        summary="Make a generic code",
        tags=["vouchers"],
        request=GenericIn,
        responses=answers(
            {201: GenericOut},
            *WRITES,
            SeriesUnknown(),
            SeriesClosed(),
            problems.NotRedeemedHere(),
            problems.NotGeneric(),
            problems.GenericExists(),
            problems.GenericInvalid("A code is used 1 to 1,000,000,000 times."),
        ),
        examples=[
            sample("ask", {"code": "WELCOME10", "use_limit": 500, "person_limit": 1},
                   is_request=True),
            sample("made", A_GENERIC),
        ],
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, series_code: str) -> Response:
        """Make one code that many people use, as often as its limit says."""
        body = checked_body(GenericIn, request)
        terms = generics.Terms(text=body.pop("code"), **body)
        made = generics.create(series_code, terms, actor=person(request), now=timezone.now())
        return Response(GenericOut(made).data, status=201)


class DeactivateGeneric(APIView):
    """The end of a generic code."""

    permission_classes = (MarketingOnly,)

    @extend_schema(
        operation_id="deactivate_generic_code",
        summary="Take a generic code out of use",
        tags=["vouchers"],
        request=VoucherReasonIn,
        responses=answers({200: GenericOut}, problems.CodeUnknown()),
        examples=[sample("ask", {"reason": "it was passed around"}, is_request=True)],
    )
    def post(self, request: Request, generic_id: int) -> Response:
        """Let nobody use it any more. Asking again changes nothing."""
        body = checked_body(VoucherReasonIn, request)
        generics.deactivate(generic_id, actor=person(request), reason=body["reason"])
        found = GenericCode.objects.select_related("series__asset").get(pk=generic_id)
        return Response(GenericOut(found).data)
