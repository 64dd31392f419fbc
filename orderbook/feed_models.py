"""What readers of a market ask: its feed, price levels, candles, changes and own events.

The feed's row is the writer's; all else belongs to the projector (`market_data/projector.py`).
Prices are minor units of the quote asset for one lot, quantities base units.
"""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import CompositePrimaryKey, Q

from edge.ids import time_of


class Feed(models.Model):
    """How far a market's changes are numbered, and its best prices; of the same commit."""

    market = models.OneToOneField(
        "orderbook.Market", on_delete=models.CASCADE, primary_key=True, related_name="feed"
    )
    sequence = models.BigIntegerField()
    bid_price = models.BigIntegerField(null=True)
    bid_quantity = models.BigIntegerField(null=True)
    ask_price = models.BigIntegerField(null=True)
    ask_quantity = models.BigIntegerField(null=True)
    last_price = models.BigIntegerField(null=True)
    last_quantity = models.BigIntegerField(null=True)
    last_fill_id = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(sequence__gte=1), name="orderbook_feed_sequence")
        ]


class Projector(models.Model):
    """How far the projector has read the outbox: a single row, number 1."""

    id = models.SmallIntegerField(primary_key=True)
    position = models.BigIntegerField(default=0)
    heartbeat_at = models.DateTimeField(null=True)


class Projection(models.Model):
    """How far one market's tables have come: its change, and the newest fill in its candles."""

    market_id = models.IntegerField(primary_key=True)
    sequence = models.BigIntegerField()
    fill_id = models.BigIntegerField()


class PriceLevel(models.Model):
    """What waits at one price, as of the projection's sequence."""

    pk = CompositePrimaryKey("market_id", "side", "price")
    market_id = models.IntegerField()
    side = models.SmallIntegerField(choices=[(1, "buy"), (2, "sell")])
    price = models.BigIntegerField()
    quantity = models.BigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(price__gt=0, quantity__gt=0), name="orderbook_pricelevel_amounts"
            )
        ]


class BookChange(models.Model):
    """One change of a market as the outbox told it. The newest of each market are kept."""

    pk = CompositePrimaryKey("market_id", "sequence")
    market_id = models.IntegerField()
    sequence = models.BigIntegerField()
    payload = models.BinaryField(help_text="A MarketChange as JSON.")


class Candle(models.Model):
    """The trades of one stretch of time; there is a row only where something traded."""

    pk = CompositePrimaryKey("market_id", "interval_s", "start_s")
    market_id = models.IntegerField()
    interval_s = models.IntegerField()
    start_s = models.BigIntegerField(help_text="Seconds since 1970.")
    open = models.BigIntegerField()
    high = models.BigIntegerField()
    low = models.BigIntegerField()
    close = models.BigIntegerField()
    volume = models.DecimalField(max_digits=40, decimal_places=0)
    turnover = models.DecimalField(max_digits=40, decimal_places=0)
    trades = models.BigIntegerField()


class OwnFeed(models.Model):
    """How far one person's own events are numbered."""

    user_id = models.BigIntegerField(primary_key=True)
    sequence = models.BigIntegerField()


class OwnEvent(models.Model):
    """What one commit did to one order, for its owner, numbered without a gap.

    An event without an order is a reset: events before it were lost, read the orders anew.
    """

    pk = CompositePrimaryKey("user_id", "sequence")
    user_id = models.BigIntegerField()
    sequence = models.BigIntegerField()
    batch_id = models.BigIntegerField(help_text="The first order id of the commit.")
    order_id = models.BigIntegerField(null=True)
    market_id = models.IntegerField(null=True)
    is_new = models.BooleanField()
    state = models.SmallIntegerField(null=True)
    remaining_lots = models.BigIntegerField(default=0)
    filled_lots = models.BigIntegerField(default=0)
    filled_minor = models.BigIntegerField(default=0)
    fee_minor = models.BigIntegerField(default=0)
    cause = models.SmallIntegerField(default=0, db_default=0)

    @property
    def at(self) -> datetime:
        """When the commit was made, to 64 µs."""
        return time_of(self.batch_id)
