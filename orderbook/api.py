"""The market's reads: markets, book, tape, and one's own orders and fills.

Orders are placed and cancelled at the gateway (`orderbook/gateway_routes.py`), under the
same addresses.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.permissions import HasScope
from edge.fields import Id, StrictSerializer, UtcDateTime, checked_query
from orderbook.answers import SIDES, STATES, TIMES_IN_FORCE
from orderbook.market_data import depth, last_price
from orderbook.models import Fill, Market, Order, OrderState

MARKETS_AT_MOST = 1000
READ_ORDERS = HasScope.of(read="orders:read")


def find_market(code: str) -> Market:
    """Get a market by its code, or answer 404."""
    market = Market.objects.select_related("base_asset", "quote_asset").filter(code=code).first()
    if market is None:
        raise Http404
    return market


def _person_id(request: Request) -> int:
    assert request.user.pk is not None, "the permission lets only people in"
    return request.user.pk


def _markets_by_id() -> dict[int, Market]:
    return {
        market.pk: market
        for market in Market.objects.select_related("base_asset", "quote_asset")[:MARKETS_AT_MOST]
    }


class MarketOut(serializers.Serializer[Market]):
    """A market's terms. Prices are quote minor units for one lot, quantities base units."""

    code = serializers.CharField()
    name = serializers.CharField()
    base_asset = serializers.CharField(source="base_asset.code")
    quote_asset = serializers.CharField(source="quote_asset.code")
    state = serializers.ChoiceField(Market.State.choices)
    tick = serializers.IntegerField(source="tick_minor")
    lot = serializers.IntegerField(source="lot_units")
    maker_fee_bps = serializers.IntegerField()
    taker_fee_bps = serializers.IntegerField()
    last_price = serializers.SerializerMethodField()

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_last_price(self, market: Market) -> int | None:
        return last_price(market)


class LevelOut(serializers.Serializer[Any]):
    """What waits at one price."""

    price = serializers.IntegerField()
    quantity = serializers.IntegerField()


class BookOut(serializers.Serializer[Any]):
    """The best prices of both sides, best first."""

    bids = LevelOut(many=True)
    asks = LevelOut(many=True)


class TradeOut(serializers.Serializer[Fill]):
    """One trade on the tape; nobody is named."""

    id = Id()
    price = serializers.SerializerMethodField()
    quantity = serializers.SerializerMethodField()
    taker_side = serializers.SerializerMethodField()
    created_at = UtcDateTime(source="at")

    def _market(self, fill: Fill) -> Market:
        market: Market = self.context["markets"][fill.market_id]
        return market

    def get_price(self, fill: Fill) -> int:
        return fill.price_ticks * self._market(fill).tick_minor

    def get_quantity(self, fill: Fill) -> int:
        return fill.quantity_lots * self._market(fill).lot_units

    @extend_schema_field(serializers.ChoiceField(["buy", "sell"]))
    def get_taker_side(self, fill: Fill) -> str:
        return SIDES[fill.taker_side]


class OwnFillOut(TradeOut):
    """One of one's own trades, from one's own side."""

    market = serializers.SerializerMethodField()
    order_id = serializers.SerializerMethodField()
    side = serializers.SerializerMethodField()
    role = serializers.SerializerMethodField()
    amount = serializers.IntegerField(source="amount_minor")
    fee = serializers.SerializerMethodField()
    quote_asset = serializers.SerializerMethodField()

    def _is_taker(self, fill: Fill) -> bool:
        return bool(fill.taker_user_id == self.context["user_id"])

    def get_market(self, fill: Fill) -> str:
        return self._market(fill).code

    def get_order_id(self, fill: Fill) -> str:
        return str(fill.taker_order_id if self._is_taker(fill) else fill.maker_order_id)

    @extend_schema_field(serializers.ChoiceField(["buy", "sell"]))
    def get_side(self, fill: Fill) -> str:
        return SIDES[fill.taker_side if self._is_taker(fill) else 3 - fill.taker_side]

    @extend_schema_field(serializers.ChoiceField(["taker", "maker"]))
    def get_role(self, fill: Fill) -> str:
        return "taker" if self._is_taker(fill) else "maker"

    def get_fee(self, fill: Fill) -> int:
        return fill.taker_fee_minor if self._is_taker(fill) else fill.maker_fee_minor

    def get_quote_asset(self, fill: Fill) -> str:
        return self._market(fill).quote_asset.code


class OrderOut(serializers.Serializer[Order]):
    """An order as it stands now."""

    order_id = Id(source="id")
    client_order_id = serializers.CharField()
    market = serializers.SerializerMethodField()
    side = serializers.SerializerMethodField()
    price = serializers.SerializerMethodField()
    quantity = serializers.SerializerMethodField()
    remaining_quantity = serializers.SerializerMethodField()
    filled_amount = serializers.SerializerMethodField()
    fee = serializers.SerializerMethodField()
    quote_asset = serializers.SerializerMethodField()
    time_in_force = serializers.SerializerMethodField()
    status = serializers.SerializerMethodField()
    refusal = serializers.CharField(allow_blank=True)
    created_at = UtcDateTime(source="at")

    def _market(self, order: Order) -> Market:
        market: Market = self.context["markets"][order.market_id]
        return market

    def get_market(self, order: Order) -> str:
        return self._market(order).code

    @extend_schema_field(serializers.ChoiceField(["buy", "sell"]))
    def get_side(self, order: Order) -> str:
        return SIDES[order.side]

    def get_price(self, order: Order) -> int:
        return order.price_ticks * self._market(order).tick_minor

    def get_quantity(self, order: Order) -> int:
        return order.quantity_lots * self._market(order).lot_units

    def get_remaining_quantity(self, order: Order) -> int:
        waits = order.state == OrderState.OPEN
        return order.remaining_lots * self._market(order).lot_units if waits else 0

    def get_filled_amount(self, order: Order) -> int:
        return order.taken_minor + order.made_minor

    def get_fee(self, order: Order) -> int:
        return order.taken_fee_minor + order.made_fee_minor

    def get_quote_asset(self, order: Order) -> str:
        return self._market(order).quote_asset.code

    @extend_schema_field(serializers.ChoiceField(list(TIMES_IN_FORCE.values())))
    def get_time_in_force(self, order: Order) -> str:
        return TIMES_IN_FORCE[order.time_in_force]

    @extend_schema_field(serializers.ChoiceField(list(STATES.values())))
    def get_status(self, order: Order) -> str:
        return STATES[OrderState(order.state)]


class OrderFilter(StrictSerializer):
    """What a list of orders may be narrowed to."""

    status = serializers.ChoiceField(["open"], required=False)
    limit = serializers.CharField(required=False)
    cursor = serializers.CharField(required=False)


class Markets(ListAPIView[Market]):
    """All markets, in the order they were opened."""

    permission_classes = (AllowAny,)
    serializer_class = MarketOut
    page_key = ("id",)
    queryset = Market.objects.select_related("base_asset", "quote_asset")

    @extend_schema(operation_id="markets_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.list(request, *args, **kwargs)


class OneMarket(APIView):
    """One market's terms."""

    permission_classes = (AllowAny,)

    @extend_schema(operation_id="markets_read", responses=MarketOut)
    def get(self, request: Request, market: str) -> Response:
        return Response(MarketOut(find_market(market)).data)


class MarketBook(APIView):
    """The book by price: the best 50 levels of each side."""

    permission_classes = (AllowAny,)

    @extend_schema(operation_id="markets_book", responses=BookOut)
    def get(self, request: Request, market: str) -> Response:
        return Response(BookOut(depth(find_market(market))).data)


class _Listed(ListAPIView[Any]):
    """A list whose rows speak of markets."""

    def get_serializer_context(self) -> dict[str, Any]:
        context = dict(super().get_serializer_context())
        return {**context, "markets": _markets_by_id(), "user_id": self.request.user.pk}


class MarketTrades(_Listed):
    """The tape: a market's trades, newest first."""

    permission_classes = (AllowAny,)
    serializer_class = TradeOut
    queryset = Fill.objects.none()

    @extend_schema(operation_id="markets_trades")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.list(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Fill]:
        return Fill.objects.filter(market_id=find_market(self.kwargs["market"]).pk)


class Orders(_Listed):
    """One's own orders on all markets, newest first; `?status=open` for those that wait."""

    permission_classes = (READ_ORDERS,)
    serializer_class = OrderOut
    queryset = Order.objects.none()

    @extend_schema(
        operation_id="orders_list", parameters=[OpenApiParameter("status", enum=["open"])]
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.list(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Order]:
        asked = checked_query(OrderFilter, self.request)
        own = Order.objects.of(_person_id(self.request))
        return own.resting() if asked.get("status") == "open" else own


class OneOrder(APIView):
    """One of one's own orders."""

    permission_classes = (READ_ORDERS,)

    @extend_schema(operation_id="orders_read", responses=OrderOut)
    def get(self, request: Request, order_id: int) -> Response:
        order = Order.objects.of(_person_id(request)).filter(pk=order_id).first()
        if order is None:
            raise Http404
        return Response(OrderOut(order, context={"markets": _markets_by_id()}).data)


class Fills(_Listed):
    """One's own trades on all markets, newest first."""

    permission_classes = (READ_ORDERS,)
    serializer_class = OwnFillOut
    queryset = Fill.objects.none()

    @extend_schema(operation_id="fills_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.list(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Fill]:
        user_id = _person_id(self.request)
        return Fill.objects.filter(Q(taker_user_id=user_id) | Q(maker_user_id=user_id))
