"""Terms: whatever JSON comes in, it is taken or refused with a path; never anything else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.campaigns.terms import Known, Terms, load_terms, read_terms, stored
from tests.rewards.campaigns.conftest import NOW
from tests.rewards.campaigns.trees import rule_data

KNOWN = Known(
    assets={"POINTS": "points", "EUR": "currency", "USD": "currency", "DRINK": "series"},
    lapsing=frozenset({"POINTS"}),
    segments=frozenset("abc"),
    attributes={"n": "number"},
    events=frozenset("e"),
    places=frozenset("abc"),
    programs={"club": ("x", "y")},
    campaigns=frozenset("ABC"),
)
FULL: dict[str, Any] = {
    "starts_at": "2026-11-01T00:00:00Z",
    "ends_at": "2027-11-01T00:00:00Z",
    "time_zone": "Europe/Madrid",
    "rule": {"is": "all", "of": [{"is": "segment", "any_of": ["a"]},
                                 {"is": "tier", "program": "club", "at_least": "y"}]},
    "effects": [
        {"is": "points", "asset": "POINTS", "amount": 5, "every": 100, "at_most": 50},
        {"is": "units", "series": "DRINK"},
        {"is": "cashback", "asset": "EUR", "bps": 50},
        {"is": "discount", "asset": "EUR", "amount": 10, "to": "referrer"},
        {"is": "tier_points", "program": "club", "amount": 1},
        {"is": "chance", "outcomes": [{"weight": 1}, {"weight": 2, "effects": [
            {"is": "points", "asset": "POINTS", "amount": 9, "expires_after_days": 3,
             "expires_at": "2027-12-01T00:00:00Z"}]}]},
    ],
    "limits": [{"per": "person", "window": "week", "most": 2}],
    "velocity": {"most": 2, "within_s": 60},
    "budgets": {"POINTS": 1000, "DRINK": 5, "EUR": 1000},
    "group": "g",
    "stacks": False,
    "needs_order": True,
    "referral": {"joined_within_days": 10, "referrer_most": 3},
    "goal": {"event": "e"},
}  # fmt: skip

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["all", "points", "POINTS", "a", "UTC", "2026-11-01T00:00:00Z", "0000-00"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["is", "of", "any_of", "amount", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)


def read(data: Any) -> Terms | None:
    found, faults = read_terms(data, campaign="A", known=KNOWN, now=NOW)
    assert (found is None) == bool(faults)
    assert all(fault.path == "" or fault.path.startswith("/") for fault in faults)
    return found


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = list(node.items()) if isinstance(node, dict) else []
    inner = list(enumerate(node)) if isinstance(node, list) else inner
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def test_full_terms_are_taken_and_stored_as_they_were() -> None:
    found = read(FULL)
    assert found is not None
    assert load_terms(stored(found)) == found
    assert stored(found)["rule"]["of"][1]["rank"] == 1


@given(st.data(), anything)
@settings(max_examples=400, deadline=None)
def test_terms_with_anything_anywhere_are_taken_or_refused(draw: st.DataObject, wild: Any) -> None:
    data = copy.deepcopy(FULL)
    *path, last = draw.draw(st.sampled_from(places(FULL)[1:]))
    node = data
    for key in path:
        node = node[key]
    node[last] = wild
    if (found := read(data)) is not None:
        assert load_terms(stored(found)) == found


@given(anything)
def test_anything_at_all_is_refused(wild: Any) -> None:
    assert read(wild) is None


@given(rule_data)
@settings(max_examples=200, deadline=None)
def test_any_rule_is_taken_or_refused(rule: Any) -> None:
    read(FULL | {"rule": rule})


@pytest.mark.parametrize(
    ("end", "ends_at", "code"),
    [
        ("2027-10-31T00:00:00Z", FULL["ends_at"], "contradiction"),
        ("2027-12-01T00:00:00Z", None, "contradiction"),
        ("2027-12-01T00:00:00", FULL["ends_at"], "offset_missing"),
    ],
)
def test_points_that_end_while_claims_go_on_are_refused(
    end: str, ends_at: str | None, code: str
) -> None:
    effect = {"is": "points", "asset": "POINTS", "amount": 1, "expires_at": end}
    terms = FULL | {"ends_at": ends_at, "effects": [effect]}
    found, faults = read_terms(terms, campaign="A", known=KNOWN, now=NOW)
    assert found is None
    assert ("/effects/0/expires_at", code) in [(fault.path, fault.code) for fault in faults]
