"""The call auction: orders gather, and then all that can trade does so at one price.

Pure: no Django, clock, database, network or random. Prices are whole ticks, quantities lots.

    bids, asks = interest(book)
    found = indicative(bids, asks, reference_ticks=120)      # at any time; None: nothing would
    report = collect(book, place)                            # a new order: it only waits
    fills = uncross(book, found.price_ticks, most_fills=500) # again, until nothing is left

The price is chosen so, each rule among those that the one before left:

1. the most lots trade;
2. the fewest lots are left over at that price (the imbalance);
3. the pressure: if buyers are left over at all of these prices the highest, if sellers the
   lowest;
4. nearest to the reference price (what was traded last); without one, the middle, rounded up.

At the price, better prices trade first, and at one price who came first. A bid above the
price pays no more than the price. Nobody trades with themselves, because `collect` refuses
an order that meets another of its owner's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from orderbook.book import Book, Level, Order, Side
from orderbook.instructions import NO_CONDITIONS
from orderbook.matching import (
    Dropped,
    Fill,
    Place,
    Refusal,
    Report,
    TimeInForce,
    follow_up,
    let_wait,
)

Levels = Sequence[tuple[int, int]]
"""What waits on one side, best price first: (price in ticks, lots)."""

_WAITING = frozenset(
    {TimeInForce.GOOD_TILL_CANCELLED, TimeInForce.POST_ONLY, TimeInForce.GOOD_TILL_DATE}
)


class Equilibrium(NamedTuple):
    """At which price an auction would end now, and how much would trade.

    `surplus_lots` is what would be left over at that price: buyers' if positive, sellers' if
    negative.
    """

    price_ticks: int
    volume_lots: int
    surplus_lots: int


class Cross(NamedTuple):
    """One trade of an auction. Both orders waited; `taker_left_lots` is of the younger one.

    `bid_ticks` and `ask_ticks` are the orders' own limits; `mark` is the book's, just before.
    `dropped` are partners that ended because one of the two traded, `requeued` icebergs that
    showed their next part.
    """

    fill: Fill
    taker_left_lots: int
    bid_ticks: int
    ask_ticks: int
    mark: int
    dropped: Sequence[Dropped] = ()
    requeued: Sequence[int] = ()


def interest(book: Book) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """What waits at each price, bids and asks, best first; hidden lots count like shown ones."""
    hidden: dict[Level, int] = {}
    for order_id, special in book.specials.items():
        if special.hidden_lots and order_id in book.orders:
            level = book.orders[order_id].level
            hidden[level] = hidden.get(level, 0) + special.hidden_lots
    return (
        [(level.price_ticks, level.lots + hidden.get(level, 0)) for level in book.bids],
        [(level.price_ticks, level.lots + hidden.get(level, 0)) for level in book.asks],
    )


def indicative(bids: Levels, asks: Levels, *, reference_ticks: int = 0) -> Equilibrium | None:
    """Say at which price an auction would end now; None while no bid meets an ask.

    `reference_ticks` 0 means that there is none. Cost: n log n in the number of prices
    between the best ask and the best bid.
    """
    if not bids or not asks or bids[0][0] < asks[0][0]:
        return None
    demand, supply = _Curve(bids, is_bids=True), _Curve(asks, is_bids=False)
    prices = _candidates((*bids, *asks), lowest=asks[0][0], highest=bids[0][0])
    points = _best([_point(price, demand, supply) for price in prices])
    # Supply and demand are monotonous, so these are all prices from the first to the last.
    low, high = points[0].price_ticks, points[-1].price_ticks
    if points[-1].surplus_lots > 0:
        price = high
    elif points[0].surplus_lots < 0:
        price = low
    else:
        price = min(max(reference_ticks or (low + high + 1) // 2, low), high)
    return _point(price, demand, supply)


def collect(book: Book, command: Place, own_orders: Iterable[Order] = ()) -> Report:
    """Let a new order wait without trading. `own_orders` are its owner's on the same book.

    Refused: `ORDER_DUPLICATE`; `NOT_IN_AUCTION` for an order that may not wait, waits for a
    stop price, or wants a minimum; `MEETS_OWN_ORDER` if it meets one of its owner's own.
    """
    order_id = command.order_id
    if book.is_live(order_id):
        return Report(order_id, Refusal.ORDER_DUPLICATE)
    conditions = command.conditions or NO_CONDITIONS
    if command.time_in_force not in _WAITING or conditions.stop_ticks or conditions.minimum_lots:
        return Report(order_id, Refusal.NOT_IN_AUCTION)
    if any(_meets(command, order) for order in own_orders):
        return Report(order_id, Refusal.MEETS_OWN_ORDER)
    lots = command.quantity_lots
    let_wait(book, command, lots)
    return Report(order_id, Refusal.ACCEPTED, lots)


def is_crossed(book: Book) -> bool:
    """Say whether the best bid meets the best ask, so that only an auction can open it."""
    return book.bids.best_key + book.asks.best_key <= 0


def uncross(book: Book, price_ticks: int, most_fills: int) -> list[Cross]:
    """Trade what can trade at the auction's price, at most so many fills; call it until empty.

    The older order counts as the maker. Cost: flat for each fill.
    """
    crosses: list[Cross] = []
    while len(crosses) < most_fills:
        if -book.bids.best_key < price_ticks or book.asks.best_key > price_ticks:
            break
        bid = book.bids.levels[book.bids.best_key].first
        ask = book.asks.levels[book.asks.best_key].first
        assert bid is not None and ask is not None
        assert bid.owner_id != ask.owner_id, "an auction took an order that meets its owner's own"
        lots, mark = min(bid.lots, ask.lots), book.mark()
        dropped: list[Dropped] = []
        requeued: list[int] = []
        for order in (bid, ask):
            book.lower(order, lots)
            follow_up(book, order, requeued, dropped)
        maker, taker = (bid, ask) if bid.order_id < ask.order_id else (ask, bid)
        fill = Fill(
            maker.order_id, maker.owner_id, taker.order_id, taker.owner_id,
            Side.SELL if taker is ask else Side.BUY, price_ticks, lots, _left(book, maker),
        )  # fmt: skip
        limits = (bid.price_ticks, ask.price_ticks)
        crosses.append(Cross(fill, _left(book, taker), *limits, mark, dropped, requeued))
        book.printed(price_ticks, price_ticks)
    return crosses


class _Curve:
    """How many lots of one side would trade at a price or better, for any price."""

    def __init__(self, levels: Levels, *, is_bids: bool) -> None:
        # Keys grow from the best price to the worst: what trades at a price is a prefix.
        self._sign = -1 if is_bids else 1
        self._keys = [self._sign * price for price, _ in levels]
        self._sums = [0, *accumulate(lots for _, lots in levels)]

    def at(self, price_ticks: int) -> int:
        return self._sums[bisect_left(self._keys, self._sign * price_ticks + 1)]


def _candidates(levels: Iterable[tuple[int, int]], *, lowest: int, highest: int) -> list[int]:
    """All prices worth looking at, ascending.

    Between two limit prices nothing changes, but what trades there can differ from both: so
    the ticks next to each are looked at too.
    """
    found: set[int] = set()
    for price, _ in levels:
        found.update(tick for tick in (price - 1, price, price + 1) if lowest <= tick <= highest)
    return sorted(found)


def _point(price_ticks: int, demand: _Curve, supply: _Curve) -> Equilibrium:
    wanted_lots, offered_lots = demand.at(price_ticks), supply.at(price_ticks)
    volume_lots = min(wanted_lots, offered_lots)
    return Equilibrium(price_ticks, volume_lots, wanted_lots - offered_lots)


def _best(points: list[Equilibrium]) -> list[Equilibrium]:
    """Keep the points of most volume, and of these the ones of least imbalance."""
    most = max(point.volume_lots for point in points)
    points = [point for point in points if point.volume_lots == most]
    least = min(abs(point.surplus_lots) for point in points)
    return [point for point in points if abs(point.surplus_lots) == least]


def _left(book: Book, order: Order) -> int:
    """What still waits of an order that traded, hidden lots included."""
    return book.lots_left(order.order_id) if order.order_id in book.orders else 0


def _meets(command: Place, order: Order) -> bool:
    if command.side is order.side:
        return False
    if command.side is Side.BUY:
        return command.price_ticks >= order.price_ticks
    return command.price_ticks <= order.price_ticks
