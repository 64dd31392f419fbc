"""Reads the outbox in the order of ids and skips none.

Every transaction that records events first takes a shared lock on the sequence's value at
that moment, its mark (`live/outbox.py`): all its ids lie above the mark. The reader looks
at the sequence, then at the marks that are held, then at the rows. Up to the lowest of
these, every id is settled: its transaction has ended, and what it left is visible to a
read that starts afterwards.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from live.outbox import MARK_CLASS, MARK_MASK, NEWEST_ID

EVENTS_A_READ = 500

NEWEST = f"SELECT {NEWEST_ID} FROM live_outbox_id AS s"
MARKS = """
SELECT objid::bigint FROM pg_locks
 WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
EVENTS = """
SELECT id, topic, key, payload, created_at FROM live_outboxevent
 WHERE id > %s AND id <= %s ORDER BY id LIMIT %s
"""

Connection = psycopg.Connection[tuple[Any, ...]]


class Row(NamedTuple):
    """An event as the outbox holds it."""

    id: int
    topic: str
    key: str
    payload: bytes
    created_at: datetime


class OutboxReader:
    """Follows the outbox from a position, on an autocommit connection."""

    def __init__(self, connection: Connection, *, position: int) -> None:
        self.settled = position
        self._connection = connection
        self._newest = position
        self._next = position
        self._stuck_since: float | None = None

    def read(self) -> list[Row]:
        """The next settled events, at most 500; the same again until `settle` is called."""
        if not self.has_news():
            return []
        horizon = min(self._newest, self._lowest_mark())
        rows = self._rows(horizon) if horizon > self.settled else []
        self._next = rows[-1].id if len(rows) == EVENTS_A_READ else max(horizon, self.settled)
        if not rows:
            # Ids that no event bears: their transactions were rolled back.
            self.settle()
        return rows

    def settle(self) -> None:
        """What was read last is told: go on after it."""
        if self._next > self.settled:
            self._stuck_since = None
        elif self._stuck_since is None:
            self._stuck_since = time.monotonic()
        self.settled = self._next

    def has_news(self) -> bool:
        """Say whether ids were taken that are not settled; one small look-up."""
        row = self._connection.execute(NEWEST).fetchone()
        assert row is not None
        self._newest = int(row[0])
        return self._newest > self.settled

    @property
    def read_to(self) -> int:
        """Where `settle` will bring us: store it in the transaction that takes the events in."""
        return self._next

    @property
    def lag_events(self) -> int:
        """How many events are not told yet, at most: ids of rolled back ones count too."""
        return max(0, self._newest - self.settled)

    @property
    def stuck_s(self) -> float:
        """How long one open transaction has held everything back."""
        return 0.0 if self._stuck_since is None else time.monotonic() - self._stuck_since

    def _lowest_mark(self) -> int:
        """The lowest mark held; a mark set after we looked at the sequence lies above it."""
        lowest = self._newest
        for (mark,) in self._connection.execute(MARKS, [MARK_CLASS]):
            distance = (self._newest - mark) & MARK_MASK
            if distance <= MARK_MASK // 2:
                lowest = min(lowest, self._newest - distance)
        return lowest

    def _rows(self, horizon: int) -> list[Row]:
        found = self._connection.execute(EVENTS, [self.settled, horizon, EVENTS_A_READ])
        return [Row(*row) for row in found]
