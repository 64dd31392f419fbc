"""The limits as rules: what they do on a server that is simulated in a few lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sequencer.limits import LEAST, MOST, AimdLimit, GradientLimit


def closed_loop(limit: GradientLimit, *, least_s: float, per_s: float, turns: int) -> float:
    """Keep a server full to the limit, which does `per_s` and never answers before `least_s`."""
    rtt_s = least_s
    for _ in range(turns):
        in_flight = limit.value
        rtt_s = max(least_s, in_flight / per_s)
        limit.answered(rtt_s, in_flight)
    return rtt_s


def test_it_grows_while_answers_take_no_longer() -> None:
    limit = GradientLimit()
    closed_loop(limit, least_s=0.005, per_s=1e9, turns=300)
    assert limit.value == MOST


def test_a_server_that_slows_down_is_given_less_at_once() -> None:
    limit = GradientLimit(initial=20, least=20)
    closed_loop(limit, least_s=0.005, per_s=1e9, turns=2_000)
    for _ in range(30):
        limit.answered(0.050, limit.value)
    assert limit.value < MOST / 3


def test_control_without_the_gradient_it_does_not_notice() -> None:
    blind = GradientLimit(initial=20, least=20, tolerance=1_000)
    closed_loop(blind, least_s=0.005, per_s=1e9, turns=2_000)
    for _ in range(30):
        blind.answered(0.050, blind.value)
    assert blind.value == MOST


def test_it_comes_back_within_some_hundred_answers() -> None:
    limit = GradientLimit()
    closed_loop(limit, least_s=0.005, per_s=1e9, turns=2_000)
    for _ in range(100):
        limit.answered(0.5, limit.value)
    closed_loop(limit, least_s=0.005, per_s=1e9, turns=400)
    assert limit.value == MOST


def test_with_half_the_room_unused_nothing_is_learnt() -> None:
    limit = GradientLimit()
    for rtt_s in (0.001, 0.5, 3.0):
        limit.answered(rtt_s, int(LEAST / 2) - 1)
    assert limit.value == LEAST


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 1_000), st.booleans())))
def test_whatever_it_is_told_it_stays_within_bounds(
    samples: list[tuple[float, int, bool]],
) -> None:
    for limit in (GradientLimit(), AimdLimit()):
        for rtt_s, in_flight, is_dropped in samples:
            if is_dropped:
                limit.dropped()
            limit.answered(rtt_s, in_flight)
            assert LEAST <= limit.value <= MOST


def test_the_fallback_adds_one_and_takes_a_tenth() -> None:
    limit = AimdLimit(initial=100, least=20, slow_s=0.1)
    limit.answered(0.05, 50)
    assert limit.value == 101
    limit.answered(0.05, 49)
    assert limit.value == 101
    limit.answered(0.2, 100)
    assert limit.value == 90
    limit.dropped()
    assert limit.value == 81
