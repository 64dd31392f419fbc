"""Reads of the market for everybody: the book by price, the tape, the last price."""

from __future__ import annotations

from typing import NamedTuple

from django.db.models import Sum

from orderbook.models import Fill, Market, Order

DEPTH_LEVELS = 50
"""The most price levels of a side in one answer."""


class PriceLevel(NamedTuple):
    """What waits at one price: in quote minor units for one lot, and in base units."""

    price: int
    quantity: int


class DepthOfMarket(NamedTuple):
    """Both sides of the book, best price first."""

    bids: list[PriceLevel]
    asks: list[PriceLevel]


def depth(market: Market, levels: int = DEPTH_LEVELS) -> DepthOfMarket:
    """Add up the resting orders by price: committed orders only, so never crossed."""
    return DepthOfMarket(
        _side(market, 1, "-price_ticks", levels), _side(market, 2, "price_ticks", levels)
    )


def _side(market: Market, side: int, order: str, levels: int) -> list[PriceLevel]:
    rows = (
        Order.objects.filter(market_id=market.pk, side=side)
        .resting()
        .values("price_ticks")
        .annotate(lots=Sum("remaining_lots"))
        .order_by(order)[:levels]
    )
    return [
        PriceLevel(row["price_ticks"] * market.tick_minor, row["lots"] * market.lot_units)
        for row in rows
    ]


def last_price(market: Market) -> int | None:
    """The price of the newest trade, in quote minor units for one lot; None before the first."""
    ticks = (
        Fill.objects.filter(market_id=market.pk)
        .order_by("-id")
        .values_list("price_ticks", flat=True)
        .first()
    )
    return None if ticks is None else ticks * market.tick_minor
