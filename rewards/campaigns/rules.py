"""Who a campaign is for: a small typed tree of conditions, compiled and explained. Pure.

A rule is JSON: `{"is": "all", "of": [{"is": "segment", "any_of": ["vip"]}, …]}`. Nodes are
`all`, `any` and `not`; leaves stand in `rewards.campaigns.conditions`. `compiled` makes one
closure of a rule; `explain` walks the same tree and names the leaves that decided. Both ask
each leaf by the same test, so they can differ only in the three nodes, and a property test
holds them together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec

from rewards.campaigns import conditions
from rewards.campaigns.conditions import Condition
from rewards.campaigns.facts import Facts, Needs

MOST_NODES = 200
DEEPEST = 12
Test = Callable[[Facts], bool]


class AllOf(msgspec.Struct, frozen=True, tag="all", tag_field="is", forbid_unknown_fields=True):
    """Every part must hold. Without parts it is for everybody."""

    of: tuple[Rule, ...] = ()


class AnyOf(msgspec.Struct, frozen=True, tag="any", tag_field="is", forbid_unknown_fields=True):
    """At least one part must hold."""

    of: Annotated[tuple[Rule, ...], msgspec.Meta(min_length=1)]


class NoneOf(msgspec.Struct, frozen=True, tag="not", tag_field="is", forbid_unknown_fields=True):
    """The part must not hold."""

    of: Rule


Rule = (
    AllOf
    | AnyOf
    | NoneOf
    | conditions.Segment
    | conditions.Tier
    | conditions.Attribute
    | conditions.FirstOrder
    | conditions.OrderAmount
    | conditions.Channel
    | conditions.Weekday
    | conditions.Hours
    | conditions.Place
    | conditions.Claimed
    | conditions.Joined
    | conditions.Did
    | conditions.Streak
)
EVERYBODY = AllOf()
_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


class Fault(NamedTuple):
    """What is wrong with data, and where: `path` is a JSON Pointer (RFC 6901)."""

    path: str
    code: str
    says: str


class Miss(NamedTuple):
    """A leaf that kept a person out. `wanted` is false where it held and must not."""

    path: str
    leaf: str
    wanted: bool
    says: str


Explain = Callable[[Facts], tuple[Miss, ...]]


class Explanation(NamedTuple):
    """Whether a rule holds, and if not, which leaves decided."""

    holds: bool
    misses: tuple[Miss, ...]


# -- reading -----------------------------------------------------------------------------


def fault_of(error: msgspec.ValidationError, root: str) -> Fault:
    """Tell a mistake in structured data as a fault with its path below `root`."""
    text = str(error)
    found = _PATH.search(text)
    steps = _STEP.findall(found["path"]) if found else []
    path = "".join(f"/{name or index}" for name, index in steps)
    return Fault(root + path, "malformed", _PATH.sub("", text) + ".")


def read(data: Any, root: str = "") -> tuple[Rule | None, list[Fault]]:
    """Read a rule from JSON values; gives the rule, or what is wrong and where."""
    if depth_of(data) > 3 * DEEPEST:
        return None, [Fault(root, "too_deep", f"A rule is at most {DEEPEST} levels deep.")]
    try:
        rule: Rule = msgspec.convert(data, type=Rule)
    except msgspec.ValidationError as error:
        return None, [fault_of(error, root)]
    nodes = list(walk(rule, root))
    if len(nodes) > MOST_NODES:
        return None, [Fault(root, "too_large", f"A rule has at most {MOST_NODES} nodes.")]
    if max(depth for _, _, depth in nodes) > DEEPEST:
        return None, [Fault(root, "too_deep", f"A rule is at most {DEEPEST} levels deep.")]
    return rule, []


def depth_of(data: Any) -> int:
    """Count how deep JSON values are nested; stops well before Python's own limit."""
    level, depth = [data], 0
    while level and depth < 100:
        depth += 1
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.values()
            elif isinstance(each, list | tuple):
                inner += each
        level = inner
    return depth


def walk(rule: Rule, path: str = "", depth: int = 1) -> Iterator[tuple[str, Rule, int]]:
    """Go through all nodes, each with its path and depth."""
    yield path, rule, depth
    for place, part in parts_of(rule, path):
        yield from walk(part, place, depth + 1)


def parts_of(rule: Rule, path: str) -> Iterator[tuple[str, Rule]]:
    """The parts of a node with their paths; none of a leaf."""
    if isinstance(rule, NoneOf):
        yield f"{path}/of", rule.of
    elif isinstance(rule, AllOf | AnyOf):
        for index, part in enumerate(rule.of):
            yield f"{path}/of/{index}", part


# -- deciding ----------------------------------------------------------------------------


def compiled(rule: Rule, campaign: str = "") -> Test:
    """Make one function of a rule. `campaign` is the one that the rule belongs to."""
    if isinstance(rule, NoneOf):
        inner = compiled(rule.of, campaign)
        return lambda facts: not inner(facts)
    if isinstance(rule, AllOf):
        return _all([compiled(part, campaign) for part in rule.of])
    if isinstance(rule, AnyOf):
        return _any([compiled(part, campaign) for part in rule.of])
    return conditions.test_of(rule, campaign)


def _all(tests: Sequence[Test]) -> Test:
    """Spelt out, four at a time: a loop over closures costs twice as much."""
    if len(tests) < 2:
        return tests[0] if tests else lambda _: True
    if len(tests) == 2:
        a, b = tests
        return lambda facts: a(facts) and b(facts)
    if len(tests) == 3:
        a, b, c = tests
        return lambda facts: a(facts) and b(facts) and c(facts)
    a, b, c, *others = tests
    rest = _all(others)
    return lambda facts: a(facts) and b(facts) and c(facts) and rest(facts)


def _any(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        a, b = tests
        return lambda facts: a(facts) or b(facts)
    if len(tests) == 3:
        a, b, c = tests
        return lambda facts: a(facts) or b(facts) or c(facts)
    a, b, c, *others = tests
    rest = _any(others)
    return lambda facts: a(facts) or b(facts) or c(facts) or rest(facts)


def explain(rule: Rule, facts: Facts, *, campaign: str = "", root: str = "") -> Explanation:
    """Say whether a rule holds, and name every leaf that would have to differ for it to hold.

    Of an `any` that fails, all branches are named: one of them is enough.
    """
    misses = explainer(rule, campaign, root)(facts)
    return Explanation(not misses, misses)


def explainer(rule: Rule, campaign: str = "", root: str = "") -> Explain:
    """Make the function that names what kept a person out; of nobody it names nothing."""
    return _explainer(rule, True, root, campaign)


def _explainer(rule: Rule, wanted: bool, path: str, campaign: str) -> Explain:
    if isinstance(rule, NoneOf):
        return _explainer(rule.of, not wanted, f"{path}/of", campaign)
    if isinstance(rule, AllOf | AnyOf):
        parts = [_explainer(part, wanted, place, campaign) for place, part in parts_of(rule, path)]
        if isinstance(rule, AllOf) == wanted:
            return lambda facts: tuple(miss for part in parts for miss in part(facts))
        nobody = (Miss(path, "all", wanted, "The rule is for everybody, and is denied."),)
        return _any_explainer(parts) if parts else lambda _: nobody
    test = conditions.test_of(rule, campaign)
    miss = (Miss(path, leaf_name(rule), wanted, conditions.says(rule, wanted)),)
    return lambda facts: () if test(facts) == wanted else miss


def _any_explainer(parts: Sequence[Explain]) -> Explain:
    """One part that is met is enough; else all that they miss."""

    def misses(facts: Facts) -> tuple[Miss, ...]:
        found: list[Miss] = []
        for part in parts:
            missed = part(facts)
            if not missed:
                return ()
            found += missed
        return tuple(found)

    return misses


def leaf_name(rule: Rule) -> str:
    """The name of a node as rules spell it."""
    name = type(rule).__struct_config__.tag
    assert isinstance(name, str)
    return name


def leaves(rule: Rule, path: str = "") -> Iterator[tuple[str, Condition]]:
    """The leaves of a rule with their paths."""
    for place, node, _ in walk(rule, path):
        if not isinstance(node, AllOf | AnyOf | NoneOf):
            yield place, node


def needs_of(rule: Rule, campaign: str = "") -> Needs:
    """Say what a rule asks about a person. `campaign` is the one that the rule belongs to."""
    found = [leaf for _, leaf in leaves(rule)]
    deeds = [leaf for leaf in found if isinstance(leaf, conditions.Did | conditions.Streak)]
    own = {campaign for leaf in deeds if leaf.since_claim}
    streaks = [leaf for leaf in deeds if isinstance(leaf, conditions.Streak)]
    return Needs(
        segments=any(isinstance(leaf, conditions.Segment) for leaf in found),
        attributes=any(isinstance(leaf, conditions.Attribute) for leaf in found),
        tiers=any(isinstance(leaf, conditions.Tier) for leaf in found),
        campaigns=frozenset(
            own | {leaf.campaign for leaf in found if isinstance(leaf, conditions.Claimed)}
        ),
        activities=frozenset(leaf.event for leaf in deeds if isinstance(leaf, conditions.Did)),
        streaks=frozenset(leaf.event for leaf in streaks),
        streak_days=max((leaf.days for leaf in streaks), default=0),
    )
