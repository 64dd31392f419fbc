"""What one order costs, as items for the ledger: its fills' legs and the hold for what waits.

An order whose funds were on hold before (it was amended, or it is a stop that runs) gives
them back first and then pays like any other: one chain, so it can always pay as much as was
set aside. A pair has one hold, for the dearer of the two; when one of them trades, what the
hold has beyond that one's needs is released.
"""

from __future__ import annotations

import msgspec

from orderbook.auction import Cross
from orderbook.book import Side
from orderbook.matching import Fill
from orderbook.memory import Memory, Trading
from orderbook.settlement import Asset, Leg, Settlement, reserve, settle
from orderbook.steps import NewStep, Step
from wallet.items import Hold, Item, Post, Transfer, Void
from wallet.ledger import Ledger
from wallet.models import Code

LEG_CODES = {Asset.BASE: Code.TRADE_UNITS.value, Asset.QUOTE: Code.TRADE_PRICE.value}
FEE_CODE = Code.TRADE_FEE.value
HOLD_CODE = Code.ORDER_HOLD.value
RELEASE_CODE = Code.RELEASE.value


class Charges(msgspec.Struct, gc=False):
    """One order's chain of ledger items, all or nothing.

    `receivers` says, for each item that pays a maker, whose order that is: if the ledger
    refuses that item, the maker's wallet may be at fault. `spent` is what the chain takes
    out of each hold.
    """

    chain: list[Item] = msgspec.field(default_factory=list)
    settlements: list[Settlement] = msgspec.field(default_factory=list)
    receivers: dict[int, int] = msgspec.field(default_factory=dict)
    spent: dict[int, int] = msgspec.field(default_factory=dict)


def charges_of(step: Step, memory: Memory, ledger: Ledger) -> Charges:
    """Lay out what an order moves: taker from their balance, makers from their holds.

    If it waits afterwards, its hold is the last item.
    """
    charges, report = Charges(), step.report
    assert report is not None
    if step.had_hold:
        charges.chain.append(release(step.order_id, memory))
    for fill in report.fills:
        _charge_fill(charges, fill, step.trading, memory, ledger)
    if report.prevented:
        _release_prevented(charges, step, memory, ledger)
    if report.dropped:
        _release_surplus(charges, step, memory, ledger)
    if report.resting_lots:
        charges.chain.append(_hold_item(step, report.resting_lots, memory))
    return charges


def charges_of_cross(
    cross: Cross, trading: Trading, memory: Memory, ledger: Ledger
) -> tuple[list[Item], dict[int, int], Settlement]:
    """Lay out what an auction's trade moves: both sides pay from their holds.

    Answers the chain, the order that each item pays, and the amounts. A hold whose order is
    done is released. What is left on the hold of one that waits on covers what is left of
    it: an auction leaves a part waiting only of an order whose limit is its price.
    """
    fill = cross.fill
    settlement = settle(fill, trading.terms)
    orders = {
        fill.maker_owner_id: fill.maker_order_id, fill.taker_owner_id: fill.taker_order_id,
    }  # fmt: skip
    chain: list[Item] = []
    receivers: dict[int, int] = {}
    spent = dict.fromkeys(orders.values(), 0)
    for leg in settlement.legs:
        spent[leg.order_id] += leg.amount
        if leg.payee_id is not None:
            receivers[len(chain)] = orders[leg.payee_id]
        chain.append(_leg_item(leg, trading, memory, from_hold=True))
    for order_id, left in (
        (fill.maker_order_id, fill.maker_left_lots), (fill.taker_order_id, cross.taker_left_lots),
    ):  # fmt: skip
        if not left and ledger.holds[memory.hold_of[order_id]].remaining > spent[order_id]:
            chain.append(release(order_id, memory))
    if cross.dropped:
        chain += _surplus_of_pairs(cross, spent, trading, memory, ledger)
    return chain, receivers, settlement


def _surplus_of_pairs(
    cross: Cross, spent: dict[int, int], trading: Trading, memory: Memory, ledger: Ledger
) -> list[Item]:
    """Give back what a pair's hold has beyond the needs of the one that traded and waits on."""
    fill = cross.fill
    shared = {memory.hold_of[dropped.order_id] for dropped in cross.dropped}
    maker_side = Side.SELL if fill.taker_side is Side.BUY else Side.BUY
    chain: list[Item] = []
    for order_id, left, side in (
        (fill.maker_order_id, fill.maker_left_lots, maker_side),
        (fill.taker_order_id, cross.taker_left_lots, fill.taker_side),
    ):
        hold_id = memory.hold_of[order_id]
        if not left or hold_id not in shared:
            continue
        limit_ticks = cross.bid_ticks if side is Side.BUY else cross.ask_ticks
        needed = reserve(trading.terms, side, limit_ticks, left)
        surplus = ledger.holds[hold_id].remaining - spent[order_id] - needed
        if surplus > 0:
            void = Void(reference="", hold_id=hold_id, amount=surplus, code=RELEASE_CODE)
            chain.append(void)
    return chain


def release(order_id: int, memory: Memory) -> Void:
    """Give back all that an order still has on hold."""
    return Void(reference="", hold_id=memory.hold_of[order_id], code=RELEASE_CODE)


def _release_prevented(charges: Charges, step: Step, memory: Memory, ledger: Ledger) -> None:
    """Give back what own orders no longer need that were kept from trading with this one."""
    assert step.report is not None
    side = Side.SELL if step.order.side is Side.BUY else Side.BUY
    left = {kept.order_id: kept for kept in step.report.prevented}
    for kept in left.values():
        needed = reserve(step.trading.terms, side, kept.price_ticks, kept.left_lots)
        _release_down_to(needed, memory.hold_of[kept.order_id], charges, ledger)


def _release_surplus(charges: Charges, step: Step, memory: Memory, ledger: Ledger) -> None:
    """Give back what the hold of a pair has beyond the needs of the order that traded."""
    assert step.report is not None
    shared = {memory.hold_of[dropped.order_id] for dropped in step.report.dropped}
    side = Side.SELL if step.order.side is Side.BUY else Side.BUY
    for fill in {fill.maker_order_id: fill for fill in step.report.fills}.values():
        hold_id = memory.hold_of[fill.maker_order_id]
        if hold_id in shared and fill.maker_left_lots:
            left = fill.maker_left_lots
            needed = reserve(step.trading.terms, side, fill.price_ticks, left)
            _release_down_to(needed, hold_id, charges, ledger)


def _release_down_to(needed: int, hold_id: int, charges: Charges, ledger: Ledger) -> None:
    surplus = ledger.holds[hold_id].remaining - charges.spent.get(hold_id, 0) - needed
    if surplus > 0:
        charges.spent[hold_id] = charges.spent.get(hold_id, 0) + surplus
        charges.chain.append(Void(reference="", hold_id=hold_id, amount=surplus, code=RELEASE_CODE))


def _charge_fill(
    charges: Charges, fill: Fill, trading: Trading, memory: Memory, ledger: Ledger
) -> None:
    settlement = settle(fill, trading.terms)
    charges.settlements.append(settlement)
    from_hold = 0
    for leg in settlement.legs:
        if leg.payee_id == fill.maker_owner_id:
            charges.receivers[len(charges.chain)] = fill.maker_order_id
        if leg.is_makers:
            from_hold += leg.amount
        charges.chain.append(_leg_item(leg, trading, memory))
    hold_id = memory.hold_of[fill.maker_order_id]
    charges.spent[hold_id] = charges.spent.get(hold_id, 0) + from_hold
    if not fill.maker_left_lots:
        _release_down_to(0, hold_id, charges, ledger)


def _leg_item(leg: Leg, trading: Trading, memory: Memory, *, from_hold: bool = False) -> Item:
    asset_id = trading.base_id if leg.asset is Asset.BASE else trading.quote_id
    if leg.payee_id is None:
        credit_id, code = trading.fee_account_id, FEE_CODE
    else:
        credit_id, code = memory.account(leg.payee_id, asset_id), LEG_CODES[leg.asset]
    if leg.is_makers or from_hold:
        return Post(
            reference="",
            hold_id=memory.hold_of[leg.order_id],
            amount=leg.amount,
            credit_account_id=credit_id,
            rest_is_kept=True,
            code=code,
        )
    return Transfer(
        reference="",
        asset_id=asset_id,
        debit_account_id=memory.account(leg.payer_id, asset_id),
        credit_account_id=credit_id,
        amount=leg.amount,
        code=code,
    )


def _hold_item(step: Step, lots: int, memory: Memory) -> Hold:
    order, trading = step.order, step.trading
    pays, _ = trading.sides_of(order.side)
    amount = reserve(trading.terms, order.side, order.price_ticks, lots)
    if isinstance(step, NewStep) and step.guard_report and step.guard_report.resting_lots:
        assert step.guard is not None
        guarded = reserve(trading.terms, order.side, step.guard.price_ticks, lots)
        amount = max(amount, guarded)
    return Hold(
        reference="",
        asset_id=pays,
        debit_account_id=memory.account(order.owner_id, pays),
        credit_account_id=None,
        amount=amount,
        code=HOLD_CODE,
    )
