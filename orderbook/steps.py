"""One order entering a book: new, amended, or a stop whose turn has come.

A batch matches steps ahead, then pays for each in turn. A step knows which wallets and holds
that may touch, and what most it writes in the ledger.
"""

from __future__ import annotations

from abc import abstractmethod

import msgspec

from orderbook import matching
from orderbook.book import Book
from orderbook.instructions import Place
from orderbook.matching import Dropped, Report
from orderbook.memory import Trading

TRANSFERS_PER_FILL = 4
"""The most ledger transfers one fill may need: units, proceeds, fees, and a maker's release."""


class Step(msgspec.Struct, eq=False):
    """An order on its way into its book. `mark` is the book's, just before it.

    `at_id` is an id of the batch: what the step ends or puts at the end of a queue says so.
    `halts`: it stopped at the market's band, and the market halts.
    """

    trading: Trading
    order: Place
    at_id: int
    mark: int = -1
    report: Report | None = None
    halts: bool = False

    @property
    def order_id(self) -> int:
        return self.order.order_id

    @property
    def user_id(self) -> int:
        return self.order.owner_id

    @property
    def had_hold(self) -> bool:
        """Say whether its funds were on hold before it."""
        return True

    def match(self) -> int:
        """Match it as if everybody could pay; answer the most ledger transfers it can need."""
        self.mark = self.trading.book.mark()
        self.report = report = self._enter(self.trading.book)
        if report.refusal:
            return 0
        beside = len(report.prevented) + len(report.dropped)
        return TRANSFERS_PER_FILL * len(report.fills) + beside + 2

    @abstractmethod
    def _enter(self, book: Book) -> Report:
        """Put it into the book, each kind of step in its own way."""

    def adds_waiting(self) -> tuple[int, int]:
        """How many orders, and how much notional, wait after it more than before."""
        return 0, 0

    def met_from(self, order_id: int) -> list[int]:
        """The orders it met from this one on, of the same owner: all have that one's wallet."""
        assert self.report is not None
        fills = self.report.fills
        first = [fill.maker_order_id for fill in fills].index(order_id)
        owner_id = fills[first].maker_owner_id
        owned = (fill for fill in fills[first:] if fill.maker_owner_id == owner_id)
        return list(dict.fromkeys(fill.maker_order_id for fill in owned))

    def notional_minor(self, price_ticks: int, lots: int) -> int:
        """What so many lots come to at a price."""
        return price_ticks * lots * self.trading.tick_minor

    def wallets(self) -> list[tuple[int, int]]:
        """The wallets (person, asset) it touches, those of all holds included."""
        report = self.report
        assert report is not None
        if report.refusal:
            return []
        pays, gets = self.trading.sides_of(self.order.side)
        user_id = self.order.owner_id
        if not report.fills and not report.prevented:
            return [(user_id, pays)] if report.resting_lots or self.had_hold else []
        return [
            (user_id, pays),
            (user_id, gets),
            *((fill.maker_owner_id, pays) for fill in report.fills),
            *((fill.maker_owner_id, gets) for fill in report.fills),
        ]

    def holders(self) -> list[int]:
        """The orders whose holds it touches, of earlier orders."""
        report = self.report
        assert report is not None
        ids = [fill.maker_order_id for fill in report.fills]
        if report.prevented:
            ids += [kept.order_id for kept in report.prevented]
        if self.had_hold:
            ids.append(self.order_id)
        return ids


class StopStep(Step, eq=False):
    """A stop that runs."""

    def _enter(self, book: Book) -> Report:
        report, self.halts = self.trading.run_stop()
        assert report.order_id == self.order_id
        return report


class AmendStep(Step, eq=False):
    """An order that changes. `left_lots` is what was left of it before, `before` where it was."""

    left_lots: int = 0
    before: Dropped | None = None

    def _enter(self, book: Book) -> Report:
        self.before = described(book, self.order_id)
        if self.before is not None:
            self.left_lots = book.lots_left(self.order_id)
        report, self.halts = self.trading.amend(self.order)
        return report

    def adds_waiting(self) -> tuple[int, int]:
        assert self.report is not None and self.before is not None
        after = self.notional_minor(self.order.price_ticks, self.report.resting_lots)
        return 0, after - self.notional_minor(self.before.price_ticks, self.left_lots)


class NewStep(Step, eq=False):
    """A new order; with a guard, a pair of which only one may trade."""

    guard: Place | None = None
    guard_report: Report | None = None

    @property
    def had_hold(self) -> bool:
        return False

    def _enter(self, book: Book) -> Report:
        if self.guard is None:
            report, self.halts = self.trading.enter(self.order)
            return report
        if self.trading.state is matching.MarketState.AUCTION:
            return Report(self.order_id, matching.Refusal.NOT_IN_AUCTION)
        pair = self.trading.enter_pair(self.order, self.guard)
        report, self.guard_report, self.halts = pair
        return report

    def adds_waiting(self) -> tuple[int, int]:
        assert self.report is not None
        lots = self.report.resting_lots
        if not lots:
            return 0, 0
        notional_minor = self.notional_minor(self.order.price_ticks, lots)
        if self.guard is None or self.guard_report is None or not self.guard_report.resting_lots:
            return 1, notional_minor
        return 2, notional_minor + self.notional_minor(self.guard.price_ticks, lots)


class Cancelled(msgspec.Struct, eq=False):
    """An order that ends, with its partner."""

    what: Dropped
    report: Report


def next_stop(trading: Trading, at_id: int) -> StopStep | None:
    """The stop whose turn it is in a market that trades, as a step; None if there is none."""
    stops = trading.book.stops
    order_id = stops.next_id()
    if not order_id or trading.state is not matching.MarketState.OPEN:
        return None
    return StopStep(trading, stops.commands[order_id], at_id)


def described(book: Book, order_id: int) -> Dropped | None:
    """A live order as it would be if it ended now; None if it does not live."""
    order = book.orders.get(order_id)
    if order is not None:
        lots = book.lots_left(order_id)
        return Dropped(order_id, order.owner_id, order.side, order.price_ticks, lots, True)
    stop = book.stops.commands.get(order_id)
    if stop is None:
        return None
    return Dropped(order_id, stop.owner_id, stop.side, stop.price_ticks, stop.quantity_lots, False)


def changed(
    book: Book, before: Place, *, price_ticks: int, left_lots: int, stop_ticks: int
) -> Place:
    """Spell a live order as it shall be, from how it was asked for; 0 leaves as it is."""
    order_id = before.order_id
    stop = book.stops.commands.get(order_id)
    special = book.specials.get(order_id)
    now_ticks = stop.price_ticks if stop else book.orders[order_id].price_ticks
    if stop is not None:
        conditions = stop.conditions
        if stop_ticks:
            assert conditions is not None
            conditions = msgspec.structs.replace(conditions, stop_ticks=stop_ticks)
    elif special is None:
        conditions = None
    else:
        conditions = matching.Conditions(peak_lots=special.peak_lots, expires_us=special.expires_us)
    return msgspec.structs.replace(
        before,
        price_ticks=price_ticks or now_ticks,
        quantity_lots=left_lots or book.lots_left(order_id),
        conditions=conditions,
    )
