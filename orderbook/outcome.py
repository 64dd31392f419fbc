"""What a batch decided: rows to write, and what memory must take back if the commit fails."""

from __future__ import annotations

from collections.abc import Iterator

from orderbook.auction import Cross
from orderbook.book import Order, Side
from orderbook.matching import Fill
from orderbook.memory import Memory, Trading
from orderbook.models import OrderState
from orderbook.plans import PlacePlan
from orderbook.rows import NewFill, NewOrder, OrderChange
from orderbook.settlement import Settlement


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
        self.books: set[int] = set()
        self.accounts_known: list[tuple[int, int]] = []
        self.has_turned_markets = False
        self._memory = memory
        self._holds_before: dict[int, int | None] = {}

    # -- deciding ------------------------------------------------------------------------------

    def add_order(self, plan: PlacePlan) -> NewOrder:
        """Begin the row of a new order, as it was asked for."""
        order = plan.order
        row = NewOrder(
            order.order_id, plan.trading.id, order.owner_id, order.side, order.time_in_force,
            order.price_ticks, order.quantity_lots, plan.client_order_id, plan.digest,
            OrderState.OPEN, OrderState.OPEN, order.quantity_lots, key_id=plan.command.key_id,
        )  # fmt: skip
        self.orders[row.id] = row
        return row

    def add_fill(
        self, taker: NewOrder, fill: Fill, settlement: Settlement, ledger_batch_id: int
    ) -> None:
        """Note a trade on both its orders."""
        taker.taken_lots += fill.quantity_lots
        taker.taken_minor += settlement.amount_minor
        taker.taken_fee_minor += settlement.taker_fee_minor
        taker.remaining_lots -= fill.quantity_lots
        self._take_from_maker(fill, settlement, taker)
        maker_side = Side.SELL if fill.taker_side is Side.BUY else Side.BUY
        self.levels.add((taker.market_id, maker_side, fill.price_ticks))
        self.fills.append(
            NewFill(
                self.first_order_id + len(self.fills), taker.market_id, fill.taker_side,
                fill.price_ticks, fill.quantity_lots, settlement.amount_minor,
                fill.maker_order_id, taker.id, fill.maker_owner_id, fill.taker_owner_id,
                settlement.maker_fee_minor, settlement.taker_fee_minor, ledger_batch_id,
            )
        )  # fmt: skip

    def add_cross(
        self, trading: Trading, cross: Cross, settlement: Settlement, ledger_batch_id: int
    ) -> None:
        """Note an auction's trade on both its orders, which waited both."""
        fill = cross.fill
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
            change = self._change(order_id, owner_id, trading.id)
            change.lots += fill.quantity_lots
            change.minor += settlement.amount_minor
            change.fee_minor += fee_minor
            self._expose(trading, owner_id, 0 if left else -1, limit_ticks, -fill.quantity_lots)
            if not left:
                change.state, change.ended_id = OrderState.FILLED, self.first_order_id
                self._set_hold(order_id, None)
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

    def place(self, row: NewOrder, hold_id: int | None) -> None:
        """The order has taken what it could: with a hold it waits now, without one it is over."""
        if hold_id is not None:
            row.hold_id = hold_id
            self._set_hold(row.id, hold_id)
            self.levels.add((row.market_id, Side(row.side), row.price_ticks))
            trading = self._memory.markets[row.market_id]
            self._expose(trading, row.user_id, 1, row.price_ticks, row.remaining_lots)
            if row.key_id in self._memory.watched:
                self._memory.watched[row.key_id].append((row.market_id, row.id))
            return
        row.state = OrderState.CANCELLED if row.remaining_lots else OrderState.FILLED
        row.entry_state, row.ended_id = row.state, row.id

    def cancel(self, order: Order, market_id: int, ended_id: int) -> None:
        """Note an order that was taken off the book with lots left."""
        self.levels.add((market_id, order.side, order.price_ticks))
        self._end(order.order_id, order.owner_id, market_id, ended_id)
        trading = self._memory.markets[market_id]
        self._expose(trading, order.owner_id, -1, order.price_ticks, -order.lots)

    def _take_from_maker(self, fill: Fill, settlement: Settlement, taker: NewOrder) -> None:
        maker_id = fill.maker_order_id
        row = self.orders.get(maker_id)
        if row is not None:
            row.remaining_lots -= fill.quantity_lots
            row.made_minor += settlement.amount_minor
            row.made_fee_minor += settlement.maker_fee_minor
        else:
            change = self._change(maker_id, fill.maker_owner_id, taker.market_id)
            change.lots += fill.quantity_lots
            change.minor += settlement.amount_minor
            change.fee_minor += settlement.maker_fee_minor
        trading = self._memory.markets[taker.market_id]
        ended = 0 if fill.maker_left_lots else -1
        self._expose(trading, fill.maker_owner_id, ended, fill.price_ticks, -fill.quantity_lots)
        if not fill.maker_left_lots:
            target = row or change
            target.state, target.ended_id = OrderState.FILLED, taker.id
            self._set_hold(maker_id, None)

    def _end(self, order_id: int, user_id: int, market_id: int, ended_id: int) -> None:
        target = self.orders.get(order_id) or self._change(order_id, user_id, market_id)
        target.state, target.ended_id = OrderState.CANCELLED, ended_id
        self._set_hold(order_id, None)

    def _change(self, order_id: int, user_id: int, market_id: int) -> OrderChange:
        return self.changes.setdefault(order_id, OrderChange(order_id, user_id, market_id))

    def _expose(
        self, trading: Trading, user_id: int, orders: int, price_ticks: int, lots: int
    ) -> None:
        """Count what a person has waiting, up or down."""
        notional_minor = price_ticks * lots * trading.tick_minor
        self._memory.exposure.add(user_id, trading.quote_id, orders, notional_minor)

    def _set_hold(self, order_id: int, hold_id: int | None) -> None:
        hold_of = self._memory.hold_of
        self._holds_before.setdefault(order_id, hold_of.get(order_id))
        if hold_id is None:
            del hold_of[order_id]
        else:
            hold_of[order_id] = hold_id

    # -- afterwards ----------------------------------------------------------------------------

    def keep(self) -> None:
        """The batch is durable."""
        self._memory.exposure.forget()
        for market_id in self.books:
            self._memory.markets[market_id].book.forget()
        if self.orders:
            self._memory.newest_order_id = max(self._memory.newest_order_id, *self.orders)

    def take_back(self) -> None:
        """The batch never happened: memory becomes what it was before."""
        for market_id in self.books:
            self._memory.markets[market_id].book.undo_to(0)
        for order_id, hold_id in self._holds_before.items():
            if hold_id is None:
                self._memory.hold_of.pop(order_id, None)
            else:
                self._memory.hold_of[order_id] = hold_id
        self._memory.exposure.undo()
        self._memory.forget_accounts(self.accounts_known)
        if self.has_turned_markets:
            self._memory.forget_markets()

    def level_changes(self) -> Iterator[tuple[int, str, int, int]]:
        """What the batch left at each price it touched: market, side, price in ticks, lots."""
        for market_id, side, price_ticks in sorted(self.levels):
            lots = self._memory.markets[market_id].book.lots_at(side, price_ticks)
            yield market_id, side.name.lower(), price_ticks, lots
