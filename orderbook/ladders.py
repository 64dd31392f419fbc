"""The queues of a book: each side's prices, best first, and at each price who came first. Pure.

A ladder's levels are sorted by a *key* that is smaller for a better price (asks: the price;
bids: minus the price), so one code serves both sides. The orders of a level are a doubly
linked list, so that leaving it from the middle costs nothing but two links.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from sortedcontainers import SortedList

from orderbook.instructions import Side

NO_KEY = 1 << 62
"""The key of the best level of an empty ladder: worse than any price."""
LARGEST_PRICE_TICKS = NO_KEY - 1
_BUY, _SELL = Side.BUY, Side.SELL


class Order(msgspec.Struct, gc=False, eq=False):
    """A waiting order in its queue. `lots` is what is left of it, hidden lots not counted.

    Only a book holds orders. The garbage collector never looks at them, because a million of
    them would make it slow; `Book.__del__` takes their links apart instead.
    """

    order_id: int
    owner_id: int
    lots: int
    level: Level
    prev: Order | None
    next: Order | None

    @property
    def side(self) -> Side:
        return self.level.ladder.side

    @property
    def price_ticks(self) -> int:
        return self.level.price_ticks


class Level:
    """All orders at one price of one side, oldest first, and how many lots they are."""

    __slots__ = ("first", "key", "ladder", "last", "lots", "price_ticks")

    def __init__(self, ladder: Ladder, key: int) -> None:
        self.ladder = ladder
        self.key = key
        self.price_ticks = -key if ladder.side is _BUY else key
        self.lots = 0
        self.first: Order | None = None
        self.last: Order | None = None

    def orders(self) -> Iterator[Order]:
        """The orders of this price, oldest first."""
        order = self.first
        while order is not None:
            yield order
            order = order.next


class Ladder:
    """One side's price levels, best first. `best_key` is kept, because every order asks."""

    __slots__ = ("best_key", "keys", "levels", "side")

    def __init__(self, side: Side) -> None:
        self.side = side
        self.keys: SortedList[int] = SortedList()
        self.levels: dict[int, Level] = {}
        self.best_key = NO_KEY

    def add(self, level: Level) -> None:
        """Show a level that has orders. Cost: logarithmic in the number of levels."""
        key = level.key
        self.levels[key] = level
        self.keys.add(key)
        if key < self.best_key:
            self.best_key = key

    def drop(self, level: Level) -> None:
        """Take away a level whose last order left."""
        key = level.key
        del self.levels[key]
        if key != self.best_key:
            self.keys.remove(key)
        else:
            self.keys.pop(0)
            self.best_key = self.keys[0] if self.keys else NO_KEY

    def __iter__(self) -> Iterator[Level]:
        """The levels, best first."""
        return map(self.levels.__getitem__, self.keys)
