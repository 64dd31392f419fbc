"""A market so simple that it is obviously right: one list of orders, sorted before every trade.

It shares no code with `orderbook`. The fast book must answer as this one does and hold what
this one holds, after every command.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass
class Asked:
    """What an order asks for. 0 means that it does not ask."""

    order_id: int
    owner_id: int
    side: str
    price: int
    lots: int
    time_in_force: str = "good_till_cancelled"
    self_trade: str = "cancel_newest"
    stop: int = 0
    minimum: int = 0
    peak: int = 0
    expires: int = 0


@dataclass
class Live:
    """An order that waits: in the "book", for its "stop" price, or in the "queue" to run.

    `arrival` counts up: a smaller number came first. `lots` is what is shown.
    """

    asked: Asked
    where: str
    lots: int
    hidden: int
    arrival: int
    partner: int = 0

    @property
    def order_id(self) -> int:
        return self.asked.order_id

    @property
    def left(self) -> int:
        return self.lots + self.hidden


@dataclass
class Told:
    """What the market says about one command."""

    order_id: int
    refusal: str = "accepted"
    resting: int = 0
    cancelled: int = 0
    cause: str = "none"
    fills: list[tuple[Any, ...]] = field(default_factory=list)
    prevented: list[tuple[int, int, int, int]] = field(default_factory=list)
    dropped: list[tuple[int, str, int, int, bool]] = field(default_factory=list)
    requeued: list[int] = field(default_factory=list)
    replaced: bool = False


class NaiveBook:
    def __init__(self) -> None:
        self.live: list[Live] = []
        self.arrivals = 0
        self.last = 0
        self.kept: list[Any] = []

    # -- commands --------------------------------------------------------------------------

    def place(self, asked: Asked, most_fills: int = 1000) -> Told:
        if self.find(asked.order_id):
            return Told(asked.order_id, "order_duplicate")
        if asked.stop:
            if self.is_reached(asked, [self.last]):
                return Told(asked.order_id, "stop_would_trigger")
            self.add(asked, "stop", asked.lots, 0)
            return Told(asked.order_id, resting=asked.lots)
        return self.match(asked, most_fills)

    def place_pair(self, limit: Asked, stop: Asked, most_fills: int) -> tuple[Told, Told]:
        before = self.snapshot()
        second = self.place(stop)
        if second.refusal == "accepted":
            self.live.pop()
            first = self.place(limit, most_fills)
        else:
            first = Told(limit.order_id, second.refusal)
        if first.refusal != "accepted":
            self.restore(before)
            return first, Told(stop.order_id, first.refusal)
        if first.fills or first.prevented or first.resting < limit.lots:
            return first, Told(stop.order_id, cancelled=stop.lots, cause="partner")
        self.add(stop, "stop", stop.lots, 0)
        self.found(limit.order_id).partner = stop.order_id
        self.found(stop.order_id).partner = limit.order_id
        return first, second

    def trigger(self, most_fills: int) -> Told:
        stop = min((o for o in self.live if o.where == "queue"), key=lambda o: o.arrival)
        dropped = self.leave(stop)
        told = self.match(replace(stop.asked, stop=0), most_fills)
        if told.refusal != "accepted":
            told = Told(stop.order_id, cancelled=stop.lots, cause="not_possible")
        told.dropped = dropped + told.dropped
        return told

    def cancel(self, order_id: int, owner_id: int, cause: str = "requested") -> Told:
        if refused := self.refused(order_id, owner_id):
            return refused
        order = self.found(order_id)
        dropped = self.leave(order)
        return Told(order_id, cancelled=order.left, cause=cause, dropped=dropped)

    def reduce(self, order_id: int, owner_id: int, lots: int) -> Told:
        order = self.find(order_id)
        if order is None or order.where != "book":
            return Told(order_id, "order_unknown")
        if refused := self.refused(order_id, owner_id):
            return refused
        if order.partner:
            return Told(order_id, "order_paired")
        if lots < 1 or lots >= order.left:
            return Told(order_id, "reduction_not_smaller")
        gone = order.left - lots
        order.hidden = max(0, order.hidden - gone)
        order.lots = lots - order.hidden
        return Told(order_id, resting=lots, cancelled=gone, cause="requested")

    def amend(self, asked: Asked, most_fills: int) -> Told:
        if refused := self.refused(asked.order_id, asked.owner_id):
            return refused
        order = self.found(asked.order_id)
        if order.partner:
            return Told(asked.order_id, "order_paired")
        if order.where != "book":
            return self.amend_stop(order, asked)
        now = order.asked
        if (now.price, now.peak, now.expires) == (asked.price, asked.peak, asked.expires):
            if asked.lots == order.left:
                return Told(asked.order_id, resting=order.left)
            if asked.lots < order.left:
                return self.reduce(asked.order_id, asked.owner_id, asked.lots)
        before = self.snapshot()
        self.live.remove(order)
        told = self.match(asked, most_fills)
        if told.refusal != "accepted":
            self.restore(before)
        else:
            told.replaced = True
        return told

    def amend_stop(self, order: Live, asked: Asked) -> Told:
        if order.asked == asked:
            return Told(asked.order_id, resting=asked.lots)
        if self.is_reached(asked, [self.last]):
            return Told(asked.order_id, "stop_would_trigger")
        self.live.remove(order)
        self.add(asked, "stop", asked.lots, 0)
        return Told(asked.order_id, resting=asked.lots, replaced=True)

    # -- matching --------------------------------------------------------------------------

    def match(self, asked: Asked, most_fills: int) -> Told:
        before = self.snapshot()
        told = Told(asked.order_id)
        left = asked.lots
        met_any = False
        while left and (maker := self.best_against(asked.side, asked.price)):
            met_any = True
            if len(told.fills) + len(told.prevented) == most_fills:
                told.cancelled, told.cause, left = told.cancelled + left, "too_many_fills", 0
            elif maker.asked.owner_id != asked.owner_id:
                left -= self.trade(told, asked, maker, left)
            else:
                left = self.keep_apart(told, maker, left, asked.self_trade)
        refusal = self.not_possible(asked, met_any, sum(fill[6] for fill in told.fills))
        if refusal:
            self.restore(before)
            return Told(asked.order_id, refusal)
        self.elect([fill[5] for fill in told.fills])
        if left and asked.time_in_force in {"immediate_or_cancel", "fill_or_kill"}:
            told.cancelled, told.cause, left = told.cancelled + left, "immediate", 0
        if left:
            shown = min(left, asked.peak) if asked.peak else left
            self.add(asked, "book", shown, left - shown)
        told.resting = left
        return told

    def not_possible(self, asked: Asked, met_any: bool, traded: int) -> str:
        if asked.time_in_force == "post_only" and met_any:
            return "post_only_would_take"
        if asked.time_in_force == "fill_or_kill" and traded < asked.lots:
            return "fill_or_kill_unfilled"
        if traded < asked.minimum:
            return "minimum_quantity_unfilled"
        return ""

    def trade(self, told: Told, asked: Asked, maker: Live, left: int) -> int:
        lots = min(left, maker.lots)
        maker.lots -= lots
        told.fills.append(
            (maker.order_id, maker.asked.owner_id, asked.order_id, asked.owner_id, asked.side,
             maker.asked.price, lots, maker.left)
        )  # fmt: skip
        self.touched(told, maker)
        return lots

    def keep_apart(self, told: Told, maker: Live, left: int, self_trade: str) -> int:
        """A new order meets its owner's waiting one; answer what is left of the new one."""
        gone, price = 0, maker.asked.price
        if self_trade == "decrement":
            gone = min(left, maker.lots)
            maker.lots -= gone
            told.prevented.append((maker.order_id, gone, maker.left, price))
            self.touched(told, maker)
        if self_trade in {"cancel_oldest", "cancel_both"}:
            told.prevented.append((maker.order_id, maker.left, 0, price))
            told.dropped += self.leave(maker)
        if self_trade in {"cancel_newest", "cancel_both"}:
            gone = left
        if gone:
            told.cancelled, told.cause = told.cancelled + gone, "self_trade"
        return left - gone

    def touched(self, told: Told, maker: Live) -> None:
        """A waiting order lost lots: its partner ends, and its next part is shown."""
        told.dropped += self.drop_partner(maker)
        if not maker.lots:
            self.live.remove(maker)
            if maker.hidden:
                shown = min(maker.asked.peak, maker.hidden)
                self.add(maker.asked, "book", shown, maker.hidden - shown)
                told.requeued.append(maker.order_id)

    def elect(self, prints: list[int]) -> None:
        """Let the stops that any of these trades reaches run, in their order."""
        if prints:
            self.last = prints[-1]
        reached = [o for o in self.live if o.where == "stop" and self.is_reached(o.asked, prints)]
        buys = [o for o in reached if o.asked.side == "buy"]
        sells = [o for o in reached if o.asked.side == "sell"]
        buys.sort(key=lambda o: (o.asked.stop, o.order_id))
        sells.sort(key=lambda o: (-o.asked.stop, o.order_id))
        for stop in buys + sells:
            self.arrivals += 1
            stop.where, stop.arrival = "queue", self.arrivals

    def is_reached(self, asked: Asked, prints: list[int]) -> bool:
        if asked.side == "buy":
            return any(price >= asked.stop for price in prints if price)
        return any(price <= asked.stop for price in prints if price)

    def leave(self, order: Live) -> list[tuple[int, str, int, int, bool]]:
        self.live.remove(order)
        return self.drop_partner(order)

    def drop_partner(self, order: Live) -> list[tuple[int, str, int, int, bool]]:
        if not order.partner:
            return []
        other = self.found(order.partner)
        order.partner = 0
        self.live.remove(other)
        shown = other.where == "book"
        return [(other.order_id, other.asked.side, other.asked.price, other.left, shown)]

    def add(self, asked: Asked, where: str, lots: int, hidden: int) -> None:
        self.arrivals += 1
        self.live.append(Live(replace(asked), where, lots, hidden, self.arrivals))

    # -- going back ------------------------------------------------------------------------

    def snapshot(self) -> Any:
        return [replace(order) for order in self.live], self.arrivals, self.last

    def restore(self, before: Any) -> None:
        self.live, self.arrivals, self.last = before

    def mark(self) -> int:
        self.kept.append(self.snapshot())
        return len(self.kept) - 1

    def undo_to(self, mark: int) -> None:
        self.restore(self.kept[mark])
        del self.kept[mark:]

    # -- looking ---------------------------------------------------------------------------

    def find(self, order_id: int) -> Live | None:
        return next((order for order in self.live if order.order_id == order_id), None)

    def found(self, order_id: int) -> Live:
        order = self.find(order_id)
        assert order is not None
        return order

    def refused(self, order_id: int, owner_id: int) -> Told | None:
        order = self.find(order_id)
        if order is None:
            return Told(order_id, "order_unknown")
        if order.asked.owner_id != owner_id:
            return Told(order_id, "order_not_owned")
        return None

    def waiting(self, side: str) -> list[Live]:
        """One side of the book, best price first, oldest first within a price."""
        orders = [o for o in self.live if o.where == "book" and o.asked.side == side]
        sign = -1 if side == "buy" else 1
        return sorted(orders, key=lambda o: (sign * o.asked.price, o.arrival))

    def best_against(self, side: str, price: int) -> Live | None:
        """The order that a new one of this side and price trades with first."""
        for order in self.waiting("sell" if side == "buy" else "buy"):
            theirs = order.asked.price
            return order if (theirs <= price if side == "buy" else theirs >= price) else None
        return None

    def expired(self, now: int) -> list[int]:
        due = [o for o in self.live if 0 < o.asked.expires <= now]
        return [o.order_id for o in sorted(due, key=lambda o: (o.asked.expires, o.order_id))]

    def rows(self) -> list[tuple[int, int, str, int, int, int]]:
        """All that waits in the book, with its hidden lots: bids then asks, best first."""
        orders = self.waiting("buy") + self.waiting("sell")
        return [
            (o.order_id, o.asked.owner_id, o.asked.side, o.asked.price, o.lots, o.hidden)
            for o in orders
        ]

    def stops(self) -> list[int]:
        """The stops that wait, nearest first, then those that shall run, in order."""
        waits = [o for o in self.live if o.where == "stop"]
        buys = sorted((o.asked.stop, o.order_id) for o in waits if o.asked.side == "buy")
        sells = sorted((-o.asked.stop, o.order_id) for o in waits if o.asked.side == "sell")
        queue = sorted((o.arrival, o.order_id) for o in self.live if o.where == "queue")
        return [order_id for _, order_id in buys + sells + queue]

    def depth(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        sides = []
        for side in ("buy", "sell"):
            totals: dict[int, int] = {}
            for order in self.waiting(side):
                totals[order.asked.price] = totals.get(order.asked.price, 0) + order.lots
            sides.append(list(totals.items()))
        return sides[0], sides[1]
