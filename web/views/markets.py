"""The markets, and one market: price, book, trades, chart, the order ticket, own orders."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any, NamedTuple

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from orderbook.market_data.auctions import indication
from orderbook.market_data.books import DepthOfMarket, PriceLevel, depth
from orderbook.models import Market, Order, SpecialOrder
from web.chart import Chart
from web.live import render_live
from web.market_board import (
    SPANS,
    Span,
    chart_of,
    market_row,
    market_rows,
    newest_trades,
    usual_chart,
)
from web.people import available_of, own_wallets

LEVELS = 10
TRADES_SHOWN = 20
OWN_ORDERS_SHOWN = 50


@require_safe
def markets(request: HttpRequest) -> HttpResponse:
    """List the markets with their prices and their day."""
    return render_live(request, "web/markets.html", {"rows": market_rows(now=timezone.now())})


@require_safe
def market(request: HttpRequest, code: str) -> HttpResponse:
    """Show one market, and to people who are signed in what they can do there."""
    now = timezone.now()
    row = market_row(code, now=now)
    if row is None:
        raise Http404
    span, chart = _chart(row.market, request.GET.get("span", ""), now)
    context: dict[str, Any] = {
        "market": row.market,
        "row": row,
        "book": _ladder(depth(row.market, LEVELS)),
        "trades": newest_trades([row.market], TRADES_SHOWN),
        "auction": indication(row.market, last_price=row.last),
        "chart": chart,
        "span": span,
        "spans": SPANS.values(),
    }
    if request.user.is_authenticated:
        context |= _own(row.market, request.user.pk)
    return render_live(request, "web/market.html", context)


def _chart(market: Market, name: str, now: datetime) -> tuple[Span, Chart | None]:
    """The chart of the span that was asked for, or the usual one."""
    span = SPANS.get(name)
    return usual_chart(market, now=now) if span is None else (span, chart_of(market, span, now=now))


class Rung(NamedTuple):
    """One price of the ladder: what waits there, and what waits up to there."""

    price: int
    quantity: int
    total: int


def _ladder(both: DepthOfMarket) -> dict[str, Any]:
    """Both sides with running totals, and the larger total: the longest bar."""
    bids, asks = _rungs(both.bids), _rungs(both.asks)
    spread = max(0, asks[0].price - bids[0].price) if bids and asks else None
    return {
        "bids": bids,
        "asks": asks[::-1],
        "largest": max((side[-1].total for side in (bids, asks) if side), default=0),
        "spread": spread,
        "spread_bps": round(spread * 10_000 / asks[0].price) if spread else None,
    }


def _rungs(levels: Sequence[PriceLevel]) -> list[Rung]:
    totals = accumulate(level.quantity for level in levels)
    return [Rung(*level, total) for level, total in zip(levels, totals, strict=True)]


def _own(market: Market, user_id: int) -> dict[str, Any]:
    wallets = own_wallets(user_id)
    resting = Order.objects.of(user_id).resting().filter(market_id=market.pk)
    orders = list(resting.order_by("-id")[:OWN_ORDERS_SHOWN])
    specials = SpecialOrder.objects.in_bulk([order.pk for order in orders])
    return {
        "spendable": available_of(wallets, market.quote_asset_id),
        "sellable": available_of(wallets, market.base_asset_id),
        "orders": [_own_order(order, specials.get(order.pk), market) for order in orders],
    }


def _own_order(order: Order, special: SpecialOrder | None, market: Market) -> dict[str, Any]:
    """A waiting order as it stands now, amended or not; a stop that still waits has its price."""
    price_ticks, stop_ticks, reduced_lots = order.price_ticks, 0, 0
    if special is not None:
        price_ticks = special.amended_price_ticks or price_ticks
        reduced_lots = special.reduced_lots
        if not special.ran_id:
            stop_ticks = special.amended_stop_ticks or special.stop_ticks
    return {
        "id": order.pk,
        "is_buy": order.side == 1,
        "price": price_ticks * market.tick_minor,
        "stop": stop_ticks * market.tick_minor,
        "quantity": (order.quantity_lots - reduced_lots) * market.lot_units,
        "remaining": order.remaining_lots * market.lot_units,
        "at": order.at,
    }
