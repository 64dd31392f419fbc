"""Candles are what the trades of a stretch come to, whichever way they are counted."""

from __future__ import annotations

from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from edge.ids import EPOCH, first_id_at
from orderbook.candles import INTERVALS, Candle, Candles, fill_gaps, fold, second_of, start_of

trades = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(1, 300), st.integers(1, 50)), max_size=60
)


@given(trades, st.integers(0, 60))
def test_folding_in_parts_is_counting_each_candle_by_itself(
    times: list[tuple[int, int, int]], cut: int
) -> None:
    rows = sorted(times, key=lambda row: row[0])
    candles: Candles = {}
    for part in (rows[:cut], rows[cut:]):
        for at_s, price, quantity in part:
            fold(candles, at_s=at_s, price=price, quantity=quantity, amount=price * quantity)
    for (interval_s, start_s), candle in candles.items():
        inside = [row for row in rows if start_s <= row[0] < start_s + interval_s]
        prices = [price for _, price, _ in inside]
        assert start_s % interval_s == 0
        assert (candle.open, candle.close) == (prices[0], prices[-1])
        assert (candle.high, candle.low) == (max(prices), min(prices))
        assert candle.volume == sum(quantity for *_, quantity in inside)
        assert candle.turnover == sum(price * quantity for _, price, quantity in inside)
        assert candle.trades == len(inside)
    for interval_s in INTERVALS.values():
        counted = sum(candle.trades for (s, _), candle in candles.items() if s == interval_s)
        assert counted == len(rows), "every trade is in one candle of each length"


@given(st.datetimes(datetime(2025, 1, 1), datetime(2099, 1, 1)))
def test_a_fills_second_is_that_of_its_time(moment: datetime) -> None:
    at = moment.replace(tzinfo=EPOCH.tzinfo)
    fill_id = first_id_at(at)
    assert second_of(fill_id) in (int(at.timestamp()), int(at.timestamp()) + 1)
    assert start_of(second_of(fill_id), 60) % 60 == 0


def test_where_nothing_traded_the_price_holds() -> None:
    row = Candle(120, 5, 9, 4, 7, 10, 60, 3)
    filled = fill_gaps([row], interval_s=60, first_s=0, last_s=240, close_before=2)
    assert [(each.start_s, each.open, each.close, each.trades) for each in filled] == [
        (0, 2, 2, 0), (60, 2, 2, 0), (120, 5, 7, 3), (180, 7, 7, 0), (240, 7, 7, 0),
    ]  # fmt: skip


def test_before_the_first_trade_there_is_no_candle() -> None:
    row = Candle(120, 5, 9, 4, 7, 10, 60, 3)
    filled = fill_gaps([row], interval_s=60, first_s=0, last_s=120, close_before=None)
    assert filled == [row]
    assert fill_gaps([], interval_s=60, first_s=0, last_s=600, close_before=None) == []
