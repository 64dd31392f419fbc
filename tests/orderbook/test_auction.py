"""The call auction against a search of every price, and what must hold of every uncrossing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderbook.auction import (
    Cross,
    Equilibrium,
    collect,
    indicative,
    interest,
    is_crossed,
    uncross,
)
from orderbook.book import Book, Side
from orderbook.matching import Place, Refusal, TimeInForce

Waiting = tuple[Side, int, int]
"""Side, price in ticks, lots."""

sides = st.sampled_from([Side.BUY, Side.SELL])
orders = st.lists(st.tuples(sides, st.integers(1, 30), st.integers(1, 12)), max_size=25)


def book_of(waiting: list[Waiting]) -> Book:
    """A book in auction: each order belongs to a person of its own."""
    book = Book()
    for number, (side, price, lots) in enumerate(waiting, start=1):
        report = collect(book, Place(number, 1000 + number, side, price, lots))
        assert report.resting_lots == lots
    return book


def searched(waiting: list[Waiting], reference: int) -> Equilibrium | None:
    """The rules of the auction, tried at every price there is."""
    points = []
    for price in range(1, 40):
        demand = sum(lots for side, limit, lots in waiting if side == 1 and limit >= price)
        supply = sum(lots for side, limit, lots in waiting if side == 2 and limit <= price)
        if min(demand, supply):
            points.append(Equilibrium(price, min(demand, supply), demand - supply))
    if not points:
        return None
    most = max(point.volume_lots for point in points)
    points = [point for point in points if point.volume_lots == most]
    least = min(abs(point.surplus_lots) for point in points)
    points = [point for point in points if abs(point.surplus_lots) == least]
    if all(point.surplus_lots > 0 for point in points):
        return points[-1]
    if all(point.surplus_lots < 0 for point in points):
        return points[0]
    wanted = reference or (points[0].price_ticks + points[-1].price_ticks + 1) // 2
    return min(points, key=lambda point: abs(point.price_ticks - wanted))


@given(waiting=orders, reference=st.integers(0, 40))
def test_price_and_volume_are_those_of_a_search_of_every_price(
    waiting: list[Waiting], reference: int
) -> None:
    book = book_of(waiting)
    found = indicative(*interest(book), reference_ticks=reference)
    assert found == searched(waiting, reference)
    assert (found is not None) == is_crossed(book)


@given(waiting=orders, reference=st.integers(0, 40), part=st.integers(1, 5))
def test_uncrossing_trades_the_whole_volume_in_order_of_priority(
    waiting: list[Waiting], reference: int, part: int
) -> None:
    book = book_of(waiting)
    found = indicative(*interest(book), reference_ticks=reference)
    if found is None:
        return
    crosses: list[Cross] = []
    while some := uncross(book, found.price_ticks, part):
        crosses += some
    assert sum(cross.fill.quantity_lots for cross in crosses) == found.volume_lots
    assert {cross.fill.price_ticks for cross in crosses} == {found.price_ticks}
    assert not is_crossed(book)
    book.check()
    _check_allocation(book, waiting, found, crosses)


def _check_allocation(
    book: Book, waiting: list[Waiting], found: Equilibrium, crosses: list[Cross]
) -> None:
    """Each side gets the volume by price, then time: only the last of a side may get a part."""
    got = dict.fromkeys(range(1, len(waiting) + 1), 0)
    for fill, *_ in crosses:
        assert fill.maker_order_id < fill.taker_order_id
        got[fill.maker_order_id] += fill.quantity_lots
        got[fill.taker_order_id] += fill.quantity_lots
    for side, sign in ((Side.BUY, -1), (Side.SELL, 1)):
        queue = sorted(
            (sign * price, number, lots)
            for number, (which, price, lots) in enumerate(waiting, start=1)
            if which is side
        )
        left = found.volume_lots
        for _, number, lots in queue:
            assert got[number] == min(left, lots)
            left -= got[number]
            assert (book.orders[number].lots if number in book.orders else 0) == lots - got[number]


@given(waiting=orders, part=st.integers(1, 4))
def test_an_uncrossing_taken_back_leaves_the_book_as_it_was(
    waiting: list[Waiting], part: int
) -> None:
    book = book_of(waiting)
    found = indicative(*interest(book))
    before, mark = book.state_hash(), book.mark()
    if found is not None:
        uncross(book, found.price_ticks, part)
    book.undo_to(mark)
    assert book.state_hash() == before


def test_no_bid_meets_no_ask() -> None:
    assert indicative([(10, 5)], [(11, 5)]) is None
    assert indicative([], [(11, 5)]) is None


def test_volume_decides_before_all_else() -> None:
    assert indicative([(12, 5), (10, 5)], [(9, 4), (10, 6)], reference_ticks=12) == (10, 10, 0)


def test_of_equal_volume_the_smaller_imbalance_wins_between_two_limits() -> None:
    found = indicative([(14, 5), (10, 5)], [(10, 5), (14, 3)], reference_ticks=1)
    assert found == (11, 5, 0)


def test_buyers_left_over_press_the_price_up_and_sellers_down() -> None:
    assert indicative([(20, 9)], [(10, 4)], reference_ticks=12) == (20, 4, 5)
    assert indicative([(20, 4)], [(10, 9)], reference_ticks=12) == (10, 4, -5)


@pytest.mark.parametrize(("reference", "price"), [(0, 15), (1, 10), (12, 12), (99, 20)])
def test_with_nothing_left_over_the_reference_decides(reference: int, price: int) -> None:
    assert indicative([(20, 4)], [(10, 4)], reference_ticks=reference) == (price, 4, 0)


@pytest.mark.parametrize(
    "time_in_force", [TimeInForce.IMMEDIATE_OR_CANCEL, TimeInForce.FILL_OR_KILL]
)
def test_an_order_that_cannot_wait_is_refused(time_in_force: TimeInForce) -> None:
    book = Book()
    report = collect(book, Place(1, 7, Side.BUY, 10, 5, time_in_force))
    assert report.refusal is Refusal.NOT_IN_AUCTION
    assert not book.orders


def test_an_order_that_meets_its_owners_own_is_refused() -> None:
    book = Book()
    collect(book, Place(1, 7, Side.BUY, 10, 5))
    own = [book.orders[1]]
    assert collect(book, Place(2, 7, Side.SELL, 10, 5), own).refusal is Refusal.MEETS_OWN_ORDER
    assert collect(book, Place(2, 7, Side.SELL, 11, 5), own).resting_lots == 5
    assert collect(book, Place(2, 7, Side.SELL, 12, 5)).refusal is Refusal.ORDER_DUPLICATE
