"""Folds the market's events into the tables that readers ask, each exactly once.

    apply(rows)         # events of the outbox, in order, inside one transaction

A change carries its market's sequence. One that a table has already is skipped; the next one
is folded in; one that lies further on shows that some were missed, and then the market is
made anew from its orders and fills (`rebuilding.py`). Owners' events have no number of their
own yet: the caller's position in the outbox sees to it that they come once, and after a gap
every owner's feed gets a reset.

A thousand changes cost a few statements: levels, candles, changes and own events are
gathered first and written together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from edge.postgres import array, raw_cursor
from live.reader import Row
from orderbook.candles import Candle, Candles, fold, second_of
from orderbook.market_data.messages import MarketChange, OrderMoved, read_change, read_moves
from orderbook.market_data.rebuilding import rebuild
from orderbook.models import Market, OrderState

CHANGES_KEPT = 10_000
"""So many of a market's newest changes can be asked for."""
OWN_EVENTS_KEPT = 10_000
"""So many of a person's newest events can be asked for."""
TRIM_EVERY = 1_000

STATES = {state.name.lower(): state.value for state in OrderState}
SIDES = {"buy": 1, "sell": 2}

LOCK_PROJECTIONS = """
SELECT market_id, sequence, fill_id FROM orderbook_projection
 WHERE market_id = ANY(%s::int[]) ORDER BY market_id FOR UPDATE
"""
MOVE_PROJECTIONS = """
INSERT INTO orderbook_projection (market_id, sequence, fill_id)
SELECT * FROM unnest(%s::int[], %s::bigint[], %s::bigint[])
    ON CONFLICT (market_id) DO UPDATE SET sequence = excluded.sequence, fill_id = excluded.fill_id
"""
SET_LEVELS = """
INSERT INTO orderbook_pricelevel AS l (market_id, side, price, quantity)
SELECT * FROM unnest(%s::int[], %s::smallint[], %s::bigint[], %s::bigint[])
    ON CONFLICT (market_id, side, price) DO UPDATE SET quantity = excluded.quantity
"""
DROP_LEVELS = """
DELETE FROM orderbook_pricelevel AS l
 USING unnest(%s::int[], %s::smallint[], %s::bigint[]) AS u(market_id, side, price)
 WHERE (l.market_id, l.side, l.price) = (u.market_id, u.side, u.price)
"""
ADD_CANDLES = """
INSERT INTO orderbook_candle AS c
       (market_id, interval_s, start_s, open, high, low, close, volume, turnover, trades)
SELECT * FROM unnest(%s::int[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
                     %s::bigint[], %s::numeric[], %s::numeric[], %s::bigint[])
    ON CONFLICT (market_id, interval_s, start_s) DO UPDATE
   SET high = greatest(c.high, excluded.high), low = least(c.low, excluded.low),
       close = excluded.close, volume = c.volume + excluded.volume,
       turnover = c.turnover + excluded.turnover, trades = c.trades + excluded.trades
"""
KEEP_CHANGES = """
INSERT INTO orderbook_bookchange (market_id, sequence, payload)
SELECT * FROM unnest(%b::int[], %b::bigint[], %b::bytea[])
"""
TRIM_CHANGES = "DELETE FROM orderbook_bookchange WHERE market_id = %s AND sequence <= %s"
NUMBER_OWNERS = """
INSERT INTO orderbook_ownfeed AS f (user_id, sequence)
SELECT * FROM unnest(%s::bigint[], %s::bigint[]) AS u(user_id, more) ORDER BY user_id
    ON CONFLICT (user_id) DO UPDATE SET sequence = f.sequence + excluded.sequence
RETURNING user_id, sequence
"""
ADD_OWN_EVENTS = """
INSERT INTO orderbook_ownevent (user_id, sequence, batch_id, order_id, market_id, is_new, state,
                                remaining_lots, filled_lots, filled_minor, fee_minor, cause)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::int[], %s::bool[],
                     %s::smallint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
                     %s::smallint[])
"""
TRIM_OWN_EVENTS = "DELETE FROM orderbook_ownevent WHERE user_id = %s AND sequence <= %s"
RESET_OWNERS = """
WITH numbered AS (UPDATE orderbook_ownfeed SET sequence = sequence + 1 RETURNING *)
INSERT INTO orderbook_ownevent (user_id, sequence, batch_id, is_new, remaining_lots, filled_lots,
                                filled_minor, fee_minor)
SELECT user_id, sequence, %s, false, 0, 0, 0, 0 FROM numbered
"""

Cursor = psycopg.Cursor[Any]


@dataclass
class Progress:
    """How far a market's tables have come, and the candles that the events at hand add."""

    sequence: int
    fill_id: int
    candles: Candles = field(default_factory=dict)


@dataclass
class Gathered:
    """What a row of events comes to, before it is written."""

    progress: dict[int, Progress]
    levels: dict[tuple[int, int, int], int] = field(default_factory=dict)
    changes: list[tuple[int, int, bytes]] = field(default_factory=list)
    moves: list[tuple[int, OrderMoved]] = field(default_factory=list)
    to_rebuild: set[int] = field(default_factory=set)
    newest_batch: int = 0

    def take_change(self, market_id: int, change: MarketChange, payload: bytes) -> None:
        """Fold one market's next change in; note a market that missed some."""
        progress = self.progress.get(market_id)
        if progress is None and change.sequence == 1:
            progress = self.progress[market_id] = Progress(0, 0)
        if market_id in self.to_rebuild or (progress and change.sequence <= progress.sequence):
            return
        if progress is None or change.sequence != progress.sequence + 1:
            self.to_rebuild.add(market_id)
            return
        progress.sequence = change.sequence
        for level in change.levels:
            self.levels[market_id, SIDES[level.side], level.price] = level.quantity
        for trade in change.trades:
            progress.fill_id = int(trade.fill_id)
            fold(
                progress.candles,
                at_s=second_of(progress.fill_id),
                price=trade.price,
                quantity=trade.quantity,
                amount=trade.amount,
            )
        self.changes.append((market_id, change.sequence, payload))

    def take_moves(self, batch: int, moves: list[OrderMoved]) -> None:
        """Note what a commit did to orders, for their owners."""
        self.moves += [(batch, move) for move in moves]


class Projection:
    """Applies events; remembers which market has which code."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def apply(self, rows: Sequence[Row]) -> None:
        """Fold events in, in order; others' topics are passed over. Inside a transaction."""
        changes = [
            (read_change(row.payload), row.payload)
            for row in rows
            if row.topic.startswith("market.")
        ]
        self._know({change.market for change, _ in changes})
        ids = {self._ids[change.market] for change, _ in changes if change.market in self._ids}
        with raw_cursor() as cursor:
            gathered = Gathered(_lock(cursor, ids))
            for change, payload in changes:
                if change.market in self._ids:
                    gathered.take_change(self._ids[change.market], change, payload)
                    gathered.newest_batch = max(gathered.newest_batch, int(change.batch))
            for row in rows:
                if row.topic == "orders":
                    gathered.take_moves(int(row.key), read_moves(row.payload))
            _write(cursor, gathered)

    def _know(self, codes: set[str]) -> None:
        if codes - self._ids.keys():
            self._ids = dict(Market.objects.values_list("code", "id"))


def _lock(cursor: Cursor, market_ids: set[int]) -> dict[int, Progress]:
    if not market_ids:
        return {}
    cursor.execute(LOCK_PROJECTIONS, [array(market_ids)], prepare=True)
    return {row[0]: Progress(row[1], row[2]) for row in cursor.fetchall()}


def _write(cursor: Cursor, gathered: Gathered) -> None:
    _write_levels(cursor, gathered.levels)
    _write_candles(cursor, gathered.progress)
    _write_changes(cursor, gathered.changes)
    if gathered.changes:
        moved = [(id, p.sequence, p.fill_id) for id, p in gathered.progress.items()]
        cursor.execute(MOVE_PROJECTIONS, _columns(moved), prepare=True)
    _write_moves(cursor, gathered.moves)
    has_gap = [rebuild(cursor, market_id) for market_id in sorted(gathered.to_rebuild)]
    if any(has_gap):
        cursor.execute(RESET_OWNERS, [gathered.newest_batch])


def _write_levels(cursor: Cursor, levels: dict[tuple[int, int, int], int]) -> None:
    kept = [(*key, quantity) for key, quantity in sorted(levels.items()) if quantity]
    gone = [key for key, quantity in sorted(levels.items()) if not quantity]
    if kept:
        cursor.execute(SET_LEVELS, _columns(kept), prepare=True)
    if gone:
        cursor.execute(DROP_LEVELS, _columns(gone), prepare=True)


def _write_candles(cursor: Cursor, progress: dict[int, Progress]) -> None:
    rows = [
        (market_id, interval_s, *_candle_row(candle))
        for market_id, each in sorted(progress.items())
        for (interval_s, _), candle in sorted(each.candles.items(), key=_key)
    ]
    if rows:
        cursor.execute(ADD_CANDLES, _columns(rows), prepare=True)


def _key(item: tuple[tuple[int, int], Candle]) -> tuple[int, int]:
    return item[0]


def _candle_row(candle: Candle) -> tuple[int, ...]:
    return (
        candle.start_s, candle.open, candle.high, candle.low, candle.close, candle.volume,
        candle.turnover, candle.trades,
    )  # fmt: skip


def _write_changes(cursor: Cursor, changes: list[tuple[int, int, bytes]]) -> None:
    if not changes:
        return
    market_ids, sequences, payloads = (list(column) for column in zip(*changes, strict=True))
    cursor.execute(KEEP_CHANGES, [market_ids, sequences, payloads], prepare=True)
    for market_id, sequence, _ in changes:
        if sequence % TRIM_EVERY == 0:
            cursor.execute(TRIM_CHANGES, [market_id, sequence - CHANGES_KEPT])


def _write_moves(cursor: Cursor, moves: list[tuple[int, OrderMoved]]) -> None:
    """Number each owner's events, in their order, and keep them."""
    of_owner: dict[int, list[tuple[int, OrderMoved]]] = defaultdict(list)
    for batch, move in moves:
        of_owner[move.user_id].append((batch, move))
    if not of_owner:
        return
    counts = [(user_id, len(own)) for user_id, own in of_owner.items()]
    cursor.execute(NUMBER_OWNERS, _columns(counts), prepare=True)
    newest = dict(cursor.fetchall())
    cursor.execute(
        ADD_OWN_EVENTS,
        _columns(
            [
                _own_row(number, batch, move)
                for user_id, own in of_owner.items()
                for number, (batch, move) in enumerate(own, newest[user_id] - len(own) + 1)
            ]
        ),
        prepare=True,
    )
    for user_id, count in counts:
        if newest[user_id] // TRIM_EVERY != (newest[user_id] - count) // TRIM_EVERY:
            cursor.execute(TRIM_OWN_EVENTS, [user_id, newest[user_id] - OWN_EVENTS_KEPT])


def _own_row(number: int, batch: int, move: OrderMoved) -> tuple[int, ...]:
    return (
        move.user_id, number, batch, int(move.order_id), move.market_id, int(move.is_new),
        STATES[move.state], move.remaining_lots, move.filled_lots, move.filled_minor,
        move.fee_minor, move.cause,
    )  # fmt: skip


def _columns(rows: Sequence[tuple[int, ...]]) -> list[str]:
    return [array(column) for column in zip(*rows, strict=True)]
