"""Icebergs, stops, pairs, minimum quantities, ends and amendments, by example."""

from __future__ import annotations

import pytest

from orderbook.amending import amend
from orderbook.book import Book, Side, Special
from orderbook.matching import (
    Cause,
    Conditions,
    Dropped,
    Place,
    Prevented,
    Refusal,
    Report,
    SelfTrade,
    TimeInForce,
    cancel,
    place,
    reduce,
    trigger,
)
from orderbook.pairs import place_pair

BUY, SELL = Side.BUY, Side.SELL
GTC, IOC = TimeInForce.GOOD_TILL_CANCELLED, TimeInForce.IMMEDIATE_OR_CANCEL
FOK, POST_ONLY = TimeInForce.FILL_OR_KILL, TimeInForce.POST_ONLY
GTD = TimeInForce.GOOD_TILL_DATE
NEWEST = SelfTrade.CANCEL_NEWEST
ANN, BEN, CEM = 10, 11, 12


@pytest.fixture
def book() -> Book:
    """Ann sells 5 at 101 and then Ben 3; Ben sells 4 at 103. Cem buys 2 at 99."""
    rows = [(1, ANN, SELL, 101, 5), (2, BEN, SELL, 101, 3), (3, BEN, SELL, 103, 4)]
    return Book.load([*rows, (4, CEM, BUY, 99, 2)], last_ticks=100)


def order(
    order_id: int, owner_id: int, side: Side, price: int, lots: int,
    time_in_force: TimeInForce = GTC, **conditions: int,
) -> Place:  # fmt: skip
    asked = Conditions(**conditions)
    return Place(order_id, owner_id, side, price, lots, time_in_force, NEWEST, asked)


def queue(book: Book) -> list[tuple[int, int]]:
    """(order, lots shown) of the waiting sell orders, first come first."""
    book.check()
    return [(row.order_id, row.quantity_lots) for row in book.resting() if row.side is SELL]


def traded(report: Report) -> list[tuple[int, int, int, int]]:
    """(maker, price, lots, left of the maker) of each fill."""
    return [
        (f.maker_order_id, f.price_ticks, f.quantity_lots, f.maker_left_lots) for f in report.fills
    ]


# -- icebergs --------------------------------------------------------------------------------


def test_an_iceberg_shows_its_peak_and_hides_the_rest(book: Book) -> None:
    report = place(book, order(9, CEM, SELL, 101, 10, peak_lots=3))
    assert report.resting_lots == 10
    assert queue(book) == [(1, 5), (2, 3), (9, 3), (3, 4)]
    assert book.lots_at(SELL, 101) == 11
    assert book.lots_left(9) == 10


def test_a_new_part_of_an_iceberg_waits_behind_the_others() -> None:
    book = Book()
    place(book, order(1, ANN, SELL, 101, 7, peak_lots=3))
    place(book, Place(2, BEN, SELL, 101, 2))
    report = place(book, Place(9, CEM, BUY, 101, 4))
    assert traded(report) == [(1, 101, 3, 4), (2, 101, 1, 1)]
    assert report.requeued == [1]
    assert queue(book) == [(2, 1), (1, 3)]


def test_one_order_may_eat_a_whole_iceberg() -> None:
    book = Book()
    place(book, order(1, ANN, SELL, 101, 7, peak_lots=3))
    report = place(book, Place(9, CEM, BUY, 101, 8))
    assert traded(report) == [(1, 101, 3, 4), (1, 101, 3, 1), (1, 101, 1, 0)]
    assert (report.requeued, report.resting_lots) == ([1, 1], 1)
    assert not book.specials


def test_a_taking_iceberg_trades_all_of_itself_and_shows_its_peak_after(book: Book) -> None:
    report = place(book, order(9, CEM, BUY, 102, 20, peak_lots=4))
    assert (len(report.fills), report.resting_lots) == (2, 12)
    assert book.best(BUY) == (102, 4)


def test_fill_or_kill_counts_hidden_lots() -> None:
    book = Book()
    place(book, order(1, ANN, SELL, 101, 7, peak_lots=3))
    assert place(book, Place(8, CEM, BUY, 101, 8, FOK)).refusal is Refusal.FILL_OR_KILL_UNFILLED
    assert queue(book) == [(1, 3)]
    assert len(place(book, Place(9, CEM, BUY, 101, 7, FOK)).fills) == 3


def test_an_iceberg_that_is_reduced_loses_hidden_lots_first(book: Book) -> None:
    place(book, order(9, CEM, SELL, 101, 10, peak_lots=3))
    assert reduce(book, 9, CEM, 4).cancelled_lots == 6
    assert (queue(book)[2], book.lots_left(9)) == ((9, 3), 4)
    reduce(book, 9, CEM, 2)
    assert (queue(book)[2], book.lots_left(9)) == ((9, 2), 2)


def test_a_cancelled_iceberg_gives_up_its_hidden_lots_too(book: Book) -> None:
    place(book, order(9, CEM, SELL, 101, 10, peak_lots=3))
    assert cancel(book, 9, CEM).cancelled_lots == 10
    assert not book.specials


def test_decrement_takes_the_shown_part_of_an_own_iceberg_after_the_other() -> None:
    book = Book()
    place(book, order(1, ANN, SELL, 101, 5, peak_lots=2))
    report = place(book, Place(9, ANN, BUY, 101, 3, GTC, SelfTrade.DECREMENT))
    assert report.prevented == [Prevented(1, 2, 3, 101), Prevented(1, 1, 2, 101)]
    assert (queue(book), book.lots_left(1)) == ([(1, 1)], 2)


# -- minimum quantity, ends --------------------------------------------------------------------


def test_a_minimum_quantity_trades_at_once_or_nothing_happens(book: Book) -> None:
    state = book.state_hash()
    report = place(book, order(8, CEM, BUY, 101, 20, minimum_lots=9))
    assert report.refusal is Refusal.MINIMUM_QUANTITY_UNFILLED
    assert book.state_hash() == state
    report = place(book, order(9, CEM, BUY, 101, 20, minimum_lots=8))
    assert (len(report.fills), report.resting_lots) == (2, 12)


def test_orders_whose_end_has_come_are_found_earliest_first(book: Book) -> None:
    place(book, order(7, CEM, BUY, 98, 1, GTD, expires_us=300))
    place(book, order(8, CEM, BUY, 98, 1, GTD, expires_us=200))
    place(book, order(9, ANN, BUY, 98, 1, stop_ticks=110, expires_us=100))
    assert book.expired(299, at_most=10) == [9, 8]
    assert book.expired(300, at_most=2) == [9, 8]
    cancel(book, 8, CEM, Cause.EXPIRED)
    assert book.expired(300, at_most=10) == [9, 7]


def test_an_order_that_is_filled_has_no_end_any_more(book: Book) -> None:
    place(book, order(7, ANN, BUY, 100, 1, GTD, expires_us=300))
    place(book, Place(8, CEM, SELL, 100, 1))
    assert not book.expired(300, at_most=10)
    book.check()


# -- stops -------------------------------------------------------------------------------------


def test_a_stop_waits_unseen_until_a_trade_reaches_its_price(book: Book) -> None:
    report = place(book, order(7, CEM, BUY, 103, 2, stop_ticks=101))
    assert (report.resting_lots, book.best(BUY)) == (2, (99, 2))
    place(book, Place(8, CEM, BUY, 101, 1))
    assert book.stops.next_id() == 7
    report = trigger(book)
    assert traded(report) == [(1, 101, 2, 2)]
    assert not book.stops.commands


def test_a_stop_limit_waits_in_the_book_after_it_ran(book: Book) -> None:
    place(book, order(7, ANN, SELL, 100, 2, stop_ticks=99))
    place(book, Place(8, BEN, SELL, 99, 1))
    report = trigger(book)
    assert (report.fills, report.resting_lots) == ([], 2)
    assert book.best(SELL) == (100, 2)


@pytest.mark.parametrize(("side", "stop"), [(BUY, 100), (BUY, 99), (SELL, 100), (SELL, 101)])
def test_a_stop_whose_price_was_traded_already_is_refused(
    book: Book, side: Side, stop: int
) -> None:
    report = place(book, order(7, CEM, side, 100, 2, stop_ticks=stop))
    assert report.refusal is Refusal.STOP_WOULD_TRIGGER
    assert not book.stops.commands


def test_one_print_elects_buys_from_below_then_sells_from_above_then_by_age() -> None:
    book = Book.load([(1, ANN, SELL, 105, 9)], last_ticks=100)
    for order_id, stop in ((12, 102), (11, 102), (13, 101), (14, 106)):
        place(book, order(order_id, CEM, BUY, 90, 1, stop_ticks=stop))
    place(book, Place(20, BEN, BUY, 105, 1))
    ran = []
    while book.stops.next_id():
        ran.append(trigger(book).order_id)
    assert ran == [13, 11, 12]


def test_every_print_of_an_order_counts_not_only_its_last() -> None:
    """The price falls through 97 and the last print is lower still; a buy at 97 was reached."""
    book = Book.load([(1, ANN, BUY, 97, 1), (2, ANN, BUY, 95, 1)], last_ticks=96)
    place(book, order(7, CEM, BUY, 90, 1, stop_ticks=97))
    place(book, Place(9, BEN, SELL, 95, 2))
    assert (book.last_ticks, book.stops.next_id()) == (95, 7)


def test_stops_that_run_elect_others(book: Book) -> None:
    """A fall of the market: each stop sells at a lower price and wakes the next."""
    place(book, Place(5, CEM, BUY, 97, 2))
    place(book, order(7, ANN, SELL, 97, 2, IOC, stop_ticks=99))
    place(book, order(8, BEN, SELL, 90, 2, IOC, stop_ticks=97))
    place(book, Place(9, BEN, SELL, 99, 2))
    first = trigger(book)
    assert traded(first) == [(5, 97, 2, 0)]
    second = trigger(book)
    assert (second.order_id, second.cancelled_lots, second.cause) == (8, 2, Cause.IMMEDIATE)
    assert book.stops.next_id() == 0


def test_a_stop_that_cannot_do_what_it_asked_for_is_cancelled(book: Book) -> None:
    place(book, order(6, CEM, BUY, 103, 2, POST_ONLY, stop_ticks=101))
    place(book, order(7, CEM, BUY, 101, 9, FOK, stop_ticks=101))
    place(book, order(8, CEM, BUY, 101, 9, GTC, stop_ticks=101, minimum_lots=8))
    place(book, Place(9, CEM, BUY, 101, 1))
    for order_id, lots in ((6, 2), (7, 9), (8, 9)):
        assert trigger(book) == Report(
            order_id, cancelled_lots=lots, cause=Cause.NOT_POSSIBLE, dropped=[]
        )
    assert queue(book) == [(1, 4), (2, 3), (3, 4)]


def test_a_stop_may_be_cancelled_even_when_it_is_elected(book: Book) -> None:
    place(book, order(7, CEM, BUY, 103, 2, stop_ticks=101))
    place(book, Place(9, CEM, BUY, 101, 1))
    assert cancel(book, 7, CEM) == Report(7, cancelled_lots=2, cause=Cause.REQUESTED, dropped=[])
    assert book.stops.next_id() == 0


# -- pairs -------------------------------------------------------------------------------------


def paired(book: Book) -> tuple[Report, Report]:
    """Cem sells 4: at 104, or, should the market fall to 95, at 90."""
    return place_pair(
        book, Place(7, CEM, SELL, 104, 4), order(8, CEM, SELL, 90, 4, IOC, stop_ticks=95)
    )


def test_of_a_pair_the_limit_order_waits_and_the_stop_guards_it(book: Book) -> None:
    first, second = paired(book)
    assert (first.resting_lots, second.resting_lots) == (4, 4)
    assert queue(book)[-1] == (7, 4)


def test_a_trade_of_one_ends_the_other(book: Book) -> None:
    paired(book)
    report = place(book, Place(9, ANN, BUY, 104, 9, GTC, SelfTrade.CANCEL_OLDEST))
    assert report.dropped == [Dropped(8, CEM, SELL, 90, 4, was_shown=False)]
    assert not book.stops.commands
    assert queue(book) == [(7, 2)]


def test_a_stop_that_runs_ends_the_limit_order(book: Book) -> None:
    paired(book)
    place(book, Place(5, ANN, BUY, 95, 9))
    place(book, Place(9, BEN, SELL, 95, 3))
    report = trigger(book)
    assert report.dropped == [Dropped(7, CEM, SELL, 104, 4, was_shown=True)]
    assert traded(report) == [(5, 95, 4, 4)]
    assert not book.specials


def test_a_stop_that_runs_in_vain_ends_nobodys_pair(book: Book) -> None:
    """It would trade 4 lots with one of a pair, and wants 20 at least: nothing happens."""
    paired(book)
    dee = 13
    place(book, order(9, dee, BUY, 104, 20, stop_ticks=101, minimum_lots=20))
    place(book, Place(10, dee, BUY, 101, 1))
    report = trigger(book)
    assert (report.cause, report.cancelled_lots) == (Cause.NOT_POSSIBLE, 20)
    assert report.dropped == []
    assert 7 in book.orders and 8 in book.stops.commands


@pytest.mark.parametrize("order_id", [7, 8])
def test_cancelling_one_cancels_both(book: Book, order_id: int) -> None:
    paired(book)
    report = cancel(book, order_id, CEM)
    assert [gone.order_id for gone in report.dropped] == [15 - order_id]
    assert queue(book) == [(1, 5), (2, 3), (3, 4)]
    assert not book.stops.commands


def test_a_limit_order_that_trades_on_entry_needs_no_guard(book: Book) -> None:
    first, second = place_pair(
        book, Place(7, ANN, SELL, 99, 4), order(8, ANN, SELL, 90, 4, IOC, stop_ticks=95)
    )
    assert (len(first.fills), first.resting_lots) == (1, 2)
    assert second == Report(8, cancelled_lots=4, cause=Cause.PARTNER)
    assert not book.stops.commands


def test_of_a_pair_both_are_refused_or_none(book: Book) -> None:
    state = book.state_hash()
    first, second = place_pair(
        book, Place(7, ANN, SELL, 99, 4, POST_ONLY), order(8, ANN, SELL, 90, 4, IOC, stop_ticks=95)
    )
    assert first.refusal is second.refusal is Refusal.POST_ONLY_WOULD_TAKE
    first, second = place_pair(
        book, Place(7, ANN, SELL, 104, 4), order(8, ANN, SELL, 90, 4, IOC, stop_ticks=100)
    )
    assert first.refusal is second.refusal is Refusal.STOP_WOULD_TRIGGER
    assert book.state_hash() == state


# -- amendments --------------------------------------------------------------------------------


def test_less_quantity_keeps_the_place(book: Book) -> None:
    report = amend(book, Place(1, ANN, SELL, 101, 2))
    assert report == Report(1, resting_lots=2, cancelled_lots=3, cause=Cause.REQUESTED)
    assert queue(book) == [(1, 2), (2, 3), (3, 4)]


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (Place(1, ANN, SELL, 101, 6), [(2, 3), (1, 6), (3, 4)]),
        (Place(1, ANN, SELL, 103, 5), [(2, 3), (3, 4), (1, 5)]),
        (Place(1, ANN, SELL, 103, 2), [(2, 3), (3, 4), (1, 2)]),
        (order(1, ANN, SELL, 101, 5, peak_lots=2), [(2, 3), (1, 2), (3, 4)]),
    ],
)
def test_any_other_change_loses_the_place(
    book: Book, change: Place, after: list[tuple[int, int]]
) -> None:
    report = amend(book, change)
    assert report.is_replaced
    assert queue(book) == after


def test_an_amendment_that_changes_nothing_keeps_the_place(book: Book) -> None:
    mark = book.mark()
    assert amend(book, Place(1, ANN, SELL, 101, 5)) == Report(1, resting_lots=5)
    assert book.mark() == mark


def test_an_amended_order_may_trade_at_once(book: Book) -> None:
    report = amend(book, Place(1, ANN, SELL, 99, 5))
    assert (traded(report), report.resting_lots) == ([(4, 99, 2, 0)], 3)
    assert queue(book) == [(1, 3), (2, 3), (3, 4)]


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (Place(9, ANN, SELL, 101, 5), Refusal.ORDER_UNKNOWN),
        (Place(1, BEN, SELL, 101, 5), Refusal.ORDER_NOT_OWNED),
        (Place(1, ANN, SELL, 99, 5, POST_ONLY), Refusal.POST_ONLY_WOULD_TAKE),
        (order(6, ANN, SELL, 90, 5, stop_ticks=100), Refusal.STOP_WOULD_TRIGGER),
        (Place(7, CEM, SELL, 104, 1), Refusal.ORDER_PAIRED),
        (order(8, CEM, SELL, 90, 1, IOC, stop_ticks=95), Refusal.ORDER_PAIRED),
    ],
)
def test_a_refused_amendment_changes_nothing(book: Book, change: Place, refusal: Refusal) -> None:
    place(book, order(6, ANN, SELL, 90, 5, stop_ticks=94))
    paired(book)
    before = book.state_hash()
    assert amend(book, change).refusal is refusal
    assert book.state_hash() == before


def test_an_amended_stop_waits_for_its_new_price(book: Book) -> None:
    place(book, order(6, ANN, SELL, 90, 5, GTD, stop_ticks=94, expires_us=50))
    assert amend(book, order(6, ANN, SELL, 90, 5, GTD, stop_ticks=98, expires_us=50)).is_replaced
    place(book, Place(9, BEN, SELL, 98, 3))
    place(book, Place(10, CEM, BUY, 98, 1))
    assert book.stops.next_id() == 6
    assert trigger(book).resting_lots == 5


# -- the book knows when something is wrong ------------------------------------------------------


def test_check_finds_what_cannot_be(book: Book) -> None:
    place(book, order(7, CEM, BUY, 103, 2, stop_ticks=105))
    book.check()
    book.last_ticks = 105
    with pytest.raises(AssertionError, match="slept"):
        book.check()
    book.last_ticks = 100
    book.set_special(99, Special(peak_lots=1))
    with pytest.raises(AssertionError, match="gone"):
        book.check()
