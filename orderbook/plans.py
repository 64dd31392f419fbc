"""The commands of a batch as plans: what is asked, and what matching said of it."""

from __future__ import annotations

from dataclasses import dataclass

from orderbook import matching
from orderbook.answers import refused_answer
from orderbook.book import Order, Side
from orderbook.commands import (
    PLACE,
    CancelOrder,
    PlaceOrder,
    client_order_digest,
    decode_cancel,
    decode_place,
)
from orderbook.commands import Side as NamedSide
from orderbook.commands import TimeInForce as NamedTimeInForce
from orderbook.memory import Memory, Trading
from sequencer.commands import Answer, Command

SIDES = {NamedSide.BUY: Side.BUY, NamedSide.SELL: Side.SELL}
TIMES_IN_FORCE = {
    NamedTimeInForce.GOOD_TILL_CANCELLED: matching.TimeInForce.GOOD_TILL_CANCELLED,
    NamedTimeInForce.IMMEDIATE_OR_CANCEL: matching.TimeInForce.IMMEDIATE_OR_CANCEL,
    NamedTimeInForce.FILL_OR_KILL: matching.TimeInForce.FILL_OR_KILL,
    NamedTimeInForce.POST_ONLY: matching.TimeInForce.POST_ONLY,
}
TRANSFERS_PER_FILL = 4
"""The most ledger transfers one fill may need: units, proceeds, fees, and a maker's release."""
FIRST_REMEMBERED = matching.Refusal.MARKET_CLOSED
"""From here on a refusal depends on the moment, and is remembered under the client order id."""


@dataclass(slots=True, eq=False)
class PlacePlan:
    """A new order on its way through the batch. `mark` is its book's, just before it."""

    command: Command
    trading: Trading
    digest: bytes
    client_order_id: str
    order: matching.Place
    rule: matching.Refusal
    mark: int = -1
    report: matching.Report | None = None
    halts: bool = False

    @property
    def order_id(self) -> int:
        return self.order.order_id

    def match(self) -> int:
        """Match it as if everybody could pay; answer the most ledger transfers it can need."""
        self.mark = self.trading.book.mark()
        if self.rule:
            self.report = matching.Report(self.order_id, self.rule)
            return 0
        self.report, self.halts = self.trading.enter(self.order)
        return TRANSFERS_PER_FILL * len(self.report.fills) + 1

    def wallets(self) -> list[tuple[int, int]]:
        """The wallets (person, asset) it touches, those of its makers' holds included."""
        report = self.report
        assert report is not None
        if report.refusal:
            return []
        pays, gets = self.trading.sides_of(self.order.side)
        user_id = self.command.user_id
        if not report.fills:
            return [(user_id, pays)] if report.resting_lots else []
        return [
            (user_id, pays),
            (user_id, gets),
            *((fill.maker_owner_id, pays) for fill in report.fills),
            *((fill.maker_owner_id, gets) for fill in report.fills),
        ]

    def makers(self) -> list[int]:
        """The orders it trades with."""
        assert self.report is not None
        return [fill.maker_order_id for fill in self.report.fills]


@dataclass(slots=True, eq=False)
class CancelPlan:
    """A cancellation on its way through the batch. `order_id` is 0 until it is known."""

    command: Command
    trading: Trading
    digest: bytes | None
    order_id: int
    ended_id: int
    order: Order | None = None
    mark: int = -1
    report: matching.Report | None = None

    def match(self) -> int:
        """Take the order off the book; answer the most ledger transfers that can need."""
        self.mark = self.trading.book.mark()
        self.order = self.trading.book.orders.get(self.order_id)
        self.report = matching.cancel(self.trading.book, self.order_id, self.command.user_id)
        return 1

    def wallets(self) -> list[tuple[int, int]]:
        """The wallet of the hold it releases."""
        if self.order is None:
            return []
        pays, _ = self.trading.sides_of(self.order.side)
        return [(self.order.owner_id, pays)]

    def makers(self) -> list[int]:
        """The order whose hold it releases."""
        return [self.order_id]


Plan = PlacePlan | CancelPlan


def plan_of(command: Command, memory: Memory, own_id: int) -> Plan | Answer:
    """Read one command. What can never be an order is answered at once and not remembered."""
    if command.kind == PLACE:
        return _place_plan(command, decode_place(command.body), memory, own_id)
    return _cancel_plan(command, decode_cancel(command.body), memory, own_id)


def _place_plan(
    command: Command, asked: PlaceOrder, memory: Memory, own_id: int
) -> PlacePlan | Answer:
    trading = memory.markets.get(asked.market_id)
    if trading is None:
        return refused_answer(command, "wrong_shard")
    terms = trading.terms
    rule = matching.check(
        terms, trading.state, price_minor=asked.price, quantity_units=asked.quantity
    )
    if rule and rule < FIRST_REMEMBERED:
        return refused_answer(command, rule.code)
    rule = rule or trading.rule(SIDES[asked.side], asked.price // terms.tick_minor)
    order = matching.Place(
        own_id,
        command.user_id,
        SIDES[asked.side],
        asked.price // terms.tick_minor,
        asked.quantity // terms.lot_units,
        TIMES_IN_FORCE[asked.time_in_force],
    )
    digest = client_order_digest(command.user_id, asked.client_order_id)
    return PlacePlan(command, trading, digest, asked.client_order_id, order, rule)


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
