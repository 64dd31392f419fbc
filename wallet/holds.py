"""Sweeping holds whose time is over, so that what they set aside can be spent again.

A lapsed hold cannot be posted any more, swept or not; until it is swept its amount is still
not available. The sweep goes through the door like everybody else.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from django.db.models import Q

from wallet.actions import post
from wallet.items import HoldState, Void
from wallet.models import Code, Hold

logger = logging.getLogger(__name__)

BATCH_HOLDS = 1_000
MOST_HOLDS = 200_000
"""The most holds one sweep looks at; the next one goes on from there."""


def expire_holds(now: datetime | None = None, limit: int = MOST_HOLDS) -> int:
    """Release the holds that lapsed by `now`, oldest expiry first, and say how many it were.

    Each batch of 1,000 is a transaction of its own, so a sweep that dies has done what it
    did and the next one goes on. Two sweeps at once release each hold once: the reference
    is made of the hold's id. Each hold ends as EXPIRED. Locks the accounts of a batch at a
    time. `now` is for tests; it defaults to the clock, at each look.
    """
    released, seen, after = 0, 0, None
    while seen < limit:
        due = _due(now or datetime.now(UTC), after, min(BATCH_HOLDS, limit - seen))
        if not due:
            break
        released += _release(due, now)
        seen, after = seen + len(due), due[-1]
    return released


def _due(now: datetime, after: Hold | None, count: int) -> list[Hold]:
    """The next lapsed holds in order of expiry: one range of the partial index of open holds."""
    lapsed = Hold.objects.filter(state=HoldState.OPEN, expires_at__lte=now)
    if after is not None:
        # Past the last one even if it could not be released: no hold stops the others.
        later = Q(expires_at__gt=after.expires_at)
        lapsed = lapsed.filter(later | Q(expires_at=after.expires_at, id__gt=after.id))
    return list(lapsed.order_by("expires_at", "id")[:count])


def _release(holds: list[Hold], now: datetime | None) -> int:
    items = [
        Void(reference=f"hold-expiry:{hold.pk}", hold_id=hold.pk, code=Code.RELEASE)
        for hold in holds
    ]
    results = post(items, now=now)
    for hold, result in zip(holds, results, strict=True):
        if not result.is_created:
            logger.warning("lapsed hold %s stays: %s", hold.pk, result.refusal.name)
    return sum(result.is_created and not result.is_replay for result in results)
