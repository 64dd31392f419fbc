"""How much one person may have waiting at once: so many orders, so much money. Pure.

    exposure.add(user_id, quote_id, 1, notional_minor)        # an order waits
    exposure.add(user_id, quote_id, 0, -traded_minor)         # some of it traded
    exposure.undo_to(mark); exposure.forget_to(mark)          # the batch failed; is durable

The notional of an order is what its waiting lots come to at its price, whichever its side.
Counted on one shard, because shards share nothing.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple


class Limit(NamedTuple):
    """The most open orders, and the most notional of one quote asset; None: no such limit."""

    orders: int | None = None
    notional_minor: int | None = None


NO_LIMIT = Limit()


class Exposure:
    """What each person has waiting, and what they may. One thread."""

    __slots__ = ("_forgotten", "_journal", "everybodys", "notional", "orders", "own")

    def __init__(self) -> None:
        self.orders: defaultdict[int, int] = defaultdict(int)
        self.notional: defaultdict[tuple[int, int], int] = defaultdict(int)
        self.everybodys = NO_LIMIT
        self.own: dict[int, Limit] = {}
        self._journal: list[tuple[int, int, int, int]] = []
        self._forgotten = 0

    def add(self, user_id: int, quote_id: int, orders: int, notional_minor: int) -> None:
        """Count orders and notional in (or out, below zero)."""
        self._count(user_id, quote_id, orders, notional_minor)
        self._journal.append((user_id, quote_id, orders, notional_minor))

    @property
    def is_limited(self) -> bool:
        """Say whether anybody has a limit."""
        return bool(self.own) or self.everybodys is not NO_LIMIT

    def refusal(self, user_id: int, quote_id: int, notional_minor: int, orders: int = 1) -> str:
        """Why more orders of this notional may not wait: a code, or nothing."""
        limit = self.own.get(user_id, self.everybodys)
        count = self.orders.get(user_id, 0) + orders
        if limit.orders is not None and orders > 0 and count > limit.orders:
            return "too_many_open_orders"
        if limit.notional_minor is None:
            return ""
        waiting = self.notional.get((user_id, quote_id), 0)
        return "open_notional_exceeded" if waiting + notional_minor > limit.notional_minor else ""

    def mark(self) -> int:
        """Remember this moment, to come back to it with `undo_to`."""
        return self._forgotten + len(self._journal)

    def undo_to(self, mark: int) -> None:
        """Take back all since a mark."""
        kept = mark - self._forgotten
        for user_id, quote_id, orders, notional_minor in reversed(self._journal[kept:]):
            self._count(user_id, quote_id, -orders, -notional_minor)
        del self._journal[kept:]

    def forget_to(self, mark: int) -> None:
        """What was counted until a mark is durable. Earlier marks are void after it."""
        del self._journal[: mark - self._forgotten]
        self._forgotten = mark

    def forget(self) -> None:
        """All that was counted is durable."""
        self.forget_to(self.mark())

    def clear(self) -> None:
        """Nobody has anything waiting. The limits stay."""
        self.orders.clear()
        self.notional.clear()
        self._journal.clear()

    def _count(self, user_id: int, quote_id: int, orders: int, notional_minor: int) -> None:
        if orders:
            count = self.orders[user_id] + orders
            if count:
                self.orders[user_id] = count
            else:
                del self.orders[user_id]
        key = (user_id, quote_id)
        minor = self.notional[key] + notional_minor
        if minor:
            self.notional[key] = minor
        else:
            del self.notional[key]
