"""Tells the platform's listeners what happened to campaigns, claims, budgets and tiers.

The events of a campaign are enough to count its budgets and counters again: a grant names
every payment and every counter, a reversal the same, funding its amount.
"""

from __future__ import annotations

import msgspec

from live.events import Event
from live.outbox import record

TOPIC = "campaigns"


def event(kind: str, key: str, /, **story: object) -> Event:
    """Spell one event. `key` is what it is about: a campaign's code, mostly."""
    return Event(TOPIC, key, msgspec.json.encode({"type": kind, "key": key} | story))


def announce(*events: Event) -> None:
    """Record events in the caller's transaction, last of all."""
    record(list(events))
