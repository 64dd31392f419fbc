"""Putting work down. What people do with it later is in `jobs/control.py`.

`enqueue` writes a row in the caller's transaction. Once that commits, the bell is rung
(`jobs/bell.py`); if nobody hears it, the sweeper rings again within seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from edge.postgres import raw_cursor
from jobs import bell, registry
from jobs.problems import BadArguments, BadDueTime, BadKey, NotInTransaction, UnknownQueue
from jobs.registry import Declaration
from jobs.rules import JOBS_PER_CALL, LARGEST_ARGUMENTS_BYTES, LONGEST_KEY, QUEUES

# Whoever enqueues for now rings when it commits, so `rung_at` is set; a job for later is
# rung by the sweeper when it is due.
INSERT = """
INSERT INTO jobs_job (name, version, queue, time_limit_s, most_attempts, backoff_s,
                      due_at, rung_at, arguments)
SELECT %s, %s, %s, %s, %s, %s, coalesce(%s::timestamptz, now()),
       CASE WHEN %s::timestamptz IS NULL THEN now() END, a.arguments::jsonb
  FROM unnest(%s::text[]) WITH ORDINALITY AS a(arguments, place)
 ORDER BY a.place
RETURNING id
"""
# A transaction that holds the key uncommitted is waited for.
INSERT_UNIQUE = """
WITH taken AS (
    INSERT INTO jobs_uniquekey (key, job_id) VALUES (%s, jobs_next_id())
    ON CONFLICT (key) DO NOTHING RETURNING key, job_id
)
INSERT INTO jobs_job (id, unique_key, name, version, queue, time_limit_s, most_attempts,
                      backoff_s, due_at, rung_at, arguments)
SELECT t.job_id, t.key, %s, %s, %s, %s, %s, %s, coalesce(%s::timestamptz, now()),
       CASE WHEN %s::timestamptz IS NULL THEN now() END, %s::jsonb
  FROM taken AS t
RETURNING id
"""
HOLDER = "SELECT job_id FROM jobs_uniquekey WHERE key = %s"
UNIQUE_TRIES = 5


def enqueue(
    name: str,
    arguments: Mapping[str, Any],
    *,
    due_at: datetime | None = None,
    unique: str | None = None,
    queue: str | None = None,
) -> int:
    """Put down work to be done once this transaction commits; gives the job's number.

    `arguments` are the function's, as JSON, at most 64 kB. `due_at` is the earliest time.
    While a job with the key `unique` has not ended, no second one is made and the number
    is the first one's. Costs one INSERT, and about 0.2 ms for the bell after the commit.
    Refuses outside a transaction, unknown names and queues, times without a zone, and
    arguments the function does not take.
    """
    if unique is None:
        return enqueue_many(name, [arguments], due_at=due_at, queue=queue)[0]
    if not 0 < len(unique) <= LONGEST_KEY or not _can_be_kept(unique):
        raise BadKey(f"{name}: {unique[:LONGEST_KEY]!r}, {len(unique)} characters")
    declared = registry.find(name)
    row = _row(declared, queue, due_at)
    (text,) = _texts(declared, [arguments])
    for _ in range(UNIQUE_TRIES):
        if made := _ids(INSERT_UNIQUE, unique, *row, text):
            _ring_on_commit(declared, queue, made, due_at)
            return made[0]
        if holder := _ids(HOLDER, unique):
            return holder[0]
    raise RuntimeError(f"the key {unique!r} comes and goes")


def enqueue_many(
    name: str,
    arguments: Sequence[Mapping[str, Any]],
    *,
    due_at: datetime | None = None,
    queue: str | None = None,
) -> list[int]:
    """Put down many jobs of one name at once, at most 10,000; gives their numbers in order."""
    if len(arguments) > JOBS_PER_CALL:
        raise BadArguments(f"{name}: {len(arguments)} jobs at once; at most {JOBS_PER_CALL}")
    declared = registry.find(name)
    ids = _ids(INSERT, *_row(declared, queue, due_at), _texts(declared, arguments))
    _ring_on_commit(declared, queue, ids, due_at)
    return ids


def _row(declared: Declaration, queue: str | None, due_at: datetime | None) -> tuple[Any, ...]:
    """The columns that all jobs of one call share."""
    if not connection.in_atomic_block:
        raise NotInTransaction(f"{declared.name} was enqueued outside transaction.atomic()")
    if queue is not None and queue not in QUEUES:
        raise UnknownQueue(f"{declared.name}: {queue}; there are {', '.join(QUEUES)}")
    if due_at is not None and due_at.tzinfo is None:
        raise BadDueTime(f"{declared.name}: {due_at} has no time zone")
    limits = (declared.time_limit_s, declared.most_attempts, declared.backoff_s)
    return (declared.name, declared.version, queue or declared.queue, *limits, due_at, due_at)


def _texts(declared: Declaration, arguments: Sequence[Mapping[str, Any]]) -> list[str]:
    """The arguments as JSON, each looked at."""
    return [_text(declared, each) for each in arguments]


def _text(declared: Declaration, arguments: Mapping[str, Any]) -> str:
    declared.check(arguments)
    try:
        # Strict: what msgspec would merely turn into a string does not come back as it was.
        text = json.dumps(arguments, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        size_bytes = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise BadArguments(f"{declared.name}: {error}") from error
    if size_bytes > LARGEST_ARGUMENTS_BYTES:
        raise BadArguments(f"{declared.name}: {size_bytes} bytes of arguments")
    if "\\u0000" in text.replace("\\\\", ""):
        raise BadArguments(f"{declared.name}: PostgreSQL keeps no NUL in text")
    return text


def _can_be_kept(text: str) -> bool:
    """Say whether PostgreSQL can keep this text: it takes no NUL and no half of a pair."""
    return "\0" not in text and text == text.encode(errors="ignore").decode()


def _ring_on_commit(
    declared: Declaration, queue: str | None, ids: list[int], due_at: datetime | None
) -> None:
    if due_at is None and ids:
        bell.ring_on_commit(queue or declared.queue, ids, limit_s=declared.time_limit_s)


def _ids(sql: str, *parameters: Any) -> list[int]:
    with raw_cursor() as cursor:
        return [row[0] for row in cursor.execute(sql, parameters).fetchall()]
