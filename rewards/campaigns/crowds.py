"""Crowds to try a version out on: made up from what its rule speaks of, or out of history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from django.db import connection
from msgspec.structs import replace

from rewards.campaigns import conditions as leaf
from rewards.campaigns import rules
from rewards.campaigns.deciding import Ask, Referrer, Version
from rewards.campaigns.facts import MICROSECONDS_A_DAY, Facts, Order, microseconds
from rewards.campaigns.knowing import facts_of
from rewards.campaigns.terms import Cashback, Discount, arms, every_plain

MOST_VISITS = 40_000
WEEK = timedelta(days=7)
# When people came: their claims, refusals and orders. Of merged accounts the one goes on.
VISITS = """
SELECT coalesce(m.new, person), at, channel, order_key FROM (
    SELECT owner_id AS person, at, channel, order_key FROM campaigns_claim WHERE at >= %(since)s
    UNION ALL
    SELECT owner_id, at, channel, order_key FROM campaigns_claimrefusal WHERE at >= %(since)s
    UNION ALL
    SELECT person_id, at, '', key FROM campaigns_activity
     WHERE at >= %(since)s AND amount IS NOT NULL) AS visit
  LEFT JOIN campaigns_mergedperson AS m ON m.old = visit.person
 WHERE at < %(now)s ORDER BY at, person LIMIT %(most)s
"""


class Visit(NamedTuple):
    """Somebody comes and asks."""

    facts: Facts
    ask: Ask


def synthetic(version: Version, *, people: int, days: int, seed: int) -> list[Visit]:
    """Make up a crowd: the same for the same seed. Everything the rule names is had by about half.

    Each person comes one to three times within the days.
    """
    chance = Random(seed)
    words = _Words(version)
    visits: list[Visit] = []
    for person in range(1, people + 1):
        someone = words.person(person, chance)
        for number in range(chance.choice((1, 1, 2, 3))):
            now = version.starts_at + timedelta(seconds=chance.randrange(days * 86_400))
            visits.append(words.visit(someone, now, number, chance))
            if len(visits) == MOST_VISITS:
                return _in_order(visits)
    return _in_order(visits)


def from_history(version: Version, *, days: int, people: int, now: datetime) -> list[Visit]:
    """Let those who came in the last days come again, by whole weeks later, in the same order.

    Segments and attributes are what they are today; activities are those done by then.
    """
    with connection.cursor() as cursor:
        since = now - timedelta(days=days)
        cursor.execute(VISITS, {"since": since, "now": now, "most": MOST_VISITS})
        rows = cursor.fetchall()
    if not rows:
        return []
    weeks = max(0, -((rows[0][1] - version.starts_at) // WEEK))
    chosen: dict[int, None] = {}
    visits = []
    for person, at, channel, order_key in rows:
        if person not in chosen and len(chosen) == people:
            continue
        chosen[person] = None
        facts = facts_of(person, version.needs, now=at, channel=channel, order_key=order_key)
        visits.append(Visit(_later(facts, weeks * WEEK), Ask(request=f"{person}:{at}")))
    return visits


def _later(facts: Facts, by: timedelta) -> Facts:
    us = by // timedelta(microseconds=1)
    return replace(
        facts,
        now=facts.now + by,
        joined_at=facts.joined_at + by,
        claims={},
        claimed_at={},
        activities={
            kind: tuple(at + us for at in times) for kind, times in facts.activities.items()
        },
        quarters={kind: tuple(at + us for at in times) for kind, times in facts.quarters.items()},
    )


def _in_order(visits: list[Visit]) -> list[Visit]:
    return sorted(visits, key=lambda visit: (visit.facts.now, visit.facts.person))


class _Words:
    """What the terms of a version speak of, so that a made-up crowd meets their edges."""

    def __init__(self, version: Version) -> None:
        self.terms = version.terms
        self.leaves = [node for _, node in rules.leaves(version.terms.rule)]
        self.segments = sorted(self._named(leaf.Segment))
        self.places = sorted(self._named(leaf.Place))
        self.channels = sorted(self._named(leaf.Channel)) or ["web"]
        self.currency = next(self._currencies(), "EUR")

    def _named(self, kind: type[Any]) -> set[str]:
        return {name for node in self.leaves if isinstance(node, kind) for name in node.any_of}

    def _currencies(self) -> Iterator[str]:
        for node in self.leaves:
            if isinstance(node, leaf.OrderAmount):
                yield node.asset
        for _, effects in arms(self.terms):
            for effect in effects:
                for plain in every_plain(effect):
                    if isinstance(plain, Cashback | Discount):
                        yield plain.asset

    def person(self, person: int, chance: Random) -> Facts:
        """Somebody, before they come."""
        attributes = {}
        for node in self.leaves:
            if isinstance(node, leaf.Attribute) and chance.random() < 0.75:
                attributes[node.name] = self._value(node, chance)
        joined = self.terms.starts_at - timedelta(days=chance.randrange(800))
        tiers = {
            node.program: chance.randint(-1, node.rank + 1)
            for node in self.leaves
            if isinstance(node, leaf.Tier)
        }
        return Facts(
            person=person,
            now=joined,
            joined_at=joined,
            segments=frozenset(name for name in self.segments if chance.random() < 0.5),
            tiers=tiers,
            attributes=attributes,
        )

    def _value(self, node: leaf.Attribute, chance: Random) -> Any:
        value = chance.choice(node.values) if node.values else node.value
        if type(value) is int:
            return value + chance.randint(-5, 5)
        return value if value is not None else True

    def visit(self, someone: Facts, now: datetime, number: int, chance: Random) -> Visit:
        """Somebody comes: by a channel, with an order perhaps, having done this and that."""
        order = None
        if self.terms.needs_order or chance.random() < 0.3:
            amount = max(1, int(chance.lognormvariate(8, 0.8)))
            key = f"{someone.person}-{number}"
            order = Order(key=key, asset=self.currency, amount=amount, is_first=number == 0)
        us = microseconds(now)
        activities = {
            node.event: tuple(
                sorted(
                    us - chance.randrange(14 * MICROSECONDS_A_DAY)
                    for _ in range(chance.randrange(self._often(node) * 2 + 1))
                )
            )
            for node in self.leaves
            if isinstance(node, leaf.Did | leaf.Streak)
        }
        facts = replace(
            someone,
            now=now,
            channel=chance.choice(self.channels),
            places=frozenset(name for name in self.places if chance.random() < 0.5),
            order=order,
            activities=activities,
            quarters=activities,
        )
        referrer = Referrer(chance.randrange(1, 1_000)) if self.terms.referral else None
        return Visit(facts, Ask(request=f"{chance.getrandbits(64):x}", referrer=referrer))

    def _often(self, node: leaf.Did | leaf.Streak) -> int:
        return node.times if isinstance(node, leaf.Did) else node.days
