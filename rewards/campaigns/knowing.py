"""Gathers the facts of a person: one query, one more for an order, two for tiers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.db import connection
from msgspec.structs import replace

from accounts.models import User
from rewards.campaigns import standings
from rewards.campaigns.deciding import Referrer
from rewards.campaigns.facts import Facts, Order
from rewards.campaigns.models import Claim

MOST_ACTIVITIES = 1_000
"""Of one kind, the latest; a condition asks for at most so many."""

FACTS = """
SELECT u.id, u.date_joined,
       ARRAY(SELECT n.code FROM campaigns_segmentmember AS m
               JOIN campaigns_factname AS n ON n.id = m.segment_id WHERE m.person_id = u.id),
       (SELECT jsonb_object_agg(n.code, a.value) FROM campaigns_personattribute AS a
          JOIN campaigns_factname AS n ON n.id = a.name_id WHERE a.person_id = u.id)::text,
       (SELECT jsonb_object_agg(substr(c.scope, 10),
                                jsonb_build_array(c.used, c.recent[cardinality(c.recent)]))
          FROM campaigns_counted AS c
         WHERE c.person = u.id AND c.scope LIKE 'campaign:%%' AND c.period = 'ever')::text,
       (SELECT jsonb_object_agg(n.code, t.times) FROM campaigns_factname AS n
         CROSS JOIN LATERAL (
            SELECT jsonb_agg(l.us ORDER BY l.us) AS times FROM (
                SELECT (extract(epoch FROM a.at) * 1000000)::bigint AS us
                  FROM campaigns_activity AS a
                 WHERE a.person_id = u.id AND a.kind_id = n.id AND a.at <= %(now)s
                 ORDER BY a.at DESC LIMIT %(most)s) AS l) AS t
         WHERE n.kind = 'activity' AND t.times IS NOT NULL)::text
  FROM accounts_user AS u WHERE u.id = ANY(%(people)s)
"""
ORDER = """
SELECT s.code, a.amount, NOT EXISTS (
           SELECT FROM campaigns_activity AS b
            WHERE b.person_id = a.person_id AND b.kind_id = a.kind_id AND b.amount IS NOT NULL
              AND (b.at, b.id) < (a.at, a.id))
  FROM campaigns_activity AS a JOIN wallet_asset AS s ON s.id = a.asset_id
 WHERE a.key = %s AND a.person_id = %s AND a.at <= %s
"""


def facts_of(
    person_id: int,
    *,
    now: datetime,
    channel: str = "",
    order_key: str = "",
    places: frozenset[str] | None = None,
) -> Facts:
    """Gather what rules may ask about a person. `places` is evidence that the caller checked."""
    known = facts_of_many([person_id], now=now)[person_id]
    return replace(
        known,
        channel=channel,
        places=places,
        tiers=standings.ranks_of(person_id, now),
        order=order_of(person_id, order_key, now) if order_key else None,
    )


def facts_of_many(people: Sequence[int], *, now: datetime) -> dict[int, Facts]:
    """Gather what is known of many people in one query: no tiers, and nothing of what they ask."""
    with connection.cursor() as cursor:
        cursor.execute(FACTS, {"people": list(people), "now": now, "most": MOST_ACTIVITIES})
        return {row[0]: _known(*row, now=now) for row in cursor.fetchall()}


def _known(
    person: int,
    joined_at: datetime,
    segments: list[str],
    attributes: str | None,
    claims: str | None,
    activities: str | None,
    *,
    now: datetime,
) -> Facts:
    counted: dict[str, list[Any]] = _json(claims)
    return Facts(
        person=person,
        now=now,
        joined_at=joined_at,
        segments=frozenset(segments),
        attributes=_json(attributes),
        claims={code: used for code, (used, _) in counted.items()},
        claimed_at={code: at for code, (used, at) in counted.items() if used and at},
        activities={kind: tuple(times) for kind, times in _json(activities).items()},
    )


def _json(text: str | None) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(text) if text else {}
    return decoded


def order_of(person_id: int, key: str, now: datetime) -> Order | None:
    """Find an order that somebody trusted reported of this person."""
    with connection.cursor() as cursor:
        cursor.execute(ORDER, [key, person_id, now])
        row = cursor.fetchone()
    if row is None:
        return None
    asset, amount, is_first = row
    return Order(key=key, asset=asset, amount=amount, is_first=is_first)


def referrer_of(person: User, handle: str) -> Referrer | None:
    """Find who referred a person, and whether the two seem to be one.

    They do if their mail goes to one mailbox, or if each would have referred the other.
    """
    referrer = User.objects.by_handle(handle)
    if referrer is None:
        return None
    is_same = (
        referrer.pk == person.pk
        or mailbox(referrer.email) == mailbox(person.email)
        or Claim.objects.filter(owner=referrer, referrer=person).exists()
    )
    return Referrer(person=referrer.pk, is_same=is_same)


def mailbox(email: str) -> str:
    """Where mail ends up: without the tag that many providers let people add."""
    name, _, domain = email.lower().rpartition("@")
    name = name.partition("+")[0]
    if domain in {"gmail.com", "googlemail.com"}:
        name, domain = name.replace(".", ""), "gmail.com"
    return f"{name}@{domain}"
