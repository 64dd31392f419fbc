"""What the site shows of markets: a row for each with its day, its candles and newest trades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from orderbook.candles import INTERVALS
from orderbook.market_data.charts import candles
from orderbook.market_data.days import Day, change_bps, day_of, feed_of, with_days
from orderbook.market_data.faces import of_face_bps, trading_ends_at
from orderbook.models import Fill, Market
from web.chart import Chart, candle_chart, spark

MOST_MARKETS = 100


class Span(NamedTuple):
    """A stretch of time that a chart may show, as candles of one length."""

    name: str
    words: str
    interval: str
    most: int


SPANS = {
    span.name: span
    for span in (
        Span("hour", "1 hour", "1m", 60),
        Span("day", "1 day", "15m", 96),
        Span("week", "1 week", "1h", 168),
        Span("quarter", "3 months", "1d", 91),
    )
}
YOUNG_CANDLES = 12
"""A market with fewer candles in a day shows its last hour instead, unless one asks."""


@dataclass(frozen=True, slots=True)
class MarketRow:
    """One market and its last 24 hours. Prices are quote minor units for one lot."""

    market: Market
    last: int | None
    bid: int | None
    ask: int | None
    day: Day
    change_bps: int | None
    spark: str
    of_face_bps: int | None = None
    trading_ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade on the tape, in the units people read."""

    id: int
    market: Market
    at: datetime
    price: int
    quantity: int
    is_buy: bool


def market_rows(*, now: datetime, limit: int = MOST_MARKETS) -> list[MarketRow]:
    """The markets that are not closed, by code, with their prices and their day. One query."""
    markets = Market.objects.exclude(state=Market.State.CLOSED).order_by("code")
    return [_row(market) for market in with_days(markets, now=now)[:limit]]


def market_row(code: str, *, now: datetime) -> MarketRow | None:
    """One market with its prices and its day; None if there is none. One query."""
    market = with_days(Market.objects.filter(code=code), now=now).first()
    return None if market is None else _row(market)


def _row(market: Market) -> MarketRow:
    feed, day = feed_of(market), day_of(market)
    return MarketRow(
        market=market,
        last=feed.last_price,
        bid=feed.bid_price,
        ask=feed.ask_price,
        day=day,
        change_bps=change_bps(market),
        spark=spark(day.closes),
        of_face_bps=of_face_bps(market, feed.last_price),
        trading_ends_at=trading_ends_at(market),
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


def chart_of(market: Market, span: Span, *, now: datetime) -> Chart | None:
    """Draw a market's newest candles; None where nothing was ever traded. One query."""
    interval_s = INTERVALS[span.interval]
    rows, _ = candles(market, interval_s=interval_s, last=now, count=span.most)
    return candle_chart(rows, interval_s=interval_s, count=span.most)


def usual_chart(market: Market, *, now: datetime) -> tuple[Span, Chart | None]:
    """The chart for somebody who has not said which: of a day, or of an hour on a young market."""
    chart = chart_of(market, SPANS["day"], now=now)
    if chart is not None and chart.drawn < YOUNG_CANDLES:
        return SPANS["hour"], chart_of(market, SPANS["hour"], now=now)
    return SPANS["day"], chart
