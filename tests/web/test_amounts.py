"""Amounts and prices as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderbook.candles import Candle
from web.amounts import format_amount, plain_amount, read_amount
from web.chart import candle_chart, spark

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("minor", "scale", "written"),
    [
        (0, 0, "0"),
        (0, 2, "0.00"),
        (5, 2, "0.05"),
        (123456789, 2, "1,234,567.89"),
        (-1500, 0, "\u22121,500"),
        (1 << 62, 0, "4,611,686,018,427,387,904"),
        (1, 8, "0.00000001"),
    ],
)
def test_amount_is_written_with_separators(minor: int, scale: int, written: str) -> None:
    assert format_amount(minor, scale) == written


@pytest.mark.parametrize(
    ("text", "scale", "minor"),
    [("25", 0, 25), ("1,000", 0, 1000), (" 12.5 ", 2, 1250), ("12.", 2, 1200), ("7.00", 0, 7)],
)
def test_amount_is_read_as_typed(text: str, scale: int, minor: int) -> None:
    assert read_amount(text, scale) == minor


@pytest.mark.parametrize(
    "text",
    ["", "-1", "0", "0.00", "1e3", "1.5", "1,00", "٣", "abc", "1.2.3", "NaN", str((1 << 62) + 1)],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_amount(text, 0)


@given(st.integers(1, 1 << 62), st.integers(0, 8))
def test_what_is_written_reads_back(minor: int, scale: int) -> None:
    assert read_amount(format_amount(minor, scale), scale) == minor
    assert read_amount(plain_amount(minor, scale), scale) == minor


def candle(number: int, first: int, high: int, low: int, close: int, *, volume: int = 4) -> Candle:
    return Candle(number * 60, first, high, low, close, volume, 400, min(1, volume))


def test_candles_stand_at_the_right_and_scale_to_their_prices() -> None:
    drawn = [candle(8, 100, 120, 100, 110), candle(9, 110, 110, 105, 105, volume=2)]
    chart = candle_chart(drawn, interval_s=60, count=4)
    assert chart is not None
    assert (chart.low, chart.high, chart.first, chart.last, chart.drawn) == (100, 120, 100, 105, 2)
    assert chart.wicks_rising == "M625.0 12V238"
    assert chart.rising == "M537.5 125.0h175.0v113.0h-175.0z"
    assert chart.falling == "M787.5 125.0h175.0v56.5h-175.0z"
    assert chart.volume == "M537.5 300.0h175.0v-50.0h-175.0zM787.5 300.0h175.0v-25.0h-175.0z"
    assert (chart.start.minute, chart.end.minute) == (6, 10)


def test_a_candle_without_trades_is_a_flat_mark() -> None:
    chart = candle_chart([candle(1, 100, 100, 100, 100, volume=0)], interval_s=60, count=1)
    assert chart is not None
    assert chart.flat == "M150.0 124.2h700.0v1.5h-700.0z"
    assert (chart.rising, chart.falling, chart.volume) == ("", "", "")


def test_no_candles_make_no_chart() -> None:
    assert candle_chart([], interval_s=60, count=4) is None


def test_spark_needs_two_prices() -> None:
    assert (spark([1]), spark([1, 3, 2])) == ("", "M0 26L50 2L100 14")
