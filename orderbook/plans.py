"""The commands of a batch as plans: what is asked, and what matching said of it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from orderbook import matching
from orderbook.commands import (
    AmendOrder,
)
from orderbook.instructions import (
    NO_CONDITIONS,
    OrderType,
    Place,
    Side,
)
from orderbook.matching import Refusal
from orderbook.memory import Trading
from orderbook.steps import (
    AmendStep,
    Cancelled,
    NewStep,
    Step,
    StopStep,
    changed,
    described,
)
from sequencer.commands import Command

FIRST_REMEMBERED = Refusal.MARKET_CLOSED
"""From here on a refusal depends on the moment, and is remembered under the client order id."""
MOST_CANCELLED = 500
"""The most orders that one command cancels; it answers how many are left."""


class PlacePlan(NewStep, eq=False, kw_only=True):
    """A new order on its way through the batch, and the stops that its trades make run."""

    command: Command
    digest: bytes
    client_order_id: str
    kind: OrderType
    guard_kind: OrderType = OrderType.STOP
    rule: Refusal
    stops: list[StopStep] = msgspec.field(default_factory=list)

    def match(self) -> int:
        if not self.rule:
            return NewStep.match(self)
        self.mark = self.trading.book.mark()
        self.report = matching.Report(self.order_id, self.rule)
        return 0


class AmendPlan(AmendStep, eq=False, kw_only=True):
    """An amendment on its way through the batch. `found_id` is 0 until it is known.

    `order` is how the order was asked for, as far as that is known, until `match` makes of it
    what it shall be.
    """

    command: Command
    digest: bytes | None
    asked: AmendOrder
    found_id: int
    rule: Refusal
    before_it: Place | None = None
    has_no_stop: bool = False
    bars: Mapping[Side, Refusal] = msgspec.field(default_factory=dict)
    """Why its owner may not buy or sell the units just now; see `orderbook.gate`."""
    stops: list[StopStep] = msgspec.field(default_factory=list)

    def match(self) -> int:
        book, terms = self.trading.book, self.trading.terms
        self.mark = book.mark()
        self.has_no_stop = self.halts = False  # it may be matched a second time
        owner = owner_of(self.trading, self.found_id)
        if owner != self.command.user_id or self.before_it is None:
            self.report = matching.Report(self.found_id, Refusal.ORDER_UNKNOWN)
            return 0
        if self.rule:
            self.report = matching.Report(self.found_id, self.rule)
            return 0
        asked = self.asked
        self.has_no_stop = bool(asked.stop_price) and self.found_id not in book.stops.commands
        if self.has_no_stop:
            self.report = matching.Report(self.found_id, Refusal.ORDER_UNKNOWN)
            return 0
        self.order = changed(
            book,
            self.before_it,
            price_ticks=asked.price // terms.tick_minor,
            left_lots=asked.remaining_quantity // terms.lot_units,
            stop_ticks=asked.stop_price // terms.tick_minor,
        )
        if rule := self._rule_of_change():
            self.report = matching.Report(self.found_id, rule)
            return 0
        return AmendStep.match(self)

    def _rule_of_change(self) -> Refusal:
        """Say what the market does not allow of the order as it shall be."""
        order, peak_lots = self.order, (self.order.conditions or NO_CONDITIONS).peak_lots
        if peak_lots and peak_lots * matching.MOST_PEAKS < order.quantity_lots:
            return Refusal.DISPLAY_QUANTITY_TOO_SMALL
        rule = Refusal.ACCEPTED
        if self.asked.price and self.found_id in self.trading.book.orders:
            rule = self.trading.rule(order.side, order.price_ticks)
        if self.bars and not self._only_reduces():
            rule = rule or self.bars[order.side]
        return rule

    def _only_reduces(self) -> bool:
        """Say whether less of the order is all that is asked for."""
        book, order = self.trading.book, self.order
        was = described(book, self.found_id)
        assert was is not None
        return (
            order.price_ticks == was.price_ticks
            and order.quantity_lots <= was.cancelled_lots
            and not self.asked.stop_price
        )


class CancelPlan(msgspec.Struct, eq=False):
    """A cancellation on its way through the batch. `order_id` is 0 until it is known."""

    command: Command
    trading: Trading
    digest: bytes | None
    order_id: int
    at_id: int
    mark: int = -1
    report: matching.Report | None = None
    ended: list[Cancelled] = msgspec.field(default_factory=list)
    stops: list[StopStep] = msgspec.field(default_factory=list)

    def match(self) -> int:
        """Take the order off the book; answer the most ledger transfers that can need."""
        book = self.trading.book
        self.mark = book.mark()
        what = described(book, self.order_id)
        self.report = matching.cancel(book, self.order_id, self.command.user_id)
        if what is not None and not self.report.refusal:
            self.ended = [Cancelled(what, self.report)]
        return 1

    def wallets(self) -> list[tuple[int, int]]:
        """The wallets of the holds it releases."""
        return wallets_of(self.trading, self.command.user_id, self.ended)

    def holders(self) -> list[int]:
        """The orders whose holds it releases."""
        return [ended.what.order_id for ended in self.ended]


class CancelAllPlan(msgspec.Struct, eq=False):
    """The cancellation of all one's orders of a market, as one of the command's parts.

    `candidates` are the orders that may be meant; `parts` all plans of the command, of which
    the last one answers.
    """

    command: Command
    trading: Trading
    side: Side | None
    at_id: int
    candidates: list[int]
    parts: list[CancelAllPlan]
    mark: int = -1
    report: matching.Report | None = None
    ended: list[Cancelled] = msgspec.field(default_factory=list)
    left: int = 0
    stops: list[StopStep] = msgspec.field(default_factory=list)

    def match(self) -> int:
        """Take the orders off the book; answer the most ledger transfers that can need."""
        book, user_id = self.trading.book, self.command.user_id
        self.mark, self.left, self.ended = book.mark(), 0, []
        room = MOST_CANCELLED - sum(len(part.ended) for part in self.parts if part is not self)
        for order_id in self.candidates:
            what = described(book, order_id)
            if what is None or owner_of(self.trading, order_id) != user_id:
                continue
            if self.side is not None and what.side is not self.side:
                continue
            if len(self.ended) >= room:
                self.left += 1
                continue
            self.ended.append(Cancelled(what, matching.cancel(book, order_id, user_id)))
        self.report = matching.Report(0)
        return len(self.ended)

    def wallets(self) -> list[tuple[int, int]]:
        """The wallets of the holds it releases."""
        return wallets_of(self.trading, self.command.user_id, self.ended)

    def holders(self) -> list[int]:
        """The orders whose holds it releases."""
        return [ended.what.order_id for ended in self.ended]


class StopsPlan(msgspec.Struct, eq=False):
    """Stops that were elected in an earlier batch, and had no room in it any more."""

    trading: Trading
    at_id: int
    mark: int = -1
    report: matching.Report | None = None
    stops: list[StopStep] = msgspec.field(default_factory=list)

    def match(self) -> int:
        """There is only what follows."""
        self.mark, self.report = self.trading.book.mark(), matching.Report(0)
        return 0

    def wallets(self) -> list[tuple[int, int]]:
        """None: each stop names its own."""
        return []

    def holders(self) -> list[int]:
        """None: each stop names its own."""
        return []


MAY_HALT = (PlacePlan, AmendPlan)
NAMED = (PlacePlan, AmendPlan, CancelPlan)
"""As tuples: a union is put together anew wherever it is spelt out, in the midst of a batch."""
CommandPlan = PlacePlan | AmendPlan | CancelPlan | CancelAllPlan
Plan = CommandPlan | StopsPlan
Part = Plan | Step


def first_part(plan: Plan, index: int) -> int:
    """Where the command of the plan at `index` begins: one of many parts is not cut in two."""
    return index - plan.parts.index(plan) if isinstance(plan, CancelAllPlan) else index


def content_of(plan: PlacePlan) -> tuple[object, ...]:
    """All that a new order asks for, as `NewOrder.content` and `StoredOrder.content` say it."""
    guard = plan.guard and _content(plan, plan.guard, plan.guard_kind)
    return (*_content(plan, plan.order, plan.kind), guard)


def _content(plan: PlacePlan, order: Place, kind: OrderType) -> tuple[object, ...]:
    return (
        plan.trading.id, order.side, kind, order.price_ticks, order.quantity_lots,
        order.time_in_force, order.self_trade, order.conditions or NO_CONDITIONS,
    )  # fmt: skip


def owner_of(trading: Trading, order_id: int) -> int:
    """Whose live order this is; 0 if it does not live."""
    book = trading.book
    found = book.orders.get(order_id) or book.stops.commands.get(order_id)
    return found.owner_id if found else 0


def wallets_of(trading: Trading, user_id: int, ended: list[Cancelled]) -> list[tuple[int, int]]:
    """The wallets of the holds of one person's orders."""
    sides = {cancelled.what.side for cancelled in ended}
    return [(user_id, trading.sides_of(side)[0]) for side in sides]
