"""Random flows through the engine and the real ledger, against a plain model of an exchange.

The model takes one command at a time: it holds wallets as numbers and the book as a list,
checks the money first and matches afterwards. The engine takes the same commands in batches
of any size, with commits that fail in between, and must agree on every answer and wallet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orderbook.engine import MarketEngine
from orderbook.models import Order, OrderState
from tests.orderbook.venue import Venue
from wallet.models import Account, Hold

pytestmark = pytest.mark.django_db

PEOPLE = ("ann", "ben", "cid", "dot")
MAKER_BPS, TAKER_BPS = 50, 100


def fee(amount: int, bps: int) -> int:
    return amount * bps // 10_000


@dataclass
class Waiting:
    """An order in the model's list, oldest first."""

    who: str
    side: str
    price: int
    lots: int
    name: str


@dataclass
class PlainExchange:
    """What the engine should do, written for reading and not for speed."""

    points: dict[str, int]
    units: dict[str, int]
    waiting: list[Waiting] = field(default_factory=list)
    fees: int = 0
    seen: dict[tuple[str, str], Any] = field(default_factory=dict)

    def reserve(self, side: str, price: int, lots: int) -> int:
        return lots if side == "sell" else price * lots + fee(price * lots, TAKER_BPS)

    def available(self, who: str, side: str) -> int:
        """What this person may still spend on an order of this side."""
        held = sum(
            self.held(order) for order in self.waiting if order.who == who and order.side == side
        )
        return (self.units if side == "sell" else self.points)[who] - held

    def held(self, order: Waiting) -> int:
        return self.holds[order.name]

    holds: dict[str, int] = field(default_factory=dict)

    def best(self, side: str, price: int) -> Waiting | None:
        other = [order for order in self.waiting if order.side != side]
        crossing = [
            order
            for order in other
            if (order.price <= price if side == "buy" else order.price >= price)
        ]
        if not crossing:
            return None
        prices = [order.price for order in crossing]
        wanted = min(prices) if side == "buy" else max(prices)
        return next(order for order in crossing if order.price == wanted)

    def place(self, who: str, side: str, price: int, lots: int, name: str) -> tuple[str, int, int]:
        """Answer (status or refusal, filled lots, filled amount)."""
        copy = self.snapshot()
        filled = amount = 0
        left = lots
        while left and (maker := self.best(side, price)):
            if maker.who == who:
                left = 0
                break
            part = min(left, maker.lots)
            if not self.trade(who, side, maker, part):
                self.restore(copy)
                return "insufficient_funds", 0, 0
            filled, amount, left = filled + part, amount + part * maker.price, left - part
        if left:
            need = self.reserve(side, price, left)
            if self.available(who, side) < need:
                self.restore(copy)
                return "insufficient_funds", 0, 0
            self.waiting.append(Waiting(who, side, price, left, name))
            self.holds[name] = need
            return "open", filled, amount
        return ("filled" if filled == lots else "cancelled"), filled, amount

    def trade(self, who: str, side: str, maker: Waiting, lots: int) -> bool:
        """Move units, price and fees; False if the taker cannot pay."""
        amount = lots * maker.price
        maker_fee, taker_fee = fee(amount, MAKER_BPS), fee(amount, TAKER_BPS)
        buyer, seller = (who, maker.who) if side == "buy" else (maker.who, who)
        buyer_fee, seller_fee = (taker_fee, maker_fee) if side == "buy" else (maker_fee, taker_fee)
        taker_pays = amount + buyer_fee if side == "buy" else lots
        if self.available(who, side) < taker_pays:
            return False
        self.points[buyer] -= amount + buyer_fee
        self.points[seller] += amount - seller_fee
        self.units[seller] -= lots
        self.units[buyer] += lots
        self.fees += maker_fee + taker_fee
        self.holds[maker.name] -= lots if maker.side == "sell" else amount + buyer_fee
        maker.lots -= lots
        if not maker.lots:
            self.waiting.remove(maker)
            del self.holds[maker.name]
        return True

    def cancel(self, who: str, name: str) -> bool:
        for order in self.waiting:
            if order.name == name and order.who == who:
                self.waiting.remove(order)
                del self.holds[name]
                return True
        return False

    def snapshot(self) -> Any:
        waiting = [Waiting(**vars(order)) for order in self.waiting]
        return dict(self.points), dict(self.units), waiting, self.fees, dict(self.holds)

    def restore(self, copy: Any) -> None:
        self.points, self.units, self.waiting, self.fees, self.holds = copy


orders = st.tuples(
    st.just("place"),
    st.sampled_from(PEOPLE),
    st.sampled_from(["buy", "sell"]),
    st.integers(95, 105),
    st.integers(1, 9),
)
cancels = st.tuples(
    st.just("cancel"), st.sampled_from(PEOPLE), st.integers(0, 40), st.just(0), st.just(0)
)
repeats = st.tuples(st.just("repeat"), st.just("ann"), st.integers(0, 40), st.just(0), st.just(0))
steps = st.lists(st.one_of(orders, orders, orders, cancels, repeats), min_size=1, max_size=40)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=steps, sizes=st.lists(st.integers(1, 12), min_size=1), rolled_back=st.integers(0, 3))
def test_engine_agrees_with_a_plain_exchange(
    db: None, steps: list[Any], sizes: list[int], rolled_back: int
) -> None:
    venue = Venue(maker_fee_bps=MAKER_BPS, taker_fee_bps=TAKER_BPS)
    model = PlainExchange({}, {})
    for number, who in enumerate(PEOPLE):
        model.points[who], model.units[who] = 1500 * number, 12 * (3 - number)
        venue.join(who, points=model.points[who], units=model.units[who])
    commands, expected = _spell(venue, model, steps)
    answers = _run(venue, commands, sizes, rolled_back)
    assert [_short(answer) for answer in answers] == expected
    _check(venue, model)


def _spell(venue: Venue, model: PlainExchange, steps: list[Any]) -> tuple[list[Any], list[Any]]:
    """Write each step as a command, and ask the model what should come of it."""
    commands: list[Any] = []
    expected: list[Any] = []
    placed: list[tuple[Any, Any, str]] = []
    for number, (deed, who, a, b, c) in enumerate(steps):
        name = f"n{number}"
        if deed == "place":
            commands.append(venue.place(who, a, b, c, cid=name))
            expected.append(model.place(who, a, b, c, name))
            placed.append((commands[-1], expected[-1], who))
        elif deed == "repeat" and placed:
            command, answer, _ = placed[a % len(placed)]
            commands.append(command)
            expected.append(answer)
        elif deed == "cancel":
            commands.append(venue.cancel(who, cid=f"n{a}"))
            expected.append("cancelled" if model.cancel(who, f"n{a}") else "nothing")
    return commands, expected


def _run(
    venue: Venue, commands: list[Any], sizes: list[int], rolled_back: int
) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    turn = 0
    while len(answers) < len(commands):
        part = commands[len(answers) :][: sizes[turn % len(sizes)]]
        if turn % 4 < rolled_back:
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                venue.engine.execute(part)
                raise ZeroDivisionError
            venue.engine.rolled_back()
            venue.book.check()
        answers += venue.run(*part)
        turn += 1
    return answers


def _short(answer: dict[str, Any]) -> Any:
    if "filled_quantity" in answer:
        return answer["status"], answer["filled_quantity"], answer["filled_amount"]
    if answer["http"] == 200:
        return "nothing" if answer["replayed"] else "cancelled"
    if answer["code"] == "insufficient_funds":
        return answer["code"], 0, 0
    assert answer["code"] in {"unknown_order", "order_already_filled", "order_already_refused"}
    return "nothing"


def _check(venue: Venue, model: PlainExchange) -> None:
    venue.book.check()
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
        assert Account.objects.filter(asset=asset).aggregate(Sum("balance"))["balance__sum"] == 0
    open_holds = set(Hold.objects.filter(remaining__gt=0).values_list("id", flat=True))
    open_orders = set(Order.objects.filter(state=OrderState.OPEN).values_list("hold_id", flat=True))
    assert open_holds == open_orders
    again = MarketEngine(venue.market.shard)
    again.load()
    assert again.memory.markets[venue.market.pk].book.state_hash() == venue.book.state_hash()
