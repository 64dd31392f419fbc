"""The relay: tells every event once it is durable, in order, at least once.

The position is written after publishing, so a crash between the two tells some events
twice and none never. Redis may be wiped: what was told is then gone from there, and
consumers that need more than the present read the database.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence

import psycopg
import redis

from live import days
from live.outbox import WAKE_CHANNEL
from live.publisher import Publisher
from live.reader import Connection, OutboxReader, Row

logger = logging.getLogger(__name__)

LOCK_CLASS = 0x5C03
POLL_S = 0.01
"""While events keep coming; a poll that finds none costs about 0.1 ms."""
ACTIVE_S = 1.0
"""After so long without an event the relay sleeps until a NOTIFY wakes it."""
SLEEP_S = 0.5
"""A wake-up may be missed in the instant of falling asleep: sleep no longer than this."""
HEARTBEAT_S = 1.0
STANDBY_POLL_S = 0.25
SESSION_TIMEOUT_MS = 10_000
"""A relay frozen for so long loses its session and its lock, and a standby takes over."""
BACKOFF_FIRST_S = 0.05
BACKOFF_MOST_S = 2.0

TRY_LOCK = "SELECT pg_try_advisory_lock(%s, 1)"
POSITION = "SELECT position FROM live_relay WHERE id = 1"
NOTE = """
UPDATE live_relay
   SET position = %s, is_asleep = %s, heartbeat_at = clock_timestamp(), lag_events = %s,
       lag_ms = greatest(%s, 1000 * extract(epoch FROM clock_timestamp() - %s::timestamptz))
 WHERE id = 1
"""


class Relay:
    """The one teller of events; a second one waits as a standby. `connect` opens an
    autocommit connection to PostgreSQL; the lock lives and dies with it."""

    def __init__(self, connect: Callable[[], Connection], publisher: Publisher) -> None:
        self._connect = connect
        self._publisher = publisher
        self._stopping = threading.Event()
        self._failures = 0
        self._event_at = 0.0
        self._noted_at = 0.0
        self._maintained_at = float("-inf")

    def stop(self) -> None:
        """Ask the relay to finish its step and end."""
        self._stopping.set()

    def run(self) -> None:
        """Tell events until `stop`, surviving the loss of PostgreSQL and of Redis."""
        while not self._stopping.is_set():
            try:
                with self._connect() as connection:
                    if self._take_lock(connection):
                        self._follow(connection)
            except psycopg.Error as error:
                logger.warning("the relay lost the database: %s", error)
                self._back_off()

    def _take_lock(self, connection: Connection) -> bool:
        """Wait as a standby while another relay runs; False when asked to stop."""
        connection.execute(f"SET idle_session_timeout = {SESSION_TIMEOUT_MS}")
        # What a crash of PostgreSQL loses of the position is told twice.
        connection.execute("SET synchronous_commit = off")
        while not self._stopping.is_set():
            if _value(connection, TRY_LOCK, LOCK_CLASS):
                return True
            self._stopping.wait(STANDBY_POLL_S)
        return False

    def _follow(self, connection: Connection) -> None:
        connection.execute(f"LISTEN {WAKE_CHANNEL}")
        reader = OutboxReader(connection, position=_value(connection, POSITION))
        self._failures = 0
        while not self._stopping.is_set():
            rows = reader.read()
            now = time.monotonic()
            if rows:
                self._tell(connection, reader, rows)
            elif now - self._event_at < ACTIVE_S or reader.lag_events:
                self._stopping.wait(POLL_S)
            else:
                self._sleep(connection, reader)
            if now - self._noted_at > HEARTBEAT_S:
                self._note(connection, reader)
            if now - self._maintained_at > days.EVERY_S:
                self._maintained_at = now
                days.maintain(connection, position=reader.settled)

    def _tell(self, connection: Connection, reader: OutboxReader, rows: Sequence[Row]) -> None:
        self._event_at = time.monotonic()
        try:
            self._publisher.publish(rows)
        except redis.RedisError as error:
            logger.warning("events wait for Redis: %s", error)
            self._note(connection, reader, rows[0])
            self._back_off()
            return
        self._failures = 0
        reader.settle()
        self._note(connection, reader, rows[0])

    def _sleep(self, connection: Connection, reader: OutboxReader) -> None:
        """Wait for an event. Whoever records one now sends a NOTIFY with its commit."""
        self._note(connection, reader, is_asleep=True)
        while not (self._stopping.is_set() or reader.has_news()):
            for _ in connection.notifies(timeout=SLEEP_S, stop_after=1):
                break
            self._note(connection, reader, is_asleep=True)

    def _note(
        self,
        connection: Connection,
        reader: OutboxReader,
        oldest: Row | None = None,
        *,
        is_asleep: bool = False,
    ) -> None:
        """Write down how far we are, that we live, and how old the oldest event just was."""
        self._noted_at = time.monotonic()
        lag = (reader.lag_events, reader.stuck_s * 1000, oldest.created_at if oldest else None)
        connection.execute(NOTE, [reader.settled, is_asleep, *lag])

    def _back_off(self) -> None:
        self._failures += 1
        longest_s = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(self._failures, 10))
        self._stopping.wait(longest_s * random.uniform(0.5, 1))


def _value(connection: Connection, sql: str, *parameters: object) -> int:
    row = connection.execute(sql, parameters).fetchone()
    assert row is not None
    return int(row[0])
