"""People who leave, and people who turn out to be one; and one person's whole story.

What somebody is (segments, attributes, activities) goes with them. What they were granted
stays: it is the ledger's, and names them by number only.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q

from accounts.models import User
from edge import audit
from edge.fields import format_time
from rewards.campaigns.counting import MERGE_ALONE, TURN_ALONE
from rewards.campaigns.events import announce, event
from rewards.campaigns.models import (
    Activity,
    Claim,
    ClaimRefusal,
    MergedPerson,
    PersonAttribute,
    SegmentMember,
    TierStanding,
)
from rewards.campaigns.problems import AccountMerged
from rewards.campaigns.publishing import checked_reason

MOST_TOLD = 100
REFUSALS_KEPT = timedelta(days=90)
REFUSALS_AT_ONCE = 10_000

# Limits hold for whoever two accounts belong to: what both have counts together.
ADD_COUNTERS = """
WITH gone AS (
    DELETE FROM campaigns_counted WHERE person = %(old)s RETURNING scope, period, used, recent
)
INSERT INTO campaigns_counted AS c (person, scope, period, used, recent)
SELECT %(new)s, scope, period, used, recent FROM gone ORDER BY scope, period
ON CONFLICT (person, scope, period) DO UPDATE
   SET used = c.used + excluded.used,
       recent = (SELECT coalesce(array_agg(at ORDER BY at), '{}') FROM (
                    SELECT at FROM unnest(c.recent || excluded.recent) AS at
                     ORDER BY at DESC LIMIT 20) AS latest)
"""

# No claim is under way: one of the old account would leave its counters behind, and a batch
# reads counters that nobody has locked. See `counting`.
HOLD_CAMPAIGNS = f"""
SELECT {TURN_ALONE} FROM campaigns_campaign WHERE state IN ('live', 'paused') ORDER BY id
"""

FORGET = """
DELETE FROM campaigns_claimrefusal
 WHERE id IN (SELECT id FROM campaigns_claimrefusal ORDER BY id LIMIT %s) AND at < %s
"""


def erase(person: User, *, actor: User | None, reason: str) -> None:
    """Forget what is personal: segments, attributes, activities, refusals, how claims came.

    Claims, their payments and the counters of their limits stay, under a number.
    """
    reason = checked_reason(reason)
    with transaction.atomic():
        counts = {
            "segments": SegmentMember.objects.filter(person=person).delete()[0],
            "attributes": PersonAttribute.objects.filter(person=person).delete()[0],
            "activities": Activity.objects.filter(person=person).delete()[0],
            "refusals": ClaimRefusal.objects.filter(owner=person).delete()[0],
        }
        TierStanding.objects.filter(person=person).delete()
        Claim.objects.filter(owner=person).update(channel="", order_key="")
        audit.record(
            actor=actor,
            action="campaigns.erase_person",
            object_type="user",
            object_id=person.pk,
            reason=reason,
            after=counts,
        )
        announce(event("person_erased", str(person.pk)))


def merge(*, old: User, new: User, actor: User | None, reason: str) -> None:
    """Let one account go on for two: what is known and what is counted comes together.

    Claims stay with the account that made them, as the ledger says. Where both have an
    attribute, the new account's stays. A claim of the old account that is reversed later
    counts down on the new one. The old account claims no more. An account is merged once, and
    nothing is merged into one that was (`AccountMerged`). Waits for all claims under way.
    """
    reason = checked_reason(reason)
    assert old.pk != new.pk
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(MERGE_ALONE)
        if MergedPerson.objects.filter(old__in=[old.pk, new.pk]).exists():
            raise AccountMerged
        own = SegmentMember.objects.filter(person=new).values("segment")
        SegmentMember.objects.filter(person=old, segment__in=own).delete()
        SegmentMember.objects.filter(person=old).update(person=new)
        names = PersonAttribute.objects.filter(person=new).values("name")
        PersonAttribute.objects.filter(person=old, name__in=names).delete()
        PersonAttribute.objects.filter(person=old).update(person=new)
        Activity.objects.filter(person=old).update(person=new)
        with connection.cursor() as cursor:
            # Late, because every claim waits from here on: a history may be long.
            cursor.execute(HOLD_CAMPAIGNS)
            cursor.execute(ADD_COUNTERS, {"old": old.pk, "new": new.pk})
        MergedPerson.objects.filter(new=old.pk).update(new=new.pk)
        MergedPerson.objects.create(old=old.pk, new=new.pk)
        audit.record(
            actor=actor,
            action="campaigns.merge_people",
            object_type="user",
            object_id=new.pk,
            reason=reason,
            before={"old": str(old.pk)},
        )
        announce(event("people_merged", str(new.pk), old=str(old.pk), new=str(new.pk)))


def forget_refusals(now: datetime) -> int:
    """Forget refusals of more than 90 days ago, 10,000 a statement; say how many.

    Ids grow with time, so the oldest lie together and a run that finds none costs nothing.
    """
    gone = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(FORGET, [REFUSALS_AT_ONCE, now - REFUSALS_KEPT])
            count = int(cursor.rowcount)
        gone += count
        if count < REFUSALS_AT_ONCE:
            return gone


def story_of(person: User) -> dict[str, Any]:
    """Everything that campaigns know and did of a person; of long lists the latest hundred."""
    both = Q(owner=person) | Q(referrer=person)
    claims = Claim.objects.filter(both).select_related("campaign", "version").order_by("-id")
    refusals = ClaimRefusal.objects.filter(owner=person).select_related("campaign", "version")
    deeds = Activity.objects.filter(person=person).select_related("kind", "asset")
    members = SegmentMember.objects.filter(person=person).select_related("segment")
    values = PersonAttribute.objects.filter(person=person).select_related("name")
    return {
        "handle": person.handle,
        "segments": sorted(row.segment.code for row in members),
        "attributes": {row.name.code: row.value for row in values},
        "claims": list(claims[:MOST_TOLD]),
        "refusals": [_refusal(row) for row in refusals.order_by("-id")[:MOST_TOLD]],
        "activities": [_deed(row) for row in deeds.order_by("-at")[:MOST_TOLD]],
    }


def _refusal(row: ClaimRefusal) -> dict[str, Any]:
    return {
        "campaign": row.campaign.code,
        "version": row.version.number if row.version else None,
        "at": format_time(row.at),
        "code": row.code,
        "misses": [
            {"pointer": f"#{miss[0]}", "leaf": miss[1], "detail": miss[3]} for miss in row.misses
        ],
    }


def _deed(row: Activity) -> dict[str, Any]:
    return {
        "key": row.key,
        "kind": row.kind.code,
        "at": format_time(row.at),
        "asset": row.asset.code if row.asset else None,
        "amount": row.amount,
    }
