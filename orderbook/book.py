"""The limit order book of one market: who waits to buy or sell, at which price, in which order.

Pure: no Django, clock, database, network or random. Prices are whole ticks, quantities
whole lots. Better prices come first; at one price, who came first.

    book = Book.load(rows)              # rows as `book.resting()` gives them
    mark = book.mark()
    book.rest(order_id, owner_id, side, price_ticks, lots)
    book.lower(order, lots)             # it lost so many lots: traded, or reduced
    book.remove(order)                  # cancelled
    book.undo_to(mark)                  # exactly as it was at the mark
    book.forget()                       # what was done is durable: drop the journal
    book.depth(20); book.best(Side.BUY); book.state_hash(); book.check()

Few orders are special, and what sets them apart lies beside the queues, so that the others
pay nothing for it: `specials` (an iceberg's hidden rest, an end, a partner that the order
excludes) and `stops` (orders that are not in the queues yet).

`orderbook.matching` places and cancels through these; nothing else should.

How it is laid out: each side is a ladder of price levels, sorted by a *key* that is smaller
for a better price (asks: the price; bids: minus the price), so one code serves both sides.
The orders of a level are a doubly linked list, so that leaving it from the middle costs
nothing but two links. An order that has left keeps its own links: put back in reverse
order, each finds its old place again. That is what makes undo cheap and exact.

The journal holds one entry a change: an order alone came or went (whichever it did, undo
does the opposite); an order with a number of lots lost so many; a function with its argument
takes back any other change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from struct import pack
from typing import Any, NamedTuple

import msgspec
from sortedcontainers import SortedList

from orderbook.instructions import Place, Side
from orderbook.ladders import LARGEST_PRICE_TICKS, NO_KEY, Ladder, Level, Order
from orderbook.stops import Stops

__all__ = [
    "LARGEST_PRICE_TICKS", "NO_KEY", "NO_SPECIAL", "Book", "Depth", "Ladder", "Level", "Order",
    "RestingOrder", "Side", "Special",
]  # fmt: skip

_BUY, _SELL = Side.BUY, Side.SELL


class RestingOrder(NamedTuple):
    """A waiting order as plain data: what a database row or a replay needs.

    `quantity_lots` is what everybody sees of it.
    """

    order_id: int
    owner_id: int
    side: Side
    price_ticks: int
    quantity_lots: int


class Special(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What sets a live order apart; 0 means that it does not.

    An iceberg shows at most `peak_lots` and has `hidden_lots` beside them. The order ends at
    `expires_us`, microseconds since 1970. It excludes its partner: what trades ends the other.
    """

    peak_lots: int = 0
    hidden_lots: int = 0
    expires_us: int = 0
    partner_id: int = 0


NO_SPECIAL = Special()


class Depth(NamedTuple):
    """How much waits at each price, best first: (price in ticks, lots)."""

    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


class Book:
    """The waiting orders of one market, and a journal of what changed since `forget`.

    `last_ticks` is the price of the last trade, 0 before the first.
    """

    __slots__ = (
        "_forgotten", "asks", "bids", "expiries", "journal", "last_ticks", "orders", "specials",
        "stops",
    )  # fmt: skip

    def __init__(self) -> None:
        self.bids = Ladder(Side.BUY)
        self.asks = Ladder(Side.SELL)
        self.orders: dict[int, Order] = {}
        self.specials: dict[int, Special] = {}
        self.expiries: SortedList[tuple[int, int]] = SortedList()
        self.stops = Stops()
        self.last_ticks = 0
        self.journal: list[Order | tuple[Order, int] | tuple[Callable[[Book, Any], None], Any]] = []
        self._forgotten = 0

    @classmethod
    def load(
        cls,
        rows: Iterable[tuple[int, int, int, int, int]],
        *,
        stops: Iterable[tuple[Place, int]] = (),
        specials: Iterable[tuple[int, Special]] = (),
        last_ticks: int = 0,
    ) -> Book:
        """Rebuild a book from its waiting orders.

        Rows are (order id, owner id, side, price ticks, lots), in order of priority at
        least within each price. About 1 µs a row. The journal is empty afterwards.
        `stops` are as `book.stops.in_order()` gives them, `specials` as `book.specials`.
        """
        book = cls()
        book.last_ticks = last_ticks
        for order_id, owner_id, side, price_ticks, lots in rows:
            assert order_id not in book.orders, f"order {order_id} is there twice"
            book.rest(order_id, owner_id, _BUY if side == _BUY else _SELL, price_ticks, lots)
        for command, turn in stops:
            book.stops.put(command, turn)
        for order_id, special in specials:
            book.set_special(order_id, special)
        book.forget()
        return book

    def __del__(self) -> None:
        """Take the orders' links apart, which the garbage collector does not follow."""
        self.forget()
        for ladder in (self.bids, self.asks):
            for level in ladder:
                level.first = level.last = None
        for order in self.orders.values():
            order.prev = order.next = None

    # -- changes ---------------------------------------------------------------------------

    def rest(self, order_id: int, owner_id: int, side: Side, price_ticks: int, lots: int) -> None:
        """Put a new order at the end of the queue of its price."""
        assert lots > 0
        if side is _BUY:
            ladder, key = self.bids, -price_ticks
        else:
            ladder, key = self.asks, price_ticks
        level = ladder.levels.get(key)
        if level is None:
            level = Level(ladder, key)
            ladder.add(level)
        last = level.last
        order = Order(order_id, owner_id, lots, level, last, None)
        if last is None:
            level.first = order
        else:
            last.next = order
        level.last = order
        level.lots += lots
        self.orders[order_id] = order
        self.journal.append(order)

    def remove(self, order: Order) -> None:
        """Take an order away, whatever is left of it. It keeps its lots and its links."""
        del self.orders[order.order_id]
        self.journal.append(order)
        self._unlink(order)

    def lower(self, order: Order, lots: int) -> None:
        """Take lots off an order; it keeps its place, and leaves when nothing is left.

        `lots` is between 1 and what is left of it.
        """
        self.journal.append((order, lots))
        order.lots = left = order.lots - lots
        order.level.lots -= lots
        if not left:
            del self.orders[order.order_id]
            self._unlink(order)

    def requeue(self, order: Order) -> None:
        """Show the next part of an iceberg whose shown part is gone, at the end of its queue."""
        special = self.specials[order.order_id]
        shown = min(special.peak_lots, special.hidden_lots)
        self.rest(order.order_id, order.owner_id, order.side, order.price_ticks, shown)
        left = msgspec.structs.replace(special, hidden_lots=special.hidden_lots - shown)
        self.set_special(order.order_id, left)

    def set_special(self, order_id: int, special: Special | None) -> None:
        """Note what sets an order apart from now on; None: nothing does."""
        self.journal.append((Book._put_special, (order_id, self.specials.get(order_id))))
        self._put_special((order_id, None if special == NO_SPECIAL else special))

    def add_stop(self, command: Place) -> None:
        """Let an order wait unseen for its stop price."""
        self.stops.put(command)
        self.journal.append((Book._take_stop, command.order_id))

    def remove_stop(self, order_id: int) -> Place:
        """Take a stop away: cancelled, or about to run."""
        command, turn = self.stops.take(order_id)
        self.journal.append((Book._put_stop, (command, turn)))
        return command

    def printed(self, first_ticks: int, last_ticks: int) -> None:
        """Note the first and the last price of a row of trades, and elect the stops they reach."""
        self.journal.append((Book._put_last, self.last_ticks))
        self.last_ticks = last_ticks
        stops = self.stops
        if not stops.commands:
            return
        low, high = sorted((first_ticks, last_ticks))
        for order_id in stops.reached_by(low, high):
            command, _ = stops.take(order_id)
            stops.put(command, stops.newest_turn + 1)
            self.journal.append((Book._unelect, order_id))

    def _put_special(self, change: tuple[int, Special | None]) -> None:
        order_id, special = change
        before = self.specials.pop(order_id, NO_SPECIAL)
        if special is not None:
            self.specials[order_id] = special
        ends, ended = (special or NO_SPECIAL).expires_us, before.expires_us
        if ends != ended:
            if ended:
                self.expiries.remove((ended, order_id))
            if ends:
                self.expiries.add((ends, order_id))

    def _put_last(self, last_ticks: int) -> None:
        self.last_ticks = last_ticks

    def _put_stop(self, change: tuple[Place, int]) -> None:
        self.stops.put(*change)

    def _take_stop(self, order_id: int) -> None:
        self.stops.take(order_id)

    def _unelect(self, order_id: int) -> None:
        command, _ = self.stops.take(order_id)
        self.stops.put(command)

    def _unlink(self, order: Order) -> None:
        level = order.level
        before, after = order.prev, order.next
        if before is None:
            level.first = after
        else:
            before.next = after
        if after is None:
            level.last = before
        else:
            after.prev = before
        level.lots -= order.lots
        if level.first is None:
            level.ladder.drop(level)

    def _relink(self, order: Order) -> None:
        """Put an order that left back between its old neighbours."""
        level = order.level
        if level.first is None:
            level.ladder.add(level)
        if order.prev is None:
            level.first = order
        else:
            order.prev.next = order
        if order.next is None:
            level.last = order
        else:
            order.next.prev = order
        level.lots += order.lots
        self.orders[order.order_id] = order

    # -- the journal -----------------------------------------------------------------------

    def mark(self) -> int:
        """Remember this moment, to come back to it with `undo_to`."""
        return self._forgotten + len(self.journal)

    def undo_to(self, mark: int) -> None:
        """Bring the book back to a mark, places in the queues included.

        Cost: in proportion to what is undone. Later marks are void after it.
        """
        journal, kept = self.journal, mark - self._forgotten
        assert 0 <= kept <= len(journal), "the mark is newer than the book, or was forgotten"
        while len(journal) > kept:
            change = journal.pop()
            if isinstance(change, tuple):
                what, argument = change
                if isinstance(what, Order):
                    self._raise(what, argument)
                else:
                    what(self, argument)
            elif change.order_id in self.orders:
                del self.orders[change.order_id]
                self._unlink(change)
            else:
                self._relink(change)

    def _raise(self, order: Order, lots: int) -> None:
        if not order.lots:
            self._relink(order)
        order.lots += lots
        order.level.lots += lots

    def forget(self) -> None:
        """Drop the journal: what was done is durable. All marks are void after it."""
        self.forget_to(self.mark())

    def forget_to(self, mark: int) -> None:
        """Drop the journal up to a mark: what was done until then is durable.

        Earlier marks are void after it. Orders that left go with it, those first that left
        first: each holds on to its old neighbours, and letting go of a long row from the
        wrong end would recurse down it.
        """
        journal, count = self.journal, mark - self._forgotten
        assert 0 <= count <= len(journal), "the mark is newer than the book, or was forgotten"
        done = journal[:count]
        del journal[:count]
        self._forgotten = mark
        done.reverse()
        done.clear()

    # -- reads -----------------------------------------------------------------------------

    def best(self, side: Side) -> tuple[int, int] | None:
        """The best price of a side and the lots waiting there; None if nobody waits."""
        ladder = self.bids if side is Side.BUY else self.asks
        if ladder.best_key == NO_KEY:
            return None
        level = ladder.levels[ladder.best_key]
        return level.price_ticks, level.lots

    def is_live(self, order_id: int) -> bool:
        """Say whether an order waits, in the queues or for its stop price."""
        return order_id in self.orders or order_id in self.stops.commands

    def lots_left(self, order_id: int) -> int:
        """What is left of a live order, hidden lots included."""
        order = self.orders.get(order_id)
        if order is None:
            return self.stops.commands[order_id].quantity_lots
        special = self.specials.get(order_id)
        return order.lots if special is None else order.lots + special.hidden_lots

    def expired(self, now_us: int, at_most: int) -> list[int]:
        """The live orders whose end has come, the earliest first. Cost: only what is answered."""
        due = islice(self.expiries.irange(maximum=(now_us, NO_KEY)), at_most)
        return [order_id for _, order_id in due]

    def depth(self, levels: int) -> Depth:
        """The best levels of both sides, at most so many each."""
        return Depth(
            [(level.price_ticks, level.lots) for level in islice(self.bids, levels)],
            [(level.price_ticks, level.lots) for level in islice(self.asks, levels)],
        )

    def lots_at(self, side: Side, price_ticks: int) -> int:
        """How many lots wait at one price of one side."""
        if side is Side.BUY:
            level = self.bids.levels.get(-price_ticks)
        else:
            level = self.asks.levels.get(price_ticks)
        return 0 if level is None else level.lots

    def resting(self) -> Iterator[RestingOrder]:
        """All waiting orders in order of priority: bids, then asks. `load` takes them back."""
        for ladder in (self.bids, self.asks):
            for level in ladder:
                for order in level.orders():
                    yield RestingOrder(
                        order.order_id, order.owner_id, ladder.side, level.price_ticks, order.lots
                    )

    def state_hash(self) -> str:
        """32 hex digits that two books share only if the same orders wait in the same order."""
        digest = blake2b(digest_size=16)
        for order in self.resting():
            digest.update(pack("<qqqqq", *order))
        beside = (self.last_ticks, list(self.stops.in_order()), sorted(self.specials.items()))
        digest.update(msgspec.msgpack.encode(beside))
        return digest.hexdigest()

    def check(self, *, may_cross: bool = False) -> None:
        """Assert all that must hold of a book, whatever happened. Cost: in proportion to it.

        Only a book that gathers for an auction may be crossed.
        """
        seen = 0
        for ladder in (self.bids, self.asks):
            levels = list(ladder)
            assert ladder.best_key == (levels[0].key if levels else NO_KEY)
            assert [level.key for level in levels] == sorted({level.key for level in levels})
            for level in levels:
                assert level is ladder.levels[level.key]
                assert level.ladder is ladder
                seen += self._check_level(level)
        assert seen == len(self.orders), "an order is known but does not wait anywhere"
        crossed = self.bids.best_key + self.asks.best_key <= 0
        assert may_cross or not crossed, "the best bid meets the best ask"
        self.stops.check(self.last_ticks)
        assert not self.orders.keys() & self.stops.commands.keys()
        for order_id, special in self.specials.items():
            self._check_special(order_id, special)
        ends = ((special.expires_us, id) for id, special in self.specials.items())
        assert list(self.expiries) == sorted(end for end in ends if end[0])

    def _check_special(self, order_id: int, special: Special) -> None:
        """Assert what must hold of an order that is set apart."""
        assert self.is_live(order_id), "something is kept about an order that is gone"
        assert special != NO_SPECIAL
        order = self.orders.get(order_id)
        if order is None:
            assert special.peak_lots == special.hidden_lots == 0
        elif special.peak_lots:
            assert order.lots <= special.peak_lots and special.hidden_lots >= 0
        if partner_id := special.partner_id:
            assert self.specials[partner_id].partner_id == order_id
            assert (order is None) is (partner_id in self.orders), "one waits, one is a stop"

    def _check_level(self, level: Level) -> int:
        """Assert what must hold of one price; answer how many orders wait there."""
        count, lots = 0, 0
        before: Order | None = None
        for order in level.orders():
            assert order.prev is before
            assert order.level is level
            assert order.lots > 0
            assert self.orders.get(order.order_id) is order
            before = order
            count += 1
            lots += order.lots
        assert level.last is before
        assert count > 0, "an empty level is still shown"
        assert lots == level.lots
        return count
