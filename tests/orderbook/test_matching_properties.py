"""The fast book against the naive one: same answers, same book, after every command."""

from __future__ import annotations

import random
from dataclasses import astuple, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderbook.amending import amend
from orderbook.book import Book, Side
from orderbook.instructions import Conditions
from orderbook.matching import (
    Cause,
    Place,
    Report,
    SelfTrade,
    TimeInForce,
    cancel,
    place,
    reduce,
    trigger,
)
from orderbook.pairs import place_pair
from tests.orderbook.naive_book import Asked, NaiveBook, Told

SIDES = st.sampled_from(["buy", "sell"])
SECOND = 1_000_000
IDS = st.one_of(st.integers(1, 12), st.integers(SECOND + 1, SECOND + 12))
OWNERS = st.integers(1, 3)
PRICES = st.integers(1, 6)
LOTS = st.integers(1, 6)
POLICIES = st.sampled_from([policy.name.lower() for policy in SelfTrade])
TIMES_IN_FORCE = ["good_till_cancelled"] * 4 + [tif.name.lower() for tif in TimeInForce]
MOST = st.sampled_from([1, 2, 1000, 1000])


def seldom(some: st.SearchStrategy[int]) -> st.SearchStrategy[int]:
    return st.one_of(st.just(0), st.just(0), some)


ASKED = st.builds(
    Asked, IDS, OWNERS, SIDES, PRICES, LOTS, st.sampled_from(TIMES_IN_FORCE), POLICIES,
    stop=seldom(PRICES), minimum=seldom(LOTS), peak=seldom(st.integers(1, 3)),
    expires=seldom(st.integers(1, 9)),
).map(lambda asked: replace(asked, minimum=min(asked.minimum, asked.lots)))  # fmt: skip
CHANGES = st.fixed_dictionaries(
    {},
    optional={"price": PRICES, "lots": LOTS, "peak": seldom(st.integers(1, 3)), "stop": PRICES},
)
PAIRS = st.tuples(st.just("pair"), ASKED, PRICES, PRICES, MOST)
AMENDS = st.tuples(st.just("amend"), IDS, OWNERS, CHANGES, MOST)
CANCELS = st.tuples(st.just("cancel"), IDS, OWNERS)
REDUCES = st.tuples(st.just("reduce"), IDS, OWNERS, st.integers(0, 6))
EXPIRES = st.tuples(st.just("expire"), st.integers(1, 9))
TURNS = st.one_of(
    st.tuples(st.just("mark")),
    st.tuples(st.just("undo"), st.integers(0, 9)),
    st.tuples(st.just("forget")),
)
FLOWS = st.lists(
    st.one_of(
        # Each an object of its own: one_of takes the same strategy only once.
        *[st.tuples(st.just("place"), ASKED, MOST) for _ in range(8)],
        *[st.tuples(st.just("trigger"), MOST) for _ in range(2)],
        PAIRS, AMENDS, CANCELS, REDUCES, EXPIRES, TURNS,
    ),
    min_size=20, max_size=60,
)  # fmt: skip


def told(report: Report) -> tuple[Any, ...]:
    """A report in the naive book's words."""
    fills = [
        (f.maker_order_id, f.maker_owner_id, f.taker_order_id, f.taker_owner_id,
         f.taker_side.name.lower(), f.price_ticks, f.quantity_lots, f.maker_left_lots)
        for f in report.fills
    ]  # fmt: skip
    prevented = [
        (p.order_id, p.cancelled_lots, p.left_lots, p.price_ticks) for p in report.prevented
    ]
    dropped = [
        (d.order_id, d.side.name.lower(), d.price_ticks, d.cancelled_lots, d.was_shown)
        for d in report.dropped
    ]
    return (
        report.order_id, report.refusal.code, report.resting_lots, report.cancelled_lots,
        report.cause.name.lower(), fills, prevented, dropped, list(report.requeued),
        report.is_replaced,
    )  # fmt: skip


def spelled(asked: Asked) -> Place:
    """An order of the naive book in the fast book's words."""
    conditions = Conditions(
        stop_ticks=asked.stop, minimum_lots=asked.minimum, peak_lots=asked.peak,
        expires_us=asked.expires,
    )  # fmt: skip
    return Place(
        asked.order_id, asked.owner_id, Side[asked.side.upper()], asked.price, asked.lots,
        TimeInForce[asked.time_in_force.upper()], SelfTrade[asked.self_trade.upper()],
        None if conditions == Conditions() else conditions,
    )  # fmt: skip


def rows(book: Book) -> list[tuple[int, int, str, int, int, int]]:
    return [
        (o[0], o[1], o.side.name.lower(), o[3], o[4], book.lots_left(o[0]) - o[4])
        for o in book.resting()
    ]


class Pair:
    """Both books, given the same commands. Undo goes back in both."""

    def __init__(self) -> None:
        self.fast = Book()
        self.naive = NaiveBook()
        self.marks: list[tuple[int, int, str]] = []

    def do(self, step: tuple[Any, ...]) -> list[Any]:
        kind, *rest = step
        if kind == "mark":
            self.marks.append((self.fast.mark(), self.naive.mark(), self.fast.state_hash()))
        elif kind == "undo":
            self.undo(*rest)
        elif kind == "forget":
            self.forget()
        else:
            answers: tuple[list[Report], list[Told]] = getattr(self, kind)(*rest)
            reports = [told(report) for report in answers[0]]
            assert reports == [astuple(expected) for expected in answers[1]]
            return reports
        return []

    def forget(self) -> None:
        """Drop the older half of the journal; the younger marks stay good."""
        del self.marks[: len(self.marks) // 2]
        self.fast.forget_to(self.marks[0][0] if self.marks else self.fast.mark())

    def undo(self, which: int) -> None:
        if not self.marks:
            return
        which %= len(self.marks)
        fast, naive, state = self.marks[which]
        del self.marks[which:]
        self.fast.undo_to(fast)
        self.naive.undo_to(naive)
        assert self.fast.state_hash() == state

    def place(self, asked: Asked, most: int) -> tuple[list[Report], list[Told]]:
        return [place(self.fast, spelled(asked), most)], [self.naive.place(asked, most)]

    def pair(
        self, asked: Asked, price: int, stop: int, most: int
    ) -> tuple[list[Report], list[Told]]:
        limit = replace(asked, stop=0, minimum=0)
        guard = Asked(
            asked.order_id + SECOND, asked.owner_id, asked.side, price, asked.lots, stop=stop,
            self_trade=asked.self_trade, expires=asked.expires,
        )  # fmt: skip
        reports = place_pair(self.fast, spelled(limit), spelled(guard), most)
        return list(reports), list(self.naive.place_pair(limit, guard, most))

    def amend(
        self, order_id: int, owner_id: int, changes: dict[str, Any], most: int
    ) -> tuple[list[Report], list[Told]]:
        live = self.naive.find(order_id)
        if live is None:
            asked = Asked(order_id, owner_id, "buy", 1, 1)
        else:
            if live.where == "book":
                changes = {name: to for name, to in changes.items() if name != "stop"}
            asked = replace(live.asked, minimum=0, owner_id=owner_id, lots=live.left)
            asked = replace(asked, **changes)
        return [amend(self.fast, spelled(asked), most)], [self.naive.amend(asked, most)]

    def cancel(self, order_id: int, owner_id: int) -> tuple[list[Report], list[Told]]:
        return [cancel(self.fast, order_id, owner_id)], [self.naive.cancel(order_id, owner_id)]

    def reduce(self, order_id: int, owner: int, lots: int) -> tuple[list[Report], list[Told]]:
        return (
            [reduce(self.fast, order_id, owner, lots)],
            [self.naive.reduce(order_id, owner, lots)],
        )

    def expire(self, now: int) -> tuple[list[Report], list[Told]]:
        """End what is due, one after the other: an end may take a partner along."""
        reports: list[Report] = []
        expected: list[Told] = []
        assert self.fast.expired(now, at_most=100) == self.naive.expired(now)
        while due := self.naive.expired(now):
            owner_id = self.naive.found(due[0]).asked.owner_id
            assert self.fast.expired(now, at_most=1) == due[:1]
            reports.append(cancel(self.fast, due[0], owner_id, Cause.EXPIRED))
            expected.append(self.naive.cancel(due[0], owner_id, "expired"))
        return reports, expected

    def trigger(self, most: int) -> tuple[list[Report], list[Told]]:
        """Run at most three elected stops, so that some wait for later."""
        reports: list[Report] = []
        expected: list[Told] = []
        while self.fast.stops.next_id() and len(reports) < 3:
            reports.append(trigger(self.fast, most))
            expected.append(self.naive.trigger(most))
        return reports, expected

    def compare(self) -> None:
        self.fast.check()
        assert rows(self.fast) == self.naive.rows()
        stops = [command.order_id for command, _ in self.fast.stops.in_order()]
        assert stops == self.naive.stops()
        assert self.fast.last_ticks == self.naive.last
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
    commands = [step for step in flow if step[0] not in {"mark", "undo", "forget"}]
    for step in commands[:cut]:
        pair.do(step)
    before, mark, naive_mark = pair.fast.state_hash(), pair.fast.mark(), pair.naive.mark()
    ahead = [pair.do(step) for step in commands[cut:]]
    after = pair.fast.state_hash()
    pair.fast.undo_to(mark)
    pair.naive.undo_to(naive_mark)
    pair.compare()
    assert pair.fast.state_hash() == before
    again = [pair.do(step) for step in commands[cut:]]
    assert (again, pair.fast.state_hash()) == (ahead, after)


@settings(max_examples=60, deadline=None)
@given(FLOWS)
def test_loaded_book_goes_on_as_the_one_it_was_saved_from(flow: list[tuple[Any, ...]]) -> None:
    pair = Pair()
    half = len(flow) // 2
    for step in flow[:half]:
        pair.do(step)
    pair.marks.clear()
    book = pair.fast
    pair.fast = Book.load(
        list(book.resting()), stops=list(book.stops.in_order()),
        specials=list(book.specials.items()), last_ticks=book.last_ticks,
    )  # fmt: skip
    assert pair.fast.state_hash() == book.state_hash()
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
        _, asked, most_fills = step
        before = book.state_hash()
        report = place(book, spelled(asked), most_fills)
        traded = sum(fill.quantity_lots for fill in report.fills)
        if report.refusal:
            assert book.state_hash() == before
            assert (traded, report.resting_lots, report.cancelled_lots) == (0, 0, 0)
        else:
            assert traded + report.resting_lots + report.cancelled_lots == asked.lots
        while book.stops.next_id():
            trigger(book)


class Day:
    """A market's day: mostly waiting orders near a wandering price, some cancelled, some taken."""

    kinds: tuple[str, ...] = ("asked",) * 6 + ("amend", "cancel") * 3 + ("pair", "reduce", "expire")
    stops = 1
    """How many of seven orders are stops."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.middle = 500
        self.owners: dict[int, int] = {}

    def flow(self, count: int) -> list[tuple[Any, ...]]:
        flow: list[tuple[Any, ...]] = []
        for number in range(1, count + 1):
            self.middle += self.rng.choice((-3, -1, 0, 0, 1, 3))
            flow.append(getattr(self, self.rng.choice(self.kinds))(number))
            flow.append(("trigger", 1000))
        return flow

    def asked(self, number: int) -> tuple[Any, ...]:
        return "place", self.order(number), self.rng.choice([3, 1000, 1000])

    def order(self, number: int) -> Asked:
        rng = self.rng
        side = rng.choice(["buy", "sell"])
        sign = 1 if side == "buy" else -1
        self.owners[number] = rng.randrange(1, 5)
        return Asked(
            number, self.owners[number], side, self.middle - sign * rng.randrange(-5, 8),
            rng.randrange(1, 20), rng.choice(["good_till_cancelled"] * 6 + TIMES_IN_FORCE),
            rng.choice(list(SelfTrade)).name.lower(),
            stop=(self.middle + sign * rng.randrange(1, 6)) * (rng.randrange(7) < self.stops),
            minimum=rng.choice([0] * 6 + [1]),
            peak=rng.choice([0, 0, 0, rng.randrange(1, 5)]),
            expires=rng.choice([0, 0, 0, number + rng.randrange(100)]),
        )  # fmt: skip

    def pair(self, number: int) -> tuple[Any, ...]:
        order = replace(self.order(number), time_in_force="good_till_cancelled", peak=0)
        self.owners[number + SECOND] = order.owner_id
        sign = 1 if order.side == "buy" else -1
        return "pair", order, order.price, self.middle + sign * self.rng.randrange(1, 6), 1000

    def chosen(self, number: int) -> tuple[int, int]:
        """One of the latest orders, and nearly always its owner."""
        order_id = self.rng.choice([*self.owners, 0][-20:])
        return order_id, self.owners.get(order_id, 1) if self.rng.random() < 0.95 else 9

    def amend(self, number: int) -> tuple[Any, ...]:
        rng = self.rng
        change = rng.choice(
            [{"lots": rng.randrange(1, 20)}, {"price": self.middle + rng.randrange(-9, 9)},
             {"peak": rng.randrange(3)}, {"stop": self.middle + rng.randrange(-9, 9)}]
        )  # fmt: skip
        return "amend", *self.chosen(number), change, 1000

    def cancel(self, number: int) -> tuple[Any, ...]:
        return "cancel", *self.chosen(number)

    def reduce(self, number: int) -> tuple[Any, ...]:
        return "reduce", *self.chosen(number), self.rng.randrange(20)

    def expire(self, number: int) -> tuple[Any, ...]:
        return "expire", number


class StormyDay(Day):
    """A day of stops that wake each other, and of pairs in their way; many want all or nothing."""

    kinds = ("asked",) * 4 + ("pair",) * 4 + ("cancel",)
    stops = 4

    def order(self, number: int) -> Asked:
        asked = super().order(number)
        wants_all = asked.stop and self.rng.random() < 0.4
        return replace(asked, time_in_force="fill_or_kill") if wants_all else asked


@pytest.mark.parametrize("day", [Day, StormyDay])
@pytest.mark.parametrize("seed", range(6))
def test_a_long_day_ends_as_on_the_naive_book_with_undo_at_random_points(
    day: type[Day], seed: int
) -> None:
    rng = random.Random(seed)
    pair = Pair()
    for step in day(seed).flow(count=800):
        chance = rng.random()
        if chance < 0.05:
            pair.do(("mark",))
        elif chance < 0.07:
            pair.do(("undo", rng.randrange(10)))
        elif chance < 0.08:
            pair.do(("forget",))
        pair.do(step)
        if chance < 0.2:
            pair.compare()
    pair.compare()


def test_replay_of_the_same_commands_ends_in_the_same_state() -> None:
    hashes = set()
    for batch in (1, 7, 512):
        book = Book()
        for index, (kind, *rest) in enumerate(Day(3).flow(2000)):
            if kind == "place":
                place(book, spelled(rest[0]))
            elif kind == "cancel":
                cancel(book, *rest)
            elif kind == "trigger" and book.stops.next_id():
                trigger(book)
            if index % batch == 0:
                book.forget()
        hashes.add(book.state_hash())
    assert len(hashes) == 1
