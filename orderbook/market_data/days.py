"""A market's price now and its last 24 hours: one look-up a market, no fill is read.

The price, the best bid and the best ask come from the feed's row, which is the last commit's.
The day is added up from candles: those of a minute up to the next full hour, and those of an
hour from there on, so at most 84 rows however much was traded. The window is whole minutes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from django.db.models import QuerySet, TextField
from django.db.models.expressions import RawSQL

from orderbook.models import Feed, Market

DAY = timedelta(hours=24)

# The price a day ago is that of the last trade before the window; without one, the first in it.
DAY_OF_MARKET = """
SELECT json_build_object('open', coalesce(before.close, inside.first), 'high', inside.high,
         'low', inside.low, 'volume', inside.volume, 'turnover', inside.turnover,
         'trades', inside.trades, 'closes', newest.closes)::text
  FROM (SELECT max(high) AS high, min(low) AS low, coalesce(sum(volume), 0) AS volume,
               coalesce(sum(turnover), 0) AS turnover, coalesce(sum(trades), 0) AS trades,
               (array_agg(open ORDER BY start_s))[1] AS first
          FROM (SELECT * FROM orderbook_candle WHERE market_id = orderbook_market.id
                   AND interval_s = 60 AND start_s >= %s AND start_s < %s
                UNION ALL
                SELECT * FROM orderbook_candle WHERE market_id = orderbook_market.id
                   AND interval_s = 3600 AND start_s >= %s) AS parts) AS inside
  LEFT JOIN (SELECT close FROM orderbook_candle WHERE market_id = orderbook_market.id
                AND interval_s = 60 AND start_s < %s
              ORDER BY start_s DESC LIMIT 1) AS before ON true
 CROSS JOIN (SELECT array_agg(close ORDER BY start_s) AS closes
               FROM (SELECT close, start_s FROM orderbook_candle
                      WHERE market_id = orderbook_market.id AND interval_s = 60
                      ORDER BY start_s DESC LIMIT 40) AS minutes) AS newest
"""


@dataclass(frozen=True, slots=True)
class Day:
    """A market's last 24 hours. `open` is the price a day ago; None where nothing traded yet.

    `closes` are the last prices of the newest 40 minutes in which something traded, oldest first.
    """

    open: int | None
    high: int | None
    low: int | None
    volume: int
    turnover: int
    trades: int
    closes: tuple[int, ...]


def with_days(markets: QuerySet[Market], *, now: datetime) -> QuerySet[Market]:
    """Put its feed and its day beside each market, in one statement; `day_of` reads it."""
    start_s = int((now - DAY).timestamp()) // 60 * 60
    hour_s = -(-start_s // 3600) * 3600
    window = (start_s, hour_s, hour_s, start_s)
    day = RawSQL(f"({DAY_OF_MARKET})", window, output_field=TextField())  # noqa: S611
    related = markets.select_related("base_asset__rules__face_value_asset", "quote_asset", "feed")
    return cast("QuerySet[Market]", related.annotate(day=day))


def day_of(market: Market) -> Day:
    """The day of a market that came through `with_days`."""
    found: dict[str, Any] = json.loads(market.day)  # type: ignore[attr-defined]  # annotated
    return Day(**{**found, "closes": tuple(found["closes"] or ())})


def feed_of(market: Market) -> Feed:
    """The market's feed; before its first change an empty one."""
    try:
        return market.feed
    except Feed.DoesNotExist:
        return Feed(market=market, sequence=0)


def change_bps(market: Market) -> int | None:
    """How far the price moved in a day, in hundredths of a percent."""
    last, before = feed_of(market).last_price, day_of(market).open
    if last is None or not before:
        return None
    return round((last - before) * 10_000 / before)
