"""What a version of a campaign says: for whom, what they get, how often, out of which budget. Pure.

Terms are plain data, read from JSON and checked as a whole before they are kept. A fault
names the place by a JSON Pointer, so that whoever writes terms can be led to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from rewards.campaigns import conditions, rules
from rewards.campaigns.conditions import Name, Text
from rewards.campaigns.contradictions import contradictions
from rewards.campaigns.facts import Order, zone
from rewards.campaigns.rules import EVERYBODY, AllOf, AnyOf, Fault, NoneOf, Rule, fault_of

BPS = 10_000
MOST_RECENT = 20
"""Grants of one person that a velocity limit can look back on."""
Amount = Annotated[int, Meta(ge=1, le=1 << 53)]
Bps = Annotated[int, Meta(ge=1, le=BPS)]
Side = Literal["person", "referrer"]
Window = Literal["ever", "hour", "day", "week", "month"]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Effect(msgspec.Struct, frozen=True, tag_field="is", forbid_unknown_fields=True, kw_only=True):
    """What somebody gets. `to` names the side of a referral."""

    to: Side = "person"


class Points(Effect, frozen=True, kw_only=True, tag="points"):
    """Points: `amount`, for each `every` minor units of the order; both ends may be said."""

    asset: Name
    amount: Amount
    every: Amount | None = None
    at_most: Amount | None = None
    expires_after_days: Annotated[int, Meta(ge=1, le=3_660)] | None = None
    expires_at: datetime | None = None

    def lapses_at(self, granted_at: datetime) -> datetime | None:
        """When points granted at a moment lapse; never, if nothing says so."""
        days = self.expires_after_days
        end = self.expires_at if days is None else granted_at + timedelta(days=days)
        return end and min(end, self.expires_at or end)


class Units(Effect, frozen=True, kw_only=True, tag="units"):
    """Units of a voucher series."""

    series: Name
    amount: Amount = 1


class Cashback(Effect, frozen=True, kw_only=True, tag="cashback"):
    """A share of the order's amount, rounded down, in the order's currency."""

    asset: Name
    bps: Bps
    at_most: Amount | None = None


class Discount(Effect, frozen=True, kw_only=True, tag="discount"):
    """Off the order: a share of it, rounded down, or `amount`; never more than the order."""

    asset: Name
    bps: Bps | None = None
    amount: Amount | None = None
    at_most: Amount | None = None


class TierPoints(Effect, frozen=True, kw_only=True, tag="tier_points"):
    """Points that count towards a tier and cannot be spent."""

    program: Name
    amount: Amount


Plain = Points | Units | Cashback | Discount | TierPoints


class Outcome(_Strict, frozen=True, kw_only=True):
    """One of the outcomes of a draw; its odds are its weight among all weights."""

    weight: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    title: Text = ""
    effects: Annotated[tuple[Plain, ...], Meta(max_length=10)] = ()


class Chance(Effect, frozen=True, kw_only=True, tag="chance"):
    """A draw with published odds, from a seed that was committed to before."""

    outcomes: Annotated[tuple[Outcome, ...], Meta(min_length=2, max_length=100)]


AnyEffect = Points | Units | Cashback | Discount | TierPoints | Chance
Effects = Annotated[tuple[AnyEffect, ...], Meta(max_length=20)]


class Limit(_Strict, frozen=True, kw_only=True):
    """At most so many grants: to one person, or in all, within a window of the time zone."""

    per: Literal["person", "campaign"]
    window: Window = "ever"
    most: Annotated[int, Meta(ge=1, le=1 << 53)]


class Velocity(_Strict, frozen=True, kw_only=True):
    """At most so many grants to one person within any stretch of so many seconds."""

    most: Annotated[int, Meta(ge=1, le=MOST_RECENT)]
    within_s: Annotated[int, Meta(ge=1, le=31_622_400)]


class Variant(_Strict, frozen=True, kw_only=True):
    """One arm of an A/B test. People fall into arms by a stable hash, by share."""

    code: Name
    share: Annotated[int, Meta(ge=1, le=10_000)]
    effects: Effects = ()


class Referral(_Strict, frozen=True, kw_only=True):
    """The claim names who referred the person; both sides may get something."""

    joined_within_days: Annotated[int, Meta(ge=1, le=3_660)] = 30
    referrer_most: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


class Goal(_Strict, frozen=True, kw_only=True):
    """What counts as success after a grant, when the arms of a test are compared."""

    event: Name
    within_days: Annotated[int, Meta(ge=1, le=400)] = 14


class Terms(_Strict, frozen=True, kw_only=True):
    """Everything that a version decides by. `group` lets a person have one of several campaigns."""

    starts_at: datetime
    ends_at: datetime | None = None
    time_zone: Text = "UTC"
    rule: Rule = EVERYBODY
    effects: Effects = ()
    variants: Annotated[tuple[Variant, ...], Meta(max_length=20)] = ()
    limits: Annotated[tuple[Limit, ...], Meta(max_length=10)] = ()
    velocity: Velocity | None = None
    budgets: dict[Name, Amount] = {}
    group: Name | None = None
    stacks: bool = True
    needs_order: bool = False
    referral: Referral | None = None
    goal: Goal | None = None


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The names that terms may refer to. `programs` gives the levels of each, lowest first;
    `lapsing` the assets whose grants may expire.
    """

    assets: Mapping[str, str]
    lapsing: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
    attributes: Mapping[str, str] = {}
    events: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()
    programs: Mapping[str, tuple[str, ...]] = {}
    campaigns: frozenset[str] = frozenset()


# -- reading -----------------------------------------------------------------------------


def read_terms(
    data: Any, *, campaign: str, known: Known, now: datetime
) -> tuple[Terms | None, list[Fault]]:
    """Read terms from JSON values and check them; gives them, or every fault that was found."""
    if rules.depth_of(data) > 3 * rules.DEEPEST:
        return None, [Fault("", "too_deep", "The terms are nested too deeply.")]
    if isinstance(data, dict) and "rule" in data:
        _, faults = rules.read(data["rule"], "/rule")
        if faults:
            return None, faults
    try:
        terms = msgspec.convert(data, type=Terms)
    except msgspec.ValidationError as error:
        return None, [fault_of(error, "")]
    terms = replace(terms, rule=_resolved(terms.rule, known))
    faults = [*_check(terms, campaign, known, now)]
    return (None, faults) if faults else (terms, [])


def load_terms(data: Any) -> Terms:
    """Read terms that were checked when they were stored."""
    return msgspec.convert(data, type=Terms)


def stored(terms: Terms) -> dict[str, Any]:
    """Spell terms as JSON values, to be read by `load_terms`."""
    data: dict[str, Any] = msgspec.to_builtins(terms)
    return data


def _resolved(rule: Rule, known: Known) -> Rule:
    """Write the rank of each tier into the rule, so that a version never changes its meaning."""
    if isinstance(rule, NoneOf):
        return NoneOf(_resolved(rule.of, known))
    if isinstance(rule, AllOf):
        return AllOf(tuple(_resolved(part, known) for part in rule.of))
    if isinstance(rule, AnyOf):
        return AnyOf(tuple(_resolved(part, known) for part in rule.of))
    if isinstance(rule, conditions.Tier):
        levels = known.programs.get(rule.program, ())
        rank = levels.index(rule.at_least) if rule.at_least in levels else -2
        return replace(rule, rank=rank)
    return rule


# -- checking ----------------------------------------------------------------------------


def _check(terms: Terms, campaign: str, known: Known, now: datetime) -> Iterator[Fault]:
    yield from _check_time(terms, now)
    faults = list(_check_references(terms, known))
    yield from faults
    if not faults:
        # The first grant happens to somebody who has none yet.
        first = conditions.Claimed(campaign=campaign, at_least=0, at_most=0)
        for fault in contradictions(AllOf((first, terms.rule))):
            place = fault.path.removeprefix("/of/1")
            says = fault.says.replace("/of/0", "the first grant").replace("/of/1", "/rule")
            yield Fault(f"/rule{place}", fault.code, says)
    yield from _check_limits(terms)
    yield from _check_effects(terms, known)


def _check_time(terms: Terms, now: datetime) -> Iterator[Fault]:
    for path, moment in (("/starts_at", terms.starts_at), ("/ends_at", terms.ends_at)):
        if moment is not None and moment.tzinfo is None:
            yield Fault(path, "offset_missing", "A time has an offset: 2026-01-31T12:00:00Z.")
            return
    if terms.ends_at is not None:
        if terms.ends_at <= terms.starts_at:
            yield Fault("/ends_at", "never_matches", "The version ends before it starts.")
        elif terms.ends_at <= now:
            yield Fault("/ends_at", "never_matches", "The version has ended already.")
    if not _is_zone(terms.time_zone):
        yield Fault("/time_zone", "unknown_reference", f"{terms.time_zone!r} is no time zone.")


def _is_zone(name: str) -> bool:
    try:
        zone(name)
    except ValueError:
        return False
    return True


def _check_references(terms: Terms, known: Known) -> Iterator[Fault]:
    for path, leaf in rules.leaves(terms.rule, "/rule"):
        for field, what, names in _references(leaf, known):
            for name in names:
                yield Fault(f"{path}/{field}", "unknown_reference", f"{what} {name!r} is unknown.")
        if isinstance(leaf, conditions.Attribute):
            yield from _check_attribute(path, leaf, known)
        if isinstance(leaf, conditions.Hours) and leaf.start == leaf.until:
            yield Fault(f"{path}/until", "never_matches", "The hours are empty.")
    if terms.goal and terms.goal.event not in known.events:
        says = f"Activity {terms.goal.event!r} is unknown."
        yield Fault("/goal/event", "unknown_reference", says)


def _references(leaf: Any, known: Known) -> list[tuple[str, str, Iterable[str]]]:
    """What a leaf refers to that does not exist: field, kind and names."""
    match leaf:
        case conditions.Segment():
            return [("any_of", "Segment", [n for n in leaf.any_of if n not in known.segments])]
        case conditions.Place():
            return [("any_of", "Place", [n for n in leaf.any_of if n not in known.places])]
        case conditions.Tier():
            if leaf.program not in known.programs:
                return [("program", "Program", [leaf.program])]
            return [("at_least", "Level", [leaf.at_least] if leaf.rank < 0 else [])]
        case conditions.Claimed():
            missing = leaf.campaign not in known.campaigns
            return [("campaign", "Campaign", [leaf.campaign] if missing else [])]
        case conditions.OrderAmount():
            is_currency = known.assets.get(leaf.asset) == "currency"
            return [("asset", "Currency", [] if is_currency else [leaf.asset])]
        case conditions.Did() | conditions.Streak():
            unknown = [] if leaf.event in known.events else [leaf.event]
            found: list[tuple[str, str, Iterable[str]]] = [("event", "Activity", unknown)]
            if isinstance(leaf, conditions.Streak):
                found.append(("time_zone", "Time zone", _unknown_zone(leaf.time_zone)))
            return found
        case conditions.Weekday() | conditions.Hours():
            return [("time_zone", "Time zone", _unknown_zone(leaf.time_zone))]
        case _:
            return []


def _unknown_zone(name: str) -> list[str]:
    return [] if _is_zone(name) else [name]


def _check_attribute(path: str, leaf: conditions.Attribute, known: Known) -> Iterator[Fault]:
    kind = known.attributes.get(leaf.name)
    if kind is None:
        says = f"Attribute {leaf.name!r} is unknown."
        yield Fault(f"{path}/name", "unknown_reference", says)
        return
    if leaf.op in ("lt", "le", "gt", "ge") and kind != "number":
        yield Fault(f"{path}/op", "wrong_type", f"{leaf.name} is a {kind}; only numbers compare.")
    operands = leaf.values if leaf.op == "in" else () if leaf.op == "exists" else (leaf.value,)
    field = "values" if leaf.op == "in" else "value"
    if leaf.op == "in" and not operands:
        yield Fault(f"{path}/values", "never_matches", "No value is named.")
    wanted = {"text": str, "number": int, "flag": bool}[kind]
    if any(type(operand) is not wanted for operand in operands):
        yield Fault(f"{path}/{field}", "wrong_type", f"{leaf.name} is a {kind}.")


def _check_limits(terms: Terms) -> Iterator[Fault]:
    seen: dict[tuple[str, str], int] = {}
    for index, limit in enumerate(terms.limits):
        if (limit.per, limit.window) in seen:
            yield Fault(f"/limits/{index}", "duplicate", "This limit is given twice.")
        seen[limit.per, limit.window] = limit.most
    for index, limit in enumerate(terms.limits):
        whole = seen.get(("campaign", limit.window))
        if limit.per == "person" and whole is not None and whole < limit.most:
            says = f"AllOf together get {whole}, so nobody can get {limit.most}."
            yield Fault(f"/limits/{index}/most", "contradiction", says)


def _check_effects(terms: Terms, known: Known) -> Iterator[Fault]:
    if terms.effects and terms.variants:
        yield Fault("/effects", "contradiction", "Effects stand in the variants, or here.")
    if not terms.effects and not any(variant.effects for variant in terms.variants):
        yield Fault("/effects", "never_matches", "Nobody would get anything.")
    codes = [variant.code for variant in terms.variants]
    if len(codes) == 1 or len(set(codes)) < len(codes):
        yield Fault("/variants", "duplicate", "A test has two variants or more, each its own code.")
    for path, effects in arms(terms):
        for index, effect in enumerate(effects):
            yield from _check_effect(f"{path}/{index}", effect, terms, known)
        for asset, worst in most_of(effects, at_least=1).items():
            if worst > terms.budgets.get(asset, worst):
                says = f"One claim may take {worst} {asset}; the budget is smaller."
                yield Fault(f"/budgets/{asset}", "never_matches", says)
    paid = {asset for _, effects in arms(terms) for asset in assets_of(effects)}
    for asset in sorted(paid - terms.budgets.keys()):
        yield Fault("/budgets", "budget_missing", f"{asset} is given, and has no budget.")
    for asset in sorted(terms.budgets.keys() - paid):
        yield Fault(f"/budgets/{asset}", "unused", f"Nothing gives {asset}.")


def _check_effect(path: str, effect: AnyEffect, terms: Terms, known: Known) -> Iterator[Fault]:
    if isinstance(effect, Chance):
        for index, outcome in enumerate(effect.outcomes):
            for inner, plain in enumerate(outcome.effects):
                place = f"{path}/outcomes/{index}/effects/{inner}"
                yield from _check_effect(place, plain, terms, known)
        return
    if effect.to == "referrer" and terms.referral is None:
        yield Fault(f"{path}/to", "contradiction", "Only a referral has a referrer.")
    if needs_order(effect) and not terms.needs_order:
        yield Fault(path, "contradiction", "It is counted by an order: set needs_order.")
    if isinstance(effect, Discount) and (effect.bps is None) == (effect.amount is None):
        yield Fault(path, "contradiction", "A discount is a share (bps) or an amount.")
    if isinstance(effect, Points) and effect.expires_at is not None:
        yield from _check_end(f"{path}/expires_at", effect.expires_at, terms)
    yield from _check_asset(path, effect, known)


def _check_end(path: str, end: datetime, terms: Terms) -> Iterator[Fault]:
    """Nobody is granted points that have lapsed already: the version is over by then."""
    if end.tzinfo is None:
        yield Fault(path, "offset_missing", "A time has an offset: 2026-01-31T12:00:00Z.")
    elif terms.ends_at is None or (terms.ends_at.tzinfo is not None and end < terms.ends_at):
        yield Fault(path, "contradiction", "The version must end by then: set ends_at.")


def _check_asset(path: str, effect: Plain, known: Known) -> Iterator[Fault]:
    if isinstance(effect, TierPoints):
        if effect.program not in known.programs:
            says = f"Program {effect.program!r} is unknown."
            yield Fault(f"{path}/program", "unknown_reference", says)
        return
    field, name, kind = _asset_of(effect)
    if known.assets.get(name) != kind:
        yield Fault(f"{path}/{field}", "unknown_reference", f"There are no {kind} {name!r}.")
    elif isinstance(effect, Points) and name not in known.lapsing:
        for field in ("expires_after_days", "expires_at"):
            if getattr(effect, field) is not None:
                yield Fault(f"{path}/{field}", "contradiction", f"{name} does not expire.")


def _asset_of(effect: Points | Units | Cashback | Discount) -> tuple[str, str, str]:
    if isinstance(effect, Points):
        return "asset", effect.asset, "points"
    if isinstance(effect, Units):
        return "series", effect.series, "series"
    return "asset", effect.asset, "currency"


# -- reading terms -----------------------------------------------------------------------


def needs_order(effect: Plain) -> bool:
    """Say whether the effect is counted by the order's amount."""
    if isinstance(effect, Points):
        return effect.every is not None
    return isinstance(effect, Cashback | Discount)


def arms(terms: Terms) -> list[tuple[str, Effects]]:
    """The lists of effects that a claim may lead to, with their paths."""
    if terms.variants:
        return [(f"/variants/{i}/effects", each.effects) for i, each in enumerate(terms.variants)]
    return [("/effects", terms.effects)]


def budgeted_asset(effect: Plain) -> str | None:
    """The asset that an effect takes from the campaign's budget; tier points take from none."""
    if isinstance(effect, TierPoints):
        return None
    return effect.series if isinstance(effect, Units) else effect.asset


def assets_of(effects: Iterable[AnyEffect]) -> set[str]:
    """All assets that the effects may take from the budget."""
    plain = [inner for effect in effects for inner in every_plain(effect)]
    return {asset for effect in plain if (asset := budgeted_asset(effect))}


def every_plain(effect: AnyEffect) -> Iterator[Plain]:
    """The effect itself, or those of all outcomes of a draw."""
    if isinstance(effect, Chance):
        for outcome in effect.outcomes:
            yield from outcome.effects
    else:
        yield effect


def most_of(
    effects: Iterable[AnyEffect], order: Order | None = None, *, at_least: int = 0
) -> dict[str, int]:
    """The most that one claim can take of each asset; of draws, the dearest outcome.

    `at_least` stands for what is counted by an order, where there is none.
    """
    most: dict[str, int] = {}
    for effect in effects:
        outcomes = (
            [each.effects for each in effect.outcomes]
            if isinstance(effect, Chance)
            else [(effect,)]
        )
        dearest: dict[str, int] = {}
        for outcome in outcomes:
            sums: dict[str, int] = {}
            for plain in outcome:
                if asset := budgeted_asset(plain):
                    sums[asset] = sums.get(asset, 0) + (amount_of(plain, order) or at_least)
            for asset, amount in sums.items():
                dearest[asset] = max(dearest.get(asset, 0), amount)
        for asset, amount in dearest.items():
            most[asset] = most.get(asset, 0) + amount
    return most


def amount_of(effect: Plain, order: Order | None) -> int:
    """What an effect gives for an order, in minor units, rounded down.

    Money is given for orders in its own currency alone; points for minor units of any.
    """
    if isinstance(effect, Units | TierPoints):
        return effect.amount
    paid = order.amount if order else 0
    if isinstance(effect, Points):
        amount = effect.amount * (1 if effect.every is None else paid // effect.every)
    elif order is None or order.asset != effect.asset:
        amount = 0
    elif isinstance(effect, Cashback) or effect.amount is None:
        amount = paid * (effect.bps or 0) // BPS
    else:
        amount = min(effect.amount, paid)
    return amount if effect.at_most is None else min(amount, effect.at_most)
