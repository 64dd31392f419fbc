"""A market's life by the clock, and a clock that never goes back."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderbook.lifecycle import PERMITTED, Schedule, Step, may_follow, next_us, step_due
from orderbook.matching import MarketState as S
from orderbook.venue_clock import VenueClock


@pytest.mark.parametrize(
    ("state", "schedule", "step"),
    [
        (S.SCHEDULED, Schedule(), Step.NONE),
        (S.SCHEDULED, Schedule(opens_us=100), Step.CALL),
        (S.SCHEDULED, Schedule(opens_us=101), Step.NONE),
        (S.SCHEDULED, Schedule(opens_us=99, closes_us=100), Step.CLOSE),
        (S.AUCTION, Schedule(), Step.NONE),
        (S.AUCTION, Schedule(until_us=100), Step.UNCROSS),
        (S.AUCTION, Schedule(until_us=101), Step.NONE),
        (S.HALTED, Schedule(), Step.NONE),
        (S.HALTED, Schedule(until_us=100), Step.CALL),
        (S.OPEN, Schedule(opens_us=1, until_us=1), Step.NONE),
        (S.OPEN, Schedule(closes_us=100), Step.CLOSE),
        (S.CLOSING, Schedule(), Step.SWEEP),
        (S.CLOSED, Schedule(opens_us=1, until_us=1, closes_us=1), Step.NONE),
    ],
)
def test_what_the_clock_asks_of_a_market(state: S, schedule: Schedule, step: Step) -> None:
    assert step_due(state, schedule, 100) is step
    due_us = next_us(state, schedule)
    assert (0 < due_us <= 100) == (step is not Step.NONE)


def test_an_uncrossing_that_began_is_finished_first() -> None:
    assert step_due(S.AUCTION, Schedule(closes_us=1), 100, is_uncrossing=True) is Step.UNCROSS
    assert next_us(S.AUCTION, Schedule(), is_uncrossing=True) == 1


def test_a_market_opens_only_through_an_auction_and_closed_is_for_good() -> None:
    assert [before for before in S if may_follow(before, S.OPEN)] == [S.AUCTION]
    assert [before for before in S if may_follow(before, S.CLOSED)] == [S.CLOSING]
    assert not PERMITTED[S.CLOSED]
    assert PERMITTED.keys() == set(S)


@given(st.lists(st.tuples(st.integers(-900, 900), st.integers(0, 50)), max_size=40))
def test_the_clock_never_goes_back_and_never_stands_still(moves: list[tuple[int, int]]) -> None:
    """Each move steps the computer's clock by so much, and lets so much time go by."""
    wall = counter = 1_000_000
    clock = VenueClock(wall_us=wall, counter_us=counter)
    seen = [clock.now_us]
    for step, elapsed in moves:
        wall, counter = wall + step + elapsed, counter + elapsed
        seen.append(clock.read(wall_us=wall, counter_us=counter))
        assert seen[-1] >= wall
        assert seen[-1] - seen[-2] >= elapsed // 2
    assert all(before <= after for before, after in pairwise(seen))


def test_a_clock_stepped_back_is_caught_up_with() -> None:
    clock = VenueClock(wall_us=10_000, counter_us=0)
    assert clock.read(wall_us=9_400, counter_us=0) == 10_000
    assert clock.read(wall_us=9_600, counter_us=200) == 10_100
    assert clock.read(wall_us=10_400, counter_us=1_000) == 10_500
    assert clock.read(wall_us=10_700, counter_us=1_300) == 10_700


def test_after_a_restart_the_clock_starts_no_earlier_than_it_stood() -> None:
    clock = VenueClock(wall_us=9_400, counter_us=5, not_before_us=10_000)
    assert clock.now_us == 10_000
