"""Reads of candles: pages of a market's past, newest first, without gaps."""

from __future__ import annotations

from datetime import datetime

from django.db import connection

from orderbook.candles import Candle, fill_gaps, start_of
from orderbook.models import Market

# The candles of a stretch, oldest first, led by the one before it.
PAGE = """
(SELECT start_s, open, high, low, close, volume::text, turnover::text, trades
   FROM orderbook_candle WHERE market_id = %(market)s AND interval_s = %(interval)s
    AND start_s < %(first)s ORDER BY start_s DESC LIMIT 1)
UNION ALL
(SELECT start_s, open, high, low, close, volume::text, turnover::text, trades
   FROM orderbook_candle WHERE market_id = %(market)s AND interval_s = %(interval)s
    AND start_s >= %(first)s AND start_s <= %(last)s ORDER BY start_s)
"""


def candles(
    market: Market, *, interval_s: int, last: datetime, count: int
) -> tuple[list[Candle], bool]:
    """`count` candles up to the one that `last` lies in, oldest first, and if there are older.

    Where nothing traded the price holds; there are fewer where the market's first trade lies
    within. One index range of at most `count` rows.
    """
    last_s = start_of(int(last.timestamp()), interval_s)
    first_s = last_s - (count - 1) * interval_s
    parameters = {
        "market": market.pk, "interval": interval_s, "first": first_s, "last": last_s,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(PAGE, parameters)
        rows = [
            Candle(start_s, first, high, low, close, int(volume), int(turnover), trades)
            for start_s, first, high, low, close, volume, turnover, trades in cursor.fetchall()
        ]
    before = rows.pop(0) if rows and rows[0].start_s < first_s else None
    filled = fill_gaps(
        rows,
        interval_s=interval_s,
        first_s=first_s,
        last_s=last_s,
        close_before=before.close if before else None,
    )
    return filled, before is not None
