"""Random flows of every order type through the engine and the real ledger, against plain models.

The naive book says what trades with what; a plain exchange moves the money one step after the
other, with wallets and holds as numbers. The engine takes the same commands in batches of any
size, with commits that fail in between, and must agree on every answer, wallet, hold and queue;
and a restart must know all that it knew.
"""

from __future__ import annotations

import random
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.orderbook.naive_book import Asked, NaiveBook, Told
from tests.orderbook.traders import settled
from tests.orderbook.venue import Venue

pytestmark = pytest.mark.django_db

PEOPLE = ("ann", "ben", "cid", "dot")
MAKER_BPS, TAKER_BPS = 50, 100
TIMES_IN_FORCE = {
    "gtc": "good_till_cancelled", "ioc": "immediate_or_cancel", "fok": "fill_or_kill",
    "post_only": "post_only",
}  # fmt: skip


def fee(amount: int, bps: int) -> int:
    return amount * bps // 10_000


def reserve(side: str, price: int, lots: int) -> int:
    return lots if side == "sell" else price * lots + fee(price * lots, TAKER_BPS)


@dataclass
class Held:
    """What is set aside; a pair has one for both."""

    who: int
    side: str
    amount: int


@dataclass
class PlainExchange:
    """Wallets and holds as numbers, around the naive book. People are numbered."""

    points: list[int]
    units: list[int]
    book: NaiveBook = field(default_factory=NaiveBook)
    holds: dict[int, Held] = field(default_factory=dict)
    """By order; both of a pair have the same one."""
    fees: int = 0
    names: dict[str, int] = field(default_factory=dict)

    # -- money -----------------------------------------------------------------------------

    def available(self, who: int, side: str) -> int:
        held = {id(h): h.amount for h in self.holds.values() if (h.who, h.side) == (who, side)}
        return (self.units if side == "sell" else self.points)[who] - sum(held.values())

    def pay(self, asked: Asked, told: Told, guard: Asked | None = None) -> bool:
        """Move what a step moves; False if its owner cannot pay, with half of it done."""
        self.holds.pop(asked.order_id, None)
        for fill in told.fills:
            if not self.trade(asked, fill):
                return False
        other = "sell" if asked.side == "buy" else "buy"
        for order_id, _, left, price in told.prevented:
            self.shrink(order_id, reserve(other, price, left) if left else 0)
        for order_id, *_ in told.dropped:
            self.free_surplus(self.holds.pop(order_id, None), told, other)
        if told.resting:
            need = reserve(asked.side, asked.price, told.resting)
            if guard is not None:
                need = max(need, reserve(guard.side, guard.price, told.resting))
            if self.available(asked.owner_id, asked.side) < need:
                return False
            self.holds[asked.order_id] = Held(asked.owner_id, asked.side, need)
            if guard is not None:
                self.holds[guard.order_id] = self.holds[asked.order_id]
        return True

    def free_surplus(self, shared: Held | None, told: Told, side: str) -> None:
        """Of a pair one ended because the other traded: that one needs no more than its own."""
        for fill in told.fills:
            if fill[7] and shared is not None and self.holds.get(fill[0]) is shared:
                self.shrink(fill[0], reserve(side, fill[5], self.book.found(fill[0]).left))

    def shrink(self, order_id: int, need: int) -> None:
        held = self.holds[order_id]
        held.amount = min(held.amount, need)
        if not need:
            del self.holds[order_id]

    def trade(self, asked: Asked, fill: tuple[Any, ...]) -> bool:
        maker_id, maker, _, taker, side, price, lots, left = fill
        amount = price * lots
        maker_fee, taker_fee = fee(amount, MAKER_BPS), fee(amount, TAKER_BPS)
        buyer, seller = (taker, maker) if side == "buy" else (maker, taker)
        buyer_fee, seller_fee = (taker_fee, maker_fee) if side == "buy" else (maker_fee, taker_fee)
        if self.available(taker, side) < (amount + buyer_fee if side == "buy" else lots):
            return False
        self.points[buyer] -= amount + buyer_fee
        self.points[seller] += amount - seller_fee
        self.units[seller] -= lots
        self.units[buyer] += lots
        self.fees += maker_fee + taker_fee
        held = self.holds[maker_id]
        held.amount -= lots if side == "buy" else amount + buyer_fee
        if not left:
            held.amount = 0
            del self.holds[maker_id]
        return True

    # -- commands --------------------------------------------------------------------------

    def place(self, asked: Asked, guard: Asked | None, name: str) -> Any:
        self.names[name] = asked.order_id
        before = self.snapshot()
        if guard is None:
            told, second = self.book.place(asked), Told(0)
        else:
            told, second = self.book.place_pair(asked, guard, 1000)
        if told.refusal != "accepted":
            self.restore(before)
            return told.refusal
        if not self.pay(asked, told, guard if second.resting else None):
            self.restore(before)
            return "insufficient_funds"
        self.run_stops()
        lots, amount = sum(f[6] for f in told.fills), sum(f[5] * f[6] for f in told.fills)
        status = "open" if told.resting else "filled" if lots == asked.lots else "cancelled"
        return status, lots, amount

    def amend(self, who: int, name: str, change: dict[str, Any]) -> Any:
        live = self.book.find(self.names.get(name, 0))
        if live is None or live.asked.owner_id != who:
            return "gone"
        if "stop" in change and live.where == "book":
            return "order_has_no_stop_price"
        asked = replace(live.asked, **({"lots": live.left} | change))
        if live.where == "book":
            asked = replace(asked, minimum=0, stop=0)
        before = self.snapshot()
        told = self.book.amend(asked, 1000)
        if told.refusal != "accepted":
            return told.refusal
        if (told.replaced or told.cancelled) and not self.pay(asked, told):
            self.restore(before)
            return "insufficient_funds"
        self.run_stops()
        return told.resting, sum(f[5] * f[6] for f in told.fills), not told.replaced

    def run_stops(self) -> None:
        while any(order.where == "queue" for order in self.book.live):
            before = self.snapshot()
            queue = [order for order in self.book.live if order.where == "queue"]
            asked = min(queue, key=lambda order: order.arrival).asked
            if not self.pay(replace(asked, stop=0), self.book.trigger(1000)):
                self.restore(before)
                self.end(asked.order_id, asked.owner_id)

    def cancel(self, who: int, name: str) -> Any:
        live = self.book.find(self.names.get(name, 0))
        if live is None or live.asked.owner_id != who:
            return "gone"
        self.end(live.order_id, who)
        return "cancelled"

    def cancel_all(self, who: int, side: str | None) -> int:
        count = 0
        own = [o for o in self.book.live if o.asked.owner_id == who]
        for order_id in sorted(o.order_id for o in own if side in {None, o.asked.side}):
            if self.book.find(order_id):
                self.end(order_id, who)
                count += 1
        return count

    def end(self, order_id: int, who: int) -> None:
        for ended in (order_id, *(gone[0] for gone in self.book.cancel(order_id, who).dropped)):
            self.holds.pop(ended, None)

    def snapshot(self) -> Any:
        return deepcopy((self.points, self.units, self.holds, self.fees)), self.book.snapshot()

    def restore(self, copy: Any) -> None:
        (self.points, self.units, self.holds, self.fees), book = copy
        self.book.restore(book)


# -- flows ---------------------------------------------------------------------------------------

WHO = st.integers(0, len(PEOPLE) - 1)
SIDE = st.sampled_from(["buy", "sell"])
PRICE = st.integers(96, 104)
LOTS = st.integers(1, 9)
NAMES = st.integers(0, 40)
ORDERS = st.fixed_dictionaries(
    {
        "who": WHO, "side": SIDE, "price": PRICE, "lots": LOTS,
        "tif": st.sampled_from(["gtc"] * 6 + list(TIMES_IN_FORCE)),
        "policy": st.sampled_from(
            ["cancel_newest", "cancel_oldest", "cancel_both", "decrement"]
        ),
        "stop": st.sampled_from([0, 0, 0, 97, 99, 100, 101, 103]),
        "peak": st.sampled_from([0, 0, 0, 1, 2]),
        "minimum": st.sampled_from([0, 0, 0, 0, 1, 3]),
        "guard": st.sampled_from([None, None, None, None, (98, 97), (102, 103)]),
    }
)  # fmt: skip
CHANGES = st.sampled_from(["price", "lots", "stop"]).flatmap(
    lambda name: st.fixed_dictionaries({name: LOTS if name == "lots" else PRICE})
)
STEPS = st.lists(
    st.one_of(
        # Each an object of its own: one_of takes the same strategy only once.
        *[st.tuples(st.just("place"), ORDERS) for _ in range(8)],
        *[st.tuples(st.just("amend"), WHO, NAMES, CHANGES) for _ in range(2)],
        st.tuples(st.just("cancel"), WHO, NAMES),
        st.tuples(st.just("cancel_all"), WHO, st.sampled_from([None, "buy", "sell"])),
        st.tuples(st.just("repeat"), NAMES),
    ),
    min_size=10,
    max_size=40,
)


class Speller:
    """Writes each step as a command for the engine, and asks the model what comes of it."""

    def __init__(self, venue: Venue, model: PlainExchange) -> None:
        self.venue, self.model = venue, model
        self.commands: list[Any] = []
        self.expected: list[Any] = []
        self.placed: list[int] = []
        self.owners: list[int] = []

    def step(self, kind: str, *rest: Any) -> None:
        getattr(self, kind)(*rest)

    def place(self, order: dict[str, Any]) -> None:
        number = len(self.commands) + 1
        name, who, lots = f"n{len(self.placed)}", order["who"], order["lots"]
        self.placed.append(len(self.commands))
        self.owners.append(who)
        guard = order["guard"]
        is_plain = order["tif"] in {"gtc", "post_only"}
        pair = guard if is_plain and guard else None
        stop = 0 if pair else order["stop"]
        peak = min(order["peak"], lots) if is_plain and not pair else 0
        minimum = 0 if pair or order["tif"] != "gtc" else min(order["minimum"], lots)
        asked = Asked(
            2 * number, who, order["side"], order["price"], lots, TIMES_IN_FORCE[order["tif"]],
            order["policy"], stop=stop, minimum=minimum, peak=peak,
        )  # fmt: skip
        more: dict[str, Any] = {"self_trade": order["policy"]}
        if pair:
            second = Asked(
                2 * number + 1, who, order["side"], pair[1], lots, "immediate_or_cancel",
                order["policy"], stop=pair[0],
            )  # fmt: skip
            command = self.venue.pair(
                PEOPLE[who], order["side"], order["price"], lots, stop=pair[0], worst=pair[1],
                cid=name, tif=order["tif"], **more,
            )  # fmt: skip
        else:
            second = None
            if stop:
                more |= {"type": "stop_limit", "stop_price": stop}
            command = self.venue.place(
                PEOPLE[who], order["side"], order["price"], lots, cid=name, tif=order["tif"],
                display_quantity=peak, min_quantity=minimum, **more,
            )  # fmt: skip
        self.say(command, self.model.place(asked, second, name))

    def amend(self, who: int, which: int, change: dict[str, int]) -> None:
        name, who = self.chosen(which, who)
        named = {"price": "price", "lots": "remaining_quantity", "stop": "stop_price"}
        asked = {named[field]: value for field, value in change.items()}
        command = self.venue.amend(PEOPLE[who], cid=name, **asked)
        self.say(command, self.model.amend(who, name, change))

    def cancel(self, who: int, which: int) -> None:
        name, who = self.chosen(which, who)
        self.say(self.venue.cancel(PEOPLE[who], cid=name), self.model.cancel(who, name))

    def cancel_all(self, who: int, side: str | None) -> None:
        self.say(self.venue.cancel_all(PEOPLE[who], side), self.model.cancel_all(who, side))

    def repeat(self, which: int) -> None:
        if self.placed:
            at = self.placed[which % len(self.placed)]
            self.say(self.commands[at], self.expected[at])

    def chosen(self, which: int, who: int) -> tuple[str, int]:
        """One of the latest orders, mostly asked for by its owner."""
        if not self.owners:
            return "none", who
        index = len(self.owners) - 1 - which % min(len(self.owners), 8)
        return f"n{index}", who if which % 10 == 9 else self.owners[index]

    def say(self, command: Any, expected: Any) -> None:
        self.commands.append(command)
        self.expected.append(expected)


def a_day(seed: int, count: int) -> list[Any]:
    """Random steps with much trading, which Hypothesis seldom thinks of."""
    rng = random.Random(seed)
    steps: list[Any] = []
    for _ in range(count):
        who, which = rng.randrange(len(PEOPLE)), rng.randrange(41)
        kind = rng.choice(["place"] * 14 + ["amend"] * 4 + ["cancel"] * 2 + ["repeat"])
        if kind == "place":
            side = rng.choice(["buy", "sell"])
            sign = 1 if side == "buy" else -1
            steps.append((kind, {
                "who": who, "side": side, "price": 100 - sign * rng.randrange(-3, 5),
                "lots": rng.randrange(1, 8), "tif": rng.choice(["gtc"] * 8 + ["ioc", "fok"]),
                "policy": rng.choice(["cancel_newest", "cancel_oldest", "cancel_both",
                                      "decrement"]),
                "stop": rng.choice([0, 0, 0, 100 + sign * rng.randrange(1, 4)]),
                "peak": rng.choice([0, 0, 1, 2]), "minimum": rng.choice([0] * 5 + [1]),
                "guard": rng.choice([None] * 5 + [(100 + sign * 2, 100 + sign * 4)]),
            }))  # fmt: skip
        elif kind == "amend":
            name = rng.choice(["price", "lots", "stop"])
            value = rng.randrange(1, 9) if name == "lots" else rng.randrange(96, 105)
            steps.append((kind, who, which, {name: value}))
        else:
            steps.append((kind, which) if kind == "repeat" else (kind, who, which))
        if rng.random() < 0.01:
            steps.append(("cancel_all", who, None))
    return steps


@pytest.mark.parametrize("seed", range(4))
def test_a_busy_day_ends_as_on_the_plain_models(db: None, seed: int) -> None:
    rng = random.Random(seed)
    sizes = [rng.randrange(1, 40) for _ in range(10)]
    _live_through(a_day(seed, 160), sizes, rolled_back=seed % 4, wealth=1 + 7 * (seed % 2))


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS, sizes=st.lists(st.integers(1, 12), min_size=1), rolled_back=st.integers(0, 3))
def test_engine_agrees_with_plain_models_on_every_order_type(
    db: None, steps: list[Any], sizes: list[int], rolled_back: int
) -> None:
    _live_through(steps, sizes, rolled_back, wealth=1)


def _live_through(steps: list[Any], sizes: list[int], rolled_back: int, wealth: int) -> None:
    venue = Venue(maker_fee_bps=MAKER_BPS, taker_fee_bps=TAKER_BPS)
    model = PlainExchange([], [])
    for number, who in enumerate(PEOPLE):
        model.points.append(wealth * (1000 + 1500 * number))
        model.units.append(wealth * (6 + 12 * (3 - number)))
        venue.join(who, points=model.points[-1], units=model.units[-1])
    speller = Speller(venue, model)
    for step in steps:
        speller.step(*step)
    answers = _run(venue, speller.commands, sizes, rolled_back)
    assert [_short(answer) for answer in answers] == speller.expected
    _compare(venue, model)
    settled(venue)


def _run(
    venue: Venue, commands: list[Any], sizes: list[int], rolled_back: int
) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    turn = 0
    while len(answers) < len(commands):
        part = commands[len(answers) :][: sizes[turn % len(sizes)]]
        if turn % 4 < rolled_back:
            before = venue.book.state_hash()
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                venue.engine.execute(part)
                raise ZeroDivisionError
            venue.engine.rolled_back()
            assert venue.book.state_hash() == before
        answers += venue.run(*part)
        turn += 1
    return answers


def _short(answer: dict[str, Any]) -> Any:
    if "kept_place" in answer:
        return answer["remaining_quantity"], answer["filled_amount"], answer["kept_place"]
    if "filled_quantity" in answer:
        return answer["status"], answer["filled_quantity"], answer["filled_amount"]
    if "cancelled" in answer:
        return answer["cancelled"]
    if answer["http"] == 200:
        return "gone" if answer["replayed"] else "cancelled"
    gone = {"unknown_order", "order_already_filled", "order_already_refused"}
    return "gone" if answer["code"] in {*gone, "order_already_cancelled"} else answer["code"]


def _compare(venue: Venue, model: PlainExchange) -> None:
    people = {who: venue.people[name].pk for who, name in enumerate(PEOPLE)}
    for who, name in enumerate(PEOPLE):
        held = {
            side: (model.units if side == "sell" else model.points)[who]
            - model.available(who, side)
            for side in ("buy", "sell")
        }
        assert venue.points_of(name) == (model.points[who], held["buy"])
        assert venue.units_of(name) == (model.units[who], held["sell"])
    assert venue.fees() == model.fees
    book = venue.book
    ours = [
        (row.owner_id, row.side.name.lower(), row.price_ticks, row.quantity_lots,
         book.lots_left(row.order_id) - row.quantity_lots)
        for row in book.resting()
    ]  # fmt: skip
    assert ours == [(people[owner], *rest) for _, owner, *rest in model.book.rows()]
    stops = [
        (command.owner_id, command.price_ticks, command.quantity_lots)
        for command, _ in book.stops.in_order()
    ]
    found = map(model.book.found, model.book.stops())
    assert stops == [(people[stop.asked.owner_id], stop.asked.price, stop.lots) for stop in found]
    assert book.last_ticks == model.book.last
