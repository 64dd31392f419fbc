"""What a batch decided: rows to write, and what memory must take back if the commit fails."""

from __future__ import annotations

from collections.abc import Iterator

from orderbook.auction import Cross
from orderbook.book import Side
from orderbook.charges import Charges
from orderbook.instructions import OrderType, Place
from orderbook.matching import Cause, Dropped, Fill, Report
from orderbook.memory import Memory, Trading
from orderbook.models import OrderState
from orderbook.plans import PlacePlan
from orderbook.rows import NewFill, NewOrder, OrderChange, unsaid_cause
from orderbook.settlement import Settlement
from orderbook.special_rows import SpecialRow
from orderbook.steps import AmendStep, Step
from orderbook.stops import stop_ticks_of


class Outcome:
    """The orders, fills and changes of one batch, and the levels of the books they moved.

    It also moves `memory.hold_of` along, and can put that (and the books) back.
    """

    def __init__(self, memory: Memory, first_order_id: int) -> None:
        self.first_order_id = first_order_id
        self.orders: dict[int, NewOrder] = {}
        self.fills: list[NewFill] = []
        self.changes: dict[int, OrderChange] = {}
        self.levels: set[tuple[int, Side, int]] = set()
        self.books: dict[int, int] = {}
        self.accounts_known: list[tuple[int, int]] = []
        self.has_turned_markets = False
        self.turned: set[int] = set()
        self._memory = memory
        self._exposure_before = memory.exposure.mark()
        self._holds_before: dict[int, tuple[int, int, int | None]] = {}
        self._specials: dict[int, SpecialRow] = {}
        self._requeued = 0
        self._ends: dict[int, int] = {}
        self._exposure_end = 0

    def touch(self, trading: Trading) -> None:
        """Remember how a market's book was, before the batch changes it."""
        if trading.id not in self.books:
            self.books[trading.id] = trading.book.mark()

    # -- deciding ------------------------------------------------------------------------------

    def add_order(self, plan: PlacePlan) -> NewOrder:
        """Begin the row of a new order, as it was asked for; of a pair, both."""
        row = self._add_row(plan, plan.order, plan.kind)
        if plan.guard is not None:
            row.guard = self._add_row(plan, plan.guard, plan.guard_kind)
            self._special(row.id, row.market_id).partner_id = row.guard.id
            self._special(row.guard.id, row.market_id).partner_id = row.id
        return row

    def _add_row(self, plan: PlacePlan, order: Place, kind: OrderType) -> NewOrder:
        is_guard = order is plan.guard
        row = self.orders[order.order_id] = NewOrder(
            order.order_id, plan.trading.id, order.owner_id, order.side, order.time_in_force,
            order.price_ticks, order.quantity_lots, "" if is_guard else plan.client_order_id,
            None if is_guard else plan.digest, OrderState.OPEN, OrderState.OPEN,
            order.quantity_lots, kind=kind, self_trade=order.self_trade,
            key_id=plan.command.key_id,
        )  # fmt: skip
        if order.conditions is not None:
            asked = row.conditions = order.conditions
            special = self._special(row.id, row.market_id)
            special.stop_ticks, special.minimum_lots = asked.stop_ticks, asked.minimum_lots
            special.peak_lots, special.expires_us = asked.peak_lots, asked.expires_us
        return row

    def refuse(self, row: NewOrder, code: str) -> None:
        """The order is over before it began, and its guard."""
        for refused in (row, row.guard):
            if refused is not None:
                refused.entry_state = refused.state = OrderState.REFUSED
                refused.refusal, refused.ended_id = code, row.id

    def enter(
        self, row: NewOrder, plan: PlacePlan, charges: Charges, hold_id: int, ledger_batch_id: int
    ) -> None:
        """A new order has taken what it could. If it waits now, it has a hold."""
        report = plan.report
        assert report is not None
        if report.fills or report.prevented or report.dropped or report.requeued:
            self._note(plan, charges, ledger_batch_id, row)
            row.remaining_lots -= row.taken_lots
        self._place(row, plan, report, hold_id)
        row.entry_state = row.state
        if row.guard is not None:
            assert plan.guard_report is not None
            self._place(row.guard, plan, plan.guard_report, hold_id)
            row.guard.entry_state = row.guard.state

    def go_on(self, step: Step, charges: Charges, hold_id: int, ledger_batch_id: int) -> None:
        """An order that was live before has changed, or has run: note what it traded."""
        report, order, trading = step.report, step.order, step.trading
        assert report is not None
        self._note(step, charges, ledger_batch_id, None)
        lots = sum(fill.quantity_lots for fill in report.fills)
        is_amended = isinstance(step, AmendStep)
        before = step.left_lots if isinstance(step, AmendStep) else order.quantity_lots
        was_at = step.before.price_ticks if isinstance(step, AmendStep) and step.before else 0
        self._expose(trading, order.owner_id, -1, was_at or order.price_ticks, -before)
        row = self._target(order.order_id, order.owner_id, step.trading.id)
        if isinstance(row, NewOrder):
            row.remaining_lots -= lots
        else:
            row.lots += lots
        for settled in charges.settlements:
            row.made_minor += settled.amount_minor
            row.made_fee_minor += settled.taker_fee_minor
        special = self._special(order.order_id, step.trading.id)
        if not report.resting_lots:
            special.cause = report.cause
        if is_amended:
            special.amended_price_ticks = order.price_ticks
            special.amended_stop_ticks = stop_ticks_of(order)
        else:
            special.ran_id = step.at_id
        if report.is_replaced or not is_amended:
            self._requeue(order.order_id, trading.id, step.at_id)
        self._reduce(row, before - lots - (report.resting_lots or report.cancelled_lots))
        if report.resting_lots:
            row.hold_id = hold_id
            self._set_hold(order.order_id, order.owner_id, step.trading.id, hold_id)
            self._expose(trading, order.owner_id, 1, order.price_ticks, report.resting_lots)
        else:
            is_filled = not report.cancelled_lots
            self._end(row, step.at_id, OrderState.FILLED if is_filled else OrderState.CANCELLED)
        waits_unseen = is_amended and stop_ticks_of(order)
        if report.resting_lots and not waits_unseen:
            self.levels.add((step.trading.id, order.side, order.price_ticks))
        if isinstance(step, AmendStep) and step.before is not None and step.before.was_shown:
            self.levels.add((step.trading.id, order.side, step.before.price_ticks))

    def cancel(self, gone: Dropped, market_id: int, ended_id: int, cause: Cause) -> None:
        """Note an order that was taken off the book with lots left, and why."""
        if gone.was_shown:
            self.levels.add((market_id, gone.side, gone.price_ticks))
        row = self._target(gone.order_id, gone.owner_id, market_id)
        self._end(row, ended_id, OrderState.CANCELLED)
        self._explain(gone.order_id, market_id, cause)
        trading = self._memory.markets[market_id]
        self._expose(trading, gone.owner_id, -1, gone.price_ticks, -gone.cancelled_lots)

    def _note(
        self, step: Step, charges: Charges, ledger_batch_id: int, row: NewOrder | None
    ) -> None:
        """Note what a step did to others; `row` is a new order's own, which took."""
        report, market_id = step.report, step.trading.id
        assert report is not None
        for fill, settled in zip(report.fills, charges.settlements, strict=True):
            self._add_fill(step, fill, settled, ledger_batch_id)
            if row is not None:
                row.taken_lots += fill.quantity_lots
                row.taken_minor += settled.amount_minor
                row.taken_fee_minor += settled.taker_fee_minor
        for order_id in report.requeued:
            self._requeue(order_id, market_id, step.at_id)
        other_side = Side.SELL if step.order.side is Side.BUY else Side.BUY
        for kept in report.prevented:
            self.levels.add((market_id, other_side, kept.price_ticks))
            owner_id, ended = step.order.owner_id, 0 if kept.left_lots else -1
            target = self._target(kept.order_id, owner_id, market_id)
            self._expose(step.trading, owner_id, ended, kept.price_ticks, -kept.cancelled_lots)
            if kept.left_lots:
                self._reduce(target, kept.cancelled_lots)
            else:
                self._end(target, step.at_id, OrderState.CANCELLED)
                self._explain(kept.order_id, market_id, Cause.SELF_TRADE)
        for gone in report.dropped:
            self.cancel(gone, market_id, step.at_id, Cause.PARTNER)

    def _add_fill(
        self, step: Step, fill: Fill, settlement: Settlement, ledger_batch_id: int
    ) -> None:
        """Note a trade, and what it did to the order that waited."""
        maker_side = Side.SELL if fill.taker_side is Side.BUY else Side.BUY
        market_id = step.trading.id
        self.levels.add((market_id, maker_side, fill.price_ticks))
        self.fills.append(
            NewFill(
                self.first_order_id + len(self.fills), market_id, fill.taker_side,
                fill.price_ticks, fill.quantity_lots, settlement.amount_minor,
                fill.maker_order_id, fill.taker_order_id, fill.maker_owner_id,
                fill.taker_owner_id, settlement.maker_fee_minor, settlement.taker_fee_minor,
                ledger_batch_id,
            )
        )  # fmt: skip
        maker = self._target(fill.maker_order_id, fill.maker_owner_id, market_id)
        if isinstance(maker, NewOrder):
            maker.remaining_lots -= fill.quantity_lots
        else:
            maker.lots += fill.quantity_lots
        maker.made_minor += settlement.amount_minor
        maker.made_fee_minor += settlement.maker_fee_minor
        ended = 0 if fill.maker_left_lots else -1
        lots = -fill.quantity_lots
        self._expose(step.trading, fill.maker_owner_id, ended, fill.price_ticks, lots)
        if ended:
            self._end(maker, step.at_id, OrderState.FILLED)

    def add_cross(
        self, trading: Trading, cross: Cross, settlement: Settlement, ledger_batch_id: int
    ) -> None:
        """Note an auction's trade on both its orders, which waited both."""
        fill, at_id = cross.fill, self.first_order_id
        buys_last = fill.taker_side is Side.BUY
        limits = (
            (cross.ask_ticks, cross.bid_ticks) if buys_last else (cross.bid_ticks, cross.ask_ticks)
        )
        for order_id, owner_id, left, fee_minor, limit_ticks in (
            (fill.maker_order_id, fill.maker_owner_id, fill.maker_left_lots,
             settlement.maker_fee_minor, limits[0]),
            (fill.taker_order_id, fill.taker_owner_id, cross.taker_left_lots,
             settlement.taker_fee_minor, limits[1]),
        ):  # fmt: skip
            change = self._target(order_id, owner_id, trading.id)
            assert isinstance(change, OrderChange), "deeds come before orders"
            change.lots += fill.quantity_lots
            change.made_minor += settlement.amount_minor
            change.made_fee_minor += fee_minor
            self._expose(trading, owner_id, 0 if left else -1, limit_ticks, -fill.quantity_lots)
            if not left:
                self._end(change, at_id, OrderState.FILLED)
        for order_id in cross.requeued:
            self._requeue(order_id, trading.id, at_id)
        for gone in cross.dropped:
            self.cancel(gone, trading.id, at_id, Cause.PARTNER)
        self.levels.add((trading.id, Side.BUY, cross.bid_ticks))
        self.levels.add((trading.id, Side.SELL, cross.ask_ticks))
        self.fills.append(
            NewFill(
                self.first_order_id + len(self.fills), trading.id, fill.taker_side,
                fill.price_ticks, fill.quantity_lots, settlement.amount_minor,
                fill.maker_order_id, fill.taker_order_id, fill.maker_owner_id,
                fill.taker_owner_id, settlement.maker_fee_minor, settlement.taker_fee_minor,
                ledger_batch_id, True,
            )
        )  # fmt: skip

    def _place(self, row: NewOrder, plan: PlacePlan, report: Report, hold_id: int) -> None:
        """A new order waits now, or is over."""
        if report.resting_lots:
            if row.remaining_lots != report.resting_lots:
                self._reduce(row, row.remaining_lots - report.resting_lots)
            row.hold_id = hold_id
            self._set_hold(row.id, row.user_id, row.market_id, hold_id)
            if not row.conditions.stop_ticks:
                self.levels.add((row.market_id, plan.order.side, row.price_ticks))
            self._expose(plan.trading, row.user_id, 1, row.price_ticks, report.resting_lots)
            if row.key_id in self._memory.watched:
                self._memory.watched[row.key_id].append((row.market_id, row.id))
            return
        row.state = OrderState.CANCELLED if row.remaining_lots else OrderState.FILLED
        row.ended_id, row.cause = plan.at_id, report.cause
        self._explain(row.id, row.market_id, report.cause)

    def _reduce(self, row: NewOrder | OrderChange, lots: int) -> None:
        """Take lots off an order that were not traded; a negative number adds."""
        if not lots:
            return
        row.reduced_lots += lots
        if isinstance(row, NewOrder):
            row.remaining_lots -= lots
        self._special(row.id, row.market_id).reduced_lots += lots

    def _requeue(self, order_id: int, market_id: int, at_id: int) -> None:
        """The order goes to the end of the queue of its price."""
        special = self._special(order_id, market_id)
        self._requeued += 1
        special.priority_id, special.priority_index = at_id, self._requeued

    def _end(self, row: NewOrder | OrderChange, ended_id: int, state: OrderState) -> None:
        row.state, row.ended_id = state, ended_id
        self._set_hold(row.id, row.user_id, row.market_id, None)

    def _explain(self, order_id: int, market_id: int, cause: Cause) -> None:
        """Note why an order was cancelled, where that does not go without saying."""
        if cause > Cause.IMMEDIATE:
            self._special(order_id, market_id).cause = cause

    def _target(self, order_id: int, user_id: int, market_id: int) -> NewOrder | OrderChange:
        row = self.orders.get(order_id)
        if row is not None:
            return row
        change = self.changes.get(order_id)
        if change is None:
            change = self.changes[order_id] = OrderChange(order_id, user_id, market_id)
        return change

    def _special(self, order_id: int, market_id: int) -> SpecialRow:
        special = self._specials.get(order_id)
        if special is None:
            special = self._specials[order_id] = SpecialRow(order_id, market_id)
        return special

    def special_rows(self) -> list[SpecialRow]:
        """What sets orders apart, as the batch leaves it."""
        for market_id in self.books:
            book = self._memory.markets[market_id].book
            for order_id in (*book.stops.turns,):
                self._special(order_id, market_id)
            if book.specials:
                for order_id in book.specials.keys() & (self.orders.keys() | self.changes.keys()):
                    self._special(order_id, market_id)
        for row in self._specials.values():
            book = self._memory.markets[row.market_id].book
            order, special = book.orders.get(row.order_id), book.specials.get(row.order_id)
            row.shown_lots = order.lots if order and special and special.peak_lots else 0
            row.turn = book.stops.turns.get(row.order_id, 0)
        return list(self._specials.values())

    def _expose(
        self, trading: Trading, user_id: int, orders: int, price_ticks: int, lots: int
    ) -> None:
        """Count what a person has waiting, up or down."""
        notional_minor = price_ticks * lots * trading.tick_minor
        self._memory.exposure.add(user_id, trading.quote_id, orders, notional_minor)

    def _set_hold(self, order_id: int, user_id: int, market_id: int, hold_id: int | None) -> None:
        memory = self._memory
        if order_id not in self._holds_before:
            self._holds_before[order_id] = (user_id, market_id, memory.hold_of.get(order_id))
        memory.set_hold(order_id, user_id, market_id, hold_id)

    def cause_of(self, row: NewOrder | OrderChange) -> Cause:
        """Why the batch cancelled an order; `NONE` if it did not."""
        if row.state != OrderState.CANCELLED:
            return Cause.NONE
        special = self._specials.get(row.id)
        if special is not None and special.cause:
            return Cause(special.cause)
        return unsaid_cause(row.entry_state if isinstance(row, NewOrder) else OrderState.OPEN)

    # -- afterwards ----------------------------------------------------------------------------

    def decided(self) -> None:
        """Nothing is added to the batch any more: note how far it goes in the journals."""
        memory = self._memory
        self._ends = {id: memory.markets[id].book.mark() for id in self.books}
        self._exposure_end = memory.exposure.mark()
        newest = [row.priority_id for row in self._specials.values()]
        memory.newest_order_id = max((memory.newest_order_id, *self.orders, *newest))

    def keep(self) -> None:
        """The batch is durable. Another that was decided after it may not be."""
        memory = self._memory
        memory.exposure.forget_to(self._exposure_end)
        for market_id, mark in self._ends.items():
            memory.markets[market_id].book.forget_to(mark)

    def take_back(self) -> None:
        """The batch never happened, nor any after it: memory becomes what it was before."""
        memory = self._memory
        for market_id, mark in self.books.items():
            memory.markets[market_id].book.undo_to(mark)
            memory.markets[market_id].feed_sequence = None
        for market_id in self.turned:
            memory.markets[market_id].feed_sequence = None
        for order_id, before in self._holds_before.items():
            memory.set_hold(order_id, *before)
        memory.exposure.undo_to(self._exposure_before)
        memory.forget_accounts(self.accounts_known)
        if self.has_turned_markets:
            memory.forget_markets()

    def level_changes(self) -> Iterator[tuple[int, str, int, int]]:
        """What the batch left at each price it touched: market, side, price in ticks, lots."""
        for market_id, side, price_ticks in sorted(self.levels):
            lots = self._memory.markets[market_id].book.lots_at(side, price_ticks)
            yield market_id, side.name.lower(), price_ticks, lots
