"""Price bands: what they refuse, where they stop a trade, and that nothing passes them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orderbook.bands import Band, band_around, is_beyond, place_within
from orderbook.book import Book, Side
from orderbook.matching import Cause, Place, Refusal, TimeInForce, place

FOK, GTC = TimeInForce.FILL_OR_KILL, TimeInForce.GOOD_TILL_CANCELLED


def asks(*levels: tuple[int, int]) -> Book:
    book = Book()
    for number, (price, lots) in enumerate(levels, start=1):
        book.rest(number, 100 + number, Side.SELL, price, lots)
    return book


def buy(price: int, lots: int, time_in_force: TimeInForce = GTC) -> Place:
    return Place(99, 999, Side.BUY, price, lots, time_in_force)


def test_a_band_is_counted_in_basis_points_and_at_least_one_tick_wide() -> None:
    assert band_around(1000, 500) == Band(950, 1050)
    assert band_around(3, 500) == Band(2, 4)
    assert band_around(1, 500) == Band(1, 2)
    assert band_around(0, 500) is None
    assert band_around(1000, 0) is None


def test_only_the_dangerous_side_is_beyond() -> None:
    band = Band(90, 110)
    assert is_beyond(band, Side.BUY, 111)
    assert not is_beyond(band, Side.BUY, 1)
    assert is_beyond(band, Side.SELL, 89)
    assert not is_beyond(band, Side.SELL, 500)
    assert not is_beyond(None, Side.SELL, 1)


def test_an_order_that_fills_within_the_band_is_not_touched_by_it() -> None:
    report, halts = place_within(asks((105, 5), (120, 5)), buy(150, 5), Band(90, 110))
    assert (len(report.fills), report.cancelled_lots, halts) == (1, 0, False)


def test_what_would_trade_beyond_the_band_is_cancelled_and_halts() -> None:
    book = asks((105, 5), (120, 5))
    report, halts = place_within(book, buy(150, 8), Band(90, 110))
    assert [fill.price_ticks for fill in report.fills] == [105]
    assert (report.resting_lots, report.cancelled_lots, report.cause) == (0, 3, Cause.VOLATILITY)
    assert halts
    book.check()


def test_what_is_left_waits_where_no_trade_would_be_beyond() -> None:
    report, halts = place_within(asks((105, 5), (160, 5)), buy(150, 8), Band(90, 110))
    assert (report.resting_lots, halts) == (3, False)


def test_fill_or_kill_beyond_the_band_is_refused_and_halts_nothing() -> None:
    report, halts = place_within(asks((105, 5), (120, 5)), buy(150, 8, FOK), Band(90, 110))
    assert (report.refusal, halts) == (Refusal.FILL_OR_KILL_UNFILLED, False)


def test_an_order_of_ones_own_in_the_way_halts_nothing() -> None:
    book = asks((120, 5))
    book.rest(2, 999, Side.SELL, 105, 5)
    report, halts = place_within(book, buy(150, 8), Band(90, 110))
    assert (report.cause, halts) == (Cause.SELF_TRADE, False)


steps = st.lists(
    st.tuples(
        st.sampled_from([Side.BUY, Side.SELL]),
        st.integers(80, 120),
        st.integers(1, 9),
        st.sampled_from(list(TimeInForce)[:4]),
    ),
    max_size=30,
)


@given(steps=steps)
def test_no_trade_is_beyond_and_orders_the_band_does_not_meet_fare_as_without_it(
    steps: list[tuple[Side, int, int, TimeInForce]],
) -> None:
    band = Band(95, 105)
    book = Book()
    for number, (side, price, lots, time_in_force) in enumerate(steps, start=1):
        command = Place(number, number, side, price, lots, time_in_force)
        mark = book.mark()
        free = place(book, command)
        book.undo_to(mark)
        report, halts = place_within(book, command, band)
        passes = any(is_beyond(band, side, fill.price_ticks) for fill in free.fills)
        assert not any(is_beyond(band, side, fill.price_ticks) for fill in report.fills)
        assert passes or report == free
        assert halts == (passes and time_in_force is not FOK)
        book.check()
