"""The markets, and one market: price, book, trades, chart, the order ticket, own orders."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from orderbook.market_data.books import DepthOfMarket, depth
from orderbook.models import Market, Order
from web.live import render_live
from web.market_board import all_markets, chart_of, market_rows, newest_trades
from web.people import available_of, own_wallets

LEVELS = 10
TRADES_SHOWN = 20
OWN_ORDERS_SHOWN = 50


@require_safe
def markets(request: HttpRequest) -> HttpResponse:
    """List the markets with their prices and their day."""
    rows = market_rows(all_markets(), now=timezone.now())
    return render_live(request, "web/markets.html", {"rows": rows})


@require_safe
def market(request: HttpRequest, code: str) -> HttpResponse:
    """Show one market, and to people who are signed in what they can do there."""
    found = Market.objects.select_related("base_asset", "quote_asset").filter(code=code).first()
    if found is None:
        raise Http404
    now = timezone.now()
    context: dict[str, Any] = {
        "market": found,
        "row": market_rows([found], now=now)[0],
        "book": _book(depth(found, LEVELS)),
        "trades": newest_trades([found], TRADES_SHOWN),
        "chart": chart_of(found, now=now),
    }
    if request.user.is_authenticated:
        context |= _own(found, request.user.pk)
    return render_live(request, "web/market.html", context)


def _book(both: DepthOfMarket) -> dict[str, Any]:
    """Both sides, and the largest quantity at one price: the longest bar."""
    levels = (*both.bids, *both.asks)
    spread = both.asks[0].price - both.bids[0].price if both.bids and both.asks else None
    return {
        "bids": both.bids,
        "asks": both.asks[::-1],
        "largest": max((level.quantity for level in levels), default=0),
        "spread": spread,
    }


def _own(market: Market, user_id: int) -> dict[str, Any]:
    wallets = own_wallets(user_id)
    resting = Order.objects.of(user_id).resting().filter(market_id=market.pk)
    return {
        "spendable": available_of(wallets, market.quote_asset_id),
        "sellable": available_of(wallets, market.base_asset_id),
        "orders": [
            {
                "id": order.pk,
                "is_buy": order.side == 1,
                "price": order.price_ticks * market.tick_minor,
                "quantity": order.quantity_lots * market.lot_units,
                "remaining": order.remaining_lots * market.lot_units,
                "at": order.at,
            }
            for order in resting.order_by("-id")[:OWN_ORDERS_SHOWN]
        ],
    }
