"""Decisions at their edges, on plain data: no database takes part."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rewards.campaigns.cohorts import Cohorts, Moved, Tag
from rewards.campaigns.deciding import (
    Ask,
    Counts,
    Grant,
    Referrer,
    Version,
    all_counters,
    decide,
    own_counter,
)
from rewards.campaigns.facts import MICROSECONDS_A_DAY, Facts, Order, microseconds
from rewards.campaigns.terms import MOST_RECENT, load_terms

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ANN = Facts(person=1, now=NOW, joined_at=NOW - timedelta(days=5))
ASK = Ask(request="r")
TEN = {"is": "points", "asset": "POINTS", "amount": 10}


def version(**terms: Any) -> Version:
    data = {"starts_at": "2026-11-01T00:00:00Z", "effects": [TEN], **terms}
    return Version(id=1, campaign="C", number=1, terms=load_terms(data), seed=b"seed")


FRESH = Counts()


def said(of: Version, *, left: int = 1_000, counts: Counts = FRESH, **facts: Any) -> str:
    person = Facts(**{name: getattr(ANN, name) for name in ANN.__struct_fields__} | facts)
    decision = decide(of, person, ASK, counts, {"POINTS": left})
    return "granted" if isinstance(decision, Grant) else decision.code


def test_budget_is_enough_to_the_last_point() -> None:
    assert (said(version(), left=10), said(version(), left=9)) == ("granted", "budget_exhausted")


def test_dearest_outcome_and_all_effects_must_be_covered() -> None:
    dear = {"is": "points", "asset": "POINTS", "amount": 90}
    draw = {"is": "chance", "outcomes": [{"weight": 1, "effects": [dear]}, {"weight": 10**9}]}
    both = version(effects=[TEN, draw])
    assert (said(both, left=100), said(both, left=99)) == ("granted", "budget_exhausted")


@pytest.mark.parametrize(("most", "seconds", "expected"), [
    (3, (50, 30, 10), "too_fast"), (3, (60, 30, 10), "granted"), (3, (30, 10), "granted"),
    (1, (59,), "too_fast"), (20, (50,) * 20, "too_fast"), (20, (50,) * 19, "granted"),
])  # fmt: skip
def test_velocity_counts_any_stretch(most: int, seconds: tuple[int, ...], expected: str) -> None:
    recent = tuple(microseconds(NOW - timedelta(seconds=ago)) for ago in seconds)
    of = version(velocity={"most": most, "within_s": 60})
    assert len(recent) <= MOST_RECENT
    assert said(of, counts=Counts(recent=recent)) == expected


def test_activity_within_days_includes_the_very_moment() -> None:
    of = version(rule={"is": "did", "event": "e", "within_days": 1})
    day_ago = microseconds(NOW) - MICROSECONDS_A_DAY
    assert said(of, activities={"e": (day_ago,)}) == "granted"
    assert said(of, activities={"e": (day_ago - 1,)}) == "rule_not_met"


def test_mission_starts_after_the_last_grant() -> None:
    of = version(rule={"is": "did", "event": "e", "since_claim": True})
    assert said(of, activities={"e": (100,)}, claimed_at={"C": 99}) == "granted"
    assert said(of, activities={"e": (100,)}, claimed_at={"C": 100}) == "rule_not_met"
    assert said(of, activities={"e": (100,)}, claimed_at={"OTHER": 100}) == "granted"


@pytest.mark.parametrize(
    ("effect", "amount", "paid"),
    [
        ({"is": "points", "asset": "POINTS", "amount": 2, "every": 100}, 399, 6),
        ({"is": "points", "asset": "POINTS", "amount": 2, "every": 100, "at_most": 5}, 399, 5),
        ({"is": "cashback", "asset": "POINTS", "bps": 333}, 1_000, 33),
        ({"is": "discount", "asset": "POINTS", "amount": 500}, 399, 399),
        ({"is": "discount", "asset": "POINTS", "bps": 10_000, "at_most": 7}, 399, 7),
        ({"is": "cashback", "asset": "POINTS", "bps": 1}, 9_999, 0),
    ],
)
def test_amounts_are_rounded_down_and_capped(
    effect: dict[str, Any], amount: int, paid: int
) -> None:
    order = Order(key="o", asset=effect["asset"], amount=amount, is_first=True)
    person = Facts(person=1, now=NOW, joined_at=NOW, order=order)
    of = version(effects=[effect], needs_order=True)
    decision = decide(of, person, ASK, Counts(), {"POINTS": 10_000})
    if paid:
        assert isinstance(decision, Grant)
        assert [payment.amount for payment in decision.payments] == [paid]
    else:
        assert not isinstance(decision, Grant)
        assert decision.code == "nothing_to_grant"


def test_grant_counts_what_was_locked_and_nothing_else() -> None:
    pairs = [(per, window) for per in ("person", "campaign") for window in ("ever", "hour", "day")]
    limits = [{"per": per, "window": window, "most": 9} for per, window in pairs]
    of = version(limits=limits, group="g", needs_order=True, stacks=False, referral={})
    order = Order(key="o", asset="EUR", amount=5, is_first=True)
    person = Facts(person=1, now=NOW, joined_at=NOW, order=order)
    ask = Ask(request="r", referrer=Referrer(2))
    decision = decide(of, person, ask, Counts(), {"POINTS": 10})
    assert isinstance(decision, Grant)
    assert list(decision.counted) == all_counters(of, person, ask)
    assert own_counter(of, 1) in decision.counted
    assert all(len(c.scope) <= 80 and len(c.period) <= 80 for c in decision.counted)


def test_same_question_gets_the_same_answer() -> None:
    draw = {"is": "chance", "outcomes": [{"weight": 1, "effects": [TEN]}, {"weight": 1}]}
    of = version(effects=[draw, draw])
    first, second = (decide(of, ANN, ASK, Counts(), {"POINTS": 99}) for _ in range(2))
    assert first == second
    assert isinstance(first, Grant)
    assert first.drawn[0].number != first.drawn[1].number, "each place draws for itself"
    other = decide(of, ANN, Ask(request="s"), Counts(), {"POINTS": 99})
    assert isinstance(other, Grant)
    assert other.drawn != first.drawn


def test_reversed_grant_takes_its_own_lot_before_those_that_lapse_sooner() -> None:
    cohorts = Cohorts()
    soon, late = Tag("SOON", "2026-11"), Tag("LATE", "2026-11")
    cohorts.apply(Moved(1, 5, NOW, None, None, 7, soon, "redeemed"))
    cohorts.apply(Moved(2, 5, None, None, None, 7, late, "redeemed"))
    cohorts.apply(Moved(3, 5, None, 2, 7, None, Tag("", ""), "taken_back"))
    assert cohorts.outstanding() == {soon: 5}
    cohorts.apply(Moved(4, 2, None, None, 7, None, Tag("", ""), "redeemed"))
    assert (cohorts.columns[soon]["redeemed"], cohorts.columns[late]["taken_back"]) == (2, 5)
