"""Price-time priority: what becomes of a new order, a cancellation or a reduction.

Pure: no Django, clock, database, network or random.

    refusal = check(terms, state, price_minor=1250, quantity_units=3)   # the market's rules
    command = Place(order_id, owner_id, Side.BUY, price_ticks, quantity_lots)
    report = place(book, command)
    report = cancel(book, order_id, owner_id)
    report = reduce(book, order_id, owner_id, lots)

A `Report` says everything that happened: the fills with the makers' side of them, what
stands in the book now, what was cancelled and why, which own orders were kept from trading
with each other. A taker always pays the maker's price. A refused command changes nothing.

Every change goes through the book's journal, so `book.undo_to` takes commands back. A market
order is an `IMMEDIATE_OR_CANCEL` at the worst price its owner accepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import msgspec

from orderbook.book import LARGEST_PRICE_TICKS, Book, Ladder, Order, Side

MOST_FILLS = 1000
"""The most makers one order may meet; what is left of it then is cancelled."""
LARGEST_AMOUNT = 1 << 62
"""What the ledger can carry in one amount."""


class MarketState(IntEnum):
    """Where a market stands in its life. Cancelling is always allowed.

    An open market trades continuously, one in auction gathers orders; all others take none.
    """

    OPEN = 0
    HALTED = 1
    CLOSED = 2
    SCHEDULED = 3
    AUCTION = 4
    CLOSING = 5


class TimeInForce(IntEnum):
    """How long an order lives, and whether it may take or wait. The numbers are stored."""

    GOOD_TILL_CANCELLED = 0
    IMMEDIATE_OR_CANCEL = 1
    FILL_OR_KILL = 2
    POST_ONLY = 3


class SelfTrade(IntEnum):
    """What happens where a person's order would trade with another of their own.

    `DECREMENT` takes the smaller quantity off both.
    """

    CANCEL_NEWEST = 0
    CANCEL_OLDEST = 1
    CANCEL_BOTH = 2
    DECREMENT = 3


class Refusal(IntEnum):
    """Why a command was refused, in order of precedence; `ACCEPTED` means it was not."""

    ACCEPTED = 0
    # What the order itself gets wrong: `check`.
    PRICE_OFF_TICK = 1
    PRICE_TOO_LOW = 2
    PRICE_TOO_HIGH = 3
    QUANTITY_OFF_LOT = 4
    QUANTITY_TOO_SMALL = 5
    QUANTITY_TOO_LARGE = 6
    # What the market does not allow now: `check`.
    MARKET_CLOSED = 7
    MARKET_HALTED = 8
    # What the book does not allow: `place`.
    ORDER_DUPLICATE = 9
    POST_ONLY_WOULD_TAKE = 10
    FILL_OR_KILL_UNFILLED = 11
    # `cancel` and `reduce`.
    ORDER_UNKNOWN = 12
    ORDER_NOT_OWNED = 13
    REDUCTION_NOT_SMALLER = 14
    # What the venue does not allow now: `check`, `auction.collect`, `bands`.
    MARKET_NOT_OPEN = 90
    PRICE_BEYOND_BAND = 91
    NOT_IN_AUCTION = 92
    MEETS_OWN_ORDER = 93

    @property
    def code(self) -> str:
        """The stable name that clients see."""
        return self.name.lower()


STATE_REFUSALS = {
    MarketState.HALTED: Refusal.MARKET_HALTED,
    MarketState.CLOSED: Refusal.MARKET_CLOSED,
    MarketState.CLOSING: Refusal.MARKET_CLOSED,
    MarketState.SCHEDULED: Refusal.MARKET_NOT_OPEN,
}
"""What an order hears where the market takes none."""


class Cause(IntEnum):
    """Why lots of an accepted order were cancelled; `NONE` if none were."""

    NONE = 0
    REQUESTED = 1
    IMMEDIATE = 2
    SELF_TRADE = 3
    TOO_MANY_FILLS = 4
    VOLATILITY = 8
    """The next trade would have been beyond the band: the market halted instead."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a market allows and charges.

    `tick_minor`: minor units of the quote asset that one tick adds to the price of one lot.
    `lot_units`: units of the base asset in one lot. Fees in basis points, 0 … 1,000.
    Terms under which an order could come to more than the ledger carries are refused.
    """

    tick_minor: int
    lot_units: int
    least_price_ticks: int
    most_price_ticks: int
    least_lots: int
    most_lots: int
    maker_fee_bps: int
    taker_fee_bps: int

    def __post_init__(self) -> None:
        if self.tick_minor < 1 or self.lot_units < 1:
            raise ValueError("a tick and a lot are at least 1")
        if not 1 <= self.least_price_ticks <= self.most_price_ticks <= LARGEST_PRICE_TICKS:
            raise ValueError("prices are from 1 tick up, the least first")
        if not 1 <= self.least_lots <= self.most_lots:
            raise ValueError("quantities are from 1 lot up, the least first")
        if not 0 <= self.maker_fee_bps <= 1000 or not 0 <= self.taker_fee_bps <= 1000:
            raise ValueError("fees are 0 to 1,000 basis points")
        largest_notional = self.most_price_ticks * self.most_lots * self.tick_minor
        if largest_notional * 11 // 10 > LARGEST_AMOUNT:
            raise ValueError("the largest order comes to more money than the ledger carries")
        if self.most_lots * self.lot_units > LARGEST_AMOUNT:
            raise ValueError("the largest order comes to more units than the ledger carries")


class Place(msgspec.Struct, frozen=True, gc=False):
    """A new order. The order id must be new to the market; `check` has accepted the rest."""

    order_id: int
    owner_id: int
    side: Side
    price_ticks: int
    quantity_lots: int
    time_in_force: TimeInForce = TimeInForce.GOOD_TILL_CANCELLED
    self_trade: SelfTrade = SelfTrade.CANCEL_NEWEST


class Fill(msgspec.Struct, frozen=True, gc=False):
    """A trade between a waiting order (maker) and the new one (taker), at the maker's price.

    `maker_left_lots` is what still waits of the maker's order; at 0 it has left the book.
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


class Report(msgspec.Struct, frozen=True, gc=False):
    """What became of one command.

    For a new order: quantity = Σ fills + resting + cancelled + (a decrement's lots, which
    count as cancelled). Unless refused, in which case nothing happened.
    """

    order_id: int
    refusal: Refusal = Refusal.ACCEPTED
    resting_lots: int = 0
    cancelled_lots: int = 0
    cause: Cause = Cause.NONE
    fills: Sequence[Fill] = ()
    prevented: Sequence[Prevented] = ()


# Looked up once: an enum member costs more to reach than to compare.
_ACCEPTED = Refusal.ACCEPTED
_BUY = Side.BUY
_GTC = TimeInForce.GOOD_TILL_CANCELLED
_FOK = TimeInForce.FILL_OR_KILL
_POST_ONLY = TimeInForce.POST_ONLY
_NONE = Cause.NONE
_REQUESTED = Cause.REQUESTED


def check(terms: Terms, state: MarketState, *, price_minor: int, quantity_units: int) -> Refusal:
    """Say whether a market takes an order of this price and size, before it meets the book.

    `price_minor` is what one lot costs, `quantity_units` how many units are wanted. Accepted,
    they are whole ticks and lots: `price_minor // tick_minor`, `quantity_units // lot_units`.
    """
    price_ticks, off_tick = divmod(price_minor, terms.tick_minor)
    if off_tick:
        return Refusal.PRICE_OFF_TICK
    if price_ticks < terms.least_price_ticks:
        return Refusal.PRICE_TOO_LOW
    if price_ticks > terms.most_price_ticks:
        return Refusal.PRICE_TOO_HIGH
    quantity_lots, off_lot = divmod(quantity_units, terms.lot_units)
    if off_lot:
        return Refusal.QUANTITY_OFF_LOT
    if quantity_lots < terms.least_lots:
        return Refusal.QUANTITY_TOO_SMALL
    if quantity_lots > terms.most_lots:
        return Refusal.QUANTITY_TOO_LARGE
    return STATE_REFUSALS.get(state, Refusal.ACCEPTED)


def place(book: Book, command: Place, most_fills: int = MOST_FILLS) -> Report:
    """Match a new order against the book; what is left waits, or is cancelled.

    Refused: `ORDER_DUPLICATE` if an order of this id waits already, `POST_ONLY_WOULD_TAKE`,
    `FILL_OR_KILL_UNFILLED`. Cost: flat in the depth of the book; 1 µs, and as much again for
    each fill.
    """
    order_id = command.order_id
    if order_id in book.orders:
        return Report(order_id, Refusal.ORDER_DUPLICATE)
    price_ticks = command.price_ticks
    if command.side is _BUY:
        crosses = price_ticks >= book.asks.best_key
    else:
        crosses = price_ticks <= -book.bids.best_key
    time_in_force = command.time_in_force
    if crosses:
        if time_in_force is _POST_ONLY:
            return Report(order_id, Refusal.POST_ONLY_WOULD_TAKE)
        if time_in_force is _FOK and not _fills_whole(book, command, most_fills):
            return Report(order_id, Refusal.FILL_OR_KILL_UNFILLED)
        return _take(book, command, most_fills)
    lots = command.quantity_lots
    if time_in_force is _GTC or time_in_force is _POST_ONLY:
        book.rest(order_id, command.owner_id, command.side, price_ticks, lots)
        return Report(order_id, _ACCEPTED, lots)
    if time_in_force is _FOK:
        return Report(order_id, Refusal.FILL_OR_KILL_UNFILLED)
    return Report(order_id, _ACCEPTED, 0, lots, Cause.IMMEDIATE)


def cancel(book: Book, order_id: int, owner_id: int) -> Report:
    """Take a waiting order off the book, whatever is left of it.

    Refused: `ORDER_UNKNOWN` if no such order waits, `ORDER_NOT_OWNED` if it is another's
    (a door that hides ids tells both apart to nobody). Cost: flat.
    """
    order = book.orders.get(order_id)
    if order is None:
        return Report(order_id, Refusal.ORDER_UNKNOWN)
    if order.owner_id != owner_id:
        return Report(order_id, Refusal.ORDER_NOT_OWNED)
    book.remove(order)
    return Report(order_id, _ACCEPTED, 0, order.lots, _REQUESTED)


def reduce(book: Book, order_id: int, owner_id: int, quantity_lots: int) -> Report:
    """Leave only so many lots of a waiting order; it keeps its place in the queue.

    Refused as `cancel`, and `REDUCTION_NOT_SMALLER` unless 1 ≤ new quantity < what is left.
    Any other change of an order loses its place: cancel it and place another.
    """
    order = book.orders.get(order_id)
    if order is None:
        return Report(order_id, Refusal.ORDER_UNKNOWN)
    if order.owner_id != owner_id:
        return Report(order_id, Refusal.ORDER_NOT_OWNED)
    if not 1 <= quantity_lots < order.lots:
        return Report(order_id, Refusal.REDUCTION_NOT_SMALLER)
    cancelled_lots = order.lots - quantity_lots
    book.lower(order, cancelled_lots)
    return Report(order_id, _ACCEPTED, quantity_lots, cancelled_lots, _REQUESTED)


def _take(book: Book, command: Place, most_fills: int) -> Report:
    """Trade a new order that crosses, best price first and oldest first within a price."""
    order_id, owner_id, side = command.order_id, command.owner_id, command.side
    ladder, worst_key = _opposite(book, command)
    left, cancelled, cause = command.quantity_lots, 0, _NONE
    fills: list[Fill] = []
    prevented: list[Prevented] = []
    while left and ladder.best_key <= worst_key:
        level = ladder.levels[ladder.best_key]
        maker = level.first
        assert maker is not None
        if len(fills) + len(prevented) >= most_fills:
            cancelled, left, cause = cancelled + left, 0, Cause.TOO_MANY_FILLS
        elif maker.owner_id == owner_id:
            kept = _prevent(book, maker, left, command.self_trade, prevented)
            if kept < left:
                cancelled, left, cause = cancelled + left - kept, kept, Cause.SELF_TRADE
        else:
            lots = min(left, maker.lots)
            book.lower(maker, lots)
            left -= lots
            fills.append(
                Fill(
                    maker.order_id, maker.owner_id, order_id, owner_id, side,
                    level.price_ticks, lots, maker.lots,
                )
            )  # fmt: skip
    if left and command.time_in_force is _GTC:
        book.rest(order_id, owner_id, side, command.price_ticks, left)
    elif left:
        cancelled, left, cause = cancelled + left, 0, Cause.IMMEDIATE
    return Report(order_id, _ACCEPTED, left, cancelled, cause, fills, prevented)


def _prevent(
    book: Book, maker: Order, left: int, policy: SelfTrade, prevented: list[Prevented]
) -> int:
    """Keep a new order from trading with its owner's waiting one; answer what is left of it."""
    if policy is SelfTrade.DECREMENT:
        lots = min(maker.lots, left)
        book.lower(maker, lots)
        prevented.append(Prevented(maker.order_id, lots, maker.lots))
        return left - lots
    if policy is not SelfTrade.CANCEL_NEWEST:
        book.remove(maker)
        prevented.append(Prevented(maker.order_id, maker.lots, 0))
    return left if policy is SelfTrade.CANCEL_OLDEST else 0


def _fills_whole(book: Book, command: Place, most_fills: int) -> bool:
    """Say whether a fill-or-kill order would fill. Cost: one step for each maker it needs."""
    ladder, worst_key = _opposite(book, command)
    missing, steps = command.quantity_lots, 0
    for level in ladder:
        if level.key > worst_key:
            return False
        for maker in level.orders():
            if steps == most_fills:
                return False
            steps += 1
            if maker.owner_id != command.owner_id:
                missing -= maker.lots
            elif command.self_trade is not SelfTrade.CANCEL_OLDEST:
                return False
            if missing <= 0:
                return True
    return False


def _opposite(book: Book, command: Place) -> tuple[Ladder, int]:
    """The ladder a new order takes from, and the worst key there that it still accepts."""
    if command.side is _BUY:
        return book.asks, command.price_ticks
    return book.bids, -command.price_ticks
