"""What one's own orders, fills and order events look like. Ids are texts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from edge.fields import Id, UtcDateTime
from edge.ids import time_of
from orderbook.answers import (
    CANCEL_REASONS,
    SELF_TRADES,
    SIDES,
    STATES,
    TIMES_IN_FORCE,
    TYPES,
    cancel_reason,
    moment_of,
    rfc3339,
)
from orderbook.api.serializers import TradeOut
from orderbook.feed_models import OwnEvent
from orderbook.models import Fill, Market, Order, OrderState, SpecialOrder


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


class OrderPage(serializers.ListSerializer[Order]):
    """Many orders; what sets some of them apart is read at once for all."""

    def to_representation(self, data: Any) -> list[Any]:
        orders = list(data)
        context = cast("dict[str, Any]", self.context)
        context["specials"] = SpecialOrder.objects.in_bulk([order.pk for order in orders])
        return super().to_representation(orders)


class OrderOut(serializers.Serializer[Order]):
    """An order as it stands now, amended or not. What it did not ask for is null.

    `price` is the worst price of an order of any type, `average_price` what it paid or got so far
    for one lot, as a decimal number with four places. `is_triggered` is null but for stops.
    """

    order_id = Id(source="id")
    client_order_id = serializers.CharField()
    market = serializers.SerializerMethodField()
    side = serializers.SerializerMethodField()
    type = serializers.SerializerMethodField()
    price = serializers.SerializerMethodField()
    stop_price = serializers.SerializerMethodField()
    quantity = serializers.SerializerMethodField()
    filled_quantity = serializers.SerializerMethodField()
    remaining_quantity = serializers.SerializerMethodField()
    average_price = serializers.SerializerMethodField()
    display_quantity = serializers.SerializerMethodField()
    min_quantity = serializers.SerializerMethodField()
    filled_amount = serializers.SerializerMethodField()
    fee = serializers.SerializerMethodField()
    quote_asset = serializers.SerializerMethodField()
    time_in_force = serializers.SerializerMethodField()
    expires_at = serializers.SerializerMethodField()
    self_trade = serializers.SerializerMethodField()
    is_triggered = serializers.SerializerMethodField()
    oco_order_id = serializers.SerializerMethodField()
    status = serializers.SerializerMethodField()
    refusal = serializers.CharField(allow_blank=True)
    cancel_reason = serializers.SerializerMethodField()
    created_at = UtcDateTime(source="at")
    ended_at = serializers.SerializerMethodField()

    class Meta:
        list_serializer_class = OrderPage

    def _special(self, order: Order) -> SpecialOrder | None:
        context = cast("dict[str, Any]", self.context)
        if "specials" not in context:
            context["specials"] = SpecialOrder.objects.in_bulk([order.pk])
        found: SpecialOrder | None = context["specials"].get(order.pk)
        return found

    @extend_schema_field(serializers.ChoiceField(list(TYPES.values())))
    def get_type(self, order: Order) -> str:
        return TYPES[order.kind]

    @extend_schema_field(serializers.ChoiceField(list(SELF_TRADES.values())))
    def get_self_trade(self, order: Order) -> str:
        return SELF_TRADES[order.self_trade]

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_stop_price(self, order: Order) -> int | None:
        special = self._special(order)
        ticks = (special.amended_stop_ticks or special.stop_ticks) if special else 0
        return ticks * self._market(order).tick_minor or None

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_display_quantity(self, order: Order) -> int | None:
        special = self._special(order)
        return special.peak_lots * self._market(order).lot_units or None if special else None

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_min_quantity(self, order: Order) -> int | None:
        special = self._special(order)
        return special.minimum_lots * self._market(order).lot_units or None if special else None

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_expires_at(self, order: Order) -> str | None:
        special = self._special(order)
        return rfc3339(moment_of(special.expires_us)) if special and special.expires_us else None

    @extend_schema_field(serializers.BooleanField(allow_null=True))
    def get_is_triggered(self, order: Order) -> bool | None:
        special = self._special(order)
        return bool(special.ran_id) if special and special.stop_ticks else None

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_oco_order_id(self, order: Order) -> str | None:
        special = self._special(order)
        return str(special.partner_id) if special and special.partner_id else None

    def _market(self, order: Order) -> Market:
        market: Market = self.context["markets"][order.market_id]
        return market

    def get_market(self, order: Order) -> str:
        return self._market(order).code

    @extend_schema_field(serializers.ChoiceField(["buy", "sell"]))
    def get_side(self, order: Order) -> str:
        return SIDES[order.side]

    def get_price(self, order: Order) -> int:
        special = self._special(order)
        ticks = special.amended_price_ticks if special else 0
        return (ticks or order.price_ticks) * self._market(order).tick_minor

    def _wanted_lots(self, order: Order) -> int:
        special = self._special(order)
        return order.quantity_lots - (special.reduced_lots if special else 0)

    def _filled_lots(self, order: Order) -> int:
        return self._wanted_lots(order) - order.remaining_lots

    def get_quantity(self, order: Order) -> int:
        return self._wanted_lots(order) * self._market(order).lot_units

    def get_filled_quantity(self, order: Order) -> int:
        return self._filled_lots(order) * self._market(order).lot_units

    @extend_schema_field(serializers.DecimalField(max_digits=20, decimal_places=4, allow_null=True))
    def get_average_price(self, order: Order) -> str | None:
        lots = self._filled_lots(order)
        return f"{Decimal(self.get_filled_amount(order)) / lots:.4f}" if lots else None

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

    @extend_schema_field(serializers.ChoiceField(list(CANCEL_REASONS.values()), allow_null=True))
    def get_cancel_reason(self, order: Order) -> str | None:
        special = self._special(order)
        return cancel_reason(order.entry_state, order.state, special.cause if special else 0)

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_ended_at(self, order: Order) -> str | None:
        return None if order.ended_id is None else rfc3339(time_of(order.ended_id))


class OwnEventOut(serializers.Serializer[OwnEvent]):
    """What one commit did to one of one's own orders, numbered without a gap.

    `filled_quantity`, `filled_amount` and `fee` are this commit's share; `cancel_reason` says why
    an order was cancelled. `status` `reset` (and no order) says that events before it were lost:
    read the orders anew.
    """

    sequence = serializers.IntegerField()
    order_id = Id(allow_null=True)
    market = serializers.SerializerMethodField()
    is_new = serializers.BooleanField()
    status = serializers.SerializerMethodField()
    remaining_quantity = serializers.SerializerMethodField()
    filled_quantity = serializers.SerializerMethodField()
    filled_amount = serializers.IntegerField(source="filled_minor")
    fee = serializers.IntegerField(source="fee_minor")
    cancel_reason = serializers.SerializerMethodField()
    at = UtcDateTime()

    def _units(self, event: OwnEvent, lots: int) -> int:
        return lots * self.context["markets"][event.market_id].lot_units if event.market_id else 0

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_market(self, event: OwnEvent) -> str | None:
        return self.context["markets"][event.market_id].code if event.market_id else None

    @extend_schema_field(serializers.ChoiceField([*STATES.values(), "reset"]))
    def get_status(self, event: OwnEvent) -> str:
        return "reset" if event.state is None else STATES[OrderState(event.state)]

    def get_remaining_quantity(self, event: OwnEvent) -> int:
        return self._units(event, event.remaining_lots)

    def get_filled_quantity(self, event: OwnEvent) -> int:
        return self._units(event, event.filled_lots)

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_cancel_reason(self, event: OwnEvent) -> str | None:
        if event.state is None:
            return None
        return cancel_reason(OrderState.OPEN, event.state, event.cause)


class PositionOut(serializers.Serializer[Any]):
    """How far one's own events are numbered."""

    sequence = serializers.IntegerField()
