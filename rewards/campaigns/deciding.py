"""Decides a claim: what is granted, or why not. Pure.

`decide` looks at a compiled version, the facts of a person, the counters that its limits
use and what is left of its budgets. It changes nothing: whoever asks holds those counters
and writes what was decided, be it one transaction a claim or the memory of an engine. Refusals
are tested in one order, so the same state always gives the same reason.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import NamedTuple

import msgspec

from rewards.campaigns import chance, rules
from rewards.campaigns.conditions import Did, Streak
from rewards.campaigns.facts import Facts, microseconds, zone
from rewards.campaigns.rules import Miss
from rewards.campaigns.terms import (
    AnyEffect,
    Chance,
    Limit,
    Plain,
    Points,
    Terms,
    amount_of,
    budgeted_asset,
    most_of,
)

EVER = "ever"
TO_WALLETS = frozenset({"points", "units", "cashback"})
"""The kinds of payment that people get into their wallets."""
EVERYBODY = 0
"""The person of a counter that counts for all."""


class Counter(NamedTuple):
    """What is counted: a scope (a campaign, a group, an order), a person or all, a period."""

    scope: str
    person: int
    period: str


class Referrer(msgspec.Struct, frozen=True):
    """Who referred the claimant. `is_same` where both seem to be one person."""

    person: int
    is_same: bool = False


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a claim brings along: its own name (the draw's nonce), and who referred it."""

    request: str
    referrer: Referrer | None = None


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """The counters of one claim, and the person's latest grants of the campaign, rising."""

    used: Mapping[Counter, int] = {}
    recent: tuple[int, ...] = ()

    def of(self, counter: Counter) -> int:
        return self.used.get(counter, 0)


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that somebody gets. `kind` is the effect's name; `asset` its asset or program."""

    kind: str
    asset: str
    amount: int
    person: int
    expires_at: datetime | None = None


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """A draw and what it meant, so that it can be counted again."""

    number: str
    outcome: int
    title: str


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Yes: what is paid to whom, and which counters go up by one.

    After a draw, `at_worst` says for each person and asset the most that it could have paid.
    Whoever pays checks that it all could be received, whatever was drawn: else a wallet that
    cannot take one outcome would let its owner draw again until it is another.
    """

    variant: str
    payments: tuple[Payment, ...]
    drawn: tuple[Drawn, ...]
    counted: tuple[Counter, ...]
    at_worst: Mapping[tuple[int, str], int] = {}


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """No: a stable code, words, and the leaves of the rule that decided, if it was the rule."""

    code: str
    says: str
    misses: tuple[Miss, ...] = ()


Decision = Grant | Refused


class Version:
    """Terms made ready to decide by. Shared by many threads; never changed."""

    def __init__(
        self, *, id: int, campaign: str, number: int, terms: Terms, seed: bytes = b""
    ) -> None:
        self.id = id
        self.campaign = campaign
        self.number = number
        self.terms = terms
        self.seed = seed
        self.scope = f"campaign:{campaign}"
        self.holds = rules.compiled(terms.rule, campaign)
        self.misses = rules.explainer(terms.rule, campaign, "/rule")
        self.needs = rules.needs_of(terms.rule, campaign)
        self.limits = [(limit, _limit_reason(limit)) for limit in terms.limits]
        self.starts_at, self.ends_at = terms.starts_at, terms.ends_at

    @cached_property
    def missions(self) -> list[tuple[str, Did | Streak]]:
        """The leaves of the rule that somebody can come nearer to, with their paths."""
        leaves = rules.leaves(self.terms.rule, "/rule")
        return [(path, leaf) for path, leaf in leaves if isinstance(leaf, Did | Streak)]

    @cached_property
    def dearest(self) -> dict[str, dict[str, int]]:
        """The most that each variant can take of each asset where there is no order."""
        arms = self.terms.variants or ()
        plain = {"": self.terms.effects} | {arm.code: arm.effects for arm in arms}
        return {code: most_of(effects) for code, effects in plain.items()}

    @cached_property
    def shares(self) -> list[int]:
        return [variant.share for variant in self.terms.variants]

    def covers(self, moment: datetime) -> bool:
        """Say whether the version's own dates include a moment; its end is outside."""
        return self.starts_at <= moment and (self.ends_at is None or moment < self.ends_at)

    def arm(self, person: int) -> tuple[str, tuple[AnyEffect, ...]]:
        """The variant that a person is in, and what it gives."""
        if not self.terms.variants:
            return "", self.terms.effects
        variant = self.terms.variants[chance.arm_of(self.campaign, person, self.shares)]
        return variant.code, variant.effects


# -- counters ----------------------------------------------------------------------------


def own_counter(version: Version, person: int) -> Counter:
    """Counts all grants of the campaign to a person; it also remembers the latest."""
    return Counter(version.scope, person, EVER)


Bounds = list[tuple[Counter, int | None, tuple[str, str]]]


def bounds_of(version: Version, facts: Facts, ask: Ask) -> Bounds:
    """Each counter of a claim, the most it may show, and the refusal where it shows that.

    A claim looks at all of them and, if granted, counts them up. The same every time.
    """
    person, terms = facts.person, version.terms
    found: Bounds = [(own_counter(version, person), None, ("", ""))]
    if terms.referral is not None and ask.referrer is not None:
        found.append((Counter("referred", person, EVER), 1, ALREADY_REFERRED))
        referrals = Counter(f"referrals:{version.campaign}", ask.referrer.person, EVER)
        found.append((referrals, terms.referral.referrer_most, REFERRER_LIMIT))
        # One of two people refers the other, in whatever campaign, even if both ask at once.
        one, other = sorted((person, ask.referrer.person))
        found.append((Counter(f"pair:{one}:{other}", EVERYBODY, EVER), 1, SELF_REFERRAL))
    if facts.order is not None and terms.needs_order:
        key = facts.order.key
        found.append((Counter(version.scope, EVERYBODY, f"order:{key}"), 1, ORDER_USED))
    if terms.group is not None:
        found.append((Counter(f"group:{terms.group}", person, EVER), 1, GROUP_USED))
    for limit, reason in version.limits:
        period = period_of(limit.window, facts.now, terms.time_zone)
        who = person if limit.per == "person" else EVERYBODY
        found.append((Counter(version.scope, who, period), limit.most, reason))
    return found


def stacking_counters(version: Version, facts: Facts) -> tuple[Counter, Counter] | None:
    """Count the claims on one order, and those of them that stand alone."""
    if facts.order is None or not version.terms.needs_order:
        return None
    scope = f"order:{facts.order.key}"
    return Counter(scope, EVERYBODY, "all"), Counter(scope, EVERYBODY, "alone")


def all_counters(version: Version, facts: Facts, ask: Ask) -> list[Counter]:
    """Everything a claim must hold still while it is decided, in the order to lock it in."""
    return counters_of(bounds_of(version, facts, ask), stacking_counters(version, facts))


def counters_of(bounds: Bounds, stacking: tuple[Counter, Counter] | None) -> list[Counter]:
    """The counters of a claim, by what bounds it."""
    return sorted({counter for counter, _, _ in bounds}.union(stacking or ()))


@lru_cache(maxsize=1_024)
def period_of(window: str, now: datetime, time_zone: str) -> str:
    """Name the period of a window that a moment falls in, by the calendar of the zone.

    A day is a date there, whether it has 23, 24 or 25 hours. Hours are those of UTC: one
    that the clocks repeat is two.
    """
    if window == EVER:
        return EVER
    if window == "hour":
        return f"hour:{microseconds(now) // 3_600_000_000}"
    local = now.astimezone(zone(time_zone))
    if window == "day":
        return f"day:{local.date().isoformat()}"
    if window == "month":
        return f"month:{local.year}-{local.month:02}"
    year, week, _ = local.isocalendar()
    return f"week:{year}-{week:02}"


_WINDOWS = {"ever": "ever", "hour": "an hour", "day": "a day", "week": "a week", "month": "a month"}


def _limit_reason(limit: Limit) -> tuple[str, str]:
    words = f"At most {limit.most} a {limit.per}, {_WINDOWS[limit.window]}."
    return f"limit_{limit.per}", words


# -- refusals ----------------------------------------------------------------------------

NOT_STARTED = ("campaign_not_started", "The campaign has not started.")
ENDED = ("campaign_ended", "The campaign is over.")
PAUSED = ("campaign_paused", "The campaign is paused.")
ACCOUNT_MERGED = (
    "account_merged",
    "This account was merged with another one of yours: please use that one.",
)
ORDER_MISSING = ("order_missing", "The claim must name an order of this person.")
ORDER_USED = ("order_used", "This order was used for this campaign before.")
REFERRER_MISSING = ("referrer_missing", "The claim must say who referred this person.")
SELF_REFERRAL = ("self_referral", "Nobody can refer themselves.")
REFERRED_TOO_LATE = ("referred_too_late", "The person signed up too long ago to be referred.")
ALREADY_REFERRED = ("already_referred", "Somebody has referred this person before.")
REFERRER_LIMIT = ("referrer_limit", "The referrer has referred as many as anybody may.")
GROUP_USED = ("group_used", "A campaign of the same group was claimed before.")
NOT_COMBINABLE = ("not_combinable", "This cannot be combined with another campaign on one order.")
TOO_FAST = ("too_fast", "Too many claims in a short time.")
NOTHING_TO_GRANT = ("nothing_to_grant", "The order is too small, or in another currency.")
BUDGET_EXHAUSTED = ("budget_exhausted", "The campaign's budget is used up.")
RULE_NOT_MET = ("rule_not_met", "The conditions of the campaign are not met.")


def refused(reason: tuple[str, str], misses: Iterable[Miss] = ()) -> Refused:
    """Spell a refusal of this module."""
    return Refused(code=reason[0], says=reason[1], misses=tuple(misses))


# -- the decision ------------------------------------------------------------------------


def decide(
    version: Version,
    facts: Facts,
    ask: Ask,
    counts: Counts,
    budgets: Mapping[str, int],
    bounds: Bounds | None = None,
) -> Decision:
    """Grant a claim or say why not. `budgets` says what is left of each asset.

    `bounds` are those of `bounds_of`, from whoever has them at hand.

    A draw happens only when the budget could pay its dearest outcome, so nobody's prize is
    lost to an empty budget and nobody learns from a refusal what they would have drawn.
    """
    if no := _refused_by_time(version, facts) or _refused_by_rule(version, facts, ask):
        return no
    if bounds is None:
        bounds = bounds_of(version, facts, ask)
    no = _refused_by_counts(version, facts, bounds, counts)
    return no or _granted(version, facts, ask, budgets, bounds)


def _refused_by_time(version: Version, facts: Facts) -> Refused | None:
    if facts.now < version.starts_at:
        return refused(NOT_STARTED)
    return None if version.covers(facts.now) else refused(ENDED)


def _refused_by_rule(version: Version, facts: Facts, ask: Ask) -> Refused | None:
    if facts.is_merged:
        return refused(ACCOUNT_MERGED)
    if not version.holds(facts):
        return refused(RULE_NOT_MET, version.misses(facts))
    if version.terms.needs_order and facts.order is None:
        return refused(ORDER_MISSING)
    referral = version.terms.referral
    if referral is None:
        return None
    if ask.referrer is None:
        return refused(REFERRER_MISSING)
    if ask.referrer.is_same or ask.referrer.person == facts.person:
        return refused(SELF_REFERRAL)
    if facts.now - facts.joined_at > timedelta(days=referral.joined_within_days):
        return refused(REFERRED_TOO_LATE)
    return None


def _refused_by_counts(
    version: Version, facts: Facts, bounds: Bounds, counts: Counts
) -> Refused | None:
    used = counts.used
    full = [
        reason
        for counter, most, reason in bounds
        if most is not None and used.get(counter, 0) >= most
    ]
    for reason in full:
        if not reason[0].startswith("limit_"):
            return refused(reason)
    if stacking := stacking_counters(version, facts):
        against = stacking[1] if version.terms.stacks else stacking[0]
        if counts.of(against):
            return refused(NOT_COMBINABLE)
    velocity = version.terms.velocity
    if velocity is not None and len(counts.recent) >= velocity.most:
        if counts.recent[-velocity.most] > facts.now_us - velocity.within_s * 1_000_000:
            return refused(TOO_FAST)
    return refused(full[0]) if full else None


def _granted(
    version: Version, facts: Facts, ask: Ask, budgets: Mapping[str, int], bounds: Bounds
) -> Decision:
    variant, effects = version.arm(facts.person)
    dearest = most_of(effects, facts.order) if facts.order else version.dearest[variant]
    for asset, worst in dearest.items():
        if worst > budgets.get(asset, 0):
            return refused(BUDGET_EXHAUSTED)
    payments, drawn = [], []
    for place, effect in enumerate(effects):
        plain: tuple[Plain, ...]
        if isinstance(effect, Chance):
            outcome = _drawn(version, facts, ask, effect, place)
            drawn.append(outcome)
            plain = effect.outcomes[outcome.outcome].effects
        else:
            plain = (effect,)
        payments += [paid for each in plain if (paid := _payment(each, facts, ask))]
    if effects and not payments and not drawn:
        return refused(NOTHING_TO_GRANT)
    counted = {counter for counter, _, _ in bounds}
    if stacking := stacking_counters(version, facts):
        counted.update(stacking[: 1 if version.terms.stacks else 2])
    return Grant(
        variant=variant,
        payments=tuple(payments),
        drawn=tuple(drawn),
        counted=tuple(sorted(counted)),
        at_worst=_at_worst(effects, facts, ask) if drawn else {},
    )


def _at_worst(effects: Sequence[AnyEffect], facts: Facts, ask: Ask) -> dict[tuple[int, str], int]:
    """The most that each person could get of each asset, of draws the dearest outcome."""
    worst = Tally[tuple[int, str]]()
    for effect in effects:
        most = Tally[tuple[int, str]]()
        outcomes: list[tuple[Plain, ...]]
        if isinstance(effect, Chance):
            outcomes = [outcome.effects for outcome in effect.outcomes]
        else:
            outcomes = [(effect,)]
        for plain in outcomes:
            sums = Tally[tuple[int, str]]()
            for paid in filter(None, (_payment(each, facts, ask) for each in plain)):
                if paid.kind in TO_WALLETS:
                    sums[paid.person, paid.asset] += paid.amount
            most |= sums
        worst += most
    return dict(worst)


def _drawn(version: Version, facts: Facts, ask: Ask, effect: Chance, place: int) -> Drawn:
    number = chance.draw(
        version.seed, version=version.id, person=facts.person, request=ask.request, place=place
    )
    index = chance.pick(number, [outcome.weight for outcome in effect.outcomes])
    return Drawn(number=f"{number:032x}", outcome=index, title=effect.outcomes[index].title)


def _payment(effect: Plain, facts: Facts, ask: Ask) -> Payment | None:
    amount = amount_of(effect, facts.order)
    person = facts.person
    if effect.to == "referrer":
        assert ask.referrer is not None
        person = ask.referrer.person
    if amount < 1:
        return None
    expires_at = effect.lapses_at(facts.now) if isinstance(effect, Points) else None
    kind = rules.leaf_name(effect)  # type: ignore[arg-type]
    asset = budgeted_asset(effect)
    assert asset is not None or kind == "tier_points"
    return Payment(
        kind=kind,
        asset=asset or effect.program,  # type: ignore[union-attr]
        amount=amount,
        person=person,
        expires_at=expires_at,
    )
