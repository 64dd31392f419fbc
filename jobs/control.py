"""What people do with jobs: pause, resume, cancel, retry, discard. Each deed is audited.

All take numbers of jobs, change those that can be changed, and say how many those were;
`NotPossible` if none. Nothing is done to a job that has moved on meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction

from edge import audit
from edge.postgres import array, raw_cursor
from jobs import bell
from jobs.problems import NotPossible
from jobs.rules import Wish

Actor = AbstractBaseUser | None

FREE_KEYS = "DELETE FROM jobs_uniquekey WHERE job_id = ANY(%s::bigint[])"
WISH = """
UPDATE jobs_job SET wish = %s WHERE id = ANY(%s::bigint[]) AND state = 2 RETURNING id
"""
PAUSE = """
UPDATE jobs_job SET state = 3, began_at = NULL
 WHERE id = ANY(%s::bigint[]) AND state = 1 RETURNING id
"""
RESUME = """
UPDATE jobs_job SET state = 1, wish = 0, due_at = now(), rung_at = now()
 WHERE id = ANY(%s::bigint[]) AND state = 3 RETURNING id, queue, time_limit_s
"""
CANCEL = """
UPDATE jobs_job SET state = 7, ended_at = now(), reason = 'discarded'
 WHERE id = ANY(%s::bigint[]) AND state IN (1, 3, 4) RETURNING id
"""
# A dead job gave its key back; it may only return if nobody else has taken it.
RETRY = """
WITH chosen AS (
    SELECT id, unique_key FROM jobs_job WHERE id = ANY(%s::bigint[]) AND state IN (4, 6)
    FOR UPDATE
), kept AS (
    INSERT INTO jobs_uniquekey (key, job_id)
    SELECT DISTINCT ON (unique_key) unique_key, id FROM chosen WHERE unique_key <> ''
    ON CONFLICT (key) DO UPDATE SET job_id = jobs_uniquekey.job_id RETURNING job_id
)
UPDATE jobs_job AS j SET state = 1, attempt = 0, wish = 0, ended_at = NULL, due_at = now(),
                         rung_at = now()
  FROM chosen AS c
 WHERE j.id = c.id AND (c.unique_key = '' OR c.id IN (SELECT job_id FROM kept))
RETURNING j.id, j.queue, j.time_limit_s
"""
DISCARD = """
UPDATE jobs_job SET state = 7 WHERE id = ANY(%s::bigint[]) AND state = 6 RETURNING id
"""


def pause(ids: Sequence[int], *, actor: Actor, reason: str) -> int:
    """Hold jobs up: queued ones at once, running long ones after their step. Says how many."""
    with transaction.atomic():
        changed = _changed(PAUSE, array(ids)) + _changed(WISH, Wish.PAUSE, array(ids))
        return _record("jobs.pause", changed, actor, reason)


def resume(ids: Sequence[int], *, actor: Actor, reason: str) -> int:
    """Let paused jobs go on from their last step."""
    with transaction.atomic():
        return _record("jobs.resume", _again(RESUME, ids), actor, reason)


def cancel(ids: Sequence[int], *, actor: Actor, reason: str) -> int:
    """Give jobs up: waiting ones at once, running ones after their step, or if they fail.

    What their steps have done stays done.
    """
    with transaction.atomic():
        ended = _changed(CANCEL, array(ids))
        _free_keys(ended)
        changed = ended + _changed(WISH, Wish.CANCEL, array(ids))
        return _record("jobs.cancel", changed, actor, reason)


def retry(ids: Sequence[int], *, actor: Actor, reason: str) -> int:
    """Try dead and stranded jobs anew, with all their attempts; their error stays readable."""
    with transaction.atomic():
        return _record("jobs.retry", _again(RETRY, ids), actor, reason)


def discard(ids: Sequence[int], *, actor: Actor, reason: str) -> int:
    """Put dead jobs away for good; the days take them with them."""
    with transaction.atomic():
        return _record("jobs.discard", _changed(DISCARD, array(ids)), actor, reason)


def _again(sql: str, ids: Sequence[int]) -> list[int]:
    with raw_cursor() as cursor:
        rows = cursor.execute(sql, [array(ids)]).fetchall()
    for job_id, queue, limit_s in rows:
        bell.ring_on_commit(queue, [job_id], limit_s=limit_s)
    return [job_id for job_id, _, _ in rows]


def _free_keys(ids: list[int]) -> None:
    with raw_cursor() as cursor:
        cursor.execute(FREE_KEYS, [array(ids)])


def _record(action: str, ids: list[int], actor: Actor, reason: str) -> int:
    if not ids:
        raise NotPossible
    for job_id in ids:
        audit.record(
            actor=actor, action=action, object_type="jobs.job", object_id=job_id, reason=reason
        )
    return len(ids)


def _changed(sql: str, *parameters: Any) -> list[int]:
    with raw_cursor() as cursor:
        return [row[0] for row in cursor.execute(sql, parameters).fetchall()]
