"""Market data in tests: the projector's rule driven by hand, and plain models of what it keeps."""

from __future__ import annotations

from typing import Any

from django.db import connection

from edge.ids import time_of
from live.reader import Row
from orderbook.candles import INTERVALS
from orderbook.market_data.projection import Projection
from orderbook.models import Candle, Fill, Market

EVENTS = """
SELECT id, topic, key, payload, created_at FROM live_outboxevent WHERE id > %s ORDER BY id
"""


SHOWN = """
SELECT side, price_ticks, shown_lots FROM orderbook_live WHERE market_id = %s AND stop_ticks = 0
"""


class Follower:
    """What the projector does, in the test's own transaction: take in all that is new."""

    def __init__(self) -> None:
        self.projection = Projection()
        with connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(max(id), 0) FROM live_outboxevent")
            (self.position,) = cursor.fetchone()
        self._store()

    def take(self, *, most: int | None = None) -> None:
        """Take in the events that wait, or the first of them."""
        rows = self._waiting()[:most]
        self.projection.apply(rows)
        self.position = max((row.id for row in rows), default=self.position)
        self._store()

    def miss(self) -> None:
        """Go past the events that wait without taking them in: they are lost."""
        self.position = max((row.id for row in self._waiting()), default=self.position)
        self._store()

    def _waiting(self) -> list[Row]:
        with connection.cursor() as cursor:
            cursor.execute(EVENTS, [self.position])
            return [Row(*row) for row in cursor.fetchall()]

    def _store(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE orderbook_projector SET position = %s", [self.position])


def plain_book(market: Market) -> dict[str, list[tuple[int, int]]]:
    """The book by price, added up from what the waiting orders show."""
    sides: dict[int, dict[int, int]] = {1: {}, 2: {}}
    with connection.cursor() as cursor:
        cursor.execute(SHOWN, [market.pk])
        for side, price_ticks, shown_lots in cursor.fetchall():
            price, shown = price_ticks * market.tick_minor, shown_lots * market.lot_units
            sides[side][price] = sides[side].get(price, 0) + shown
    return {"bids": sorted(sides[1].items(), reverse=True), "asks": sorted(sides[2].items())}


def plain_candles(market: Market) -> dict[tuple[int, int], tuple[int, ...]]:
    """All candles with trades, computed from the fills one by one."""
    found: dict[tuple[int, int], list[Fill]] = {}
    for fill in Fill.objects.filter(market_id=market.pk).order_by("id"):
        at_s = int(time_of(fill.pk).timestamp())
        for interval_s in INTERVALS.values():
            found.setdefault((interval_s, at_s // interval_s * interval_s), []).append(fill)
    tick, lot = market.tick_minor, market.lot_units
    return {
        key: (
            fills[0].price_ticks * tick,
            max(fill.price_ticks for fill in fills) * tick,
            min(fill.price_ticks for fill in fills) * tick,
            fills[-1].price_ticks * tick,
            sum(fill.quantity_lots for fill in fills) * lot,
            sum(fill.amount_minor for fill in fills),
            len(fills),
        )
        for key, fills in found.items()
    }


def stored_candles(market: Market) -> dict[tuple[int, int], tuple[int, ...]]:
    """All candles that are kept."""
    rows: Any = Candle.objects.filter(market_id=market.pk)
    return {
        (row.interval_s, row.start_s): (
            row.open, row.high, row.low, row.close, int(row.volume), int(row.turnover), row.trades,
        )
        for row in rows
    }  # fmt: skip
