"""The leaves of a rule: what may be asked about a person, a moment and an order. Pure.

Each leaf is plain data and has one test. Times of day and weekdays are those of the wall
clock in an IANA zone, so an hour that daylight saving skips never comes and one that it
repeats comes twice. What is not known is not fulfilled: no evidence of a place, no order, no
attribute means that the leaf does not hold.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from rewards.campaigns.facts import MICROSECONDS_A_DAY, NO_TIER, Facts, Value, zone

Name = Annotated[str, Meta(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
Names = Annotated[tuple[Name, ...], Meta(min_length=1, max_length=100)]
Whole = Annotated[int, Meta(ge=0, le=1 << 62)]
Count = Annotated[int, Meta(ge=1, le=1_000)]
Days = Annotated[int, Meta(ge=1, le=400)]
Clock = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEK: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Op = Literal["eq", "ne", "in", "lt", "le", "gt", "ge", "exists"]
Text = Annotated[str, Meta(max_length=200)]
Test = Callable[[Facts], bool]


class Condition(msgspec.Struct, frozen=True, tag_field="is", forbid_unknown_fields=True):
    """A leaf."""


class Segment(Condition, frozen=True, tag="segment"):
    """The person is in one of these segments."""

    any_of: Names


class Tier(Condition, frozen=True, tag="tier"):
    """The person has reached this level of a tier program, or a higher one."""

    program: Name
    at_least: Name
    rank: int = -2
    """Filled in when the version is checked: the level's place in its program."""


class Attribute(Condition, frozen=True, tag="attribute"):
    """An attribute of the person compares so with the value. Missing, only `ne` holds."""

    name: Name
    op: Op
    value: Text | int | bool | None = None
    values: Annotated[tuple[Text | int | bool, ...], Meta(max_length=100)] = ()


class FirstOrder(Condition, frozen=True, tag="first_order"):
    """The order is the person's first."""


class OrderAmount(Condition, frozen=True, tag="amount"):
    """The order's amount lies in this range, both ends included."""

    asset: Name
    at_least: Whole = 0
    at_most: Whole | None = None


class Channel(Condition, frozen=True, tag="channel"):
    """The claim comes by one of these channels."""

    any_of: Names


class Weekday(Condition, frozen=True, tag="weekday"):
    """It is one of these days in the zone."""

    days: Annotated[tuple[Day, ...], Meta(min_length=1, max_length=7)]
    time_zone: Text


class Hours(Condition, frozen=True, tag="hours"):
    """The wall clock in the zone shows a time from `start` and before `until`.

    `until` before `start` goes over midnight.
    """

    start: Clock
    until: Clock
    time_zone: Text


class Place(Condition, frozen=True, tag="place"):
    """There is evidence that the person is inside one of these places."""

    any_of: Names


class Claimed(Condition, frozen=True, tag="claimed"):
    """The person was granted this campaign so many times."""

    campaign: Name
    at_least: Whole = 1
    at_most: Whole | None = None


class Joined(Condition, frozen=True, tag="joined"):
    """The person signed up at least, or at most, so many days ago."""

    days_at_least: Annotated[int, Meta(ge=0, le=36_500)] = 0
    days_at_most: Annotated[int, Meta(ge=0, le=36_500)] | None = None


class Did(Condition, frozen=True, tag="did"):
    """The person did something so often: ever, in the last days, or since the last grant."""

    event: Name
    times: Count = 1
    within_days: Days | None = None
    since_claim: bool = False


class Streak(Condition, frozen=True, tag="streak"):
    """The person did something on so many days in a row, up to today or yesterday."""

    event: Name
    days: Days
    time_zone: Text
    since_claim: bool = False


def test_of(leaf: Any, campaign: str) -> Test:
    """Make the test of a leaf. `campaign` is the one whose rule it stands in."""
    return _TESTS[type(leaf)](leaf, campaign)


# -- the tests ---------------------------------------------------------------------------


def _segment(leaf: Segment, _: str) -> Test:
    if len(leaf.any_of) == 1:
        [only] = leaf.any_of
        return lambda facts: only in facts.segments
    wanted = frozenset(leaf.any_of)
    return lambda facts: not wanted.isdisjoint(facts.segments)


def _tier(leaf: Tier, _: str) -> Test:
    program, rank = leaf.program, leaf.rank
    return lambda facts: rank >= 0 and facts.tiers.get(program, NO_TIER) >= rank


def _attribute(leaf: Attribute, _: str) -> Test:
    name, compare = leaf.name, _COMPARISONS[leaf.op]
    operand: Any = frozenset(map(_typed, leaf.values)) if leaf.op == "in" else leaf.value
    if leaf.op == "ne":
        return lambda facts: (
            name not in facts.attributes or compare(facts.attributes[name], operand)
        )
    return lambda facts: name in facts.attributes and compare(facts.attributes[name], operand)


def _typed(value: Value) -> tuple[type, Value]:
    """Python says 1 == True; we do not."""
    return type(value), value


def _is_number(value: object) -> bool:
    return type(value) is int


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, operand: _typed(value) == _typed(operand),
    "ne": lambda value, operand: _typed(value) != _typed(operand),
    "in": lambda value, operands: _typed(value) in operands,
    "lt": lambda value, operand: _is_number(value) and value < operand,
    "le": lambda value, operand: _is_number(value) and value <= operand,
    "gt": lambda value, operand: _is_number(value) and value > operand,
    "ge": lambda value, operand: _is_number(value) and value >= operand,
    "exists": lambda _value, _operand: True,
}


def _first_order(_leaf: FirstOrder, _: str) -> Test:
    return lambda facts: facts.order is not None and facts.order.is_first


def _amount(leaf: OrderAmount, _: str) -> Test:
    asset, least, most = leaf.asset, leaf.at_least, leaf.at_most

    def test(facts: Facts) -> bool:
        order = facts.order
        if order is None or order.asset != asset or order.amount < least:
            return False
        return most is None or order.amount <= most

    return test


def _channel(leaf: Channel, _: str) -> Test:
    wanted = frozenset(leaf.any_of)
    return lambda facts: facts.channel in wanted


def _weekday(leaf: Weekday, _: str) -> Test:
    days = frozenset(map(WEEK.index, leaf.days))
    local = zone(leaf.time_zone)
    return lambda facts: facts.now.astimezone(local).weekday() in days


def _hours(leaf: Hours, _: str) -> Test:
    local, start, until = zone(leaf.time_zone), _minutes(leaf.start), _minutes(leaf.until)

    def test(facts: Facts) -> bool:
        now = facts.now.astimezone(local)
        minute = now.hour * 60 + now.minute
        if start < until:
            return start <= minute < until
        return minute >= start or minute < until

    return test


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def _place(leaf: Place, _: str) -> Test:
    wanted = frozenset(leaf.any_of)
    return lambda facts: facts.places is not None and not wanted.isdisjoint(facts.places)


def _claimed(leaf: Claimed, _: str) -> Test:
    other, least, most = leaf.campaign, leaf.at_least, leaf.at_most
    return lambda facts: (
        least <= facts.claims.get(other, 0) and (most is None or facts.claims.get(other, 0) <= most)
    )


def _joined(leaf: Joined, _: str) -> Test:
    least = timedelta(days=leaf.days_at_least)
    most = None if leaf.days_at_most is None else timedelta(days=leaf.days_at_most)

    def test(facts: Facts) -> bool:
        age = facts.now - facts.joined_at
        return age >= least and (most is None or age <= most)

    return test


def _did(leaf: Did, campaign: str) -> Test:
    times = leaf.times
    return lambda facts: times_done(leaf, facts, campaign) >= times


def times_done(leaf: Did, facts: Facts, campaign: str) -> int:
    """How often the person did it, within what the leaf counts: a mission's progress."""
    done = facts.activities.get(leaf.event, ())
    after = 0
    if leaf.within_days is not None:
        after = facts.now_us - leaf.within_days * MICROSECONDS_A_DAY
    if leaf.since_claim:
        after = max(after, facts.claimed_at.get(campaign, -1) + 1)
    return len(done) - bisect_left(done, after)


def _streak(leaf: Streak, campaign: str) -> Test:
    days = leaf.days
    return lambda facts: days_in_a_row(leaf, facts, campaign) >= days


def days_in_a_row(leaf: Streak, facts: Facts, campaign: str) -> int:
    """How many calendar days of the zone, up to today or yesterday, have something done.

    Days begin on a quarter of an hour in every zone, so the last deed of each quarter will do.
    """
    local = zone(leaf.time_zone)
    after = facts.claimed_at.get(campaign, -1) if leaf.since_claim else -1
    done = {
        datetime.fromtimestamp(at / 1_000_000, local).date()
        for at in facts.quarters.get(leaf.event, ())
        if at > after
    }
    day = facts.now.astimezone(local).date()
    if day not in done:
        day -= timedelta(days=1)
    length = 0
    while day in done:
        length += 1
        day -= timedelta(days=1)
    return length


_TESTS: dict[type, Callable[[Any, str], Test]] = {
    Segment: _segment,
    Tier: _tier,
    Attribute: _attribute,
    FirstOrder: _first_order,
    OrderAmount: _amount,
    Channel: _channel,
    Weekday: _weekday,
    Hours: _hours,
    Place: _place,
    Claimed: _claimed,
    Joined: _joined,
    Did: _did,
    Streak: _streak,
}


# -- in words ----------------------------------------------------------------------------


def says(leaf: Any, wanted: bool) -> str:
    """Tell a leaf that kept somebody out, in words that a fan may read."""
    words = _WORDS[type(leaf)](leaf)
    return f"Needs: {words}." if wanted else f"Must not be: {words}."


def _listed(names: tuple[str, ...]) -> str:
    return " or ".join(names)


def _range(least: int, most: int | None) -> str:
    return f"at least {least}" if most is None else f"{least} to {most}"


def _attribute_words(leaf: Attribute) -> str:
    operand = ", ".join(map(str, leaf.values)) if leaf.op == "in" else leaf.value
    return f"{leaf.name} exists" if leaf.op == "exists" else f"{leaf.name} {leaf.op} {operand}"


def _did_words(leaf: Did) -> str:
    window = f" in {leaf.within_days} days" if leaf.within_days else ""
    return f"{leaf.event} {leaf.times} times{window}"


_WORDS: dict[type, Callable[[Any], str]] = {
    Segment: lambda leaf: f"in segment {_listed(leaf.any_of)}",
    Tier: lambda leaf: f"{leaf.at_least} or above in {leaf.program}",
    Attribute: _attribute_words,
    FirstOrder: lambda _: "a first order",
    OrderAmount: lambda leaf: f"an order of {_range(leaf.at_least, leaf.at_most)} {leaf.asset}",
    Channel: lambda leaf: f"by {_listed(leaf.any_of)}",
    Weekday: lambda leaf: f"on {_listed(leaf.days)} ({leaf.time_zone})",
    Hours: lambda leaf: f"from {leaf.start} to {leaf.until} ({leaf.time_zone})",
    Place: lambda leaf: f"inside {_listed(leaf.any_of)}",
    Claimed: lambda leaf: f"{_range(leaf.at_least, leaf.at_most)} grants of {leaf.campaign}",
    Joined: lambda leaf: f"signed up {_range(leaf.days_at_least, leaf.days_at_most)} days ago",
    Did: _did_words,
    Streak: lambda leaf: f"{leaf.event} on {leaf.days} days in a row",
}
