"""What a trade moves: exact examples, and laws over whole flows of orders."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderbook.book import Book, Side
from orderbook.matching import (
    Fill,
    Place,
    Report,
    SelfTrade,
    Terms,
    TimeInForce,
    cancel,
    place,
    reduce,
)
from orderbook.settlement import Asset, Leg, amount_of, fee_on, reserve, settle

ANN, BEN = 10, 11
TERMS = Terms(
    tick_minor=25, lot_units=10, least_price_ticks=1, most_price_ticks=1000, least_lots=1,
    most_lots=1000, maker_fee_bps=10, taker_fee_bps=25,
)  # fmt: skip


def fill_of(taker_side: Side, *, price_ticks: int = 40, lots: int = 7) -> Fill:
    """Ben takes from Ann's waiting order 1."""
    return Fill(1, ANN, 2, BEN, taker_side, price_ticks, lots, 0)


def free(terms: Terms) -> Terms:
    return msgspec.structs.replace(terms, maker_fee_bps=0, taker_fee_bps=0)


def test_buying_taker_pays_price_and_own_fee_and_the_makers_fee_comes_off_the_proceeds() -> None:
    settlement = settle(fill_of(Side.BUY), TERMS)
    assert (settlement.amount_minor, settlement.units) == (7000, 70)
    assert (settlement.maker_fee_minor, settlement.taker_fee_minor) == (7, 17)
    assert settlement.buyer_pays_minor == 7017
    assert settlement.legs == (
        Leg(1, ANN, BEN, Asset.BASE, 70, True),
        Leg(2, BEN, ANN, Asset.QUOTE, 6993, False),
        Leg(2, BEN, None, Asset.QUOTE, 24, False),
    )


def test_selling_taker_is_paid_from_the_makers_hold() -> None:
    settlement = settle(fill_of(Side.SELL), TERMS)
    assert (settlement.maker_fee_minor, settlement.taker_fee_minor) == (7, 17)
    assert settlement.buyer_pays_minor == 7007
    assert settlement.legs == (
        Leg(2, BEN, ANN, Asset.BASE, 70, False),
        Leg(1, ANN, BEN, Asset.QUOTE, 6983, True),
        Leg(1, ANN, None, Asset.QUOTE, 24, True),
    )


def test_market_without_fees_has_no_fee_leg() -> None:
    settlement = settle(fill_of(Side.BUY), free(TERMS))
    assert [leg.payee_id for leg in settlement.legs] == [BEN, ANN]
    assert settlement.buyer_pays_minor == settlement.amount_minor == 7000


def test_fee_below_one_unit_is_nothing() -> None:
    settlement = settle(fill_of(Side.BUY, price_ticks=1, lots=1), TERMS)
    assert settlement.amount_minor == 25
    assert [leg.amount for leg in settlement.legs] == [10, 25]


FEES = [
    # amount  bps   fee
    (      0,   25,    0),
    (    399,   25,    0),
    (    400,   25,    1),
    (    799,   25,    1),
    (  10000,    1,    1),
    (   9999,    1,    0),
    (  12345, 1000, 1234),
    (1 << 62,    1, (1 << 62) // 10_000),
]  # fmt: skip


@pytest.mark.parametrize(("amount", "bps", "fee"), FEES)
def test_fees_round_down(amount: int, bps: int, fee: int) -> None:
    assert fee_on(amount, bps) == fee


def test_reserve_is_the_limit_with_the_higher_fee_or_the_units() -> None:
    assert reserve(TERMS, Side.BUY, 40, 7) == 7017
    assert reserve(TERMS, Side.SELL, 40, 7) == 70
    assert reserve(free(TERMS), Side.BUY, 40, 7) == amount_of(TERMS, 40, 7) == 7000
    assert reserve(TERMS, Side.BUY, 40, 0) == reserve(TERMS, Side.SELL, 40, 0) == 0


def test_price_improvement_is_released() -> None:
    """Ben may pay 40 for 7 lots and gets 3 of them at 30 from Ann."""
    held = reserve(TERMS, Side.BUY, 40, 7)
    settlement = settle(fill_of(Side.BUY, price_ticks=30, lots=3), TERMS)
    assert (held, settlement.buyer_pays_minor) == (7017, 2255)
    left = held - settlement.buyer_pays_minor
    assert left - reserve(TERMS, Side.BUY, 40, 4) == 7017 - 2255 - 4010


# -- laws ------------------------------------------------------------------------------------

ANY_TERMS = st.builds(
    Terms,
    tick_minor=st.integers(1, 1000),
    lot_units=st.integers(1, 50),
    least_price_ticks=st.just(1),
    most_price_ticks=st.just(2000),
    least_lots=st.just(1),
    most_lots=st.just(1000),
    maker_fee_bps=st.integers(0, 1000),
    taker_fee_bps=st.integers(0, 1000),
)
ORDERS = st.tuples(
    st.just("place"),
    st.integers(1, 4),  # owners
    st.sampled_from(Side),
    st.integers(95, 105) | st.integers(1, 2000),
    st.integers(1, 40),
    st.sampled_from(TimeInForce),
    st.sampled_from(SelfTrade),
)
CHANGES = st.tuples(st.just("change"), st.integers(0, 40), st.integers(0, 40))
FLOWS = st.lists(st.one_of(ORDERS, ORDERS, CHANGES), min_size=10, max_size=60)
HOUSE = 0


class Purses:
    """Everybody's money and units, and what each waiting order has on hold."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.owns: Counter[tuple[int, Asset]] = Counter()
        self.orders: dict[int, Place] = {}
        self.held: dict[int, int] = {}
        self.fees = 0

    def place(self, command: Place, report: Report) -> None:
        """Hold for the whole order first, as somebody careful would; then settle its fills."""
        order_id, lots = command.order_id, command.quantity_lots
        self.orders[order_id] = command
        self.held[order_id] = self.reserve(order_id, lots)
        for fill in report.fills:
            lots -= fill.quantity_lots
            self.settle(fill, lots)
        for prevented in report.prevented:
            self.release(prevented.order_id, prevented.left_lots)
        self.release(order_id, report.resting_lots)

    def settle(self, fill: Fill, taker_left_lots: int) -> None:
        settlement = settle(fill, self.terms)
        spent: Counter[int] = Counter()
        for leg in settlement.legs:
            assert leg.amount > 0
            assert leg.is_makers == (leg.order_id == fill.maker_order_id)
            assert leg.payer_id != leg.payee_id
            self.owns[leg.payer_id, leg.asset] -= leg.amount
            self.owns[leg.payee_id or HOUSE, leg.asset] += leg.amount
            spent[leg.order_id] += leg.amount
        self.fees += settlement.maker_fee_minor + settlement.taker_fee_minor
        for order_id, left in (
            (fill.maker_order_id, fill.maker_left_lots),
            (fill.taker_order_id, taker_left_lots),
        ):
            self.held[order_id] -= spent[order_id]
            assert self.held[order_id] >= self.reserve(order_id, left), "too little was held"
        self.release(fill.maker_order_id, fill.maker_left_lots)

    def release(self, order_id: int, left_lots: int) -> None:
        """Free what the rest of the order can never need."""
        freed = self.held[order_id] - self.reserve(order_id, left_lots)
        assert freed >= 0
        self.held[order_id] -= freed
        if not left_lots:
            assert self.held.pop(order_id) == 0

    def reserve(self, order_id: int, lots: int) -> int:
        order = self.orders[order_id]
        return reserve(self.terms, order.side, order.price_ticks, lots)


def run(terms: Terms, flow: list[tuple[Any, ...]]) -> tuple[Book, Purses]:
    book, purses = Book(), Purses(terms)
    for order_id, (kind, *rest) in enumerate(flow, 1):
        if kind == "place":
            command = Place(order_id, *rest)
            report = place(book, command)
            if not report.refusal:
                purses.place(command, report)
        elif (order := book.orders.get(rest[0])) is not None:
            changed = reduce(book, order.order_id, order.owner_id, rest[1])
            if changed.refusal:
                changed = cancel(book, order.order_id, order.owner_id)
            purses.release(order.order_id, changed.resting_lots)
    return book, purses


@settings(max_examples=200, deadline=None)
@given(ANY_TERMS, FLOWS)
def test_no_flow_makes_or_loses_anything_and_holds_always_suffice(
    terms: Terms, flow: list[tuple[Any, ...]]
) -> None:
    book, purses = run(terms, flow)
    for asset in Asset:
        assert sum(held for (_, kind), held in purses.owns.items() if kind is asset) == 0
    assert purses.owns[HOUSE, Asset.QUOTE] == purses.fees
    assert purses.owns[HOUSE, Asset.BASE] == 0
    assert set(purses.held) == set(book.orders), "a hold without an order, or the reverse"
    for order_id, order in book.orders.items():
        assert purses.held[order_id] == purses.reserve(order_id, order.lots)


@settings(max_examples=200, deadline=None)
@given(
    ANY_TERMS,
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 300), st.booleans()), max_size=8),
    st.integers(0, 60),
)
def test_a_buyers_hold_covers_every_way_to_fill(
    terms: Terms, parts: list[tuple[int, int, bool]], unfilled: int
) -> None:
    """In any parts, at any prices up to the limit, as maker or taker, and any rest unfilled."""
    limit = 300
    lots = sum(part for part, _, _ in parts) + unfilled
    held = reserve(terms, Side.BUY, limit, lots)
    for part, price, is_maker in parts:
        side = Side.SELL if is_maker else Side.BUY
        held -= settle(fill_of(side, price_ticks=price, lots=part), terms).buyer_pays_minor
        lots -= part
        assert held >= reserve(terms, Side.BUY, limit, lots)


def test_a_hold_one_short_would_not_suffice() -> None:
    """The control: the reserve is as small as it can be."""
    settlement = settle(fill_of(Side.BUY, price_ticks=40, lots=7), TERMS)
    assert settlement.buyer_pays_minor == reserve(TERMS, Side.BUY, 40, 7)


def test_the_largest_order_fits_the_ledger() -> None:
    terms = Terms(
        tick_minor=1, lot_units=1, least_price_ticks=1, most_price_ticks=1 << 30, least_lots=1,
        most_lots=1 << 31, maker_fee_bps=1000, taker_fee_bps=1000,
    )  # fmt: skip
    assert reserve(terms, Side.BUY, terms.most_price_ticks, terms.most_lots) < 1 << 62
