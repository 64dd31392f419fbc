"""What protects a series' units, over HTTP: the rules they trade by, and the issuer's guarantee."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from edge.fields import Amount, AssetCode, StrictSerializer, checked_body
from edge.idempotency import idempotent
from edge.problems import Refusal
from rewards import trading
from rewards.api.permissions import PublicToRead, person
from rewards.api.series import named_person
from rewards.disputes import guarantees
from rewards.disputes.problems import GuaranteeFixed, GuaranteeInvalid
from rewards.importing import SeriesUnknown
from rewards.models import Guarantee, Series
from rewards.trading import TradingTerms
from wallet.api.schema import WRITES, answers, sample
from wallet.ownership import RulesInvalid, RulesTightened
from wallet.ownership_rules import LONGEST_HOLDING_S, MOST_REGIONS, REGION_PATTERN
from wallet.people import PersonUnknown

SOME_TERMS = {
    "is_transferable": True, "holding_s": 259_200, "regions": ["DE", "AT"],
    "stops_before_s": 86_400,
}  # fmt: skip
A_GUARANTEE = {
    "issuer": "arena", "refund": {"amount": 450, "asset": "EUR"}, "window_s": 172_800,
    "answer_s": 172_800, "two_people_over": 5_000, "state": "open",
}  # fmt: skip


class GuaranteeMissing(Refusal):
    """Nobody guarantees for the codes of this series."""

    code = "no_guarantee"
    title = "Nobody guarantees for codes of this series"
    status = 404


class TradingTermsIn(StrictSerializer):
    """All rules of the series' units; what is left out is at its loosest."""

    is_transferable = serializers.BooleanField(default=True)
    holding_s = serializers.IntegerField(min_value=0, max_value=LONGEST_HOLDING_S, default=0)
    regions = serializers.ListField(
        child=serializers.RegexField(REGION_PATTERN), max_length=MOST_REGIONS, default=list
    )
    stops_before_s = serializers.IntegerField(min_value=0, max_value=LONGEST_HOLDING_S, default=0)


class TradingTermsOut(serializers.Serializer[TradingTerms]):
    """Who may own units, for how long they are held back, and when trading in them ends."""

    is_transferable = serializers.BooleanField()
    holding_s = serializers.IntegerField()
    regions = serializers.ListField(child=serializers.CharField())
    stops_before_s = serializers.IntegerField()


class RefundIn(StrictSerializer):
    """What a holder gets back for a code in vain."""

    amount = Amount()
    asset = AssetCode()


class GuaranteeIn(StrictSerializer):
    """An issuer's promise. Its money is taken from the issuer's wallet as codes come in."""

    issuer = serializers.CharField(max_length=40)
    refund = RefundIn()
    window_s = serializers.IntegerField(min_value=60, max_value=90 * 86_400)
    answer_s = serializers.IntegerField(min_value=60, max_value=30 * 86_400)
    two_people_over = serializers.IntegerField(min_value=0, max_value=1 << 53, default=5_000)


class RefundOut(serializers.Serializer[Guarantee]):
    """What a holder gets back for a code in vain."""

    amount = Amount(source="refund_minor")
    asset = AssetCode(source="asset.code")


class GuaranteeOut(serializers.Serializer[Guarantee]):
    """What stands behind each code of the series."""

    issuer = serializers.CharField(source="issuer.handle")
    refund = RefundOut(source="*")
    window_s = serializers.IntegerField()
    answer_s = serializers.IntegerField()
    two_people_over = serializers.IntegerField(source="two_people_over_minor")
    state = serializers.CharField(source="get_state_display")


class SeriesTradingTerms(APIView):
    """The rules that a series' units trade by."""

    permission_classes = (PublicToRead,)

    @extend_schema(
        operation_id="get_trading_terms",
        summary="Read the rules of a series' units",
        tags=["vouchers"],
        responses=answers({200: TradingTermsOut}, SeriesUnknown()),
        examples=[sample("terms", SOME_TERMS)],
    )
    def get(self, request: Request, series_code: str) -> Response:
        """Read who may own units, how long they are held back, and when trading ends."""
        found = Series.objects.public().filter(asset__code=series_code).first()
        if found is None:
            raise SeriesUnknown
        return Response(TradingTermsOut(trading.terms_of(found)).data)

    @extend_schema(
        operation_id="set_trading_terms",
        summary="Set the rules of a series' units",
        tags=["vouchers"],
        request=TradingTermsIn,
        responses=answers(
            {200: TradingTermsOut}, *WRITES, SeriesUnknown(), RulesInvalid(), RulesTightened()
        ),
        examples=[sample("set", SOME_TERMS, is_request=True), sample("terms", SOME_TERMS)],
    )
    @idempotent
    def put(self, request: Request, series_code: str) -> Response:
        """Set all of them. Once codes have come in they only become looser. For marketing."""
        body = checked_body(TradingTermsIn, request)
        terms = TradingTerms(**{**body, "regions": tuple(body["regions"])})
        trading.set_terms(series_code, terms, actor=person(request))
        return Response(TradingTermsOut(terms).data)


class SeriesGuarantee(APIView):
    """The issuer's guarantee for a series' codes."""

    permission_classes = (PublicToRead,)

    @extend_schema(
        operation_id="get_guarantee",
        summary="Read a series' guarantee",
        tags=["vouchers"],
        responses=answers({200: GuaranteeOut}, GuaranteeMissing()),
        examples=[sample("a guarantee", A_GUARANTEE)],
    )
    def get(self, request: Request, series_code: str) -> Response:
        """Read who guarantees, what is refunded, and for how long a code may be disputed."""
        return Response(_guarantee_out(series_code))

    @extend_schema(
        operation_id="give_guarantee",
        summary="Give a guarantee",
        tags=["vouchers"],
        request=GuaranteeIn,
        responses=answers(
            {201: GuaranteeOut},
            *WRITES,
            SeriesUnknown(),
            PersonUnknown(),
            GuaranteeInvalid(),
            GuaranteeFixed(),
        ),
        examples=[
            sample(
                "give",
                {name: value for name, value in A_GUARANTEE.items() if name != "state"},
                is_request=True,
            ),
            sample("a guarantee", A_GUARANTEE),
        ],
    )
    @idempotent
    def post(self, request: Request, series_code: str) -> Response:
        """Promise, before the first codes and for good, that codes work. For marketing."""
        body: dict[str, Any] = checked_body(GuaranteeIn, request)
        guarantees.give_guarantee(
            series_code,
            issuer=named_person(body["issuer"]),
            asset_code=body["refund"]["asset"],
            refund_minor=body["refund"]["amount"],
            window_s=body["window_s"],
            answer_s=body["answer_s"],
            two_people_over_minor=body["two_people_over"],
            actor=person(request),
        )
        return Response(_guarantee_out(series_code), status=201)


def _guarantee_out(series_code: str) -> Any:
    found = Guarantee.objects.select_related("issuer", "asset")
    guarantee = found.filter(series__asset__code=series_code).first()
    if guarantee is None:
        raise GuaranteeMissing
    return GuaranteeOut(guarantee).data
