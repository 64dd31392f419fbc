"""A worker's hold on a job: claimed by a conditional UPDATE, checked when the job ends.

The claim raises the job's fence. Whatever ends the job, or notes a step, does so only where
the fence is still the claimed one, in the transaction of the effect. So a worker that was
given up for dead and comes back rolls everything back.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import connection, transaction

from edge.postgres import array
from jobs.problems import LeaseLost
from jobs.registry import Step
from jobs.rules import LEASE_GRACE_S, LONGEST_BACKOFF_S, LONGEST_ERROR, Reason, State

_JSON_AT = (3, 9)
HOST = socket.gethostname()[:60]

# The claim alone need not survive a crash of PostgreSQL: no effect can outlive it, because
# the effect's own commit is later in the same log and is waited for.
_CLAIM = f"""
WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
UPDATE jobs_job
   SET state = 2, attempt = attempt + 1, fence = fence + 1, started_at = clock_timestamp(),
       lease_until = clock_timestamp() + (time_limit_s + {LEASE_GRACE_S}) * interval '1 second',
       session = pg_backend_pid(), worker = %s,
       done_at_start = CASE WHEN began_at IS NULL THEN done ELSE done_at_start END,
       began_at = coalesce(began_at, clock_timestamp())
  FROM quick
 WHERE {{which}} AND state = 1 AND due_at <= clock_timestamp()
RETURNING id, name, version, arguments, attempt, fence, time_limit_s, unique_key, point,
          progress, done, total
"""
WAITING = """
SELECT id FROM jobs_job
 WHERE id = ANY(%s::bigint[]) AND state = 1 AND due_at <= clock_timestamp()
"""
CLAIM = _CLAIM.format(which="id = %s")
# What failed once is tried alone: it must not take the same others with it again and again.
CLAIM_NAMED = _CLAIM.format(
    which="id = ANY(%s::bigint[]) AND name = ANY(%s::text[]) AND attempt = 0"
)
LEASE = f"lease_until = clock_timestamp() + (time_limit_s + {LEASE_GRACE_S}) * interval '1 second'"
OURS = "WHERE id = %s AND fence = %s AND state = 2"
DONE = f"""
UPDATE jobs_job SET state = 5, ended_at = clock_timestamp(), lease_until = NULL, wish = 0,
                    reason = '', error = '' {OURS}
"""
ALL_OURS = """
 WHERE id = ANY(%s::bigint[]) AND state = 2
   AND (id, fence) IN (SELECT * FROM unnest(%s::bigint[], %s::integer[]))
"""
DONE_TOGETHER = f"""
UPDATE jobs_job SET state = 5, ended_at = clock_timestamp(), lease_until = NULL, wish = 0,
                    reason = '', error = '' {ALL_OURS}
"""
# Laid back unbegun: that was no attempt, and what somebody wished meanwhile comes true.
_LAY_BACK = """
UPDATE jobs_job
   SET state = CASE wish WHEN 2 THEN 7 WHEN 1 THEN 3 ELSE {state} END, wish = 0, lease_until = NULL,
       ended_at = CASE wish WHEN 2 THEN clock_timestamp() END, attempt = attempt - 1, {beside}
"""
UNCLAIM = f"{_LAY_BACK.format(state=1, beside='rung_at = NULL')} {ALL_OURS} RETURNING id, state"
REACH = f"""
UPDATE jobs_job SET point = %s, progress = progress || %s::jsonb, {LEASE} {OURS} RETURNING 1
"""
STEP = f"""
UPDATE jobs_job SET progress = %s::jsonb, done = %s, total = %s, attempt = 1, {LEASE} {OURS}
RETURNING wish
"""
STOP = f"""
UPDATE jobs_job SET state = CASE wish WHEN 1 THEN 3 ELSE 7 END, wish = 0, lease_until = NULL,
                    attempt = 0, began_at = NULL,
                    ended_at = CASE wish WHEN 2 THEN clock_timestamp() END {OURS}
"""
STEP_ASIDE = f"""
UPDATE jobs_job SET state = 1, lease_until = NULL, attempt = 0,
                    due_at = clock_timestamp(), rung_at = clock_timestamp() {OURS}
RETURNING queue
"""
STRAND = f"""
{_LAY_BACK.format(state=4, beside="began_at = NULL, reason = %s, error = %s")} {OURS}
RETURNING id, state
"""
FREE_KEY = "DELETE FROM jobs_uniquekey WHERE key = %s AND job_id = %s"

WAIT = f"""random() * least({LONGEST_BACKOFF_S}, backoff_s * 2 ^ least(attempt - 1, 20))
           * interval '1 second'"""
# Given back for another try, or dead after the last, or cancelled or paused as somebody wished.
GIVE_BACK = f"""
    SET state = CASE WHEN wish = 2 THEN 7 WHEN attempt >= most_attempts THEN 6
                     WHEN wish = 1 THEN 3 ELSE 1 END,
        ended_at = CASE WHEN wish = 2 OR attempt >= most_attempts THEN clock_timestamp() END,
        due_at = clock_timestamp() + {WAIT}, began_at = NULL,
        rung_at = NULL, lease_until = NULL, wish = 0, reason = %s, error = %s
"""
FAIL = f"UPDATE jobs_job {GIVE_BACK} {OURS} RETURNING state"
LOST = f"""
UPDATE jobs_job {GIVE_BACK}
 WHERE id = ANY(%s) AND state = 2 AND worker = %s RETURNING id, state, unique_key
"""
# The sweeper may have been quicker, but did not know what befell the worker.
_EXPLAIN = """
UPDATE jobs_job SET reason = %s, error = %s WHERE reason = 'worker_lost' AND state IN (1, 6)
"""
EXPLAIN = f"{_EXPLAIN} AND id = ANY(%s) AND worker = %s"
EXPLAIN_OWN = f"{_EXPLAIN} AND id = %s AND fence = %s"


@dataclass(frozen=True, slots=True)
class Claim:
    """A job in a worker's hands."""

    id: int
    name: str
    version: int
    arguments: Mapping[str, Any]
    attempt: int
    fence: int
    time_limit_s: int
    unique_key: str
    point: str
    progress: dict[str, Any]
    done: int
    total: int | None


def worker_name(pid: int | None = None) -> str:
    """How a worker's process signs: host and number."""
    return f"{HOST}:{pid or os.getpid()}"


def still_waiting(ids: Sequence[int]) -> list[int]:
    """Those of these jobs that wait for a worker, in the order given: one look for all."""
    with connection.cursor() as cursor:
        cursor.execute(WAITING, [array(ids)])
        found = {row[0] for row in cursor.fetchall()}
    return [job_id for job_id in ids if job_id in found]


def claim(job_id: int) -> Claim | None:
    """Take a job that is queued and due; None if it is neither, or somebody was quicker."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [worker_name(), job_id])
        row = cursor.fetchone()
    return Claim(*_decoded(row)) if row else None


def claim_named(ids: Sequence[int], names: Sequence[str]) -> list[Claim]:
    """Take those of these jobs that bear one of the names and are queued and due."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM_NAMED, [worker_name(), array(ids), list(names)])
        return [Claim(*_decoded(row)) for row in cursor.fetchall()]


def _decoded(row: tuple[Any, ...]) -> tuple[Any, ...]:
    # Django's cursors give jsonb as text.
    return tuple(json.loads(v) if at in _JSON_AT else v for at, v in enumerate(row))


def end(held: Claim) -> None:
    """Note in the effect's transaction that the job is done. Raises `LeaseLost`."""
    _hit(DONE, held)
    _free_key(held)


def end_together(all_held: Sequence[Claim]) -> None:
    """Note in one transaction that all these are done. Raises `LeaseLost` if one was lost."""
    with connection.cursor() as cursor:
        cursor.execute(DONE_TOGETHER, _all(all_held))
        if cursor.rowcount != len(all_held):
            raise LeaseLost(f"{len(all_held) - cursor.rowcount} of {len(all_held)} jobs")
    for held in all_held:
        _free_key(held)


def unclaim(all_held: Sequence[Claim]) -> None:
    """Put jobs back that were not begun, as if nobody had claimed them."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(UNCLAIM, _all(all_held))
        states = dict(cursor.fetchall())
        _free_keys_of_ended(all_held, states)


def _all(all_held: Sequence[Claim]) -> tuple[str, str, str]:
    ids = array(held.id for held in all_held)
    return ids, ids, array(held.fence for held in all_held)


def reach(held: Claim, point: str, notes: Mapping[str, Any]) -> None:
    """Note a recovery point in this transaction, and take the lease anew."""
    _hit(REACH, held, point, json.dumps(dict(notes)))


def step(held: Claim, done: Step) -> int:
    """Note a step in its transaction, take the lease anew, and give what people wish."""
    with connection.cursor() as cursor:
        cursor.execute(STEP, [json.dumps(done.notes), done.done, done.total, held.id, held.fence])
        row = cursor.fetchone()
    if row is None:
        raise LeaseLost(held.id)
    return int(row[0])


def stop(held: Claim, *, is_cancelled: bool) -> None:
    """Pause or cancel, as was wished, in the transaction of the last step."""
    _hit(STOP, held)
    if is_cancelled:
        _free_key(held)


def step_aside(held: Claim) -> str:
    """Queue up anew in the transaction of a step, and give the queue: others wait too."""
    with connection.cursor() as cursor:
        cursor.execute(STEP_ASIDE, [held.id, held.fence])
        row = cursor.fetchone()
    if row is None:
        raise LeaseLost(held.id)
    return str(row[0])


def strand(held: Claim, reason: Reason, error: str) -> None:
    """Lay the job aside: nobody here knows how to do it. That is no attempt. Raises `LeaseLost`."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(STRAND, [reason, error[:LONGEST_ERROR], held.id, held.fence])
        states = dict(cursor.fetchall())
        if not states:
            raise LeaseLost(held.id)
        _free_keys_of_ended([held], states)


def fail(held: Claim, reason: Reason, error: str) -> None:
    """Give a failed job back, to be tried later, or end it. Nothing if the lease is lost.

    The sweeper may have given it back already: a connection that was closed because a time limit
    struck looks like a worker that is gone. Then only the reason is put right.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(FAIL, [reason, clean(error), held.id, held.fence])
        row = cursor.fetchone()
        if row is None:
            cursor.execute(EXPLAIN_OWN, [reason, clean(error), held.id, held.fence])
        elif row[0] >= State.DONE:
            _free_key(held)


def clean(error: str) -> str:
    """The end of an error's text, where the cause stands, as PostgreSQL can keep it."""
    return error.replace("\0", "")[-LONGEST_ERROR:].encode(errors="replace").decode()


def _hit(sql: str, held: Claim, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, [*parameters, held.id, held.fence])
        if cursor.rowcount != 1:
            raise LeaseLost(held.id)


def _free_keys_of_ended(all_held: Sequence[Claim], states: Mapping[int, int]) -> None:
    for held in all_held:
        if states.get(held.id, State.QUEUED) >= State.DONE:
            _free_key(held)


def _free_key(held: Claim) -> None:
    if held.unique_key:
        with connection.cursor() as cursor:
            cursor.execute(FREE_KEY, [held.unique_key, held.id])


def lose(
    raw: psycopg.Connection[Any], ids: Sequence[int], pid: int, reason: Reason, error: str
) -> None:
    """Take back what a process of this host that died had in its hands, on its own session."""
    whose = [reason, clean(error), list(ids), worker_name(pid)]
    with raw.transaction():
        raw.execute(EXPLAIN, whose)
        rows = raw.execute(LOST, whose).fetchall()
        for job_id, state, key in rows:
            if state >= State.DONE and key:
                raw.execute(FREE_KEY, [key, job_id])
