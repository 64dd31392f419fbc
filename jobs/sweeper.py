"""The sweeper: finds jobs that nobody heard of, and takes back what dead workers held.

It runs in the beat process, on a thread and a database session of its own, twice a second.
With two of them, the one that holds the advisory lock sweeps and the other waits.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import psycopg

from jobs import bell, days, tally
from jobs.claims import FREE_KEY, GIVE_BACK
from jobs.registry import declarations
from jobs.rules import STRANDED_DAYS, State

logger = logging.getLogger(__name__)

LOCK_CLASS = 0x5C04
EVERY_S = 0.5
STANDBY_POLL_S = 0.5
SESSION_TIMEOUT_MS = 10_000
BACKOFF_MOST_S = 2.0
UNHEARD_S = 2.0
"""A job that waits so long after its ring is rung again, and then every so often."""
UNHEARD_MORE_S = 0.1
"""… and so much longer for each message that the broker holds: its turn will come. A backlog
would else be rung over and over, and workers would wade through rings for what is done."""
RING_QUIET = 2_000
"""Jobs rung in one sweep when the broker holds no message: its rings were lost."""
RING_BUSY = 200
"""… when it does: most of what waits was rung, and workers are on their way."""
BROKER_FULL = 1_000
"""With so many messages waiting nobody listens, and more would only fill Redis."""
RETURN_MOST = 1_000

Connection = psycopg.Connection[tuple[Any, ...]]

TRY_LOCK = "SELECT pg_try_advisory_lock(%s, 1)"
# A worker whose database session is gone cannot end its job any more: why wait for the lease.
RETURN = f"""
WITH lost AS (
    SELECT j.id, j.lease_until < clock_timestamp() AS is_late FROM jobs_job AS j
     WHERE j.state = 2
       AND (j.lease_until < clock_timestamp() OR NOT EXISTS (
            SELECT FROM pg_stat_get_activity(j.session) AS a
             WHERE a.backend_start <= j.started_at))
     LIMIT {RETURN_MOST} FOR UPDATE SKIP LOCKED
), given AS (
    UPDATE jobs_job {GIVE_BACK} FROM lost WHERE jobs_job.id = lost.id
    RETURNING jobs_job.id, jobs_job.state, jobs_job.unique_key
)
SELECT id, state, unique_key FROM given
"""
QUEUES = "SELECT DISTINCT queue FROM jobs_job WHERE state = 1 AND due_at <= clock_timestamp()"
UNHEARD = """
WITH unheard AS (
    SELECT id FROM jobs_job
     WHERE state = 1 AND queue = %s AND due_at <= clock_timestamp()
       AND (rung_at IS NULL OR rung_at < clock_timestamp() - %s * interval '1 second')
     ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED
)
UPDATE jobs_job AS j SET rung_at = clock_timestamp() FROM unheard AS u WHERE j.id = u.id
RETURNING j.id, j.time_limit_s
"""
# While old workers lay aside again what a new beat knows, this bounds the to and fro.
KNOWN_AGAIN = f"""
WITH known AS (
    SELECT j.id FROM jobs_job AS j
      JOIN unnest(%s::text[], %s::smallint[]) AS d(name, version)
        ON j.name = d.name AND j.version <= d.version
     WHERE j.state = 4 AND j.reason <> 'wrong_arguments'
     LIMIT {RETURN_MOST} FOR UPDATE OF j SKIP LOCKED
)
UPDATE jobs_job SET state = 1, due_at = clock_timestamp(), rung_at = NULL
  FROM known WHERE jobs_job.id = known.id
"""
GIVE_UP = f"""
UPDATE jobs_job SET state = 6, ended_at = clock_timestamp()
 WHERE state = 4 AND started_at < clock_timestamp() - {STRANDED_DAYS} * interval '1 day'
RETURNING id, state, unique_key
"""
NOTE = """
UPDATE jobs_sweeper SET heartbeat_at = clock_timestamp(), rung = rung + %s, returned = returned + %s
 WHERE id = 1
"""


class Sweeper:
    """The one sweeper; a second one waits. `connect` opens an autocommit session; the lock
    lives and dies with it."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._stopping = threading.Event()
        self._failures = 0
        self._maintained_at = float("-inf")
        self._tallied_at = float("-inf")

    def stop(self) -> None:
        """Ask the sweeper to end its sweep and come home."""
        self._stopping.set()

    def run(self) -> None:
        """Sweep until `stop`, surviving the loss of PostgreSQL and of the broker."""
        while not self._stopping.is_set():
            try:
                with self._connect() as connection:
                    if self._take_lock(connection):
                        self._follow(connection)
            except psycopg.Error as error:
                logger.warning("the sweeper lost the database: %s", error)
                self._back_off()

    def _take_lock(self, connection: Connection) -> bool:
        connection.execute(f"SET idle_session_timeout = {SESSION_TIMEOUT_MS}".encode())
        connection.execute(b"SET synchronous_commit = off")
        while not self._stopping.is_set():
            row = connection.execute(TRY_LOCK, [LOCK_CLASS]).fetchone()
            if row and row[0]:
                return True
            self._stopping.wait(STANDBY_POLL_S)
        return False

    def _follow(self, connection: Connection) -> None:
        while not self._stopping.is_set():
            sweep(connection)
            self._failures = 0
            if time.monotonic() - self._tallied_at > tally.EVERY_S:
                self._tallied_at = time.monotonic()
                tally.count_ended(connection)
            if time.monotonic() - self._maintained_at > days.EVERY_S:
                self._maintained_at = time.monotonic()
                days.maintain(connection)
            self._stopping.wait(EVERY_S)

    def _back_off(self) -> None:
        self._failures += 1
        longest_s = min(BACKOFF_MOST_S, 0.1 * 2 ** min(self._failures, 10))
        self._stopping.wait(longest_s * random.uniform(0.5, 1))


def sweep(connection: Connection) -> None:
    """One sweep: take back, give up, wake what is known again, ring what was not heard."""
    returned = _ending(connection, RETURN, *_LOST)
    if returned:
        logger.warning("took %s jobs back from workers that are gone", returned)
    _wake_stranded(connection)
    _ending(connection, GIVE_UP)
    rung = sum(_ring_queue(connection, *each) for each in _waiting(connection).items())
    connection.execute(NOTE, [rung, returned])


_LOST = ("worker_lost", "the worker's session is gone, or its lease ran out")


def _ending(connection: Connection, sql: str, *parameters: Any) -> int:
    """Change jobs, and say how many. Those that end so give their keys back in the same
    transaction: a key without its job would be taken for ever."""
    with connection.transaction():
        rows = connection.execute(sql.encode(), parameters or None).fetchall()
        for job_id, state, key in rows:
            if key and state >= State.DONE:
                connection.execute(FREE_KEY, [key, job_id])
    return len(rows)


def _wake_stranded(connection: Connection) -> None:
    known = declarations().values()
    names, versions = [each.name for each in known], [each.version for each in known]
    connection.execute(KNOWN_AGAIN, [names, versions])


def _waiting(connection: Connection) -> dict[str, int]:
    """The queues that jobs wait in, with the messages the broker holds for each."""
    queues = [queue for (queue,) in connection.execute(QUEUES)]
    try:
        return bell.waiting(queues) if queues else {}
    except bell.UNREACHABLE as error:
        logger.warning("the broker does not answer: %s", type(error).__name__)
        return {}


def _ring_queue(connection: Connection, queue: str, messages: int) -> int:
    if messages >= BROKER_FULL:
        return 0
    most = RING_BUSY if messages else RING_QUIET
    by_limit: dict[int, list[int]] = defaultdict(list)
    patience_s = UNHEARD_S + UNHEARD_MORE_S * messages
    for job_id, limit_s in connection.execute(UNHEARD, [queue, patience_s, most]):
        by_limit[limit_s].append(job_id)
    for limit_s, ids in by_limit.items():
        bell.ring(queue, sorted(ids), limit_s=limit_s)
    return sum(map(len, by_limit.values()))
