"""Gathers the facts of people that rules ask about, those of many in one query."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from accounts.models import User
from edge.journey import Answered, Journey, ask
from edge.postgres import array, text_array
from rewards.campaigns import standings
from rewards.campaigns.deciding import Referrer
from rewards.campaigns.facts import Facts, Needs, Order

MOST_ACTIVITIES = 1_000
"""Of one kind, the latest; a condition asks for at most so many."""
STREAK_BEGINS = timedelta(days=2)
"""A streak that ends yesterday began so much earlier, at most, than its days are long."""

# What nobody asks about is not read: a CASE keeps PostgreSQL from even looking.
FACTS = """
SELECT u.id, u.date_joined, EXISTS (SELECT FROM campaigns_mergedperson AS m WHERE m.old = u.id),
       CASE WHEN $4::bool THEN ARRAY(
           SELECT n.code FROM campaigns_segmentmember AS m
             JOIN campaigns_factname AS n ON n.id = m.segment_id WHERE m.person_id = u.id) END,
       CASE WHEN $5::bool THEN (
           SELECT jsonb_object_agg(n.code, a.value) FROM campaigns_personattribute AS a
             JOIN campaigns_factname AS n ON n.id = a.name_id WHERE a.person_id = u.id) END::text,
       CASE WHEN $6::bool THEN (
           SELECT jsonb_object_agg(substr(c.scope, 10),
                                   jsonb_build_array(c.used, c.recent[cardinality(c.recent)]))
             FROM campaigns_counted AS c
            WHERE c.person = u.id AND c.period = 'ever'
              AND c.scope = ANY($7::varchar[])) END::text,
       CASE WHEN $8::bool THEN (
           SELECT jsonb_object_agg(n.code, t.times) FROM campaigns_factname AS n
            CROSS JOIN LATERAL (
               SELECT jsonb_agg(l.us ORDER BY l.us) AS times FROM (
                   SELECT (extract(epoch FROM a.at) * 1000000)::bigint AS us
                     FROM campaigns_activity AS a
                    WHERE a.person_id = u.id AND a.kind_id = n.id AND a.at <= $2::timestamptz
                    ORDER BY a.at DESC LIMIT $3) AS l) AS t
            WHERE n.kind = 'activity' AND n.code = ANY($9::varchar[])
              AND t.times IS NOT NULL) END::text,
       CASE WHEN $10::bool THEN (
           SELECT jsonb_object_agg(n.code, t.times) FROM campaigns_factname AS n
            CROSS JOIN LATERAL (
               SELECT jsonb_agg(l.us ORDER BY l.us) AS times FROM (
                   SELECT (extract(epoch FROM max(a.at)) * 1000000)::bigint AS us
                     FROM campaigns_activity AS a
                    WHERE a.person_id = u.id AND a.kind_id = n.id
                      AND a.at > $12::timestamptz AND a.at <= $2::timestamptz
                    GROUP BY floor(extract(epoch FROM a.at) / 900)) AS l) AS t
            WHERE n.kind = 'activity' AND n.code = ANY($11::varchar[])
              AND t.times IS NOT NULL) END::text
  FROM accounts_user AS u WHERE u.id = ANY($1::bigint[])
"""
ORDERS = """
SELECT a.person_id, a.key, s.code, a.amount, NOT EXISTS (
           SELECT FROM campaigns_activity AS b
            WHERE b.person_id = a.person_id AND b.kind_id = a.kind_id AND b.amount IS NOT NULL
              AND (b.at, b.id) < (a.at, a.id))
  FROM unnest($1::bigint[], $2::varchar[]) AS asked(person_id, key)
  JOIN campaigns_activity AS a USING (person_id, key)
  JOIN wallet_asset AS s ON s.id = a.asset_id
 WHERE a.at <= $3::timestamptz
"""
# Who goes on for the one who was named, and whether any account of theirs was referred by any
# account of this person.
GOES_ON = """
SELECT r.id, r.id = p.id, EXISTS (
           SELECT FROM campaigns_claim AS c
            WHERE c.owner_id = ANY(r.id || ARRAY(
                      SELECT old FROM campaigns_mergedperson WHERE new = r.id))
              AND c.referrer_id = ANY(p.id || ARRAY(
                      SELECT old FROM campaigns_mergedperson WHERE new = p.id)))
  FROM (SELECT coalesce((SELECT new FROM campaigns_mergedperson WHERE old = $1::bigint),
                        $1::bigint) AS id) AS r,
       (SELECT coalesce((SELECT new FROM campaigns_mergedperson WHERE old = $2::bigint),
                        $2::bigint) AS id) AS p
"""
NOTHING: dict[str, Any] = {}


def facts_of(
    person_id: int,
    needs: Needs,
    *,
    now: datetime,
    channel: str = "",
    order_key: str = "",
    places: frozenset[str] | None = None,
) -> Facts:
    """Gather what rules ask about a person. `places` is evidence that the caller checked."""
    known = facts_of_many([person_id], needs, now=now)[person_id]
    asked = (person_id, order_key)
    return replace(
        known,
        channel=channel,
        places=places,
        order=orders_of([asked], now).get(asked) if order_key else None,
    )


def facts_of_many(people: Sequence[int], needs: Needs, *, now: datetime) -> dict[int, Facts]:
    """Gather what is known of many people, whatever they ask: one query, a few more for tiers."""
    journey = Journey()
    ask_facts(journey, people, needs, now=now)
    [found] = journey.run()
    return hear_facts(found, needs, now=now)


def ask_facts(journey: Journey, people: Sequence[int], needs: Needs, *, now: datetime) -> None:
    """Ask what is known of people; see `hear_facts`."""
    journey.add(
        FACTS,
        array(people),
        now.isoformat(),
        MOST_ACTIVITIES,
        needs.segments,
        needs.attributes,
        bool(needs.campaigns),
        text_array(f"campaign:{code}" for code in needs.campaigns),
        bool(needs.activities),
        text_array(needs.activities),
        bool(needs.streaks),
        text_array(needs.streaks),
        (now - timedelta(days=needs.streak_days) - STREAK_BEGINS).isoformat(),
    )


def hear_facts(found: Answered, needs: Needs, *, now: datetime) -> dict[int, Facts]:
    """Take in the answer. Of tiers, a few queries more."""
    known = {row[0]: _known(*row, now=now) for row in found.fetchall()}
    if needs.tiers:
        ranks = standings.ranks_of_many(known, now)
        return {id: replace(facts, tiers=ranks.get(id, NOTHING)) for id, facts in known.items()}
    return known


def _known(
    person: int,
    joined_at: datetime,
    is_merged: bool,
    segments: list[str] | None,
    attributes: str | None,
    claims: str | None,
    activities: str | None,
    quarters: str | None,
    *,
    now: datetime,
) -> Facts:
    counted: dict[str, list[Any]] = _json(claims)
    return Facts(
        person=person,
        now=now,
        joined_at=joined_at,
        segments=frozenset(segments) if segments else frozenset(),
        attributes=_json(attributes),
        claims={code: used for code, (used, _) in counted.items()} if counted else NOTHING,
        claimed_at={code: at for code, (used, at) in counted.items() if used and at},
        activities={kind: tuple(times) for kind, times in _json(activities).items()},
        quarters={kind: tuple(times) for kind, times in _json(quarters).items()},
        is_merged=is_merged,
    )


def _json(text: str | None) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(text) if text else NOTHING
    return decoded


def orders_of(asked: Collection[tuple[int, str]], now: datetime) -> dict[tuple[int, str], Order]:
    """Find orders of people by their keys, those that somebody trusted reported of them."""
    people, keys = array(person for person, _ in asked), text_array(key for _, key in asked)
    found = ask(ORDERS, people, keys, now.isoformat())
    return {
        (person, key): Order(key=key, asset=asset, amount=amount, is_first=is_first)
        for person, key, asset, amount, is_first in found.fetchall()
    }


def referrer_of(person: User, handle: str) -> Referrer | None:
    """Find who referred a person, and whether the two seem to be one.

    They do if their mail goes to one mailbox, or if each would have referred the other. Of an
    account that was merged, it is the one that goes on.
    """
    found = named(handle)
    if found is None:
        return None
    [(referrer_id, is_one, is_mutual)] = ask(GOES_ON, found.pk, person.pk).fetchall()
    referrer = found if referrer_id == found.pk else User.objects.get(pk=referrer_id)
    mailboxes = {mailbox(found.email), mailbox(referrer.email)}
    is_same = is_one or is_mutual or mailbox(person.email) in mailboxes
    return Referrer(person=referrer_id, is_same=is_same)


def named(handle: str) -> User | None:
    """Find whom a handle names; text that can be none names nobody."""
    return None if "\x00" in handle else User.objects.by_handle(handle)


def mailbox(email: str) -> str:
    """Where mail ends up: without the tag that many providers let people add."""
    name, _, domain = email.lower().rpartition("@")
    name = name.partition("+")[0]
    if domain in {"gmail.com", "googlemail.com"}:
        name, domain = name.replace(".", ""), "gmail.com"
    return f"{name}@{domain}"
