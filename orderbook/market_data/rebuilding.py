"""Makes a market's tables anew from its orders and fills: after a gap, and to backfill."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from django.db import transaction

from edge.ids import EPOCH_US, INDEX_BITS, LARGEST_ID, SEQUENCE_BITS, TICK_US, first_id_at
from edge.postgres import raw_cursor
from orderbook.candles import INTERVALS

SECONDS_KEPT = timedelta(days=7)
"""Candles of one second are kept so long; all others for ever."""

AT_S = f"(({EPOCH_US} + (f.id >> {SEQUENCE_BITS + INDEX_BITS}) * {TICK_US}) / 1000000)"

SEQUENCE = "SELECT sequence FROM orderbook_feed WHERE market_id = %s"
FILL_ID = "SELECT fill_id FROM orderbook_projection WHERE market_id = %s FOR UPDATE"
NEWEST_FILL = "SELECT coalesce(max(id), 0) FROM orderbook_fill WHERE market_id = %s"
CLEAR = (
    "DELETE FROM orderbook_pricelevel WHERE market_id = %s",
    "DELETE FROM orderbook_bookchange WHERE market_id = %s",
)
ADD_LEVELS = """
INSERT INTO orderbook_pricelevel (market_id, side, price, quantity)
SELECT m.id, o.side, o.price_ticks * m.tick_minor, sum(o.shown_lots) * m.lot_units
  FROM orderbook_market AS m JOIN orderbook_live AS o ON o.market_id = m.id AND o.stop_ticks = 0
 WHERE m.id = %s GROUP BY m.id, o.side, o.price_ticks
"""
ADD_CANDLES = f"""
INSERT INTO orderbook_candle AS c
       (market_id, interval_s, start_s, open, high, low, close, volume, turnover, trades)
SELECT m.id, i.s, {AT_S} - {AT_S} %% i.s,
       (array_agg(f.price_ticks ORDER BY f.id))[1] * m.tick_minor,
       max(f.price_ticks) * m.tick_minor, min(f.price_ticks) * m.tick_minor,
       (array_agg(f.price_ticks ORDER BY f.id DESC))[1] * m.tick_minor,
       sum(f.quantity_lots) * m.lot_units, sum(f.amount_minor), count(*)
  FROM orderbook_market AS m
  JOIN orderbook_fill AS f ON f.market_id = m.id
 CROSS JOIN unnest(%(intervals)s::int[]) AS i(s)
 WHERE m.id = %(market)s AND f.id > %(after)s AND f.id <= %(upto)s
 GROUP BY m.id, i.s, 3
    ON CONFLICT (market_id, interval_s, start_s) DO UPDATE
   SET high = greatest(c.high, excluded.high), low = least(c.low, excluded.low),
       close = excluded.close, volume = c.volume + excluded.volume,
       turnover = c.turnover + excluded.turnover, trades = c.trades + excluded.trades
"""
DROP_CANDLES = """
DELETE FROM orderbook_candle WHERE market_id = %s AND interval_s = ANY(%s)
   AND start_s >= %s AND start_s < %s
"""
SET_PROJECTION = """
INSERT INTO orderbook_projection (market_id, sequence, fill_id) VALUES (%s, %s, %s)
    ON CONFLICT (market_id) DO UPDATE SET sequence = excluded.sequence, fill_id = excluded.fill_id
"""

Cursor = psycopg.Cursor[Any]


def rebuild(cursor: Cursor, market_id: int) -> bool:
    """Make a market's levels anew, add the fills that its candles lack; say if it had a gap.

    In one snapshot (REPEATABLE READ), so that levels, fills and sequence belong together.
    Changes before it can no longer be asked for. About 0.5 s for a million resting orders.
    """
    sequence = _value(cursor, SEQUENCE, market_id) or 0
    known = _value(cursor, FILL_ID, market_id)
    newest = _value(cursor, NEWEST_FILL, market_id) or 0
    for statement in CLEAR:
        cursor.execute(statement, [market_id])
    cursor.execute(ADD_LEVELS, [market_id])
    _add_candles(cursor, market_id, list(INTERVALS.values()), after=known or 0, upto=newest)
    cursor.execute(SET_PROJECTION, [market_id, sequence, newest])
    return known is not None


def backfill_day(market_id: int, day: datetime) -> bool:
    """Make a market's candles of one UTC day anew from its fills; False before any projection.

    Waits for the projector's step at hand and holds it up meanwhile: fills that it has not
    counted yet are left to it. Costs a scan of the day's fills.
    """
    start, end = day, day + timedelta(days=1)
    is_recent = start >= datetime.now(UTC) - SECONDS_KEPT
    intervals = [s for s in INTERVALS.values() if s > 1 or is_recent]
    with transaction.atomic(), raw_cursor() as cursor:
        counted = _value(cursor, FILL_ID, market_id)
        if counted is None:
            return False
        cursor.execute(
            DROP_CANDLES,
            [market_id, intervals, int(start.timestamp()), int(end.timestamp())],
        )
        upto = min(counted, first_id_at(end) - 1)
        _add_candles(cursor, market_id, intervals, after=first_id_at(start) - 1, upto=upto)
    return True


def _add_candles(
    cursor: Cursor, market_id: int, intervals: list[int], *, after: int, upto: int
) -> None:
    assert upto <= LARGEST_ID
    cursor.execute(
        ADD_CANDLES, {"intervals": intervals, "market": market_id, "after": after, "upto": upto}
    )


def _value(cursor: Cursor, statement: str, market_id: int) -> int | None:
    row = cursor.execute(statement, [market_id]).fetchone()
    return None if row is None else int(row[0])
