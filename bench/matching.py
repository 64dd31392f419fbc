"""How fast the book matches, beside two order books from PyPI, on the same messages.

    python -m bench.matching

All figures are per second of CPU time of this process, the best of several runs taken in
turns, so that a noisy moment hits nobody alone. Each engine starts from the same plain
tuples, makes what it takes of them, and reports every message; reports are read and let go
after each batch, as a writer does, outside the time. All must trade the same lots.
"""

from __future__ import annotations

import gc
import json
import logging
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import lightmatchingengine.lightmatchingengine as light
import pyorderbook

from orderbook.book import Book, Side
from orderbook.matching import Fill, Place, Report, Terms, cancel, place
from orderbook.settlement import settle

MESSAGES = 200_000
SEED = 7
BATCH = 512
"""Messages between two commits: how often the journal is dropped."""
RUNS = 5
RUNS_OF_OTHERS = 3
MIDDLE_TICKS = 10_000
DEEP = 1_000_000
PROBES = 20_000
TERMS = Terms(
    tick_minor=1, lot_units=1, least_price_ticks=1, most_price_ticks=1 << 30, least_lots=1,
    most_lots=1 << 30, maker_fee_bps=10, taker_fee_bps=20,
)  # fmt: skip


class Message(NamedTuple):
    """A new order, or (with no lots) the cancellation of an earlier one."""

    order_id: int
    owner_id: int
    side: Side
    price_ticks: int
    lots: int


def flow(count: int = MESSAGES, seed: int = SEED) -> list[Message]:
    """60 % orders that wait, 30 % cancellations, 10 % orders that trade; 1 to 99 lots each.

    Waiting orders stand away from the middle by an exponential distance, 20 ticks on average.
    Cancellations choose among all orders that waited; some were filled meanwhile. Every
    order has its own owner, since the other engines know no owners.
    """
    rng = random.Random(seed)
    messages: list[Message] = []
    waiting: list[int] = []
    order_id = 0
    for _ in range(count):
        kind = rng.random()
        if kind < 0.3 and waiting:
            at = rng.randrange(len(waiting))
            waiting[at], waiting[-1] = waiting[-1], waiting[at]
            old = waiting.pop()
            messages.append(Message(old, old, Side.BUY, 0, 0))
            continue
        order_id += 1
        side = rng.choice((Side.BUY, Side.SELL))
        if kind < 0.9:
            away = -1 - int(rng.expovariate(1 / 20))
            waiting.append(order_id)
        else:
            away = 50
        price = MIDDLE_TICKS + away if side is Side.BUY else MIDDLE_TICKS - away
        messages.append(Message(order_id, order_id, side, price, rng.randrange(1, 100)))
    return messages


class Run(NamedTuple):
    """CPU seconds for a flow, and the lots that were traded in it."""

    seconds: float
    lots: int


class Ours:
    """Our book, one commit a batch."""

    def __init__(self) -> None:
        self.book = Book()

    def match(self, batch: list[Message]) -> list[Report]:
        book = self.book
        reports = []
        for order_id, owner_id, side, price, lots in batch:
            if lots:
                reports.append(place(book, Place(order_id, owner_id, side, price, lots)))
            else:
                reports.append(cancel(book, order_id, owner_id))
        book.forget()
        return reports

    def traded(self, reports: list[Report]) -> int:
        return sum(fill.quantity_lots for report in reports for fill in report.fills)


class PyOrderBook:
    """pyorderbook: decimal prices in a heap of dataclasses."""

    def __init__(self) -> None:
        self.book = pyorderbook.Book()
        self.orders: dict[int, Any] = {}

    def match(self, batch: list[Message]) -> list[Any]:
        book, orders = self.book, self.orders
        reports = []
        for order_id, _, side, price, lots in batch:
            if lots:
                make = pyorderbook.bid if side is Side.BUY else pyorderbook.ask
                order = orders[order_id] = make("X", price, lots)
                reports.append(book.match(order))
            else:
                try:
                    reports.append(book.cancel(orders[order_id]))
                except KeyError:  # filled already
                    reports.append(None)
        return reports

    def traded(self, reports: list[Any]) -> int:
        return sum(trade.fill_quantity for report in reports if report for trade in report.trades)


class LightMatchingEngine:
    """lightmatchingengine: a list at each price. It counts order ids itself, as the flow does."""

    def __init__(self) -> None:
        self.engine = light.LightMatchingEngine()

    def match(self, batch: list[Message]) -> list[Any]:
        engine = self.engine
        reports = []
        for order_id, _, side, price, lots in batch:
            if lots:
                reports.append(engine.add_order("X", price, lots, 1 if side is Side.BUY else 2))
            else:
                try:
                    reports.append(engine.cancel_order(order_id, "X"))
                except AssertionError:  # filled already, and nobody else at its price
                    reports.append(None)
        return reports

    def traded(self, reports: list[Any]) -> int:
        """It lists each trade twice, once for each side."""
        trades = [report[1] for report in reports if isinstance(report, tuple)]
        twice: int = sum(trade.trade_qty for some in trades for trade in some)
        return twice // 2


def run(engine: Ours | PyOrderBook | LightMatchingEngine, messages: list[Message]) -> Run:
    """Time a flow through a fresh engine, batch by batch."""
    seconds, lots = 0.0, 0
    for start in range(0, len(messages), BATCH):
        batch = messages[start : start + BATCH]
        started = time.process_time()
        reports = engine.match(batch)
        seconds += time.process_time() - started
        lots += engine.traded(reports)
    return Run(seconds, lots)


def measure_flow() -> dict[str, float]:
    """Our book, the others, and how often theirs ours is, over the same messages."""
    logging.getLogger("pyorderbook").setLevel(logging.CRITICAL)
    messages = flow()
    engines: dict[str, type[Ours | PyOrderBook | LightMatchingEngine]] = {
        "": Ours,
        "pyorderbook_": PyOrderBook,
        "lightmatchingengine_": LightMatchingEngine,
    }
    best: dict[str, Run] = {}
    for turn in range(RUNS):
        for name, engine in engines.items():
            if name and turn >= RUNS_OF_OTHERS:
                continue
            gc.collect()
            gc.freeze()
            timed = run(engine(), messages)
            best[name] = min(timed, best.get(name, timed))
    gc.unfreeze()
    assert len({timed.lots for timed in best.values()}) == 1, f"they trade differently: {best}"
    rates = {name: len(messages) / timed.seconds for name, timed in best.items()}
    figures = {f"matching.{name}messages_per_cpu_s": rate for name, rate in rates.items()}
    for name in ("pyorderbook", "lightmatchingengine"):
        figures[f"matching.times_{name}"] = rates[""] / rates[f"{name}_"]
    return figures


def measure_undo() -> dict[str, float]:
    """Matching every batch twice, taken back in between: what an undone message costs."""
    messages = flow(MESSAGES // 2)
    book = Book()
    undoing = 0.0
    for start in range(0, len(messages), BATCH):
        mark = book.mark()
        replay(book, messages[start : start + BATCH])
        started = time.process_time()
        book.undo_to(mark)
        undoing += time.process_time() - started
        replay(book, messages[start : start + BATCH])
        book.forget()
    return {"matching.undone_messages_per_cpu_s": len(messages) / undoing}


def replay(book: Book, messages: Iterable[Message]) -> list[Report]:
    return [
        place(book, Place(*message))
        if message.lots
        else cancel(book, message.order_id, message.owner_id)
        for message in messages
    ]


def measure_settlement() -> dict[str, float]:
    """Working out the legs and fees of every fill of the flow."""
    fills: list[Fill] = []
    for report in replay(Book(), flow()):
        fills.extend(report.fills)
    best = float("inf")
    for _ in range(RUNS):
        started = time.process_time()
        for fill in fills:
            settle(fill, TERMS)
        best = min(best, time.process_time() - started)
    return {"settlement.fills_per_cpu_s": len(fills) / best}


def resting_rows(count: int) -> list[tuple[int, int, int, int, int]]:
    """Orders on 3,000 prices of each side, in the order of their ids."""
    rng = random.Random(SEED)
    rows = []
    for order_id in range(1, count + 1):
        side = rng.choice((Side.BUY, Side.SELL))
        away = rng.randrange(1, 3000)
        price = MIDDLE_TICKS - away if side is Side.BUY else MIDDLE_TICKS + away
        rows.append((order_id, order_id, int(side), price, rng.randrange(1, 100)))
    return rows


def measure_depth() -> dict[str, float]:
    """Rebuilding a book of a million orders, its memory, and whether depth makes it slower."""
    figures: dict[str, float] = {}
    for name, count in (("10k", DEEP // 100), ("1m", DEEP)):
        rows = resting_rows(count)
        gc.collect()
        before = resident_bytes()
        started = time.process_time()
        book = Book.load(rows)
        if count == DEEP:
            figures["matching.load_1m_orders_s"] = time.process_time() - started
            figures["matching.bytes_per_resting_order"] = (resident_bytes() - before) / count
        figures |= {f"matching.{key}_us_at_{name}": us for key, us in probe(book).items()}
    return figures


def probe(book: Book) -> dict[str, float]:
    """Microseconds for a cancellation, and for an order that trades with one maker."""
    chosen = random.Random(SEED).sample(sorted(book.orders), len(book.orders) // 100)[:PROBES]
    started = time.process_time()
    for order_id in chosen:
        cancel(book, order_id, order_id)
    cancelling = (time.process_time() - started) / len(chosen)
    book.forget()
    takers = [Place(-n, -n, Side.BUY, 1 << 20, 1) for n in range(1, len(chosen) + 1)]
    started = time.process_time()
    for taker in takers:
        place(book, taker)
    taking = (time.process_time() - started) / len(takers)
    book.forget()
    return {"cancel": cancelling * 1e6, "take": taking * 1e6}


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure() -> dict[str, float]:
    """All figures, by flat names."""
    return measure_flow() | measure_undo() | measure_settlement() | measure_depth()


if __name__ == "__main__":
    print(json.dumps({key: round(value, 2) for key, value in measure().items()}, indent=2))
