"""Random lives of a market, auctions and halts included, against a plain model of an exchange.

The model is the one of `test_engine_properties`, and knows besides how orders gather, and
how an auction ends: at the price that a search of every price finds, in order of priority.
The engine gets the same in batches of any size, with commits that fail, writers that start
anew and clocks that step back in between. Every answer, wallet and hold must agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orderbook.models import Order
from orderbook.verifying import differences
from tests.orderbook.test_engine_properties import (
    MAKER_BPS,
    PEOPLE,
    TAKER_BPS,
    PlainExchange,
    Waiting,
    fee,
)
from tests.orderbook.venue import SteppedEngine, Venue
from wallet.models import Account, Hold

pytestmark = pytest.mark.django_db

AUCTION_S = 10
TURNS = {
    "call": ({"open"}, "auction"), "halt": ({"open", "auction"}, "halted"),
    "resume": ({"halted"}, "auction"),
}  # fmt: skip


@dataclass
class PlainVenue(PlainExchange):
    """An exchange that also has states, and an auction."""

    state: str = "open"
    last: int = 0

    def enter(self, who: str, side: str, price: int, lots: int, name: str) -> tuple[str, int, int]:
        if self.state == "halted":
            return "market_halted", 0, 0
        if self.state == "open":
            return self.place(who, side, price, lots, name)
        for order in self.waiting:
            meets = order.price <= price if side == "buy" else order.price >= price
            if order.who == who and order.side != side and meets:
                return "meets_own_order", 0, 0
        need = self.reserve(side, price, lots)
        if self.available(who, side) < need:
            return "insufficient_funds", 0, 0
        self.waiting.append(Waiting(who, side, price, lots, name))
        self.holds[name] = need
        return "open", 0, 0

    def trade(self, who: str, side: str, maker: Waiting, lots: int) -> bool:
        self.last = maker.price
        return super().trade(who, side, maker, lots)

    def snapshot(self) -> Any:
        return super().snapshot(), self.last

    def restore(self, copy: Any) -> None:
        before, self.last = copy
        super().restore(before)

    def turn(self, deed: str) -> None:
        states, after = TURNS[deed]
        if self.state in states:
            self.state = after

    def end_auction(self) -> None:
        if self.state != "auction":
            return
        self.state = "open"
        price = self.auction_price()
        while price:
            bids = [o for o in self.waiting if o.side == "buy" and o.price >= price]
            asks = [o for o in self.waiting if o.side == "sell" and o.price <= price]
            if not bids or not asks:
                break
            bid, ask = max(bids, key=lambda o: o.price), min(asks, key=lambda o: o.price)
            self.cross(bid, ask, price)

    def auction_price(self) -> int:
        points = []
        for price in range(90, 111):
            demand = sum(o.lots for o in self.waiting if o.side == "buy" and o.price >= price)
            supply = sum(o.lots for o in self.waiting if o.side == "sell" and o.price <= price)
            if min(demand, supply):
                points.append((price, min(demand, supply), demand - supply))
        points = [p for p in points if p[1] == max(q[1] for q in points)]
        points = [p for p in points if abs(p[2]) == min(abs(q[2]) for q in points)]
        if not points:
            return 0
        if all(p[2] > 0 for p in points):
            return points[-1][0]
        if all(p[2] < 0 for p in points):
            return points[0][0]
        wanted = self.last or (points[0][0] + points[-1][0] + 1) // 2
        return min(points, key=lambda p: abs(p[0] - wanted))[0]

    def cross(self, bid: Waiting, ask: Waiting, price: int) -> None:
        lots = min(bid.lots, ask.lots)
        amount = lots * price
        bid_is_older = self.waiting.index(bid) < self.waiting.index(ask)
        bid_bps, ask_bps = (MAKER_BPS, TAKER_BPS) if bid_is_older else (TAKER_BPS, MAKER_BPS)
        bid_fee, ask_fee = fee(amount, bid_bps), fee(amount, ask_bps)
        self.points[bid.who] -= amount + bid_fee
        self.points[ask.who] += amount - ask_fee
        self.units[ask.who] -= lots
        self.units[bid.who] += lots
        self.fees += bid_fee + ask_fee
        self.holds[bid.name] -= amount + bid_fee
        self.holds[ask.name] -= lots
        self.last = price
        for order in (bid, ask):
            order.lots -= lots
            if not order.lots:
                self.waiting.remove(order)
                del self.holds[order.name]


placing = st.tuples(
    st.just("place"), st.sampled_from(PEOPLE), st.sampled_from(["buy", "sell"]),
    st.integers(95, 105), st.integers(1, 9),
)  # fmt: skip
cancelling = st.tuples(st.just("cancel"), st.sampled_from(PEOPLE), st.integers(0, 40))
shaking = st.tuples(st.sampled_from(["restart", "step", "halt", "resume"]))
ends = st.sampled_from([("end",), ("end",), ("fail",), ("halt",)])
flows = st.lists(st.one_of(placing, placing, placing, cancelling, shaking), min_size=3, max_size=14)
phases = st.lists(st.tuples(st.booleans(), flows, ends), min_size=1, max_size=4)
"""Each: whether an auction is called first, what happens then, and how it ends."""


def steps_of(phases: list[tuple[bool, list[Any], tuple[str]]]) -> list[Any]:
    steps: list[Any] = []
    for is_auction, flow, end in phases:
        steps += [("resume",), ("call",)] if is_auction else []
        steps += [*flow, end]
    return steps


class Life:
    """A market that lives through steps, in the engine and in the model at once."""

    def __init__(self, sizes: list[int]) -> None:
        self.venue = Venue(maker_fee_bps=MAKER_BPS, taker_fee_bps=TAKER_BPS, auction_s=AUCTION_S)
        self.model = PlainVenue({}, {})
        for number, who in enumerate(PEOPLE):
            points, units = 1500 * number, 12 * (3 - number)
            self.model.points[who], self.model.units[who] = points, units
            self.venue.join(who, points=points, units=units)
        self.sizes = sizes
        self.commands: list[Any] = []
        self.expected: list[Any] = []

    def live(self, steps: list[Any]) -> None:
        for number, (deed, *rest) in enumerate(steps):
            name = f"n{number}"
            if deed == "place":
                who, side, price, lots = rest
                self.commands.append(self.venue.place(who, side, price, lots, cid=name))
                self.expected.append(self.model.enter(who, side, price, lots, name))
            elif deed == "cancel":
                who, which = rest
                self.commands.append(self.venue.cancel(who, cid=f"n{which}"))
                is_done = self.model.cancel(who, f"n{which}")
                self.expected.append("cancelled" if is_done else "nothing")
            else:
                self.flush()
                getattr(self, f"do_{deed}", self.turn)(deed)
        self.flush()
        self.check()

    def flush(self) -> None:
        """Send what has gathered, in batches of the sizes that were drawn."""
        answers: list[Any] = []
        while len(answers) < len(self.commands):
            size = self.sizes[len(answers) % len(self.sizes)]
            answers += self.venue.run(*self.commands[len(answers) :][:size])
        assert [_short(answer) for answer in answers] == self.expected
        self.commands, self.expected = [], []

    def turn(self, deed: str) -> None:
        self.model.turn(deed)
        self.venue.ask(deed)
        assert self.venue.state == self.model.state

    def do_end(self, _: str) -> None:
        self.venue.engine.pass_s(2 * AUCTION_S + 1)
        self.venue.keep_up()
        self.model.end_auction()
        assert self.venue.state == self.model.state

    def do_fail(self, _: str) -> None:
        """A commit fails just where the next auction would be settled."""
        before = self.venue.book.state_hash()
        self.venue.engine.pass_s(2 * AUCTION_S + 1)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            self.venue.engine.execute([])
            raise ZeroDivisionError
        self.venue.engine.rolled_back()
        assert self.venue.book.state_hash() == before
        self.do_end("")

    def do_restart(self, _: str) -> None:
        before, old = self.venue.book.state_hash(), self.venue.engine
        self.venue.engine = SteppedEngine(self.venue.market.shard)
        self.venue.engine.stepped_us, self.venue.engine.passed_us = old.stepped_us, old.passed_us
        self.venue.engine.load()
        assert self.venue.book.state_hash() == before
        exposures = self.venue.engine.memory.exposure, old.memory.exposure
        assert exposures[0].orders == exposures[1].orders
        assert exposures[0].notional == exposures[1].notional

    def do_step(self, _: str) -> None:
        self.venue.engine.step_s(-600)

    def check(self) -> None:
        venue, model = self.venue, self.model
        venue.book.check(may_cross=model.state != "open")
        held = {who: {"buy": 0, "sell": 0} for who in PEOPLE}
        for order in model.waiting:
            held[order.who][order.side] += model.holds[order.name]
        for who in PEOPLE:
            assert venue.points_of(who) == (model.points[who], held[who]["buy"])
            assert venue.units_of(who) == (model.units[who], held[who]["sell"])
        assert venue.fees() == model.fees
        resting = [(row.price_ticks, row.quantity_lots) for row in venue.book.resting()]
        assert sorted(resting) == sorted((order.price, order.lots) for order in model.waiting)
        for asset in (venue.points, venue.units):
            assert Account.objects.filter(asset=asset).aggregate(Sum("balance"))[
                "balance__sum"
            ] == 0  # fmt: skip
        open_holds = set(Hold.objects.filter(remaining__gt=0).values_list("id", flat=True))
        assert open_holds == set(Order.objects.resting().values_list("hold_id", flat=True))
        venue.market.refresh_from_db()
        assert list(differences(venue.market)) == []


def _short(answer: dict[str, Any]) -> Any:
    if "filled_quantity" in answer:
        return answer["status"], answer["filled_quantity"], answer["filled_amount"]
    if answer["http"] == 200:
        return "nothing" if answer["replayed"] else "cancelled"
    if answer["code"] in {"insufficient_funds", "meets_own_order", "market_halted"}:
        return answer["code"], 0, 0
    assert answer["code"] in {"unknown_order", "order_already_filled", "order_already_refused"}
    return "nothing"


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(phases=phases, sizes=st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_a_market_with_auctions_agrees_with_a_plain_exchange(
    db: None, phases: list[Any], sizes: list[int]
) -> None:
    Life(sizes).live(steps_of(phases))


def test_control_an_auction_that_takes_the_wrong_fees_is_noticed(db: None) -> None:
    phase = (True, [("place", "ann", "sell", 100, 5), ("place", "dot", "buy", 101, 5)], ("end",))
    life = Life([3])
    life.model.cross = lambda bid, ask, price: PlainVenue.cross(life.model, bid, ask, price + 1)  # type: ignore[method-assign]
    with pytest.raises(AssertionError):
        life.live(steps_of([phase]))
