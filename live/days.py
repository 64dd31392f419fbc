"""The outbox's days: a partition for each, made ahead, dropped once told and old enough.

The relay looks after them every hour, so no other job is needed. What no day covers goes
to the DEFAULT partition and is moved when its day is made.
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta

import psycopg
from psycopg import sql

from live.reader import Connection

logger = logging.getLogger(__name__)

AHEAD_DAYS = 3
KEEP_DAYS = 7
EVERY_S = 3_600.0
LOCK_TIMEOUT_MS = 2_000
PREFIX = "live_outboxevent_"

DAYS = """
SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
 WHERE i.inhparent = 'live_outboxevent'::regclass AND c.relname <> 'live_outboxevent_default'
 ORDER BY c.relname
"""
MAKE = """
CREATE TABLE {name} (LIKE live_outboxevent INCLUDING ALL);
WITH moved AS (
    DELETE FROM live_outboxevent_default
     WHERE created_at >= {start} AND created_at < {end} RETURNING *
) INSERT INTO {name} SELECT * FROM moved;
ALTER TABLE live_outboxevent ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end});
"""
CLEAR_DEFAULT = "DELETE FROM live_outboxevent_default WHERE created_at < %s AND id <= %s"


def maintain(connection: Connection, *, position: int, keep_days: int = KEEP_DAYS) -> None:
    """Make the days ahead, drop those older than `keep_days` whose events are all told.

    Waits at most two seconds for a lock; what cannot be had now is done the next time.
    """
    today = datetime.now(UTC).date()
    for day in [today + timedelta(days=ahead) for ahead in range(AHEAD_DAYS + 1)]:
        if day not in _known(connection):
            _attempt(connection, f"make {day}", _making(day))
    oldest = today - timedelta(days=keep_days)
    for day in _known(connection):
        if day < oldest and _newest_id(connection, day) <= position:
            _attempt(connection, f"drop {day}", sql.SQL("DROP TABLE {}").format(_name(day)))
    connection.execute(
        CLEAR_DEFAULT, [datetime.combine(oldest, datetime.min.time(), UTC), position]
    )


def _known(connection: Connection) -> list[date]:
    names = [name for (name,) in connection.execute(DAYS)]
    return [datetime.strptime(name, f"{PREFIX}%Y_%m_%d").date() for name in names]  # noqa: DTZ007


def _attempt(connection: Connection, what: str, statements: sql.Composed) -> None:
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
            connection.execute(statements)
    except psycopg.errors.LockNotAvailable:
        logger.warning("outbox days: could not %s now", what)


def _making(day: date) -> sql.Composed:
    start = datetime.combine(day, datetime.min.time(), UTC)
    names = {"name": _name(day), "start": sql.Literal(start.isoformat())}
    end = sql.Literal((start + timedelta(days=1)).isoformat())
    return sql.SQL(MAKE).format(**names, end=end)


def _name(day: date) -> sql.Identifier:
    return sql.Identifier(f"{PREFIX}{day:%Y_%m_%d}")


def _newest_id(connection: Connection, day: date) -> int:
    newest = sql.SQL("SELECT coalesce(max(id), 0) FROM {}").format(_name(day))
    row = connection.execute(newest).fetchone()
    assert row is not None
    return int(row[0])
