"""What one order costs, as items for the ledger: its fills' legs and the hold for what waits."""

from __future__ import annotations

from dataclasses import dataclass, field

from orderbook.auction import Cross
from orderbook.book import Side
from orderbook.matching import Fill, Report
from orderbook.memory import Memory, Trading
from orderbook.plans import PlacePlan
from orderbook.settlement import Asset, Leg, Settlement, reserve, settle
from wallet.items import Hold, Item, Post, Transfer, Void
from wallet.ledger import Ledger
from wallet.models import Code

LEG_CODES = {Asset.BASE: Code.TRADE_UNITS.value, Asset.QUOTE: Code.TRADE_PRICE.value}
FEE_CODE = Code.TRADE_FEE.value
HOLD_CODE = Code.ORDER_HOLD.value
RELEASE_CODE = Code.RELEASE.value


@dataclass(slots=True)
class Charges:
    """One order's chain of ledger items, all or nothing.

    `receivers` says, for each item that pays a maker, whose order that is: if the ledger
    refuses that item, the maker's wallet may be at fault.
    """

    chain: list[Item] = field(default_factory=list)
    settlements: list[Settlement] = field(default_factory=list)
    receivers: dict[int, int] = field(default_factory=dict)


def charges_of(plan: PlacePlan, report: Report, memory: Memory, ledger: Ledger) -> Charges:
    """Lay out what an order moves: taker from their balance, makers from their holds."""
    charges = Charges()
    for fill in report.fills:
        _charge_fill(charges, fill, plan.trading, memory, ledger)
    if report.resting_lots:
        charges.chain.append(_hold_item(plan, report.resting_lots, memory))
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
    return chain, receivers, settlement


def release(order_id: int, memory: Memory) -> Void:
    """Give back all that an order still has on hold."""
    return Void(reference="", hold_id=memory.hold_of[order_id], code=RELEASE_CODE)


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
    if not fill.maker_left_lots:
        hold_id = memory.hold_of[fill.maker_order_id]
        if ledger.holds[hold_id].remaining > from_hold:
            charges.chain.append(release(fill.maker_order_id, memory))


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


def _hold_item(plan: PlacePlan, lots: int, memory: Memory) -> Hold:
    order, trading = plan.order, plan.trading
    pays, _ = trading.sides_of(Side(order.side))
    return Hold(
        reference="",
        asset_id=pays,
        debit_account_id=memory.account(order.owner_id, pays),
        credit_account_id=None,
        amount=reserve(trading.terms, order.side, order.price_ticks, lots),
        code=HOLD_CODE,
    )
