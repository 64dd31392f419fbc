"""The jobs' days: a partition for each, made ahead, dropped when old and all in it has ended.

The sweeper looks after them every hour. What no day covers goes to the DEFAULT partition.
A job that is still wanted (queued for next month, paused, stranded, dead and not yet judged)
is moved to DEFAULT before its day is dropped, so no day is kept for the sake of one row.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import psycopg

from edge.ids import first_id_at

logger = logging.getLogger(__name__)

AHEAD_DAYS = 7
KEEP_DAYS = 7
KEEP_DEAD_DAYS = 90
EVERY_S = 3_600.0
LOCK_TIMEOUT_MS = 2_000
PREFIX = "jobs_job_"

Connection = psycopg.Connection[tuple[Any, ...]]

DAYS = """
SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
 WHERE i.inhparent = 'jobs_job'::regclass AND c.relname <> 'jobs_job_default'
 ORDER BY c.relname
"""
# Rows that waited in DEFAULT for want of the day move into it before it is attached.
MAKE = """
CREATE TABLE {name} (LIKE jobs_job INCLUDING ALL) WITH (fillfactor = 70);
WITH moved AS (
    DELETE FROM jobs_job_default WHERE id >= {start} AND id < {end} RETURNING *
) INSERT INTO {name} SELECT * FROM moved;
ALTER TABLE jobs_job ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end});
"""
# Whoever is at work on a row of the day holds a lock that DETACH waits for. Nobody gets at any job
# until this commits, so it looks at what is wanted only: an index for each state, no scan of a day.
DROP = """
ALTER TABLE jobs_job DETACH PARTITION {name};
INSERT INTO jobs_job
SELECT * FROM {name} WHERE state = 1 UNION ALL
SELECT * FROM {name} WHERE state = 2 UNION ALL
SELECT * FROM {name} WHERE state IN (3, 4, 6);
DROP TABLE {name};
"""
CLEAR_DEFAULT = """
DELETE FROM jobs_job_default
 WHERE (state IN (5, 7) AND id < %s AND ended_at < %s) OR (state = 6 AND ended_at < %s)
"""


def maintain(connection: Connection, *, keep_days: int = KEEP_DAYS) -> None:
    """Make the days ahead and drop those whose jobs were enqueued over `keep_days` ago.

    Dead jobs are kept for 90 days. Waits at most two seconds for a lock; what cannot be
    had now is done the next time.
    """
    today = datetime.now(UTC).date()
    known = _known(connection)
    for ahead in range(AHEAD_DAYS + 1):
        day = today + timedelta(days=ahead)
        if day not in known:
            _attempt(connection, f"make {day}", _statement(MAKE, day))
    oldest = today - timedelta(days=keep_days)
    for day in known:
        if day < oldest:
            _attempt(connection, f"drop {day}", _statement(DROP, day))
    ended = datetime.combine(oldest, time(), UTC)
    dead = ended - timedelta(days=KEEP_DEAD_DAYS - keep_days)
    connection.execute(CLEAR_DEFAULT, [first_id_at(ended), ended, dead])


def making(first: date, count: int) -> Iterator[str]:
    """The statements that make `count` days from `first`, for the migration."""
    for ahead in range(count):
        yield _statement(MAKE, first + timedelta(days=ahead))


def _statement(template: str, day: date) -> str:
    start = datetime.combine(day, time(), UTC)
    return template.format(
        name=f"{PREFIX}{day:%Y_%m_%d}",
        start=first_id_at(start),
        end=first_id_at(start + timedelta(days=1)),
    )


def _known(connection: Connection) -> list[date]:
    names = [name for (name,) in connection.execute(DAYS)]
    return [datetime.strptime(name, f"{PREFIX}%Y_%m_%d").date() for name in names]  # noqa: DTZ007


def _attempt(connection: Connection, what: str, statements: str) -> None:
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}".encode())
            connection.execute(statements.encode())
    except psycopg.errors.LockNotAvailable:
        logger.warning("job days: could not %s now", what)
