"""How the admin shows what the market's rows hold as numbers and ids."""

from __future__ import annotations

from datetime import datetime

from django.db.models import OuterRef, Subquery
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html

from accounts.models import User
from orderbook.models import Market


def brief(moment: datetime | None) -> str:
    """A time in one line, to the second."""
    if moment is None:
        return ""
    words = f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S}"
    return format_html('<span class="whitespace-nowrap">{}</span>', words)


def worded(price: int | None) -> str:
    return "none" if price is None else str(price)


def with_market() -> dict[str, Subquery]:
    """A row's market's code and sizes, as annotations: read for the rows that are shown."""
    market = Market.objects.filter(pk=OuterRef("market_id"))
    return {
        "market_code": Subquery(market.values("code")),
        "tick_minor": Subquery(market.values("tick_minor")),
        "lot_units": Subquery(market.values("lot_units")),
    }


def handle_of(column: str) -> Subquery:
    return Subquery(User.objects.filter(pk=OuterRef(column)).values("handle"))


def clerk(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user
