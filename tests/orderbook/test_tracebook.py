"""Somebody else's tests: tracebook-conformance compares our book with its own engine.

Its seeded campaigns and its hash-locked fixtures run through `place`, `cancel` and `reduce`;
after every event outcome, trades and both queues must agree. Not run: pro-rata allocation,
which we do not offer. The adapter does only what the gateway does for people: it counts
prices in ticks and quantities in lots.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orderbook.book import LARGEST_PRICE_TICKS, Book, Side
from orderbook.matching import (
    Place,
    Refusal,
    Report,
    SelfTrade,
    TimeInForce,
    cancel,
    place,
    reduce,
)

pytest.importorskip("tracebook.conformance")

from tracebook.conformance import (
    BookSnapshot,
    BookState,
    ConformanceConfig,
    EngineMetadata,
    Observation,
    Outcome,
    RestingOrder,
    TradeFill,
    canonical_decimal,
    copy_bundled_conformance_suite,
    load_conformance_suite,
    run_campaign,
    run_conformance_suite,
)
from tracebook.core.order import OrderSide, OrderType, SelfTradePolicy
from tracebook.events import MarketEvent

LOTS = 10**12
"""Lots in one: tracebook counts quantities to 12 decimal places."""
OFFERED = (
    "fifo-lifecycle", "order-instructions", "stp-cancel-resting", "stp-cancel-resting-deep",
    "stp-cancel-incoming", "multi-symbol", "tick-grid", "deep-cancellation",
)  # fmt: skip
TIMES_IN_FORCE = {
    OrderType.LIMIT: TimeInForce.GOOD_TILL_CANCELLED,
    OrderType.MARKET: TimeInForce.IMMEDIATE_OR_CANCEL,
    OrderType.IOC: TimeInForce.IMMEDIATE_OR_CANCEL,
    OrderType.FOK: TimeInForce.FILL_OR_KILL,
}
REASONS = {
    Refusal.ORDER_UNKNOWN: "ORDER_NOT_ACTIVE",
    Refusal.ORDER_DUPLICATE: "DUPLICATE_ORDER_ID",
}
APPLIED = Outcome("applied")


class Rejected(Exception):
    """The event is not accepted; its argument is tracebook's reason."""


class Adapter:
    """Our books, one a symbol, behind tracebook's interface."""

    metadata = EngineMetadata("scrip", "1", "Python")

    def __init__(self, config: ConformanceConfig) -> None:
        self.config = config
        self.books: dict[str, Book] = {}
        self.owners: dict[tuple[str, int], int] = {}
        self.trades: list[TradeFill] = []

    def apply(self, event: MarketEvent, index: int) -> Observation:
        self.trades = []
        try:
            getattr(self, f"_{event.op}")(event)
            outcome = APPLIED
        except Rejected as rejected:
            outcome = Outcome("rejected", str(rejected))
        state = self.snapshot()
        return Observation(index, outcome, tuple(self.trades), state.digest(), state.order_count)

    def snapshot(self) -> BookState:
        return BookState(
            tuple(
                BookSnapshot(symbol, *(self._queue(symbol, side) for side in Side))
                for symbol in sorted(self.books)
            )
        )

    def close(self) -> None:
        for book in self.books.values():
            book.check()

    # -- events ----------------------------------------------------------------------------

    def _new(self, event: MarketEvent) -> None:
        book = self.books.setdefault(event.symbol, Book())
        side = Side.BUY if event.side is OrderSide.BUY else Side.SELL
        if event.order_type is OrderType.MARKET:
            price = LARGEST_PRICE_TICKS if side is Side.BUY else 1
        else:
            price = self._ticks(event.price, "INVALID_ORDER")
        lots = self._lots(event.quantity, "INVALID_ORDER")
        assert event.order_id is not None
        self._place(book, event, side, price, lots, event.owner, event.order_type)

    def _cancel(self, event: MarketEvent) -> None:
        book, order_id, owner = self._waiting(event)
        self._expect(cancel(book, order_id, owner))

    def _reduce(self, event: MarketEvent) -> None:
        """Tracebook names the lots to take off; taking all of them is a cancellation."""
        book, order_id, owner = self._waiting(event)
        left = book.orders[order_id].lots - self._lots(event.quantity, "INVALID_ORDER")
        if left < 0:
            raise Rejected("INVALID_ORDER")
        self._expect(reduce(book, order_id, owner, left) if left else cancel(book, order_id, owner))

    def _replace(self, event: MarketEvent) -> None:
        """Anything but a reduction loses its place: a cancellation and a new order."""
        book, order_id, owner = self._waiting(event)
        order = book.orders[order_id]
        side, price, lots = order.side, order.price_ticks, order.lots
        if event.price is not None:
            price = self._ticks(event.price, "INVALID_REPLACEMENT")
        if event.quantity is not None:
            lots = self._lots(event.quantity, "INVALID_REPLACEMENT")
        self._expect(cancel(book, order_id, owner))
        source_owner = self.owners[event.symbol, order_id]
        self._place(book, event, side, price, lots, source_owner, OrderType.LIMIT)

    def _clear(self, event: MarketEvent) -> None:
        self.books[event.symbol] = Book()

    # -- our side --------------------------------------------------------------------------

    def _place(
        self, book: Book, event: MarketEvent, side: Side, price: int, lots: int, owner: int,
        order_type: OrderType,
    ) -> None:  # fmt: skip
        assert event.order_id is not None
        policy = self.config.self_trade_policy
        oldest = policy is SelfTradePolicy.CANCEL_RESTING
        command = Place(
            event.order_id,
            # Where tracebook lets people trade with themselves, every order has its own owner.
            event.order_id if policy is SelfTradePolicy.NONE else owner,
            side,
            price,
            lots,
            TIMES_IN_FORCE[order_type],
            SelfTrade.CANCEL_OLDEST if oldest else SelfTrade.CANCEL_NEWEST,
        )
        report = place(book, command)
        if report.refusal is not Refusal.FILL_OR_KILL_UNFILLED:  # tracebook applies it, to nothing
            self._expect(report)
        if report.refusal is not Refusal.ORDER_DUPLICATE:
            self.owners[event.symbol, event.order_id] = owner
        for fill in report.fills:
            ids = (fill.taker_order_id, fill.maker_order_id)
            buy_id, sell_id = ids if side is Side.BUY else ids[::-1]
            price_text, lots_text = self._price(fill.price_ticks), _quantity(fill.quantity_lots)
            self.trades.append(TradeFill(event.symbol, buy_id, sell_id, price_text, lots_text))

    def _waiting(self, event: MarketEvent) -> tuple[Book, int, int]:
        book = self.books.get(event.symbol)
        assert event.order_id is not None
        if book is None or event.order_id not in book.orders:
            raise Rejected("ORDER_NOT_ACTIVE")
        return book, event.order_id, book.orders[event.order_id].owner_id

    @staticmethod
    def _expect(report: Report) -> None:
        if report.refusal:
            raise Rejected(REASONS[report.refusal])

    def _ticks(self, price: float | None, reason: str) -> int:
        assert price is not None
        ticks = round(price / self.config.tick_size)
        if ticks < 1:
            raise Rejected(reason)
        return ticks

    @staticmethod
    def _lots(quantity: float | None, reason: str) -> int:
        assert quantity is not None
        if quantity <= 0:
            raise Rejected(reason)
        return round(quantity * LOTS)

    def _price(self, ticks: int) -> str:
        return canonical_decimal(round(ticks * self.config.tick_size, 12))

    def _queue(self, symbol: str, side: Side) -> tuple[RestingOrder, ...]:
        return tuple(
            RestingOrder(
                order.order_id,
                self._price(order.price_ticks),
                _quantity(order.quantity_lots),
                self.owners[symbol, order.order_id],
            )
            for order in self.books[symbol].resting()
            if order.side is side
        )


def _quantity(lots: int) -> str:
    return canonical_decimal(f"{lots // LOTS}.{lots % LOTS:012}")


def test_fixtures_pass(tmp_path: Path) -> None:
    copy_bundled_conformance_suite(tmp_path / "v2", suite_version="v2")
    suite = load_conformance_suite(tmp_path / "v2")
    cases = tuple(case for case in suite.cases if case.name in OFFERED)
    result = run_conformance_suite(replace(suite, cases=cases), Adapter)
    failed = [case["name"] for case in result["cases"] if not case["report"]["conformant"]]
    assert (result["conformant_cases"], failed) == (len(OFFERED), [])


@pytest.mark.parametrize(
    ("profile", "traces"),
    [("fifo-full-v1", 10), ("fifo-limit-v1", 4), ("fifo-partial-fill-v1", 4)],
)
def test_campaign_passes(profile: str, traces: int) -> None:
    result = run_campaign(Adapter, profile=profile, seed=42, traces=traces, events_per_trace=200)
    assert result.conformant, result.failure and result.failure.to_dict()
    assert not result.semantic_coverage.uncovered_capabilities


def test_campaign_finds_a_book_that_forgets_its_queue() -> None:
    """The control: a partly filled maker that goes to the end of its queue is caught."""

    class Forgetful(Adapter):
        def _new(self, event: MarketEvent) -> None:
            super()._new(event)
            for book in self.books.values():
                best = book.best(Side.BUY)
                if self.trades and best is not None:
                    order = book.bids.levels[-best[0]].first
                    assert order is not None
                    book.remove(order)
                    book.rest(order.order_id, order.owner_id, Side.BUY, best[0], order.lots)

    assert not run_campaign(Forgetful, profile="fifo-full-v1", seed=42, traces=10).conformant
