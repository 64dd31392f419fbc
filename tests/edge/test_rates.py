"""Token buckets: a plain model that counts tokens must agree, and the memory is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.rates import MOST_CALLERS, Buckets, Rate


def test_a_burst_passes_then_one_every_step() -> None:
    buckets, rate = Buckets(), Rate(per_s=10, burst=3)
    assert [buckets.take("a", rate, count=1, now=100) for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a", rate, count=1, now=100) == pytest.approx(0.1)
    assert buckets.take("b", rate, count=1, now=100) == 0
    assert buckets.take("a", rate, count=1, now=100.1) == 0
    assert buckets.take("a", rate, count=1, now=100.1) == pytest.approx(0.1)


def test_what_never_fits_is_told_apart_from_what_must_wait() -> None:
    buckets, rate = Buckets(), Rate(per_s=10, burst=3)
    assert buckets.take("a", rate, count=4, now=0) == float("inf")
    assert buckets.take("a", rate, count=3, now=0) == 0
    assert buckets.take("a", rate, count=3, now=0) == pytest.approx(0.3)


@given(
    st.integers(1, 50),
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(0, 500), st.integers(1, 20)), max_size=60),
)
def test_it_counts_as_a_bucket_of_tokens_does(
    per_s: int, burst: int, asked: list[tuple[int, int]]
) -> None:
    buckets, rate = Buckets(), Rate(per_s, burst)
    tokens, now_ms, before_ms = float(burst), 0, 0
    for passed_ms, count in asked:
        now_ms += passed_ms
        tokens = min(burst, tokens + (now_ms - before_ms) * per_s / 1000)
        before_ms = now_ms
        wait_s = buckets.take("a", rate, count=count, now=now_ms / 1000)
        if count > burst:
            assert wait_s == float("inf")
        elif tokens >= count - 1e-6:
            assert wait_s == 0
            tokens -= count
        else:
            assert wait_s == pytest.approx((count - tokens) / per_s, abs=1e-6)


def test_callers_with_a_full_bucket_are_forgotten() -> None:
    buckets, rate = Buckets(), Rate(per_s=1, burst=2)
    for caller in range(MOST_CALLERS):
        buckets.take(caller, rate, count=1, now=0)
    assert buckets.take("late", rate, count=2, now=10) == 0
    assert len(buckets) == 1
    assert buckets.take("late", rate, count=1, now=10) > 0


def test_a_flood_of_callers_in_use_is_bounded_and_keeps_the_busiest() -> None:
    buckets, rate = Buckets(), Rate(per_s=1, burst=100)
    buckets.take("busy", rate, count=100, now=0)
    for caller in range(MOST_CALLERS + 5):
        buckets.take(caller, rate, count=1, now=0)
    assert len(buckets) <= MOST_CALLERS
    assert buckets.take("busy", rate, count=1, now=0) > 0
