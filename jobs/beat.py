"""The clock: periodic entries become jobs, once each, however many beats run.

Entries stand in the database (django-celery-beat; config/settings.py lays down the first
ones). When one is due, its job is enqueued in the transaction that notes the tick; a
second beat finds the tick noted. An entry whose job has not ended is not enqueued again.
The sweeper runs in this process too.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import psycopg
from celery.beat import ScheduleEntry
from django.db import InterfaceError, OperationalError, connection, transaction
from django_celery_beat.schedulers import DatabaseScheduler

from edge.database import database_conninfo
from jobs.actions import enqueue
from jobs.registry import declarations
from jobs.sweeper import Connection, Sweeper

logger = logging.getLogger(__name__)

SHARE_OF_INTERVAL = 0.9
"""A tick that comes sooner than this share of the interval after the last is another beat's."""
LEAST_GAP_S = 30.0
"""… and after a tick of a calendar entry, which knows whole minutes."""
RETRY_S = 1.0

TICK = """
INSERT INTO jobs_tick AS t (entry, at) VALUES (%s, clock_timestamp())
ON CONFLICT (entry) DO UPDATE SET at = EXCLUDED.at
 WHERE t.at <= EXCLUDED.at - %s * interval '1 second'
RETURNING entry
"""


class JobScheduler(DatabaseScheduler):
    """Beat's scheduler, over rows instead of messages."""

    producer = None  # Else each tick would wait for the broker.
    _sweeping: threading.Thread | None = None

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Do what is due; the first call starts the sweeper."""
        if self._sweeping is None:
            self._sweeping = threading.Thread(target=_sweep_for_ever, daemon=True)
            self._sweeping.start()
        return float(super().tick(*args, **kwargs))

    def apply_async(
        self, entry: ScheduleEntry, producer: Any = None, advance: bool = True, **kwargs: Any
    ) -> Any:
        """Enqueue the entry's job; what is no job goes to Celery as it always did."""
        if entry.task not in declarations():
            return super().apply_async(entry, producer=producer, advance=advance, **kwargs)
        gap_s = least_gap_s(entry)
        while True:  # Without the database there is nothing else to do here.
            try:
                return enqueue_tick(entry.name, entry.task, dict(entry.kwargs or {}), gap_s=gap_s)
            except (OperationalError, InterfaceError) as error:
                logger.warning("%s waits for the database: %s", entry.name, error)
                connection.close()
                time.sleep(RETRY_S)


def least_gap_s(entry: ScheduleEntry) -> float:
    """How soon after a tick the next can be this entry's own."""
    every = getattr(entry.schedule, "run_every", None)
    return every.total_seconds() * SHARE_OF_INTERVAL if every else LEAST_GAP_S


def enqueue_tick(entry: str, name: str, arguments: dict[str, Any], *, gap_s: float) -> int | None:
    """Make the job of one tick, unless another beat did; gives its number."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(TICK, [entry, gap_s])
            if cursor.fetchone() is None:
                return None
        return enqueue(name, arguments, unique=f"beat:{entry}"[:200])


def connect() -> Connection:
    """Open a session of its own to the default database, without transactions."""
    return psycopg.connect(database_conninfo(), autocommit=True)


def _sweep_for_ever() -> None:
    while True:
        try:
            Sweeper(connect).run()
        except Exception:  # The platform must not stand still for one strange row.
            logger.exception("the sweeper stumbled")
            time.sleep(RETRY_S)
