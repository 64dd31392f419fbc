"""Two orders of which only one may trade: a limit order, and a stop that guards it. Pure.

    waiting, guarding = place_pair(book, limit, stop)

As soon as one trades or runs, the other ends; cancelling one cancels both. So together they
never need more funds than the dearer of the two.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from orderbook.book import NO_SPECIAL, Book
from orderbook.instructions import Place
from orderbook.matching import MOST_FILLS, Cause, Refusal, Report, place
from orderbook.stops import is_reached, stop_ticks_of


def place_pair(
    book: Book,
    limit: Place,
    stop: Place,
    most_fills: int = MOST_FILLS,
    via: Callable[[Book, Place, int], Report] = place,
) -> tuple[Report, Report]:
    """Place both, or neither. If the limit order trades on entry, the stop ends at once.

    Both are of one owner, side and quantity; the limit order may wait. `via` matches it.
    Refused: what `place` refuses of either.
    """
    assert (limit.owner_id, limit.side, limit.quantity_lots) == (
        stop.owner_id, stop.side, stop.quantity_lots,
    ) and stop_ticks_of(stop)  # fmt: skip
    refusal = Refusal.ACCEPTED
    if book.is_live(stop.order_id):
        refusal = Refusal.ORDER_DUPLICATE
    elif is_reached(stop, book.last_ticks):
        refusal = Refusal.STOP_WOULD_TRIGGER
    report = Report(limit.order_id, refusal) if refusal else via(book, limit, most_fills)
    if report.refusal:
        return report, Report(stop.order_id, report.refusal)
    if report.resting_lots < limit.quantity_lots or report.prevented:
        lots = stop.quantity_lots
        return report, Report(stop.order_id, cancelled_lots=lots, cause=Cause.PARTNER)
    guarding = place(book, stop)
    assert not guarding.refusal
    _tie(book, limit.order_id, stop.order_id)
    return report, guarding


def _tie(book: Book, first_id: int, second_id: int) -> None:
    for order_id, partner_id in ((first_id, second_id), (second_id, first_id)):
        special = book.specials.get(order_id, NO_SPECIAL)
        book.set_special(order_id, msgspec.structs.replace(special, partner_id=partner_id))
