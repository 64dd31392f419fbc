"""Writes events down in the transaction that makes them true; the relay tells them later.

Events are told in the order of their ids, and none may be skipped, yet a transaction that
took early ids may commit late. So a transaction that is about to take ids first holds,
until it ends, a shared lock that says from where: the relay goes no further than the
lowest such mark (`live/relay.py`). Only transactions that have recorded events hold the
relay back, and only from then on: call `record` last, when nothing slow is left to do.

The id order is also the order of cause: whoever waits for a row that another transaction
has changed takes its ids after that transaction's.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from edge.journey import Journey, bytea_array
from edge.postgres import text_array
from live.events import EVENTS_PER_RECORD, LARGEST_PAYLOAD_BYTES, Event

MARK_CLASS = 0x5C02
"""The first half of the advisory lock's key; the second is the mark's last 31 bits."""
WAKE_CHANNEL = "live_relay"
NEWEST_ID = "(s.last_value - (NOT s.is_called)::int)"
MARK_MASK = (1 << 31) - 1
MARK = f"({NEWEST_ID} & {MARK_MASK})::int"

# One statement: the mark is set before any id is taken, because ids belong to the rows
# that the join gives. A relay that is asleep is woken when this transaction commits.
RECORD = f"""
WITH mark AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared({MARK_CLASS}, {MARK}),
           CASE WHEN r.is_asleep THEN pg_notify('{WAKE_CHANNEL}', '') END
      FROM live_outbox_id AS s, live_relay AS r
)
INSERT INTO live_outboxevent (topic, key, payload)
SELECT e.topic, e.key, e.payload
  FROM mark, unnest($1::text[], $2::text[], $3::bytea[]) WITH ORDINALITY
       AS e(topic, key, payload, place)
 ORDER BY e.place
"""


class NotInTransaction(RuntimeError):
    """Events belong to the transaction that makes them true; there is none."""


def record(events: Sequence[Event]) -> None:
    """Write down what happens, as part of the caller's transaction; told once it commits.

    One statement whatever the number: about 0.3 ms, and 10 µs an event. The events of one call keep
    their order. Raises `NotInTransaction`, and ValueError for what is beyond the limits.
    """
    if not connection.in_atomic_block:
        raise NotInTransaction("record() outside transaction.atomic()")
    if events:
        journey = Journey()
        record_on(journey, events)
        journey.run()


def record_on(journey: Journey, events: Sequence[Event]) -> None:
    """Put events on a journey, last but for its commit. Raises ValueError as `record` does."""
    if not events:
        return
    _check(events)
    topics = text_array(event.topic for event in events)
    keys = text_array(event.key for event in events)
    journey.add(RECORD, topics, keys, bytea_array([event.payload for event in events]))


def _check(events: Sequence[Event]) -> None:
    if len(events) > EVENTS_PER_RECORD:
        raise ValueError(f"{len(events)} events at once; at most {EVENTS_PER_RECORD}")
    for event in events:
        if not event.payload or len(event.payload) > LARGEST_PAYLOAD_BYTES:
            raise ValueError(f"{event.topic}: a payload of {len(event.payload)} bytes")
