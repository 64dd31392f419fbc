"""Price-time priority: what becomes of a new order, a cancellation or a reduction.

Pure: no Django, clock, database, network or random.

    refusal = check(terms, state, price_minor=1250, quantity_units=3)   # the market's rules
    command = Place(order_id, owner_id, Side.BUY, price_ticks, quantity_lots)
    report = place(book, command)
    while book.stops.next_id():                 # trades elect stops: each runs in its turn
        report = trigger(book)
    report = cancel(book, order_id, owner_id)
    report = reduce(book, order_id, owner_id, lots)

A `Report` says everything that happened: the fills with the makers' side of them, what
stands in the book now, what was cancelled and why, which own orders were kept from trading
with each other. A taker always pays the maker's price. A refused command changes nothing.

Every change goes through the book's journal, so `book.undo_to` takes commands back. A market
order is an `IMMEDIATE_OR_CANCEL` at the worst price its owner accepts. Amendments are in
`orderbook.amending`, pairs that exclude each other in `orderbook.pairs`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum

import msgspec

from orderbook.book import NO_SPECIAL, Book, Ladder, Order, Side, Special
from orderbook.instructions import NO_CONDITIONS, Conditions, Place, SelfTrade, TimeInForce
from orderbook.stops import is_reached
from orderbook.terms import (
    LARGEST_AMOUNT,
    MOST_PEAKS,
    MarketState,
    Refusal,
    Terms,
    check,
    check_conditions,
)

__all__ = [
    "LARGEST_AMOUNT", "MOST_FILLS", "MOST_PEAKS", "Cause", "Conditions", "Dropped", "Fill",
    "MarketState", "Place", "Prevented", "Refusal", "Report", "SelfTrade", "Terms", "TimeInForce",
    "cancel", "check", "check_conditions", "drop_partner", "enter", "follow_up", "let_wait",
    "place", "reduce", "trigger",
]  # fmt: skip

MOST_FILLS = 1000
"""The most makers one order may meet; what is left of it then is cancelled."""


class Cause(IntEnum):
    """Why lots of an accepted order were cancelled; `NONE` if none were."""

    NONE = 0
    REQUESTED = 1
    IMMEDIATE = 2
    SELF_TRADE = 3
    TOO_MANY_FILLS = 4
    EXPIRED = 5
    PARTNER = 6
    """Of two orders that exclude each other the other traded, ran or ended."""
    NOT_POSSIBLE = 7
    """A stop that ran could not do what it asked for, or be paid; or its owner's wallet may not
    receive what the order would trade for."""
    VOLATILITY = 8
    """The next trade would have been beyond the band: the market halted instead."""
    SILENCE = 9
    """The dead man's switch of its API key was not renewed in time."""
    OPERATOR = 10
    CLOSURE = 11
    """Its market closed."""


class Fill(msgspec.Struct, frozen=True, gc=False):
    """A trade between a waiting order (maker) and the new one (taker), at the maker's price.

    `maker_left_lots` is what still waits of the maker's order, hidden lots included; at 0 it
    has left the book.
    """

    maker_order_id: int
    maker_owner_id: int
    taker_order_id: int
    taker_owner_id: int
    taker_side: Side
    price_ticks: int
    quantity_lots: int
    maker_left_lots: int


class Prevented(msgspec.Struct, frozen=True, gc=False):
    """A waiting order that lost lots because its owner would have traded with themselves.

    `left_lots` is what still waits of it; at 0 it has left the book.
    """

    order_id: int
    cancelled_lots: int
    left_lots: int
    price_ticks: int


class Dropped(msgspec.Struct, frozen=True, gc=False):
    """An order that ended because its partner traded, ran or ended. A stop was not shown."""

    order_id: int
    owner_id: int
    side: Side
    price_ticks: int
    cancelled_lots: int
    was_shown: bool


class Report(msgspec.Struct, frozen=True, gc=False):
    """What became of one command.

    For a new order: quantity = Σ fills + resting + cancelled + (a decrement's lots, which
    count as cancelled). Unless refused, in which case nothing happened. `resting_lots` counts
    hidden lots, and those of a stop. `requeued` are the icebergs that showed their next part,
    at the end of their queue, in order. `is_replaced`: an amended order lost its place.
    """

    order_id: int
    refusal: Refusal = Refusal.ACCEPTED
    resting_lots: int = 0
    cancelled_lots: int = 0
    cause: Cause = Cause.NONE
    fills: Sequence[Fill] = ()
    prevented: Sequence[Prevented] = ()
    dropped: Sequence[Dropped] = ()
    requeued: Sequence[int] = ()
    is_replaced: bool = False


# Looked up once: an enum member costs more to reach than to compare.
_ACCEPTED = Refusal.ACCEPTED
_BUY = Side.BUY
_IOC = TimeInForce.IMMEDIATE_OR_CANCEL
_FOK = TimeInForce.FILL_OR_KILL
_POST_ONLY = TimeInForce.POST_ONLY
_NONE = Cause.NONE
_REQUESTED = Cause.REQUESTED


def place(book: Book, command: Place, most_fills: int = MOST_FILLS) -> Report:
    """Match a new order against the book; what is left waits, or is cancelled.

    Refused: `ORDER_DUPLICATE` if an order of this id waits already, `POST_ONLY_WOULD_TAKE`,
    `FILL_OR_KILL_UNFILLED`, `MINIMUM_QUANTITY_UNFILLED`, `STOP_WOULD_TRIGGER`. Cost: flat in
    the depth of the book; 1 µs, and as much again for each fill.
    """
    order_id = command.order_id
    if order_id in book.orders or order_id in book.stops.commands:
        return Report(order_id, Refusal.ORDER_DUPLICATE)
    time_in_force = command.time_in_force
    if command.conditions is not None or time_in_force is _FOK:
        return _place_special(book, command, most_fills)
    price_ticks = command.price_ticks
    if command.side is _BUY:
        crosses = price_ticks >= book.asks.best_key
    else:
        crosses = price_ticks <= -book.bids.best_key
    if crosses:
        if time_in_force is _POST_ONLY:
            return Report(order_id, Refusal.POST_ONLY_WOULD_TAKE)
        return _take(book, command, most_fills, [])
    lots = command.quantity_lots
    if time_in_force is _IOC:
        return Report(order_id, _ACCEPTED, 0, lots, Cause.IMMEDIATE)
    book.rest(order_id, command.owner_id, command.side, price_ticks, lots)
    return Report(order_id, _ACCEPTED, lots)


def trigger(
    book: Book,
    most_fills: int = MOST_FILLS,
    via: Callable[[Book, Place, int, list[Dropped]], Report] | None = None,
) -> Report:
    """Run the elected stop whose turn it is; there is one (`book.stops.next_id()`).

    It is matched like a new order and never refused: if it cannot do what it asked for (wait
    only, or fill so much), it is cancelled. Its partner is dropped. Its trades may elect more
    stops; each stop runs once, so it comes to an end. `via` matches it, else `enter`.
    """
    order_id = book.stops.next_id()
    dropped: list[Dropped] = []
    special = book.specials.get(order_id, NO_SPECIAL)
    if special.partner_id:
        dropped.append(drop_partner(book, order_id, special))
    book.set_special(order_id, None)
    command = book.remove_stop(order_id)
    report = (via or enter)(book, command, most_fills, dropped)
    if report.refusal:
        lots = command.quantity_lots
        return Report(order_id, _ACCEPTED, 0, lots, Cause.NOT_POSSIBLE, dropped=dropped)
    return report


def cancel(book: Book, order_id: int, owner_id: int, cause: Cause = _REQUESTED) -> Report:
    """Take a live order away, whatever is left of it, and its partner with it.

    Refused: `ORDER_UNKNOWN` if no such order waits, `ORDER_NOT_OWNED` if it is another's
    (a door that hides ids tells both apart to nobody). Cost: flat.
    """
    order = book.orders.get(order_id)
    found = order or book.stops.commands.get(order_id)
    if found is None:
        return Report(order_id, Refusal.ORDER_UNKNOWN)
    if found.owner_id != owner_id:
        return Report(order_id, Refusal.ORDER_NOT_OWNED)
    special = book.specials.get(order_id)
    if special is None and order is not None:
        book.remove(order)
        return Report(order_id, _ACCEPTED, 0, order.lots, cause)
    lots = book.lots_left(order_id)
    dropped: list[Dropped] = []
    if order is None:
        book.remove_stop(order_id)
    else:
        book.remove(order)
    if special is not None:
        if special.partner_id:
            dropped.append(drop_partner(book, order_id, special))
        book.set_special(order_id, None)
    return Report(order_id, _ACCEPTED, 0, lots, cause, dropped=dropped)


def reduce(book: Book, order_id: int, owner_id: int, quantity_lots: int) -> Report:
    """Leave only so many lots of a waiting order; it keeps its place in the queue.

    An iceberg loses hidden lots first. Refused as `cancel`, and `REDUCTION_NOT_SMALLER` unless
    1 ≤ new quantity < what is left; `ORDER_PAIRED` if it excludes another.
    """
    order = book.orders.get(order_id)
    if order is None:
        return Report(order_id, Refusal.ORDER_UNKNOWN)
    if order.owner_id != owner_id:
        return Report(order_id, Refusal.ORDER_NOT_OWNED)
    special = book.specials.get(order_id, NO_SPECIAL)
    if special.partner_id:
        return Report(order_id, Refusal.ORDER_PAIRED)
    hidden = special.hidden_lots
    cancelled_lots = order.lots + hidden - quantity_lots
    if quantity_lots < 1 or cancelled_lots < 1:
        return Report(order_id, Refusal.REDUCTION_NOT_SMALLER)
    if hidden:
        left = max(0, hidden - cancelled_lots)
        book.set_special(order_id, msgspec.structs.replace(special, hidden_lots=left))
    if cancelled_lots > hidden:
        book.lower(order, cancelled_lots - hidden)
    return Report(order_id, _ACCEPTED, quantity_lots, cancelled_lots, _REQUESTED)


def enter(
    book: Book, command: Place, most_fills: int = MOST_FILLS, dropped: list[Dropped] | None = None
) -> Report:
    """Match an order whose time has come, whatever it asks for, but for its stop price.

    Refused, and nothing changed: what `place` refuses, but for duplicates. `dropped` are orders
    that ended by it already; they are added to.
    """
    time_in_force = command.time_in_force
    ladder, worst_key = _opposite(book, command)
    if time_in_force is _POST_ONLY and ladder.best_key <= worst_key:
        return Report(command.order_id, Refusal.POST_ONLY_WOULD_TAKE)
    dropped = [] if dropped is None else dropped
    mark, dropped_before = book.mark(), len(dropped)
    report = _take(book, command, most_fills, dropped)
    if time_in_force is _FOK:
        needed, refusal = command.quantity_lots, Refusal.FILL_OR_KILL_UNFILLED
    else:
        needed = (command.conditions or NO_CONDITIONS).minimum_lots
        refusal = Refusal.MINIMUM_QUANTITY_UNFILLED
    if needed and sum(fill.quantity_lots for fill in report.fills) < needed:
        book.undo_to(mark)
        del dropped[dropped_before:]
        return Report(command.order_id, refusal)
    return report


def follow_up(book: Book, order: Order, requeued: list[int], dropped: list[Dropped]) -> None:
    """See to what sets a waiting order apart, after it lost lots or was removed.

    An iceberg whose shown part is gone shows its next; a partner is dropped.
    """
    order_id = order.order_id
    special = book.specials.get(order_id)
    if special is None:
        return
    if special.partner_id:
        dropped.append(drop_partner(book, order_id, special))
        special = msgspec.structs.replace(special, partner_id=0)
    if order_id in book.orders:
        book.set_special(order_id, special)
    elif special.hidden_lots and not order.lots:
        book.set_special(order_id, special)
        book.requeue(order)
        requeued.append(order_id)
    else:
        book.set_special(order_id, None)


def drop_partner(book: Book, order_id: int, special: Special) -> Dropped:
    """End the order that this one excludes. The caller notes that it has no partner now."""
    partner_id = special.partner_id
    assert book.specials[partner_id].partner_id == order_id
    lots = book.lots_left(partner_id)
    book.set_special(partner_id, None)
    order = book.orders.get(partner_id)
    if order is None:
        stop = book.remove_stop(partner_id)
        return Dropped(partner_id, stop.owner_id, stop.side, stop.price_ticks, lots, False)
    book.remove(order)
    return Dropped(partner_id, order.owner_id, order.side, order.price_ticks, lots, True)


def _place_special(book: Book, command: Place, most_fills: int) -> Report:
    conditions = command.conditions or NO_CONDITIONS
    if not conditions.stop_ticks:
        return enter(book, command, most_fills)
    order_id, lots = command.order_id, command.quantity_lots
    if is_reached(command, book.last_ticks):
        return Report(order_id, Refusal.STOP_WOULD_TRIGGER)
    book.add_stop(command)
    if conditions.expires_us:
        book.set_special(order_id, Special(expires_us=conditions.expires_us))
    return Report(order_id, _ACCEPTED, lots)


def _take(book: Book, command: Place, most_fills: int, dropped: list[Dropped]) -> Report:
    """Trade a new order, best price first and oldest first within a price; let the rest wait."""
    order_id, owner_id, side = command.order_id, command.owner_id, command.side
    ladder, worst_key = _opposite(book, command)
    left, cancelled, cause = command.quantity_lots, 0, _NONE
    fills: list[Fill] = []
    prevented: list[Prevented] = []
    requeued: list[int] = []
    specials = book.specials
    while left and ladder.best_key <= worst_key:
        level = ladder.levels[ladder.best_key]
        maker = level.first
        assert maker is not None
        if len(fills) + len(prevented) >= most_fills:
            cancelled, left, cause = cancelled + left, 0, Cause.TOO_MANY_FILLS
            break
        if maker.owner_id == owner_id:
            kept = _prevent(book, maker, left, command.self_trade, prevented)
            if kept < left:
                cancelled, left, cause = cancelled + left - kept, kept, Cause.SELF_TRADE
                if command.self_trade is SelfTrade.CANCEL_NEWEST:
                    break  # nothing happened to the maker
        else:
            lots = min(left, maker.lots)
            book.lower(maker, lots)
            left -= lots
            fills.append(
                Fill(
                    maker.order_id, maker.owner_id, order_id, owner_id, side,
                    level.price_ticks, lots, maker.lots + _hidden(specials, maker.order_id),
                )
            )  # fmt: skip
        if specials and maker.order_id in specials:
            follow_up(book, maker, requeued, dropped)
    if fills:
        book.printed(fills[0].price_ticks, fills[-1].price_ticks)
    if left:
        if command.time_in_force is _IOC or command.time_in_force is _FOK:
            cancelled, left, cause = cancelled + left, 0, Cause.IMMEDIATE
        else:
            let_wait(book, command, left)
    return Report(order_id, _ACCEPTED, left, cancelled, cause, fills, prevented, dropped, requeued)


def let_wait(book: Book, command: Place, lots: int) -> None:
    """Let what is left of an order wait, showing no more of it than it wants."""
    conditions = command.conditions or NO_CONDITIONS
    peak_lots, expires_us = conditions.peak_lots, conditions.expires_us
    shown = min(lots, peak_lots or lots)
    book.rest(command.order_id, command.owner_id, command.side, command.price_ticks, shown)
    if peak_lots or expires_us:
        special = Special(peak_lots=peak_lots, hidden_lots=lots - shown, expires_us=expires_us)
        book.set_special(command.order_id, special)


def _prevent(
    book: Book, maker: Order, left: int, policy: SelfTrade, prevented: list[Prevented]
) -> int:
    """Keep a new order from trading with its owner's waiting one; answer what is left of it."""
    hidden = _hidden(book.specials, maker.order_id)
    if policy is SelfTrade.DECREMENT:
        lots = min(maker.lots, left)
        book.lower(maker, lots)
        left_of_maker = maker.lots + hidden
        prevented.append(Prevented(maker.order_id, lots, left_of_maker, maker.price_ticks))
        return left - lots
    if policy is not SelfTrade.CANCEL_NEWEST:
        book.remove(maker)
        prevented.append(Prevented(maker.order_id, maker.lots + hidden, 0, maker.price_ticks))
    return left if policy is SelfTrade.CANCEL_OLDEST else 0


def _hidden(specials: dict[int, Special], order_id: int) -> int:
    return specials[order_id].hidden_lots if specials and order_id in specials else 0


def _opposite(book: Book, command: Place) -> tuple[Ladder, int]:
    """The ladder a new order takes from, and the worst key there that it still accepts."""
    if command.side is _BUY:
        return book.asks, command.price_ticks
    return book.bids, -command.price_ticks
