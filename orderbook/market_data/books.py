"""Reads of a market's book by price: a snapshot with its sequence, and the changes after it.

The snapshot is what the projector has stored, and what the outbox holds beyond that, in one
statement: so it is as new as the last commit, though the projector may be some events
behind. Top 20 of a market with a million orders: one index range a side.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db import connection
from django.db.models import QuerySet

from edge.problems import Refusal
from orderbook.market_data.checksum import CHECKED_LEVELS, book_checksum
from orderbook.market_data.messages import MarketChange, read_change
from orderbook.models import BookChange, Feed, Market, Projection

DEPTH_LEVELS = 50
MOST_LEVELS = 1_000
"""The most price levels of a side in one answer."""
EVENTS_BEYOND = 5_000
"""So many of the outbox's events are looked through; a projector further behind is stale."""
SPARE_LEVELS = 50
"""Levels read beyond those asked for, in place of such as the newest events took away."""

SNAPSHOT = """
WITH at AS (
    SELECT p.sequence, r.position FROM orderbook_projection AS p, orderbook_projector AS r
     WHERE p.market_id = %(market)s AND r.id = 1
)
SELECT 0, sequence, NULL::bigint, NULL::bytea FROM at
UNION ALL
(SELECT 1, price, quantity, NULL FROM orderbook_pricelevel
  WHERE market_id = %(market)s AND side = 1 ORDER BY price DESC LIMIT %(levels)s)
UNION ALL
(SELECT 2, price, quantity, NULL FROM orderbook_pricelevel
  WHERE market_id = %(market)s AND side = 2 ORDER BY price LIMIT %(levels)s)
UNION ALL
(SELECT 3, NULL, NULL, e.payload FROM live_outboxevent AS e
  WHERE e.id > (SELECT position FROM at) AND e.id <= (SELECT position + %(beyond)s FROM at)
    AND e.topic = %(topic)s ORDER BY e.id)
"""
# A market that was never projected: its orders are added up, however many they are.
ADDED_UP = """
SELECT 0, coalesce((SELECT sequence FROM orderbook_feed WHERE market_id = %(market)s), 0),
       NULL::bigint
UNION ALL
SELECT side, price_ticks * %(tick)s, sum(shown_lots)::bigint * %(lot)s FROM orderbook_live
 WHERE market_id = %(market)s AND stop_ticks = 0 GROUP BY side, price_ticks
"""


class PriceLevel(NamedTuple):
    """What waits at one price: in quote minor units for one lot, and in base units."""

    price: int
    quantity: int


class DepthOfMarket(NamedTuple):
    """Both sides of the book after the change `sequence`, best price first.

    `has_more_…` says that a side goes on beyond these levels.
    """

    sequence: int
    checksum: int
    bids: list[PriceLevel]
    asks: list[PriceLevel]
    has_more_bids: bool
    has_more_asks: bool


class ChangesGone(Refusal):
    """The changes asked for are not kept any more, or were never made: take a new snapshot."""

    code = "changes_gone"
    title = "The changes after this sequence cannot be had: take a new snapshot"
    status = 410


class SequenceUnknown(Refusal):
    """The market has not come as far as the sequence says."""

    code = "sequence_unknown"
    title = "The market has not made so many changes"
    status = 422


def depth(market: Market, levels: int = DEPTH_LEVELS) -> DepthOfMarket:
    """A snapshot of the book: committed orders only, so never crossed while trading goes on."""
    reading = _read(market, levels + SPARE_LEVELS)
    if not reading.is_enough(levels):
        reading = _read(market, None)
    return reading.cut(levels)


class _Reading:
    """The book as read: of each side all levels, or those down to a border."""

    def __init__(self) -> None:
        self.sequence: int | None = None
        self.sides: dict[int, dict[int, int]] = {1: {}, 2: {}}
        self._borders: dict[int, int] = {}

    def set_borders(self, limit: int | None) -> None:
        """A side that fills the limit, best first, goes on beyond its last level."""
        for side, levels in self.sides.items():
            if len(levels) == limit:
                self._borders[side] = next(reversed(levels))

    def apply(self, change: MarketChange) -> None:
        """Follow the next change, as far as its prices are known."""
        assert self.sequence is not None
        if change.sequence != self.sequence + 1:
            return
        self.sequence = change.sequence
        for level in change.levels:
            side = 1 if level.side == "buy" else 2
            if not self._knows(side, level.price):
                continue
            if level.quantity:
                self.sides[side][level.price] = level.quantity
            else:
                self.sides[side].pop(level.price, None)

    def _knows(self, side: int, price: int) -> bool:
        border = self._borders.get(side)
        return border is None or (price >= border if side == 1 else price <= border)

    def is_enough(self, levels: int) -> bool:
        """Each side is known whole, or in more levels than that and than the checksum takes."""
        needed = max(levels, CHECKED_LEVELS)
        return all(
            side not in self._borders or len(known) > needed for side, known in self.sides.items()
        )

    def cut(self, levels: int) -> DepthOfMarket:
        """The best levels of both sides."""
        bids, asks = (
            [PriceLevel(*level) for level in sorted(self.sides[side].items(), reverse=side == 1)]
            for side in (1, 2)
        )
        return DepthOfMarket(
            self.sequence or 0,
            book_checksum(bids[:CHECKED_LEVELS], asks[:CHECKED_LEVELS]),
            bids[:levels],
            asks[:levels],
            len(bids) > levels,
            len(asks) > levels,
        )


def _read(market: Market, limit: int | None) -> _Reading:
    """Read the stored levels, best first, and follow what the outbox holds beyond them."""
    reading = _Reading()
    parameters = {
        "market": market.pk,
        "levels": limit,
        "beyond": EVENTS_BEYOND,
        "topic": f"market.{market.code}",
    }
    payloads: list[bytes] = []
    for kind, number, quantity, payload in _rows(SNAPSHOT, parameters):
        if kind == 0:
            reading.sequence = number
        elif kind == 3:
            payloads.append(payload)
        else:
            reading.sides[kind][number] = quantity
    if reading.sequence is None:
        return _added_up(market)
    reading.set_borders(limit)
    for payload in payloads:
        reading.apply(read_change(payload))
    return reading


def _added_up(market: Market) -> _Reading:
    reading = _Reading()
    parameters = {"market": market.pk, "tick": market.tick_minor, "lot": market.lot_units}
    for side, number, quantity in _rows(ADDED_UP, parameters):
        if side == 0:
            reading.sequence = number
        else:
            reading.sides[side][number] = quantity
    return reading


def _rows(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def changes_after(market: Market, sequence: int) -> QuerySet[BookChange]:
    """The kept changes after a sequence, in order. Refuses one too old, or not made yet."""
    feed = Feed.objects.filter(market=market).first()
    if sequence > (feed.sequence if feed else 0):
        raise SequenceUnknown(sequence=feed.sequence if feed else 0)
    kept = BookChange.objects.filter(market_id=market.pk)
    oldest = kept.order_by("sequence").values_list("sequence", flat=True).first()
    if oldest is None:
        stored = Projection.objects.filter(market_id=market.pk).first()
        oldest = 1 + (stored.sequence if stored else 0)
    if sequence + 1 < oldest:
        raise ChangesGone(sequence=oldest - 1)
    return kept.filter(sequence__gt=sequence).order_by("sequence")
