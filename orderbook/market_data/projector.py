"""The projector: follows the outbox and keeps what readers of the markets ask.

It works beside the writer, not in it: a batch costs the writer its number and the event. The
position in the outbox moves in the transaction that takes the events in, so each counts
exactly once; the lock and the check of the old position keep a second projector out. Killed
at any moment, the next one goes on from the stored position. Readers of a book do not have
to wait for it: they add what the outbox holds beyond it (`books.py`).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import Any, cast

import psycopg
from django.db import Error, connection, transaction

from live.outbox import WAKE_CHANNEL
from live.reader import EVENTS_A_READ, Connection, OutboxReader
from orderbook.market_data.projection import Projection
from orderbook.market_data.rebuilding import SECONDS_KEPT

logger = logging.getLogger(__name__)

LOCK_CLASS = 0x5C06
CYCLE_S = 0.05
"""Under load a step a cycle: many changes of a level are then one write."""
ACTIVE_S = 1.0
SLEEP_S = 0.5
STANDBY_POLL_S = 0.25
SESSION_TIMEOUT_MS = 10_000
"""A projector frozen for so long loses its session and its lock, and a standby takes over."""
TRIM_EVERY_S = 600.0
BACKOFF_FIRST_S = 0.05
BACKOFF_MOST_S = 2.0

TRY_LOCK = "SELECT pg_try_advisory_lock(%s, 1)"
POSITION = """
INSERT INTO orderbook_projector (id, position) VALUES (1, 0)
    ON CONFLICT (id) DO UPDATE SET heartbeat_at = clock_timestamp() RETURNING position
"""
MOVE = """
UPDATE orderbook_projector SET position = %s, heartbeat_at = clock_timestamp()
 WHERE id = 1 AND position = %s
"""
BEAT = "UPDATE orderbook_projector SET heartbeat_at = clock_timestamp() WHERE id = 1"
BEHIND = """
SELECT coalesce(sum(f.sequence - coalesce(p.sequence, 0)), 0)
  FROM orderbook_feed AS f LEFT JOIN orderbook_projection AS p USING (market_id)
"""
TRIM_SECONDS = "DELETE FROM orderbook_candle WHERE interval_s = 1 AND start_s < %s"


class Replaced(Exception):
    """Another projector has moved the position: this one must not write."""


class Projector:
    """The one projector of an installation; a second one waits as a standby."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._failures = 0
        self._event_at = 0.0
        self._trimmed_at = 0.0

    def stop(self) -> None:
        """Ask the projector to finish its step and end."""
        self._stopping.set()

    def run(self) -> None:
        """Follow the outbox until `stop`, surviving the loss of PostgreSQL."""
        while not self._stopping.is_set():
            try:
                if self._take_lock():
                    self._follow(Follower())
            except (Error, psycopg.Error, Replaced) as error:
                logger.warning("the projector starts anew: %s", error)
                self._back_off()
            finally:
                connection.close()

    def _take_lock(self) -> bool:
        """Wait as a standby while another projector runs; False when asked to stop."""
        with connection.cursor() as cursor:
            cursor.execute(f"SET idle_session_timeout = {SESSION_TIMEOUT_MS}")
            cursor.execute(f"SET idle_in_transaction_session_timeout = {SESSION_TIMEOUT_MS}")
            # What a crash of PostgreSQL loses of it is taken in again: the position goes with it.
            cursor.execute("SET synchronous_commit = off")
            while not self._stopping.is_set():
                cursor.execute(TRY_LOCK, [LOCK_CLASS])
                if cursor.fetchone()[0]:
                    cursor.execute(f"LISTEN {WAKE_CHANNEL}")
                    return True
                self._stopping.wait(STANDBY_POLL_S)
        return False

    def _follow(self, follower: Follower) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            count = follower.step()
            self._failures = 0
            if count:
                self._event_at = began
            if count < EVENTS_A_READ:
                self._rest(began)
            if began - self._trimmed_at > TRIM_EVERY_S:
                self._trimmed_at = began
                trim_seconds()

    def _rest(self, began: float) -> None:
        """Wait for the cycle's end; where it is quiet, for a NOTIFY or half a second."""
        if began - self._event_at < ACTIVE_S:
            self._stopping.wait(max(0.0, CYCLE_S - (time.monotonic() - began)))
            return
        for _ in _session().notifies(timeout=SLEEP_S, stop_after=1):
            break
        with connection.cursor() as cursor:
            cursor.execute(BEAT)

    def _back_off(self) -> None:
        self._failures += 1
        longest_s = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(self._failures, 10))
        self._stopping.wait(longest_s * random.uniform(0.5, 1))


class Follower:
    """Takes the outbox's events in, step by step, from where the projector's row says."""

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(POSITION)
            (self._stored,) = cursor.fetchone()
        self._reader = OutboxReader(_session(), position=self._stored)
        self._projection = Projection()

    def step(self) -> int:
        """Take in the next events, at most 500, in one transaction; how many they were."""
        rows = self._reader.read()
        if rows:
            with transaction.atomic():
                self._move(self._reader.read_to)
                self._projection.apply(rows)
            self._stored = self._reader.read_to
            self._reader.settle()
        return len(rows)

    def _move(self, position: int) -> None:
        with connection.cursor() as cursor:
            # One snapshot for all: a market that is made anew reads several tables.
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute(MOVE, [position, self._stored])
            if cursor.rowcount != 1:
                raise Replaced("the position is not where this projector left it")


def changes_behind() -> int:
    """How many of the markets' changes are not taken in yet."""
    with connection.cursor() as cursor:
        cursor.execute(BEHIND)
        (behind,) = cursor.fetchone()
    return int(behind)


def trim_seconds() -> None:
    """Drop candles of one second that are older than is promised."""
    with connection.cursor() as cursor:
        cursor.execute(TRIM_SECONDS, [int(time.time() - SECONDS_KEPT.total_seconds())])


def _session() -> Connection:
    """Django's own session, as psycopg knows it: the lock, the reads and the writes share it."""
    connection.ensure_connection()
    return cast("psycopg.Connection[Any]", connection.connection)
