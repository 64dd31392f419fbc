"""Rules that can never hold are refused when they are written, with the path to the fault. Pure.

A rule is read as literals (a leaf, and whether it must hold) under the `all`s and `any`s that
join them. Within what must hold together, the literals about one thing (a channel, an
attribute, the hours of a zone) are tried on the few points where their answers can change,
by the leaves' own tests. If no point satisfies them all, nobody ever will. It finds every
contradiction between literals that must hold together; it does not weigh the branches of
several `any`s against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from msgspec.structs import replace

from rewards.campaigns import conditions as leaf
from rewards.campaigns.conditions import test_of
from rewards.campaigns.facts import (
    MICROSECONDS_A_DAY,
    NO_TIER,
    Facts,
    Order,
    Value,
    microseconds,
    zone,
)
from rewards.campaigns.rules import AllOf, AnyOf, Fault, NoneOf, Rule, parts_of

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""A Monday far from any change of clocks."""
BASE = Facts(person=0, now=NOON, joined_at=NOON)
MOST_POINTS = 20_000


class Literal(NamedTuple):
    """A leaf and whether it must hold."""

    leaf: Any
    wanted: bool
    path: str


Together = dict[object, list[Literal]]


def contradictions(rule: Rule, path: str = "") -> list[Fault]:
    """List the parts of a rule that nobody can ever meet, each with its path."""
    return _check(rule, True, path, {})[0]


def is_impossible(rule: Rule) -> bool:
    """Say whether nobody can ever meet the rule as a whole."""
    return _check(rule, True, "", {})[1]


def _check(rule: Rule, wanted: bool, path: str, together: Together) -> tuple[list[Fault], bool]:
    """Add what the node demands to what must hold together; say what is impossible in it.

    Gives the faults, and whether they leave the node no way to be met.
    """
    literals, choices = _flat(rule, wanted, path)
    faults: list[Fault] = []
    for literal in literals:
        about = _about(literal.leaf)
        others = together.setdefault(about, [])
        others.append(literal)
        if not _possible(others):
            faults.append(_fault(literal, others[:-1]))
            others.pop()
    is_dead = bool(faults)
    for choice, choice_wanted, place in choices:
        branches = [
            _check(part, choice_wanted, part_place, {k: list(v) for k, v in together.items()})
            for part_place, part in parts_of(choice, place)
        ]
        if not branches:
            faults.append(Fault(place, "never_matches", "Nobody can be outside of everybody."))
        faults += [fault for inner, _ in branches for fault in inner]
        is_dead = is_dead or all(branch_is_dead for _, branch_is_dead in branches)
    return faults, is_dead


def _flat(
    rule: Rule, wanted: bool, path: str
) -> tuple[list[Literal], list[tuple[Rule, bool, str]]]:
    """Take a node apart: literals that must hold, and choices of which one must."""
    if isinstance(rule, NoneOf):
        return _flat(rule.of, not wanted, f"{path}/of")
    if not isinstance(rule, AllOf | AnyOf):
        return [Literal(rule, wanted, path)], []
    if isinstance(rule, AllOf) != wanted:
        return [], [(rule, wanted, path)]
    literals: list[Literal] = []
    choices: list[tuple[Rule, bool, str]] = []
    for place, part in parts_of(rule, path):
        inner = _flat(part, wanted, place)
        literals += inner[0]
        choices += inner[1]
    return literals, choices


def _fault(literal: Literal, others: Sequence[Literal]) -> Fault:
    demand = leaf.says(literal.leaf, literal.wanted)
    if not others:
        return Fault(literal.path, "never_matches", f"Nobody can ever meet this. {demand}")
    against = ", ".join(other.path or "/" for other in others[:5])
    return Fault(literal.path, "contradiction", f"{demand} That contradicts {against}.")


def _about(condition: Any) -> object:
    """Name the thing that a leaf speaks of: leaves of one thing are tried together."""
    kind = type(condition)
    match condition:
        case leaf.Segment() | leaf.Place() | leaf.Channel() | leaf.Joined():
            return kind
        case leaf.FirstOrder() | leaf.OrderAmount():
            return leaf.OrderAmount
        case leaf.Weekday() | leaf.Hours():
            return leaf.Hours, condition.time_zone
        case leaf.Tier():
            return kind, condition.program
        case leaf.Attribute():
            return kind, condition.name
        case leaf.Claimed():
            return kind, condition.campaign
        case leaf.Did():
            return kind, condition.event, condition.within_days, condition.since_claim
        case _:
            return kind, condition.event, condition.time_zone, condition.since_claim


def _possible(literals: Sequence[Literal]) -> bool:
    tests = [(test_of(literal.leaf, ""), literal.wanted) for literal in literals]
    points = _POINTS[type(literals[0].leaf)](literals)
    for count, point in enumerate(points):
        if all(test(point) == wanted for test, wanted in tests):
            return True
        if count > MOST_POINTS:
            return True
    return False


# -- the points worth trying -------------------------------------------------------------


def _memberships(literals: Sequence[Literal]) -> Iterator[Facts]:
    """In everything that is not forbidden; and in nothing."""
    named = {name for each in literals for name in each.leaf.any_of}
    forbidden = {name for each in literals if not each.wanted for name in each.leaf.any_of}
    inside = frozenset(named - forbidden)
    yield replace(BASE, segments=inside, places=inside)
    yield BASE


def _channels(literals: Sequence[Literal]) -> Iterator[Facts]:
    for name in {name for each in literals for name in each.leaf.any_of}:
        yield replace(BASE, channel=name)
    yield BASE


def _joinings(literals: Sequence[Literal]) -> Iterator[Facts]:
    days = {0, 36_501}
    for each in literals:
        days |= _around(each.leaf.days_at_least, each.leaf.days_at_most)
    for count in days:
        for hours in (0, 12):
            yield replace(BASE, joined_at=NOON - timedelta(days=count, hours=hours))


def _orders(literals: Sequence[Literal]) -> Iterator[Facts]:
    yield BASE
    amounts = [each.leaf for each in literals if isinstance(each.leaf, leaf.OrderAmount)]
    ends = {1}.union(*(_around(each.at_least, each.at_most) for each in amounts))
    for asset in {each.asset for each in amounts} | {"?"}:
        for amount in ends:
            for is_first in (True, False):
                order = Order(key="", asset=asset, amount=amount, is_first=is_first)
                yield replace(BASE, order=order)


def _moments(literals: Sequence[Literal]) -> Iterator[Facts]:
    """Every day of a week at midnight and at each time that is named."""
    local = zone(literals[0].leaf.time_zone)
    hours = [each.leaf for each in literals if isinstance(each.leaf, leaf.Hours)]
    clocks = {"00:00", *(each.start for each in hours), *(each.until for each in hours)}
    for day in range(7):
        for clock in clocks:
            moment = datetime(2026, 6, 1 + day, int(clock[:2]), int(clock[3:]), tzinfo=local)
            yield replace(BASE, now=moment)


def _tiers(literals: Sequence[Literal]) -> Iterator[Facts]:
    ranks = {NO_TIER, *(each.leaf.rank for each in literals)}
    for rank in ranks | {rank - 1 for rank in ranks if rank > 0}:
        yield replace(BASE, tiers={literals[0].leaf.program: rank})


def _attributes(literals: Sequence[Literal]) -> Iterator[Facts]:
    """No value, each value that is named, its neighbours, and values like no other."""
    yield BASE
    values: list[Value] = ["\x01 like no other", True, False, -(1 << 62)]
    for each in literals:
        named = [value for value in (each.leaf.value, *each.leaf.values) if value is not None]
        values += named
        values += [n + by for n in named if type(n) is int for by in (-1, 1)]
    for value in values:
        yield replace(BASE, attributes={literals[0].leaf.name: value})


def _claims(literals: Sequence[Literal]) -> Iterator[Facts]:
    counts = {0}.union(*(_around(each.leaf.at_least, each.leaf.at_most) for each in literals))
    for count in counts:
        yield replace(BASE, claims={literals[0].leaf.campaign: count})


def _deeds(literals: Sequence[Literal]) -> Iterator[Facts]:
    now = microseconds(NOON)
    for times in {0}.union(*(_around(each.leaf.times, None) for each in literals)):
        yield replace(BASE, activities={literals[0].leaf.event: (now,) * times})


def _streaks(literals: Sequence[Literal]) -> Iterator[Facts]:
    now = microseconds(NOON)
    for days in {0}.union(*(_around(each.leaf.days, None) for each in literals)):
        done = tuple(now - day * MICROSECONDS_A_DAY for day in reversed(range(days)))
        yield replace(BASE, quarters={literals[0].leaf.event: done})


def _around(least: int, most: int | None) -> set[int]:
    """Both ends of a range and what lies next to them."""
    ends = {least} if most is None else {least, most}
    return {near for end in ends for near in (end - 1, end, end + 1) if near >= 0}


_POINTS: dict[type, Callable[[Sequence[Literal]], Iterator[Facts]]] = {
    leaf.Segment: _memberships,
    leaf.Place: _memberships,
    leaf.Channel: _channels,
    leaf.Joined: _joinings,
    leaf.FirstOrder: _orders,
    leaf.OrderAmount: _orders,
    leaf.Weekday: _moments,
    leaf.Hours: _moments,
    leaf.Tier: _tiers,
    leaf.Attribute: _attributes,
    leaf.Claimed: _claims,
    leaf.Did: _deeds,
    leaf.Streak: _streaks,
}
