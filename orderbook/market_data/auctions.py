"""How an auction would end now, as far as the book shows: for readers."""

from __future__ import annotations

from typing import NamedTuple

from orderbook.auction import indicative
from orderbook.market_data.books import MOST_LEVELS, PriceLevel, depth
from orderbook.models import Market


class Indication(NamedTuple):
    """The price at which an auction would end now, and how many units would trade.

    `surplus` units would be left over: buyers' if positive, sellers' if negative.
    """

    price: int
    volume: int
    surplus: int


def indication(market: Market, *, last_price: int | None) -> Indication | None:
    """How the market's auction would end now; None where it has none, or nothing would trade.

    Hidden lots are not counted: they would give away what is hidden. One snapshot of the book.
    """
    if market.state != Market.State.AUCTION:
        return None
    tick, lot = market.tick_minor, market.lot_units

    def counted(levels: list[PriceLevel]) -> list[tuple[int, int]]:
        return [(level.price // tick, level.quantity // lot) for level in levels]

    both = depth(market, MOST_LEVELS)
    reference = (last_price or 0) // tick or market.reference_ticks
    found = indicative(counted(both.bids), counted(both.asks), reference_ticks=reference)
    if found is None:
        return None
    return Indication(found.price_ticks * tick, found.volume_lots * lot, found.surplus_lots * lot)
