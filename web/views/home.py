"""The first page: what Scrip is, what is traded now, what one has."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from web.live import render_live
from web.market_board import market_rows, newest_trades
from web.people import own_wallets

MARKETS_SHOWN = 6
TRADES_SHOWN = 8


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show everybody the markets, and people who are signed in their wallets."""
    rows = market_rows(now=timezone.now(), limit=MARKETS_SHOWN)
    context = {
        "rows": rows,
        "trades": newest_trades([row.market for row in rows], TRADES_SHOWN),
        "wallets": own_wallets(request.user.pk) if request.user.is_authenticated else [],
    }
    return render_live(request, "web/home.html", context)
