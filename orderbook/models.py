"""Markets, orders and fills. The shard's one writer writes orders and fills; all may read.

Orders and fills grow for ever, so they are cut by month of their id. A client's own order
id stays unique for ever in a table of its own (`docs/decisions/0009-market-tables.md`).
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum

from django.db import models
from django.db.models import Exists, F, OuterRef, Q

from edge.ids import time_of
from orderbook.bust_models import Bust
from orderbook.feed_models import (
    BookChange,
    Candle,
    Feed,
    OwnEvent,
    OwnFeed,
    PriceLevel,
    Projection,
    Projector,
)
from orderbook.special_models import SpecialOrder
from orderbook.venue_models import DeadMansSwitch, Instruction, TradingLimit, VenueTime
from wallet.models import Asset
from wallet.ownership_rules import LONGEST_HOLDING_S

__all__ = [
    "BookChange", "Bust", "Candle", "ClientOrder", "DeadMansSwitch", "Feed", "Fill", "FillQuerySet",
    "Instruction", "Market", "Order", "OrderQuerySet", "OrderState", "OwnEvent", "OwnFeed",
    "PriceLevel", "Projection", "Projector", "SpecialOrder", "TradingLimit", "VenueTime",
]  # fmt: skip


class OrderState(IntEnum):
    """Where an order stands. Only an open order is on the book and holds funds."""

    OPEN = 0
    FILLED = 1
    CANCELLED = 2
    REFUSED = 3


class Market(models.Model):
    """Where one asset (a voucher series) is traded for another (points or money).

    Prices are counted in ticks and quantities in lots; both are whole numbers. A price is
    in minor units of the quote asset for one lot.
    """

    class State(models.TextChoices):
        SCHEDULED = "scheduled"
        AUCTION = "auction"
        OPEN = "open"
        HALTED = "halted"
        CLOSING = "closing"
        CLOSED = "closed"

    id = models.AutoField(primary_key=True)
    code = models.CharField(max_length=60, unique=True)
    name = models.CharField(max_length=120)
    base_asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="+")
    quote_asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="+")
    tick_minor = models.BigIntegerField(default=1, help_text="Quote minor units in one tick.")
    lot_units = models.BigIntegerField(default=1, help_text="Base units in one lot.")
    least_lots = models.BigIntegerField(default=1)
    most_lots = models.BigIntegerField(default=1_000_000)
    least_price_ticks = models.BigIntegerField(default=1)
    most_price_ticks = models.BigIntegerField(default=1_000_000_000)
    maker_fee_bps = models.IntegerField(default=0)
    taker_fee_bps = models.IntegerField(default=0)
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    opens_at = models.DateTimeField(
        null=True, blank=True, help_text="When a scheduled market begins its auction."
    )
    minimum_life_s = models.IntegerField(
        default=0, help_text="Trading ends so many seconds before the units expire, at least."
    )
    closes_at = models.DateTimeField(
        null=True, blank=True, help_text="When it cancels its orders and closes for good."
    )
    auction_s = models.IntegerField(
        default=0, help_text="How long an auction gathers orders; 0: it ends at once."
    )
    halt_s = models.IntegerField(
        default=60, help_text="How long it rests after a trade would have left the band."
    )
    static_band_bps = models.IntegerField(
        default=0, help_text="How far from the last auction an order may be; 0: no band."
    )
    dynamic_band_bps = models.IntegerField(
        default=0, help_text="How far from the last trade the next may be; 0: no band."
    )
    reference_ticks = models.BigIntegerField(
        default=0, help_text="The last auction's price; 0: there was none."
    )
    state_until = models.DateTimeField(
        null=True, editable=False, help_text="When the present state ends by itself."
    )
    uncross_ticks = models.BigIntegerField(
        default=0, editable=False, help_text="The price of an auction that is being settled."
    )
    shard = models.PositiveSmallIntegerField(default=0)
    revision = models.BigIntegerField(
        default=0, editable=False, help_text="Raised by a trigger at each change."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(code__regex=r"^[A-Z0-9][A-Z0-9_.-]{1,59}$"),
                name="orderbook_market_code",
            ),
            models.CheckConstraint(
                condition=~Q(base_asset=F("quote_asset")), name="orderbook_market_assets"
            ),
            models.CheckConstraint(
                condition=Q(
                    tick_minor__gte=1,
                    lot_units__gte=1,
                    least_lots__gte=1,
                    most_lots__gte=F("least_lots"),
                    least_price_ticks__gte=1,
                    most_price_ticks__gte=F("least_price_ticks"),
                ),
                name="orderbook_market_sizes",
            ),
            models.CheckConstraint(
                condition=Q(
                    auction_s__range=(0, 86_400),
                    halt_s__range=(0, 86_400),
                    static_band_bps__range=(0, 100_000),
                    dynamic_band_bps__range=(0, 100_000),
                    reference_ticks__gte=0,
                    uncross_ticks__gte=0,
                ),
                name="orderbook_market_venue",
            ),
            models.CheckConstraint(
                condition=Q(minimum_life_s__range=(0, LONGEST_HOLDING_S)),
                name="orderbook_market_minimum_life",
            ),
            models.CheckConstraint(
                condition=Q(maker_fee_bps__range=(0, 1000), taker_fee_bps__range=(0, 1000)),
                name="orderbook_market_fees",
            ),
        ]

    def __str__(self) -> str:
        return self.code


class OrderQuerySet(models.QuerySet["Order"]):
    """Reads of orders."""

    def of(self, user_id: int) -> OrderQuerySet:
        """One person's orders."""
        return self.filter(user_id=user_id)

    def resting(self) -> OrderQuerySet:
        """The orders on the book."""
        return self.filter(state=OrderState.OPEN)


class Order(models.Model):
    """One order as it was asked for (never changes) and what became of it so far.

    `taken_*` is what it took from the book on entry: with the price, that is the answer
    its client got, for ever. `made_*` is what others took from it later.
    """

    id = models.BigIntegerField(primary_key=True)
    market_id = models.IntegerField()
    user_id = models.BigIntegerField()
    side = models.SmallIntegerField(choices=[(1, "buy"), (2, "sell")])
    time_in_force = models.SmallIntegerField()
    price_ticks = models.BigIntegerField()
    quantity_lots = models.BigIntegerField()
    client_order_id = models.CharField(max_length=64)
    entry_state = models.SmallIntegerField(choices=[(s.value, s.name.lower()) for s in OrderState])
    refusal = models.CharField(max_length=40, blank=True)
    taken_lots = models.BigIntegerField()
    taken_minor = models.BigIntegerField()
    taken_fee_minor = models.BigIntegerField()
    state = models.SmallIntegerField(choices=[(s.value, s.name.lower()) for s in OrderState])
    remaining_lots = models.BigIntegerField()
    made_minor = models.BigIntegerField()
    made_fee_minor = models.BigIntegerField()
    hold_id = models.BigIntegerField(null=True)
    ended_id = models.BigIntegerField(null=True)
    key_id = models.BigIntegerField(null=True, help_text="The API key that placed it.")
    kind = models.SmallIntegerField(default=0, db_default=0)
    self_trade = models.SmallIntegerField(default=0, db_default=0)

    objects = OrderQuerySet.as_manager()

    @property
    def at(self) -> datetime:
        """When the writer took it, to 64 µs."""
        return time_of(self.id)


class FillQuerySet(models.QuerySet["Fill"]):
    """Reads of fills."""

    def with_busts(self) -> FillQuerySet:
        """Each with `is_busted`: whether the trade was undone later."""
        undone = Bust.objects.filter(fill_id=OuterRef("pk"), state=Bust.State.APPROVED)
        return self.annotate(is_busted=Exists(undone))


class Fill(models.Model):
    """One trade between a resting order (maker) and an incoming one (taker).

    In an auction both orders waited: the older one counts as the maker, and what either of
    them got is in its `made_*`.
    """

    id = models.BigIntegerField(primary_key=True)
    market_id = models.IntegerField()
    taker_side = models.SmallIntegerField(choices=[(1, "buy"), (2, "sell")])
    price_ticks = models.BigIntegerField()
    quantity_lots = models.BigIntegerField()
    amount_minor = models.BigIntegerField()
    maker_order_id = models.BigIntegerField()
    taker_order_id = models.BigIntegerField()
    maker_user_id = models.BigIntegerField()
    taker_user_id = models.BigIntegerField()
    maker_fee_minor = models.BigIntegerField()
    taker_fee_minor = models.BigIntegerField()
    ledger_batch_id = models.BigIntegerField()
    is_auction = models.BooleanField(default=False)

    objects = FillQuerySet.as_manager()

    @property
    def at(self) -> datetime:
        """When it was traded, to 64 µs."""
        return time_of(self.id)


class ClientOrder(models.Model):
    """A client's own order id, used up for ever, and the order it named."""

    digest = models.UUIDField(primary_key=True)
    order_id = models.BigIntegerField()
