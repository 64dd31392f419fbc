"""A market so simple that it is obviously right: one list of orders, sorted before every trade.

It shares no code with `orderbook`. The fast book must answer as this one does and hold what
this one holds, after every command.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass
class Waiting:
    """An order that waits. `arrival` counts up: a smaller number came first."""

    order_id: int
    owner_id: int
    side: str
    price: int
    lots: int
    arrival: int


@dataclass
class Told:
    """What the market says about one command."""

    order_id: int
    refusal: str = "accepted"
    resting: int = 0
    cancelled: int = 0
    cause: str = "none"
    fills: list[tuple[Any, ...]] = field(default_factory=list)
    prevented: list[tuple[int, int, int]] = field(default_factory=list)


class NaiveBook:
    def __init__(self) -> None:
        self.waiting: list[Waiting] = []
        self.arrivals = 0
        self.kept: list[tuple[list[Waiting], int]] = []

    # -- commands --------------------------------------------------------------------------

    def place(
        self, order_id: int, owner_id: int, side: str, price: int, lots: int,
        time_in_force: str, self_trade: str, most_fills: int,
    ) -> Told:  # fmt: skip
        if self.find(order_id):
            return Told(order_id, "order_duplicate")
        before = [replace(order) for order in self.waiting]
        told = Told(order_id)
        left = lots
        met_any = False
        while left and (maker := self.best_against(side, price)):
            met_any = True
            if len(told.fills) + len(told.prevented) == most_fills:
                told.cancelled, told.cause, left = told.cancelled + left, "too_many_fills", 0
            elif maker.owner_id != owner_id:
                traded = min(left, maker.lots)
                left -= traded
                self.lower(maker, traded)
                told.fills.append(
                    (maker.order_id, maker.owner_id, order_id, owner_id, side, maker.price,
                     traded, maker.lots)
                )  # fmt: skip
            else:
                left = self.keep_apart(told, maker, left, self_trade)
        if time_in_force == "post_only" and met_any:
            self.waiting = before
            return Told(order_id, "post_only_would_take")
        if time_in_force == "fill_or_kill" and sum(fill[6] for fill in told.fills) < lots:
            self.waiting = before
            return Told(order_id, "fill_or_kill_unfilled")
        if left and time_in_force == "immediate_or_cancel":
            told.cancelled, told.cause, left = told.cancelled + left, "immediate", 0
        if left:
            self.arrivals += 1
            self.waiting.append(Waiting(order_id, owner_id, side, price, left, self.arrivals))
        told.resting = left
        return told

    def keep_apart(self, told: Told, maker: Waiting, left: int, self_trade: str) -> int:
        """A new order meets its owner's waiting one; answer what is left of the new one."""
        gone = 0
        if self_trade == "decrement":
            gone = min(left, maker.lots)
            self.lower(maker, gone)
            told.prevented.append((maker.order_id, gone, maker.lots))
        if self_trade in {"cancel_oldest", "cancel_both"}:
            told.prevented.append((maker.order_id, maker.lots, 0))
            self.waiting.remove(maker)
        if self_trade in {"cancel_newest", "cancel_both"}:
            gone = left
        if gone:
            told.cancelled, told.cause = told.cancelled + gone, "self_trade"
        return left - gone

    def cancel(self, order_id: int, owner_id: int) -> Told:
        order = self.find(order_id)
        if order is None:
            return Told(order_id, "order_unknown")
        if order.owner_id != owner_id:
            return Told(order_id, "order_not_owned")
        self.waiting.remove(order)
        return Told(order_id, cancelled=order.lots, cause="requested")

    def reduce(self, order_id: int, owner_id: int, lots: int) -> Told:
        order = self.find(order_id)
        if order is None:
            return Told(order_id, "order_unknown")
        if order.owner_id != owner_id:
            return Told(order_id, "order_not_owned")
        if lots < 1 or lots >= order.lots:
            return Told(order_id, "reduction_not_smaller")
        gone, order.lots = order.lots - lots, lots
        return Told(order_id, resting=lots, cancelled=gone, cause="requested")

    # -- going back ------------------------------------------------------------------------

    def mark(self) -> int:
        self.kept.append(([replace(order) for order in self.waiting], self.arrivals))
        return len(self.kept) - 1

    def undo_to(self, mark: int) -> None:
        self.waiting, self.arrivals = self.kept[mark]
        del self.kept[mark:]

    # -- looking ---------------------------------------------------------------------------

    def find(self, order_id: int) -> Waiting | None:
        return next((order for order in self.waiting if order.order_id == order_id), None)

    def best_against(self, side: str, price: int) -> Waiting | None:
        """The order that a new one of this side and price trades with first."""
        if side == "buy":
            sells = [o for o in self.waiting if o.side == "sell" and o.price <= price]
            return min(sells, key=lambda o: (o.price, o.arrival), default=None)
        buys = [o for o in self.waiting if o.side == "buy" and o.price >= price]
        return min(buys, key=lambda o: (-o.price, o.arrival), default=None)

    def lower(self, order: Waiting, lots: int) -> None:
        order.lots -= lots
        if not order.lots:
            self.waiting.remove(order)

    def rows(self) -> list[tuple[int, int, str, int, int]]:
        """All that waits: bids then asks, best price first, oldest first within a price."""
        buys = sorted(
            (o for o in self.waiting if o.side == "buy"), key=lambda o: (-o.price, o.arrival)
        )
        sells = sorted(
            (o for o in self.waiting if o.side == "sell"), key=lambda o: (o.price, o.arrival)
        )
        return [(o.order_id, o.owner_id, o.side, o.price, o.lots) for o in buys + sells]

    def depth(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        totals: dict[tuple[str, int], int] = {}
        for order in self.waiting:
            key = (order.side, order.price)
            totals[key] = totals.get(key, 0) + order.lots
        bids = sorted(((p, lots) for (s, p), lots in totals.items() if s == "buy"), reverse=True)
        asks = sorted((p, lots) for (s, p), lots in totals.items() if s == "sell")
        return bids, asks
