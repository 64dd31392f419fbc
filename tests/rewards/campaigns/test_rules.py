"""Rules: read with the path to every fault, right across changes of clocks, and explained."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings

from rewards.campaigns import conditions, rules
from rewards.campaigns.contradictions import contradictions, is_impossible
from rewards.campaigns.facts import Facts, Order
from rewards.campaigns.rules import compiled, explain, read
from tests.rewards.campaigns.trees import facts, rule_data

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ANN = Facts(person=1, now=NOW, joined_at=NOW - timedelta(days=10))


def rule(data: Any) -> rules.Rule:
    found, faults = read(data)
    assert found is not None, faults
    return found


def holds(data: Any, person: Facts = ANN) -> bool:
    return compiled(rule(data))(person)


# -- reading ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"is": "magic"}, "/rule/is"),
        ("everybody", "/rule"),
        ({"is": "all", "of": [{"is": "segment", "any_of": []}]}, "/rule/of/0/any_of"),
        ({"is": "segment", "any_of": ["vip"], "extra": 1}, "/rule"),
        ({"is": "not", "of": {"is": "joined", "days_at_least": -1}}, "/rule/of/days_at_least"),
        ({"is": "hours", "start": "24:00", "until": "01:00", "time_zone": "UTC"}, "/rule/start"),
        ({"is": "amount", "asset": "EUR", "at_least": 1.5}, "/rule/at_least"),
        ({"is": "any", "of": []}, "/rule/of"),
    ],
)
def test_fault_is_told_with_its_path(data: Any, path: str) -> None:
    found, [fault] = read(data, "/rule")
    assert (found, fault.path) == (None, path)


def test_rule_has_a_limit_of_size_and_depth() -> None:
    leaf: Any = {"is": "first_order"}
    assert read({"is": "all", "of": [leaf] * 199})[0] is not None
    assert read({"is": "all", "of": [leaf] * 200})[1][0].code == "too_large"
    deep = leaf
    for _ in range(5_000):
        deep = {"is": "not", "of": deep}
    assert read(deep)[1][0].code == "too_deep"


@pytest.mark.parametrize(
    ("parts", "path", "code"),
    [
        ([{"is": "segment", "any_of": ["a"]},
          {"is": "not", "of": {"is": "segment", "any_of": ["a"]}}],
         "/of/1/of", "contradiction"),
        ([{"is": "channel", "any_of": ["app"]}, {"is": "channel", "any_of": ["web"]}],
         "/of/1", "contradiction"),
        ([{"is": "claimed", "campaign": "A", "at_least": 3, "at_most": 2}],
         "/of/0", "never_matches"),
        ([{"is": "attribute", "name": "n", "op": "gt", "value": 3},
          {"is": "attribute", "name": "n", "op": "lt", "value": 4}], "/of/1", "contradiction"),
        ([{"is": "weekday", "days": ["mon"], "time_zone": "UTC"},
          {"is": "all", "of": [{"is": "weekday", "days": ["tue"], "time_zone": "UTC"}]}],
         "/of/1/of/0", "contradiction"),
        ([{"is": "channel", "any_of": ["app"]},
          {"is": "any", "of": [{"is": "channel", "any_of": ["web"]}, {"is": "first_order"}]}],
         "/of/1/of/0", "contradiction"),
        ([{"is": "first_order"}, {"is": "amount", "asset": "EUR", "at_least": 5, "at_most": 4}],
         "/of/1", "contradiction"),
        ([{"is": "joined", "days_at_least": 9, "days_at_most": 8}], "/of/0", "never_matches"),
        ([{"is": "did", "event": "e", "times": 3},
          {"is": "not", "of": {"is": "did", "event": "e", "times": 2}}],
         "/of/1/of", "contradiction"),
    ],
)  # fmt: skip
def test_rule_that_never_holds_is_found(parts: list[Any], path: str, code: str) -> None:
    [fault] = contradictions(rule({"is": "all", "of": parts}))
    assert (fault.path, fault.code) == (path, code)


@given(rule_data, facts())
@settings(max_examples=400, deadline=None)
def test_rule_called_impossible_is_met_by_nobody(data: Any, person: Facts) -> None:
    found = rule(data)
    if is_impossible(found):
        assert contradictions(found)
        assert not compiled(found)(person)


# -- deciding and explaining -----------------------------------------------------------------


def plain(node: rules.Rule, person: Facts) -> bool:
    """The model: a rule read as anybody would."""
    if isinstance(node, rules.AllOf):
        return all(plain(part, person) for part in node.of)
    if isinstance(node, rules.AnyOf):
        return any(plain(part, person) for part in node.of)
    if isinstance(node, rules.NoneOf):
        return not plain(node.of, person)
    return conditions.test_of(node, "A")(person)


@given(rule_data, facts())
@settings(max_examples=500, deadline=None)
def test_explanation_agrees_with_the_decision_and_names_real_leaves(
    data: Any, person: Facts
) -> None:
    found = rule(data)
    told = explain(found, person, campaign="A")
    assert told.holds == compiled(found, "A")(person) == plain(found, person)
    assert told.holds != bool(told.misses)
    nodes = {path: node for path, node, _ in rules.walk(found)}
    for miss in told.misses:
        assert rules.leaf_name(nodes[miss.path]) == miss.leaf
        assert plain(nodes[miss.path], person) is not miss.wanted


def test_explanation_names_the_failing_leaf() -> None:
    data = {"is": "all", "of": [{"is": "channel", "any_of": ["app"]}, {"is": "first_order"}]}
    [miss] = explain(rule(data), Facts(person=1, now=NOW, joined_at=NOW, channel="app")).misses
    assert (miss.path, miss.leaf, miss.says) == ("/of/1", "first_order", "Needs: a first order.")


def test_what_is_not_known_is_not_fulfilled() -> None:
    for data in (
        {"is": "place", "any_of": ["stadium"]},
        {"is": "first_order"},
        {"is": "amount", "asset": "EUR"},
        {"is": "attribute", "name": "age", "op": "lt", "value": 99},
        {"is": "tier", "program": "club", "at_least": "gold", "rank": 0},
        {"is": "streak", "event": "e", "days": 1, "time_zone": "UTC"},
    ):
        assert not holds(data), data
    assert holds({"is": "attribute", "name": "age", "op": "ne", "value": 1})


def test_a_flag_is_no_number_and_a_number_no_text() -> None:
    for value, other in ((1, True), (0, False), (1, "1")):
        person = Facts(person=1, now=NOW, joined_at=NOW, attributes={"n": other})
        assert not holds({"is": "attribute", "name": "n", "op": "eq", "value": value}, person)
        assert not holds({"is": "attribute", "name": "n", "op": "in", "values": [value]}, person)
    flag = Facts(person=1, now=NOW, joined_at=NOW, attributes={"n": True})
    assert not holds({"is": "attribute", "name": "n", "op": "ge", "value": 0}, flag)


# -- clocks ------------------------------------------------------------------------------------


def at(moment: datetime) -> Facts:
    return Facts(person=1, now=moment.astimezone(UTC), joined_at=NOW)


def test_hour_that_is_skipped_never_comes_and_one_that_repeats_comes_twice() -> None:
    data = {"is": "hours", "start": "02:00", "until": "03:00", "time_zone": "Europe/Madrid"}

    def minutes(day: datetime) -> int:
        return sum(holds(data, at(day + timedelta(minutes=minute))) for minute in range(26 * 60))

    evening = timedelta(hours=-2)
    assert minutes(datetime(2026, 3, 29, tzinfo=UTC) + evening) == 0
    assert minutes(datetime(2026, 10, 25, tzinfo=UTC) + evening) == 120
    assert minutes(datetime(2026, 6, 1, tzinfo=UTC) + evening) == 60


def test_weekday_and_hours_are_those_of_the_zone() -> None:
    data = {"is": "weekday", "days": ["sat"], "time_zone": "Pacific/Auckland"}
    saturday = datetime(2026, 11, 21, 0, 0, tzinfo=ZoneInfo("Pacific/Auckland"))
    assert not holds(data, at(saturday - timedelta(microseconds=1)))
    assert holds(data, at(saturday))


def test_hours_go_over_midnight() -> None:
    data = {"is": "hours", "start": "22:00", "until": "02:00", "time_zone": "UTC"}
    inside = [hour for hour in range(24) if holds(data, at(NOW.replace(hour=hour)))]
    assert inside == [0, 1, 22, 23]


# -- many at once --------------------------------------------------------------------------------

TWELVE: dict[str, Any] = {
    "is": "all",
    "of": [
        {"is": "segment", "any_of": ["vip"]},
        {"is": "channel", "any_of": ["app", "web"]},
        {"is": "weekday", "days": ["fri"], "time_zone": "Europe/Madrid"},
        {"is": "hours", "start": "08:00", "until": "22:00", "time_zone": "Europe/Madrid"},
        {"is": "not", "of": {"is": "segment", "any_of": ["press"]}},
        {"is": "any", "of": [
            {"is": "claimed", "campaign": "X"},
            {"is": "attribute", "name": "age", "op": "ge", "value": 18},
        ]},
        {"is": "joined", "days_at_most": 400},
        {"is": "amount", "asset": "EUR", "at_least": 500},
        {"is": "did", "event": "check_in", "times": 2},
        {"is": "place", "any_of": ["stadium"]},
        {"is": "first_order"},
    ],
}  # fmt: skip
EVERYTHING = Facts(
    person=1,
    now=NOW,
    joined_at=NOW - timedelta(days=10),
    channel="app",
    segments=frozenset({"vip"}),
    attributes={"age": 20},
    activities={"check_in": (1, 2)},
    places=frozenset({"stadium"}),
    order=Order(key="o", asset="EUR", amount=700, is_first=True),
)


@pytest.mark.parametrize(
    "lacks",
    [
        {"segments": frozenset()},
        {"segments": frozenset({"vip", "press"})},
        {"channel": "till"},
        {"now": NOW + timedelta(days=1)},
        {"now": NOW + timedelta(hours=10)},
        {"attributes": {"age": 17}},
        {"joined_at": NOW - timedelta(days=401)},
        {"activities": {"check_in": (1,)}},
        {"places": frozenset()},
        {"order": Order(key="o", asset="EUR", amount=499, is_first=True)},
        {"order": Order(key="o", asset="EUR", amount=700, is_first=False)},
        {"order": None},
    ],
)
def test_each_of_twelve_conditions_counts(lacks: dict[str, Any]) -> None:
    test = compiled(rule(TWELVE))
    assert test(EVERYTHING)
    assert not test(msgspec.structs.replace(EVERYTHING, **lacks))
