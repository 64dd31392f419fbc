"""The fast book against the naive one: same answers, same book, after every command."""

from __future__ import annotations

import random
from dataclasses import astuple
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orderbook.book import Book, Side
from orderbook.matching import Place, Report, SelfTrade, TimeInForce, cancel, place, reduce
from tests.orderbook.naive_book import NaiveBook, Told

SIDES = st.sampled_from(list(Side))
PLACES = st.tuples(
    st.just("place"),
    st.integers(1, 40),  # order ids, some used twice
    st.integers(1, 3),  # owners
    SIDES,
    st.integers(1, 8),  # prices
    st.integers(1, 6),  # lots
    st.sampled_from([TimeInForce.GOOD_TILL_CANCELLED] * 4 + list(TimeInForce)),
    st.sampled_from(SelfTrade),
    st.sampled_from([1, 2, 1000, 1000]),  # the most fills
)
CANCELS = st.tuples(st.just("cancel"), st.integers(1, 40), st.integers(1, 3))
REDUCES = st.tuples(st.just("reduce"), st.integers(1, 40), st.integers(1, 3), st.integers(0, 6))
TURNS = st.one_of(
    st.tuples(st.just("mark")),
    st.tuples(st.just("undo"), st.integers(0, 9)),
    st.tuples(st.just("forget")),
)
FLOWS = st.lists(
    st.one_of(PLACES, PLACES, PLACES, CANCELS, REDUCES, TURNS), min_size=8, max_size=60
)


def told(report: Report) -> tuple[Any, ...]:
    """A report in the naive book's words."""
    fills = [
        (f.maker_order_id, f.maker_owner_id, f.taker_order_id, f.taker_owner_id,
         f.taker_side.name.lower(), f.price_ticks, f.quantity_lots, f.maker_left_lots)
        for f in report.fills
    ]  # fmt: skip
    prevented = [(p.order_id, p.cancelled_lots, p.left_lots) for p in report.prevented]
    return (
        report.order_id, report.refusal.code, report.resting_lots, report.cancelled_lots,
        report.cause.name.lower(), fills, prevented,
    )  # fmt: skip


def rows(book: Book) -> list[tuple[int, int, str, int, int]]:
    return [(o[0], o[1], o.side.name.lower(), o[3], o[4]) for o in book.resting()]


class Pair:
    """Both books, given the same commands. Undo goes back in both."""

    def __init__(self) -> None:
        self.fast = Book()
        self.naive = NaiveBook()
        self.marks: list[tuple[int, int, str]] = []

    def do(self, step: tuple[Any, ...]) -> None:
        kind, *rest = step
        if kind == "mark":
            self.marks.append((self.fast.mark(), self.naive.mark(), self.fast.state_hash()))
        elif kind == "undo":
            self.undo(*rest)
        elif kind == "forget":
            self.fast.forget()
            self.naive.kept.clear()
            self.marks.clear()
        else:
            report, expected = self.command(kind, rest)
            assert told(report) == astuple(expected)

    def undo(self, which: int) -> None:
        if not self.marks:
            return
        which %= len(self.marks)
        fast, naive, state = self.marks[which]
        del self.marks[which:]
        self.fast.undo_to(fast)
        self.naive.undo_to(naive)
        assert self.fast.state_hash() == state

    def command(self, kind: str, rest: list[Any]) -> tuple[Report, Told]:
        if kind == "place":
            *order, most_fills = rest
            words: list[Any] = [
                v.name.lower() if isinstance(v, (Side, TimeInForce, SelfTrade)) else v for v in rest
            ]
            report = place(self.fast, Place(*order), most_fills)
            return report, self.naive.place(*words)
        if kind == "cancel":
            return cancel(self.fast, *rest), self.naive.cancel(*rest)
        return reduce(self.fast, *rest), self.naive.reduce(*rest)

    def compare(self) -> None:
        self.fast.check()
        assert rows(self.fast) == self.naive.rows()
        assert self.fast.depth(100) == self.naive.depth()
        for side, levels in zip(Side, self.naive.depth(), strict=True):
            assert self.fast.best(side) == (levels[0] if levels else None)
            assert all(self.fast.lots_at(side, price) == lots for price, lots in levels)


@settings(max_examples=200, deadline=None)
@given(FLOWS)
def test_fast_book_answers_as_the_naive_book(flow: list[tuple[Any, ...]]) -> None:
    pair = Pair()
    for step in flow:
        pair.do(step)
        pair.compare()


@settings(max_examples=60, deadline=None)
@given(FLOWS, st.integers(0, 60))
def test_undo_brings_back_the_same_book(flow: list[tuple[Any, ...]], cut: int) -> None:
    """Match ahead, take it back, match it again: the same answers and the same book."""
    pair = Pair()
    commands = [step for step in flow if step[0] in {"place", "cancel", "reduce"}]
    for step in commands[:cut]:
        pair.do(step)
    before, mark = pair.fast.state_hash(), pair.fast.mark()
    ahead = [told(pair.command(kind, rest)[0]) for kind, *rest in commands[cut:]]
    after = pair.fast.state_hash()
    pair.fast.undo_to(mark)
    pair.fast.check()
    assert pair.fast.state_hash() == before
    again = [told(pair.command(kind, rest)[0]) for kind, *rest in commands[cut:]]
    assert (again, pair.fast.state_hash()) == (ahead, after)


@settings(max_examples=60, deadline=None)
@given(FLOWS)
def test_loaded_book_goes_on_as_the_one_it_was_saved_from(flow: list[tuple[Any, ...]]) -> None:
    pair = Pair()
    half = len(flow) // 2
    for step in flow[:half]:
        pair.do(step)
    pair.marks.clear()
    state = pair.fast.state_hash()
    pair.fast = Book.load(list(pair.fast.resting()))
    assert pair.fast.state_hash() == state
    for step in flow[half:]:
        pair.do(step)
        pair.compare()


@settings(max_examples=100, deadline=None)
@given(FLOWS)
def test_every_lot_of_an_order_is_accounted_for(flow: list[tuple[Any, ...]]) -> None:
    """Placed = traded + waiting + cancelled, and a refused command moves nothing."""
    book = Book()
    for step in flow:
        if step[0] != "place":
            continue
        *order, most_fills = step[1:]
        before = book.state_hash()
        report = place(book, Place(*order), most_fills)
        traded = sum(fill.quantity_lots for fill in report.fills)
        if report.refusal:
            assert book.state_hash() == before
            assert (traded, report.resting_lots, report.cancelled_lots) == (0, 0, 0)
        else:
            assert traded + report.resting_lots + report.cancelled_lots == order[4]


def random_flow(seed: int, count: int) -> list[tuple[Any, ...]]:
    """A market's day: mostly waiting orders near a wandering price, some cancelled, some taken."""
    rng = random.Random(seed)
    flow: list[tuple[Any, ...]] = []
    middle = 500
    for order_id in range(1, count + 1):
        middle += rng.choice((-1, 0, 0, 1))
        if rng.random() < 0.3:
            flow.append(("cancel", rng.randrange(1, order_id + 1), rng.randrange(1, 5)))
            continue
        side = rng.choice(list(Side))
        away = rng.randrange(-3, 12)
        price = middle - away if side is Side.BUY else middle + away
        policy = rng.choice(list(SelfTrade))
        time_in_force = rng.choice([TimeInForce.GOOD_TILL_CANCELLED] * 6 + list(TimeInForce))
        owner = rng.randrange(1, 5)
        lots = rng.randrange(1, 20)
        flow.append(("place", order_id, owner, side, price, lots, time_in_force, policy, 1000))
    return flow


def test_a_long_day_ends_as_on_the_naive_book_with_undo_at_random_points() -> None:
    rng = random.Random(1)
    pair = Pair()
    for step in random_flow(seed=2, count=3000):
        chance = rng.random()
        if chance < 0.05:
            pair.do(("mark",))
        elif chance < 0.07:
            pair.do(("undo", rng.randrange(10)))
        elif chance < 0.08:
            pair.do(("forget",))
        pair.do(step)
        if chance < 0.1:
            pair.compare()
    pair.compare()


def test_replay_of_the_same_commands_ends_in_the_same_state() -> None:
    hashes = set()
    for batch in (1, 7, 512):
        book = Book()
        for index, (kind, *rest) in enumerate(random_flow(seed=3, count=2000)):
            if kind == "place":
                place(book, Place(*rest[:-1]))
            else:
                cancel(book, *rest)
            if index % batch == 0:
                book.forget()
        hashes.add(book.state_hash())
    assert len(hashes) == 1
