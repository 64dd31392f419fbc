"""Where a market stands, its auction, and the switch that cancels for who falls silent."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import ApiKey
from accounts.permissions import HasScope
from edge.fields import StrictSerializer, UtcDateTime, checked_body
from edge.problems import Refusal
from orderbook.actions import LONGEST_S, arm_switch, switch_of
from orderbook.api.markets import find_market
from orderbook.bands import Band, band_around
from orderbook.market_data.auctions import indication
from orderbook.market_data.days import feed_of
from orderbook.models import Market


class NeedsKey(Refusal):
    """A switch belongs to an API key; a browser session has none."""

    code = "api_key_needed"
    title = "Ask with the API key whose orders this is about"
    status = 403


class BandOut(serializers.Serializer[Any]):
    """The lowest and the highest price that are within."""

    lowest_price = serializers.IntegerField()
    highest_price = serializers.IntegerField()


class IndicativeOut(serializers.Serializer[Any]):
    """What an auction would come to if it ended now. `surplus_*` is what would be left over."""

    price = serializers.IntegerField()
    quantity = serializers.IntegerField()
    surplus_side = serializers.ChoiceField(["buy", "sell"], allow_null=True)
    surplus_quantity = serializers.IntegerField()


class SessionOut(serializers.Serializer[Market]):
    """Where a market stands in its life. Prices are quote minor units for one lot."""

    state = serializers.ChoiceField(Market.State.choices)
    opens_at = UtcDateTime(allow_null=True)
    state_until = UtcDateTime(allow_null=True)
    closes_at = UtcDateTime(allow_null=True)
    reference_price = serializers.SerializerMethodField()
    static_band = serializers.SerializerMethodField()
    dynamic_band = serializers.SerializerMethodField()
    indicative = serializers.SerializerMethodField()

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_reference_price(self, market: Market) -> int | None:
        return market.reference_ticks * market.tick_minor or None

    @extend_schema_field(BandOut(allow_null=True))
    def get_static_band(self, market: Market) -> dict[str, int] | None:
        return _band(market, band_around(market.reference_ticks, market.static_band_bps))

    @extend_schema_field(BandOut(allow_null=True))
    def get_dynamic_band(self, market: Market) -> dict[str, int] | None:
        last = (feed_of(market).last_price or 0) // market.tick_minor
        reference_ticks = last or market.reference_ticks
        return _band(market, band_around(reference_ticks, market.dynamic_band_bps))

    @extend_schema_field(IndicativeOut(allow_null=True))
    def get_indicative(self, market: Market) -> dict[str, Any] | None:
        found = indication(market, last_price=feed_of(market).last_price)
        if found is None:
            return None
        surplus = found.surplus
        return {
            "price": found.price,
            "quantity": found.volume,
            "surplus_side": None if not surplus else "buy" if surplus > 0 else "sell",
            "surplus_quantity": abs(surplus),
        }


def _band(market: Market, band: Band | None) -> dict[str, int] | None:
    if band is None:
        return None
    return {
        "lowest_price": band.lowest_ticks * market.tick_minor,
        "highest_price": band.highest_ticks * market.tick_minor,
    }


class SwitchIn(StrictSerializer):
    """How long the key may be silent; 0 disarms the switch."""

    timeout_s = serializers.IntegerField(min_value=0, max_value=LONGEST_S)


class SwitchOut(serializers.Serializer[Any]):
    """How the switch stands. `fired_at`: when it last cancelled this key's orders."""

    is_armed = serializers.BooleanField()
    timeout_s = serializers.IntegerField()
    fired_at = UtcDateTime(allow_null=True)


class MarketSession(APIView):
    """A market's state, times and bands, and what its auction would come to now."""

    permission_classes = (AllowAny,)

    @extend_schema(operation_id="markets_session", responses=SessionOut)
    def get(self, request: Request, market: str) -> Response:
        return Response(SessionOut(find_market(market)).data)


class DeadMansSwitches(APIView):
    """The dead man's switch of the API key that asks."""

    permission_classes = (HasScope.of(read="orders:read", write="orders:write"),)

    @extend_schema(operation_id="dead_mans_switch_read", responses=SwitchOut)
    def get(self, request: Request) -> Response:
        return Response(SwitchOut(_standing(_key(request).pk)).data)

    @extend_schema(operation_id="dead_mans_switch_renew", request=SwitchIn, responses=SwitchOut)
    def post(self, request: Request) -> Response:
        """Arm the switch, renew it, or (0) disarm it. Unless it is renewed within the time,
        every waiting order that this key placed is cancelled."""
        key = _key(request)
        arm_switch(key.pk, checked_body(SwitchIn, request)["timeout_s"])
        return Response(SwitchOut(_standing(key.pk)).data)


def _key(request: Request) -> ApiKey:
    if not isinstance(request.auth, ApiKey):
        raise NeedsKey
    return request.auth


def _standing(key_id: int) -> dict[str, datetime | int | bool | None]:
    switch = switch_of(key_id)
    if switch is None or not switch.is_armed:
        fired_at = switch.fired_at if switch else None
        return {"is_armed": False, "timeout_s": 0, "fired_at": fired_at}
    return {"is_armed": True, "timeout_s": switch.timeout_s, "fired_at": switch.fired_at}
