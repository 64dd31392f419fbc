"""Amounts and prices as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.amounts import format_amount, plain_amount, read_amount
from web.chart import price_chart, spark

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


def test_price_holds_until_the_next_trade() -> None:
    trades = [(NOON, 100), (NOON + timedelta(minutes=30), 120)]
    chart = price_chart(trades, end=NOON + timedelta(hours=1))
    assert chart is not None
    assert chart.line == "M0 288H500V12H1000"
    assert (chart.low, chart.high, chart.first, chart.last) == (100, 120, 100, 120)


def test_no_trades_make_no_chart() -> None:
    assert price_chart([], end=NOON) is None


def test_one_trade_is_a_level_line() -> None:
    chart = price_chart([(NOON, 100)], end=NOON)
    assert chart is not None
    assert chart.line == "M0 150H1000"


def test_spark_needs_two_prices() -> None:
    assert (spark([1]), spark([1, 3, 2])) == ("", "M0 26L50 2L100 14")
