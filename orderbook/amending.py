"""Changing a live order: less of it keeps its place, any other change loses it. Pure.

    report = amend(book, Place(order_id, owner_id, side, price_ticks, lots_left, …))

The command spells the whole order as it shall be from now on, with what shall be left of it.
If nothing changes, nothing happens, so it does not matter if an amendment arrives twice.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from orderbook.book import NO_SPECIAL, Book, Order
from orderbook.instructions import NO_CONDITIONS, Place
from orderbook.matching import MOST_FILLS, Refusal, Report, enter, reduce
from orderbook.stops import is_reached


def amend(
    book: Book,
    command: Place,
    most_fills: int = MOST_FILLS,
    via: Callable[[Book, Place, int], Report] = enter,
) -> Report:
    """Let a live order be what the command says; it may trade at once, like a new one.

    Its side stays; it asks for no minimum. `via` matches it anew. Refused, and nothing changed:
    `ORDER_UNKNOWN`, `ORDER_NOT_OWNED`, `ORDER_PAIRED` (cancel such a pair and place another), and
    what `place` refuses.
    """
    order_id = command.order_id
    order = book.orders.get(order_id)
    found = order or book.stops.commands.get(order_id)
    if found is None:
        return Report(order_id, Refusal.ORDER_UNKNOWN)
    if found.owner_id != command.owner_id:
        return Report(order_id, Refusal.ORDER_NOT_OWNED)
    assert found.side is command.side
    if book.specials.get(order_id, NO_SPECIAL).partner_id:
        return Report(order_id, Refusal.ORDER_PAIRED)
    if order is None:
        return _amend_stop(book, command)
    return _amend_waiting(book, order, command, most_fills, via)


def _amend_waiting(
    book: Book,
    order: Order,
    command: Place,
    most_fills: int,
    via: Callable[[Book, Place, int], Report],
) -> Report:
    order_id, lots = order.order_id, command.quantity_lots
    special = book.specials.get(order_id, NO_SPECIAL)
    asked = command.conditions or NO_CONDITIONS
    before = (order.price_ticks, special.peak_lots, special.expires_us)
    if before == (command.price_ticks, asked.peak_lots, asked.expires_us):
        left = book.lots_left(order_id)
        if lots == left:
            return Report(order_id, resting_lots=left)
        if lots < left:
            return reduce(book, order_id, order.owner_id, lots)
    mark = book.mark()
    book.remove(order)
    book.set_special(order_id, None)
    report = via(book, command, most_fills)
    if report.refusal:
        book.undo_to(mark)
        return report
    return msgspec.structs.replace(report, is_replaced=True)


def _amend_stop(book: Book, command: Place) -> Report:
    order_id, lots = command.order_id, command.quantity_lots
    if book.stops.commands[order_id] == command:
        return Report(order_id, resting_lots=lots)
    if is_reached(command, book.last_ticks):
        return Report(order_id, Refusal.STOP_WOULD_TRIGGER)
    book.remove_stop(order_id)
    book.add_stop(command)
    special = book.specials.get(order_id, NO_SPECIAL)
    expires_us = (command.conditions or NO_CONDITIONS).expires_us
    book.set_special(order_id, msgspec.structs.replace(special, expires_us=expires_us))
    return Report(order_id, resting_lots=lots, is_replaced=True)
