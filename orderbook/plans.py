"""The commands of a batch as plans: what is asked, and what matching said of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import msgspec

from edge.ids import ROWS_PER_BATCH
from orderbook import matching
from orderbook.answers import refused_answer
from orderbook.commands import (
    AMEND,
    CANCEL,
    CANCEL_ALL,
    PLACE,
    AmendOrder,
    CancelAll,
    CancelOrder,
    PlaceOrder,
    client_order_digest,
    decode_amend,
    decode_cancel,
    decode_cancel_all,
    decode_place,
)
from orderbook.commands import OrderType as NamedType
from orderbook.commands import SelfTrade as NamedSelfTrade
from orderbook.commands import Side as NamedSide
from orderbook.commands import TimeInForce as NamedTimeInForce
from orderbook.instructions import (
    NO_CONDITIONS,
    Conditions,
    OrderType,
    Place,
    SelfTrade,
    Side,
    TimeInForce,
)
from orderbook.matching import Refusal
from orderbook.memory import Memory, Trading
from orderbook.refusal_words import allowed_by
from orderbook.steps import (
    AmendStep,
    Cancelled,
    NewStep,
    Step,
    StopStep,
    changed,
    described,
    next_stop,
)
from sequencer.commands import Answer, Command

SIDES = {NamedSide.BUY: Side.BUY, NamedSide.SELL: Side.SELL}
TYPES = {name: OrderType[name.name] for name in NamedType}
SELF_TRADES = {name: SelfTrade[name.name] for name in NamedSelfTrade}
TIMES_IN_FORCE = {name: TimeInForce[name.name] for name in NamedTimeInForce}
FIRST_REMEMBERED = Refusal.MARKET_CLOSED
"""From here on a refusal depends on the moment, and is remembered under the client order id."""
IDS_PER_COMMAND = 2
"""The second is for the stop of a pair: it comes next after its limit order."""
MOST_COMMANDS = ROWS_PER_BATCH // IDS_PER_COMMAND - 1
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
        if self.asked.price and self.found_id in self.trading.book.orders:
            return self.trading.rule(order.side, order.price_ticks)
        return Refusal.ACCEPTED


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


def plans_of(
    commands: Sequence[Command], memory: Memory, first_order_id: int, now_us: int
) -> list[Plan | Answer]:
    """Read the commands of a batch. Stops that an earlier one had no room for come first."""
    plans: list[Plan | Answer] = [
        StopsPlan(trading, first_order_id)
        for trading in memory.markets.values()
        if trading.book.stops.turns and next_stop(trading, first_order_id)
    ]
    for index, command in enumerate(commands[:MOST_COMMANDS], 1):
        plan = plan_of(command, memory, first_order_id + IDS_PER_COMMAND * index, now_us)
        if isinstance(plan, CancelAllPlan):
            plans += parts_of(plan, memory, plans)
        else:
            plans.append(plan)
    return plans


def plan_of(command: Command, memory: Memory, own_id: int, now_us: int) -> CommandPlan | Answer:
    """Read one command. What can never be an order is answered at once and not remembered."""
    if command.kind == PLACE:
        return _place_plan(command, decode_place(command.body), memory, own_id, now_us)
    if command.kind == AMEND:
        return _amend_plan(command, decode_amend(command.body), memory, own_id)
    if command.kind == CANCEL_ALL:
        return _cancel_all_plan(command, decode_cancel_all(command.body), memory, own_id)
    assert command.kind == CANCEL, command.kind
    return _cancel_plan(command, decode_cancel(command.body), memory, own_id)


def parts_of(
    plan: CancelAllPlan, memory: Memory, earlier: Iterable[Plan | Answer]
) -> list[CancelAllPlan]:
    """One plan for each market where the person has orders, or may have by then."""
    command = plan.command
    if decode_cancel_all(command.body).market_id:
        market_ids = {plan.trading.id}
    else:
        market_ids = set(memory.orders_of.get(command.user_id, {}).values())
        market_ids.update(
            other.trading.id
            for other in earlier
            if isinstance(other, PlacePlan) and other.user_id == command.user_id
        )
    parts: list[CancelAllPlan] = []
    for market_id in sorted(market_ids) or [plan.trading.id]:
        trading = memory.markets[market_id]
        parts.append(CancelAllPlan(command, trading, plan.side, plan.at_id, [], parts))
    return parts


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


# -- reading -----------------------------------------------------------------------------------


def _place_plan(
    command: Command, asked: PlaceOrder, memory: Memory, own_id: int, now_us: int
) -> PlacePlan | Answer:
    trading = memory.markets.get(asked.market_id)
    if trading is None:
        return refused_answer(command, "wrong_shard")
    terms = trading.terms
    rule = matching.check(
        terms, trading.state, price_minor=asked.price, quantity_units=asked.quantity
    )
    order = _order_of(command, asked, terms, own_id)
    guard = _guard_of(asked, terms, order)
    if order.conditions is not None:
        rule = _firmer(rule, _off_grid(asked, terms))
        lots = order.quantity_lots
        rule = _firmer(rule, matching.check_conditions(terms, order.conditions, lots, now_us))
    if guard is not None:
        rule = _firmer(rule, _guard_rule(asked, terms, guard, now_us))
    if rule and rule < FIRST_REMEMBERED:
        return refused_answer(command, rule.code, members=allowed_by(terms, rule))
    if not asked.stop_price:
        rule = rule or trading.rule(order.side, order.price_ticks)
    return PlacePlan(
        trading,
        order,
        own_id,
        guard=guard,
        command=command,
        digest=client_order_digest(command.user_id, asked.client_order_id),
        client_order_id=asked.client_order_id,
        kind=TYPES[asked.type],
        guard_kind=OrderType.STOP if asked.guard is None else TYPES[asked.guard.type],
        rule=rule,
    )


def _order_of(command: Command, asked: PlaceOrder, terms: matching.Terms, own_id: int) -> Place:
    conditions = None
    if asked.stop_price or asked.display_quantity or asked.min_quantity or asked.expires_us:
        conditions = Conditions(
            stop_ticks=asked.stop_price // terms.tick_minor,
            minimum_lots=asked.min_quantity // terms.lot_units,
            peak_lots=asked.display_quantity // terms.lot_units,
            expires_us=asked.expires_us,
        )
    return Place(
        own_id,
        command.user_id,
        SIDES[asked.side],
        asked.price // terms.tick_minor,
        asked.quantity // terms.lot_units,
        TIMES_IN_FORCE[asked.time_in_force],
        SELF_TRADES[asked.self_trade],
        conditions,
    )


def _guard_of(asked: PlaceOrder, terms: matching.Terms, order: Place) -> Place | None:
    if asked.guard is None:
        return None
    return Place(
        order.order_id + 1,
        order.owner_id,
        order.side,
        asked.guard.price // terms.tick_minor,
        order.quantity_lots,
        TIMES_IN_FORCE[asked.guard.time_in_force],
        order.self_trade,
        Conditions(
            stop_ticks=asked.guard.stop_price // terms.tick_minor, expires_us=asked.expires_us
        ),
    )


def _off_grid(asked: PlaceOrder, terms: matching.Terms) -> Refusal:
    if asked.stop_price % terms.tick_minor:
        return Refusal.STOP_PRICE_OFF_TICK
    if asked.display_quantity % terms.lot_units:
        return Refusal.DISPLAY_QUANTITY_OFF_LOT
    if asked.min_quantity % terms.lot_units:
        return Refusal.MINIMUM_QUANTITY_OFF_LOT
    return Refusal.ACCEPTED


def _guard_rule(asked: PlaceOrder, terms: matching.Terms, guard: Place, now_us: int) -> Refusal:
    assert asked.guard is not None and guard.conditions is not None
    state = matching.MarketState.OPEN
    rule = matching.check(
        terms, state, price_minor=asked.guard.price, quantity_units=asked.quantity
    )
    if asked.guard.stop_price % terms.tick_minor:
        rule = _firmer(rule, Refusal.STOP_PRICE_OFF_TICK)
    lots = guard.quantity_lots
    return _firmer(rule, matching.check_conditions(terms, guard.conditions, lots, now_us))


def _firmer(first: Refusal, second: Refusal) -> Refusal:
    """Of two verdicts the refusal that comes first in precedence."""
    return min(first or second, second or first)


def _cancel_plan(
    command: Command, asked: CancelOrder, memory: Memory, own_id: int
) -> CancelPlan | Answer:
    trading = memory.markets.get(asked.market_id)
    if trading is None:
        return refused_answer(command, "wrong_shard")
    digest = None
    if asked.client_order_id:
        digest = client_order_digest(command.user_id, asked.client_order_id)
    return CancelPlan(command, trading, digest, asked.order_id, own_id)


def _amend_plan(
    command: Command, asked: AmendOrder, memory: Memory, own_id: int
) -> AmendPlan | Answer:
    trading = memory.markets.get(asked.market_id)
    if trading is None:
        return refused_answer(command, "wrong_shard")
    terms = trading.terms
    refuse = partial(refused_answer, command)
    # What is not changed counts as allowed.
    rule = matching.check(
        terms,
        trading.state,
        price_minor=asked.price or terms.least_price_ticks * terms.tick_minor,
        quantity_units=asked.remaining_quantity or terms.least_lots * terms.lot_units,
    )
    if asked.stop_price % terms.tick_minor:
        rule = _firmer(rule, Refusal.STOP_PRICE_OFF_TICK)
    conditions = Conditions(stop_ticks=asked.stop_price // terms.tick_minor)
    rule = _firmer(rule, matching.check_conditions(terms, conditions, 1, 0))
    if rule and rule < FIRST_REMEMBERED:
        return refuse(rule.code, members=allowed_by(terms, rule))
    if trading.state is matching.MarketState.AUCTION:
        rule = Refusal.NOT_IN_AUCTION
    digest = None
    if asked.client_order_id:
        digest = client_order_digest(command.user_id, asked.client_order_id)
    nothing = Place(asked.order_id, command.user_id, Side.BUY, 1, 1)
    return AmendPlan(
        trading, nothing, own_id,
        command=command, digest=digest, asked=asked, found_id=asked.order_id, rule=rule,
    )  # fmt: skip


def _cancel_all_plan(
    command: Command, asked: CancelAll, memory: Memory, own_id: int
) -> CancelAllPlan | Answer:
    """A plan for one market; of many, the first, which stands for all until they are known."""
    trading = memory.markets.get(asked.market_id)
    if asked.market_id and trading is None:
        return refused_answer(command, "wrong_shard")
    side = None if asked.side is None else SIDES[asked.side]
    trading = trading or next(iter(memory.markets.values()), None)
    if trading is None:
        return refused_answer(command, "wrong_shard")
    return CancelAllPlan(command, trading, side, own_id, [], [])
