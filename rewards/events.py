"""Tells the platform's listeners what happened to vouchers. Never a code, masked or not."""

from __future__ import annotations

import msgspec

from live.events import Event
from live.outbox import record

TOPIC = "rewards"


def announce(kind: str, series_code: str, **story: object) -> None:
    """Record an event in the caller's transaction: it is published if that commits.

    From here until the commit the relay waits for this transaction: call it last.
    """
    payload = msgspec.json.encode({"type": kind} | story)
    record([Event(TOPIC, series_code, payload)])
