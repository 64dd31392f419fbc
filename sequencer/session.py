"""A writer's place in PostgreSQL: the shard's lock, its epoch, and each batch's transaction.

Two things keep a second writer out. The advisory lock makes it wait; it belongs to the
same database session as the commits, so it is lost exactly when they become impossible.
The epoch in the shard's row is checked in every commit, so that even a writer that
believes it holds the lock (a pooler between, a session revived) cannot commit after
another has taken over.

Batches that were decided ahead are written over a second session, beside the one with the
lock: reading for the next batch goes on meanwhile. They are fenced by the same epoch.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import DatabaseError, InterfaceError, connections, transaction

from edge.database import database_conninfo
from edge.journey import Journey, Trip, Unexpected
from sequencer.commands import Answer
from sequencer.engine import Decided
from sequencer.models import Shard

logger = logging.getLogger(__name__)

LOCK_CLASS = 0x5C01
"""The first half of the advisory lock's key; the second half is the shard."""
STANDBY_POLL_S = 0.25
RUNNING_PATIENCE_S = 8.0
"""PostgreSQL ends the session of a writer that asks nothing for so long (frozen, cut off
from the network): its lock and its row locks are free again, and a standby takes over."""
LOADING_PATIENCE_S = 180.0
TRANSACTION_TIMEOUT_SINCE = 170_000
LOCK_TIMEOUT_S = 1.0
"""A batch waits no longer than this for rows that others hold."""

SET = "SELECT set_config(%s, %s, false)"
PLANNING = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}
"""A batch's statements are planned once: else planning is half of what a small batch costs. They
may be planned while a month is still empty, so none may read a table from end to end."""
TRY_LOCK = "SELECT pg_try_advisory_lock(%s, %s)"
UNLOCK = "SELECT pg_advisory_unlock(%s, %s)"
TAKE_OVER = """
INSERT INTO sequencer_shard AS s (id, epoch, state, position, heartbeat_at, batches, commands,
                                  last_batch_size, last_commit_ms)
VALUES (%s, 1, 'loading', '', clock_timestamp(), 0, 0, 0, 0)
ON CONFLICT (id) DO UPDATE
   SET epoch = s.epoch + 1, state = 'loading', heartbeat_at = clock_timestamp()
RETURNING epoch
"""
FENCE = """
UPDATE sequencer_shard
   SET state = %s, heartbeat_at = clock_timestamp(), position = coalesce(%s, position),
       batches = batches + %s, commands = commands + %s, last_batch_size = %s, last_commit_ms = %s
 WHERE id = %s AND epoch = %s RETURNING batches
"""
FENCE_AHEAD = """
UPDATE sequencer_shard
   SET state = 'running', heartbeat_at = clock_timestamp(), position = $1,
       batches = batches + 1, commands = commands + $2, last_batch_size = $2,
       last_commit_ms = $3::float8
 WHERE id = $4 AND epoch = $5 RETURNING 1
"""
FENCE_NAME = "fence"
BEAT = """
UPDATE sequencer_shard SET state = %s, heartbeat_at = clock_timestamp()
 WHERE id = %s AND epoch = %s RETURNING batches
"""
BATCHES = "SELECT batches FROM sequencer_shard WHERE id = %s AND epoch = %s"


class FencedOff(RuntimeError):
    """Another writer has taken the shard over: this one may not commit any more."""


class SessionLost(RuntimeError):
    """The database session is gone, perhaps during COMMIT: memory must be rebuilt."""


class Flight:
    """A batch that was decided ahead and is being written; see `sequencer.engine.Meanwhile`."""

    def __init__(self, decided: Decided, trip: Trip) -> None:
        self.decided = decided
        self.trip = trip
        self.sent_s = time.perf_counter()
        self._answers: list[Answer] | None = None

    def push(self) -> None:
        """Hand over more of it: a long journey does not fit in at once."""
        self.trip.push()

    def idle(self) -> None:
        """Put its answers into words."""
        if self._answers is None:
            self._answers = self.decided.answers()

    def answers(self) -> list[Answer]:
        """Its answers. They may go out once it is durable."""
        self.idle()
        assert self._answers is not None
        return self._answers


class Session:
    """One writer's hold on one shard. Not for use by two threads.

    It works on a Django connection, so that what engines write through the ORM, or
    through other rooms' actions, is in the same transaction as the fence.
    """

    def __init__(
        self,
        shard: int,
        *,
        alias: str = "default",
        running_patience_s: float = RUNNING_PATIENCE_S,
    ) -> None:
        self.shard = shard
        self._running_patience_s = running_patience_s
        self.epoch = 0
        self._connection = connections[alias]
        self._alias = alias
        self._session: psycopg.Connection | None = None
        self._beside: psycopg.Connection[Any] | None = None
        self._last_commit_ms = 0.0
        self._batch_number: int | None = None

    # -- the lock ------------------------------------------------------------------

    def take(self, stopping: threading.Event) -> bool:
        """Wait for the shard's lock as a standby, then raise the epoch.

        Returns False if asked to stop first.
        """
        self._connect()
        while not stopping.is_set():
            if self._ask(TRY_LOCK, LOCK_CLASS, self.shard):
                self.epoch = int(self._ask(TAKE_OVER, self.shard))
                logger.info("shard %s: writing in epoch %s", self.shard, self.epoch)
                return True
            stopping.wait(STANDBY_POLL_S)
        return False

    def loaded(self) -> None:
        """Memory is rebuilt: from here on a silence is soon taken for death."""
        self._limit("idle_session_timeout", self._running_patience_s)
        self.beat(Shard.State.RUNNING)

    def release(self) -> None:
        """Say that the shard stands still, and let go of the lock."""
        try:
            self.beat(Shard.State.STOPPED)
            self._ask(UNLOCK, LOCK_CLASS, self.shard)
        except (DatabaseError, InterfaceError, FencedOff, SessionLost):
            logger.info("shard %s: the lock was gone already", self.shard)
        self.reset()

    def reset(self) -> None:
        """Drop the database sessions, and with them the lock and any open transaction."""
        self._connection.close()
        if self._beside is not None:
            self._beside.close()
            self._beside = None

    def is_lost(self) -> bool:
        """Say whether a database session is gone: then memory may differ from the database.

        Django connects anew by itself in places, so it must still be the very same session.
        """
        raw, beside = self._session, self._beside
        if raw is None or raw.closed or raw is not self._connection.connection:
            return True
        return beside is not None and beside.closed

    def _connect(self) -> None:
        self.reset()
        self._connection.ensure_connection()
        self._session = self._connection.connection
        for planning in PLANNING.items():
            self._ask(SET, *planning)
        self._limit("lock_timeout", LOCK_TIMEOUT_S)
        self._limit("idle_session_timeout", LOADING_PATIENCE_S)
        self._limit("idle_in_transaction_session_timeout", self._running_patience_s)

    def _limit(self, setting: str, seconds: float) -> None:
        self._ask(SET, setting, f"{seconds * 1000:.0f}")

    def _ask(self, sql: str, *parameters: Any) -> Any:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            row = cursor.fetchone()
        return row[0] if row else None

    # -- the batch -----------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Open the transaction of one batch; leaving the block commits it.

        An exception rolls back, except that a connection lost during COMMIT leaves the
        outcome unknown: `is_lost()` is then true, and memory must be rebuilt.
        """
        self._batch_number = None
        with transaction.atomic(using=self._alias, durable=True):
            yield
            commit_started = time.perf_counter()
        self._last_commit_ms = (time.perf_counter() - commit_started) * 1000

    def fence(self, position: str | None, command_count: int) -> None:
        """Note the batch in the shard's row, inside its transaction. Last before the commit.

        Without a position (no command was done) the old one stays.

        Raises `FencedOff` if another writer has raised the epoch since.
        """
        running = Shard.State.RUNNING
        batch = (position, 1, command_count, command_count, self._last_commit_ms)
        self._batch_number = self._hit(FENCE, (running, *batch, self.shard, self.epoch))

    def is_durable(self) -> bool:
        """Say whether the last transaction was committed although leaving it raised.

        What others hung on the commit (`transaction.on_commit`) raises after it.
        """
        if self._batch_number is None:
            return False
        return bool(self._ask(BATCHES, self.shard, self.epoch) == self._batch_number)

    # -- a batch that was decided ahead -----------------------------------------------------------

    def take_off(self, decided: Decided, position: str) -> Flight:
        """Send a batch on its way, as a transaction of its own, and do not wait for it."""
        if self.is_lost():
            raise SessionLost(f"shard {self.shard} has no database session")
        journey = Journey()
        decided.lock_on(journey)
        commit_ms = f"{self._last_commit_ms:.3f}"
        fence = (position, decided.count, commit_ms, self.shard, self.epoch)
        journey.write(FENCE_AHEAD, *fence, changes=(1, FENCE_NAME))
        journey.then(decided.journey)
        try:
            return Flight(decided, journey.send(self._second()))
        except psycopg.OperationalError as error:
            raise SessionLost(str(error)) from error

    def land(self, flight: Flight) -> None:
        """Wait until the batch is durable.

        Raises `FencedOff`, `SessionLost` if the outcome is not known, or what failed; then
        nothing was written.
        """
        try:
            answers = flight.trip.finish()
        except Unexpected as error:
            if error.what == FENCE_NAME:
                raise FencedOff(f"shard {self.shard} is past epoch {self.epoch}") from error
            raise
        except psycopg.Error as error:
            if self.is_lost():
                raise SessionLost(str(error)) from error
            raise
        flight.decided.left(answers[0])
        self._last_commit_ms = (time.perf_counter() - flight.sent_s) * 1000

    def _second(self) -> psycopg.Connection[Any]:
        if self._beside is None:
            self._beside = psycopg.connect(database_conninfo(), autocommit=True)
            limits = {
                "lock_timeout": LOCK_TIMEOUT_S,
                "idle_in_transaction_session_timeout": self._running_patience_s,
            }
            if self._beside.info.server_version >= TRANSACTION_TIMEOUT_SINCE:
                # A journey that was sent in part leaves a transaction that is not idle.
                limits["transaction_timeout"] = self._running_patience_s
            for setting, seconds in limits.items():
                self._beside.execute(SET, (setting, f"{seconds * 1000:.0f}"))
            for planning in PLANNING.items():
                self._beside.execute(SET, planning)
        return self._beside

    # -- signs of life ---------------------------------------------------------------------------

    def beat(self, state: Shard.State) -> None:
        """Show that the writer lives, in a transaction of its own."""
        self._hit(BEAT, (state, self.shard, self.epoch))

    def _hit(self, sql: str, parameters: tuple[Any, ...]) -> int:
        """Change the shard's row as its writer; says how many batches it counts."""
        if self.is_lost():
            raise SessionLost(f"shard {self.shard} has no database session")
        batches = self._ask(sql, *parameters)
        if batches is None:
            raise FencedOff(f"shard {self.shard} is past epoch {self.epoch}")
        return int(batches)


TRANSIENT_CLASSES = frozenset({"40", "53", "55", "57", "58"})
"""SQLSTATE classes that blame the moment, not the command: deadlock and serialization,
no resources, lock timeout, shutdown or cancel, system errors."""


UNIQUE_VIOLATION = "23505"


def sqlstate_of(error: BaseException) -> str:
    """An error's SQLSTATE; empty if PostgreSQL did not send it.

    COPY through a raw psycopg cursor raises psycopg's own errors, all else Django's.
    """
    raw = error if isinstance(error, psycopg.Error) else error.__cause__
    return (raw.sqlstate or "") if isinstance(raw, psycopg.Error) else ""


def is_transient(error: BaseException) -> bool:
    """Say whether the same batch may well succeed a moment later."""
    return sqlstate_of(error)[:2] in TRANSIENT_CLASSES


def blames_server(error: BaseException) -> bool:
    """Say whether the server itself is in trouble (full disk, shutdown): then wait, for ever."""
    return sqlstate_of(error)[:2] in {"53", "57", "58"}


def is_taken_key(error: BaseException) -> bool:
    """Say whether a key was taken by somebody else, perhaps since it was looked up."""
    return sqlstate_of(error) == UNIQUE_VIOLATION
