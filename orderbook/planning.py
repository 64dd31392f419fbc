"""Reads the commands of a batch: what each asks for, as a plan, or why it can be no order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

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
    Conditions,
    OrderType,
    Place,
    SelfTrade,
    Side,
    TimeInForce,
)
from orderbook.matching import Refusal
from orderbook.memory import Memory
from orderbook.plans import (
    FIRST_REMEMBERED,
    AmendPlan,
    CancelAllPlan,
    CancelPlan,
    CommandPlan,
    PlacePlan,
    Plan,
    StopsPlan,
)
from orderbook.refusal_words import allowed_by
from orderbook.steps import next_stop
from sequencer.commands import Answer, Command

SIDES = {NamedSide.BUY: Side.BUY, NamedSide.SELL: Side.SELL}
TYPES = {name: OrderType[name.name] for name in NamedType}
SELF_TRADES = {name: SelfTrade[name.name] for name in NamedSelfTrade}
TIMES_IN_FORCE = {name: TimeInForce[name.name] for name in NamedTimeInForce}
BOUNDS = {
    Refusal.PRICE_TOO_LOW, Refusal.PRICE_TOO_HIGH, Refusal.QUANTITY_TOO_SMALL,
    Refusal.QUANTITY_TOO_LARGE, Refusal.STOP_PRICE_TOO_LOW, Refusal.STOP_PRICE_TOO_HIGH,
}  # fmt: skip
"""An operator may change these bounds: an order within them once is answered as it was then."""
IDS_PER_COMMAND = 2
"""The second is for the stop of a pair: it comes next after its limit order."""
MOST_COMMANDS = ROWS_PER_BATCH // IDS_PER_COMMAND - 1


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
    if rule and rule < FIRST_REMEMBERED and not (rule in BOUNDS and _is_on_grid(asked, terms)):
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


def _is_on_grid(asked: PlaceOrder, terms: matching.Terms) -> bool:
    """Say whether prices and sizes are whole ticks and lots, as those of every stored order."""
    prices, guard = [asked.price, asked.stop_price], asked.guard
    if guard is not None:
        prices += [guard.price, guard.stop_price]
    sizes = [asked.quantity, asked.display_quantity, asked.min_quantity]
    is_whole = not any(price % terms.tick_minor for price in prices)
    return is_whole and not any(size % terms.lot_units for size in sizes)


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
