"""What the site shows of markets: a row for each with its day, and the newest trades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from edge.ids import first_id_at
from orderbook.models import Fill, Market
from web.chart import Chart, price_chart, spark

DAY = timedelta(hours=24)
MOST_MARKETS = 100
MOST_TRADES_A_DAY = 20_000
"""Of a busier day only the newest trades are added up; the page then says "at least"."""
CHART_TRADES = 600
SPARK_TRADES = 40

# One row a market. All look-ups are ranges of an index that leads with the market.
ROWS = """
SELECT m.id, last.price_ticks, coalesce(before.price_ticks, day.first_ticks), bid.ticks, ask.ticks,
       day.trades, coalesce(day.lots, 0), day.low, day.high, spark.prices
  FROM unnest(%(ids)s::int[]) AS m(id)
  LEFT JOIN LATERAL (
       SELECT price_ticks FROM orderbook_fill WHERE market_id = m.id
        ORDER BY id DESC LIMIT 1) AS last ON true
  LEFT JOIN LATERAL (
       SELECT price_ticks FROM orderbook_fill WHERE market_id = m.id AND id < %(cut)s
        ORDER BY id DESC LIMIT 1) AS before ON true
 CROSS JOIN LATERAL (
       SELECT count(*) AS trades, sum(quantity_lots)::bigint AS lots,
              min(price_ticks) AS low, max(price_ticks) AS high,
              (array_agg(price_ticks ORDER BY id))[1] AS first_ticks
         FROM (SELECT id, price_ticks, quantity_lots FROM orderbook_fill
                WHERE market_id = m.id AND id >= %(cut)s
                ORDER BY id DESC LIMIT %(most)s) AS newest) AS day
 CROSS JOIN LATERAL (
       SELECT max(price_ticks) AS ticks FROM orderbook_order
        WHERE market_id = m.id AND state = 0 AND side = 1) AS bid
 CROSS JOIN LATERAL (
       SELECT min(price_ticks) AS ticks FROM orderbook_order
        WHERE market_id = m.id AND state = 0 AND side = 2) AS ask
 CROSS JOIN LATERAL (
       SELECT array_agg(price_ticks ORDER BY id) AS prices
         FROM (SELECT id, price_ticks FROM orderbook_fill WHERE market_id = m.id
                ORDER BY id DESC LIMIT %(spark)s) AS newest) AS spark
"""


@dataclass(frozen=True, slots=True)
class MarketRow:
    """One market and its last 24 hours. Prices are quote minor units for one lot."""

    market: Market
    last: int | None
    day_ago: int | None
    bid: int | None
    ask: int | None
    trade_count: int
    volume: int
    low: int | None
    high: int | None
    spark: str

    @property
    def change_bps(self) -> int | None:
        """How far the price moved in a day, in hundredths of a percent."""
        if self.last is None or not self.day_ago:
            return None
        return round((self.last - self.day_ago) * 10_000 / self.day_ago)

    @property
    def has_more_trades(self) -> bool:
        """The day's trades were not all added up."""
        return self.trade_count >= MOST_TRADES_A_DAY


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade on the tape, in the units people read."""

    id: int
    market: Market
    at: datetime
    price: int
    quantity: int
    is_buy: bool


def all_markets(limit: int = MOST_MARKETS) -> list[Market]:
    """The markets that are not closed, by code, with their assets."""
    markets = Market.objects.select_related("base_asset", "quote_asset")
    return list(markets.exclude(state=Market.State.CLOSED).order_by("code")[:limit])


def market_rows(markets: Sequence[Market], *, now: datetime) -> list[MarketRow]:
    """Put its prices and its day beside each market, in their order. One query."""
    by_id = {market.pk: market for market in markets}
    if not by_id:
        return []
    parameters: dict[str, Any] = {
        "ids": list(by_id),
        "cut": first_id_at(now - DAY),
        "most": MOST_TRADES_A_DAY,
        "spark": SPARK_TRADES,
    }
    with connection.cursor() as cursor:
        cursor.execute(ROWS, parameters)
        found = {row[0]: row[1:] for row in cursor.fetchall()}
    return [_row(market, *found[market.pk]) for market in markets]


def _row(
    market: Market,
    last: int | None,
    day_ago: int | None,
    bid: int | None,
    ask: int | None,
    trades: int,
    lots: int,
    low: int | None,
    high: int | None,
    prices: list[int] | None,
) -> MarketRow:
    def price(ticks: int | None) -> int | None:
        return None if ticks is None else ticks * market.tick_minor

    return MarketRow(
        market=market,
        last=price(last),
        day_ago=price(day_ago),
        bid=price(bid),
        ask=price(ask),
        trade_count=trades,
        volume=lots * market.lot_units,
        low=price(low),
        high=price(high),
        spark=spark(prices or []),
    )


def newest_trades(markets: Sequence[Market], limit: int) -> list[Trade]:
    """The newest trades on these markets together, newest first. One query."""
    by_id = {market.pk: market for market in markets}
    fills = Fill.objects.filter(market_id__in=list(by_id)).order_by("-id")[:limit]
    return [_trade(fill, by_id[fill.market_id]) for fill in fills]


def _trade(fill: Fill, market: Market) -> Trade:
    return Trade(
        id=fill.pk,
        market=market,
        at=fill.at,
        price=fill.price_ticks * market.tick_minor,
        quantity=fill.quantity_lots * market.lot_units,
        is_buy=fill.taker_side == 1,
    )


def chart_of(market: Market, *, now: datetime) -> Chart | None:
    """Draw a market's last day, of at most the newest `CHART_TRADES` trades. One query."""
    newest = Fill.objects.filter(market_id=market.pk, pk__gte=first_id_at(now - DAY))
    fills = reversed(newest.order_by("-id").only("price_ticks")[:CHART_TRADES])
    return price_chart([(fill.at, fill.price_ticks * market.tick_minor) for fill in fills], end=now)
