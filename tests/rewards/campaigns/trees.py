"""Random rules and random people, from so few words that they often meet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from rewards.campaigns.facts import MICROSECONDS_A_DAY, Facts, Order, microseconds

ZONES = ("UTC", "Europe/Madrid", "America/New_York", "Australia/Lord_Howe")
CLOCKS = ("00:00", "02:30", "12:00", "23:59")
START = datetime(2026, 3, 1, tzinfo=UTC)

_names = st.lists(st.sampled_from("abc"), min_size=1, max_size=2, unique=True)
_zones = st.sampled_from(ZONES)
_small = st.integers(0, 3)


def _leaf(name: str, /, **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"is": st.just(name), **parts})


leaf_data = st.one_of(
    _leaf("segment", any_of=_names),
    _leaf("channel", any_of=_names),
    _leaf("place", any_of=_names),
    _leaf("tier", program=st.just("club"), at_least=st.just("x"), rank=_small),
    _leaf("first_order"),
    _leaf("amount", asset=st.sampled_from(["EUR", "USD"]), at_least=_small, at_most=_small),
    _leaf(
        "attribute",
        name=st.just("n"),
        op=st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge", "exists"]),
        value=_small,
    ),
    _leaf("attribute", name=st.just("n"), op=st.just("in"), values=st.lists(_small, min_size=1)),
    _leaf(
        "weekday",
        days=st.lists(st.sampled_from(["mon", "sat", "sun"]), min_size=1, unique=True),
        time_zone=_zones,
    ),
    _leaf(
        "hours",
        start=st.sampled_from(CLOCKS),
        until=st.sampled_from(CLOCKS),
        time_zone=_zones,
    ),
    _leaf("claimed", campaign=st.sampled_from("AB"), at_least=_small, at_most=_small),
    _leaf("joined", days_at_least=_small, days_at_most=_small),
    _leaf(
        "did",
        event=st.just("e"),
        times=st.integers(1, 3),
        within_days=st.sampled_from([None, 1, 3]),
        since_claim=st.booleans(),
    ),
    _leaf("streak", event=st.just("e"), days=st.integers(1, 3), time_zone=_zones),
)


def _joined(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        _leaf("all", of=st.lists(parts, max_size=3)),
        _leaf("any", of=st.lists(parts, min_size=1, max_size=3)),
        _leaf("not", of=parts),
    )


rule_data = st.recursive(leaf_data, _joined, max_leaves=8)


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    """A person at some moment of 2026, changes of clocks included."""
    now = START + timedelta(minutes=draw(st.integers(0, 366 * 24 * 60)))
    us = microseconds(now)
    days = draw(st.lists(st.integers(0, 4 * 24), max_size=6))
    activities = tuple(sorted(us - hours * MICROSECONDS_A_DAY // 24 for hours in days))
    order = None
    if draw(st.booleans()):
        order = Order(
            key="o",
            asset=draw(st.sampled_from(["EUR", "USD"])),
            amount=draw(_small) + 1,
            is_first=draw(st.booleans()),
        )
    some = st.frozensets(st.sampled_from("abc"))
    return Facts(
        person=1,
        now=now,
        joined_at=now - timedelta(hours=draw(st.integers(0, 96))),
        channel=draw(st.sampled_from(["", "a", "b", "c"])),
        segments=draw(some),
        tiers=draw(st.sampled_from([{}, {"club": 0}, {"club": 2}])),
        attributes=draw(st.sampled_from([{}, {"n": 0}, {"n": 2}, {"n": True}, {"n": "2"}])),
        places=draw(st.none() | some),
        claims=draw(st.dictionaries(st.sampled_from("AB"), _small)),
        claimed_at=draw(st.sampled_from([{}, {"A": us - MICROSECONDS_A_DAY}])),
        activities={"e": activities},
        quarters={"e": activities},
        order=order,
    )
