"""Encrypts stored codes again after `CODE_KEYS` got a new first key."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connection, transaction

from edge.problems import Refusal
from rewards.models import BulkJob
from rewards.sealing import Sealer, sealer

CODES_AT_ONCE = 500
"""Few, because a reveal passes by the codes that are locked just then."""

STALE = """
SELECT id, series_id, digest, sealed FROM rewards_vouchercode
 WHERE id > %(after)s AND substring(sealed FROM 2 FOR 4) <> %(current)s
 ORDER BY id LIMIT %(most)s FOR NO KEY UPDATE
"""
RESEAL = """
UPDATE rewards_vouchercode AS code SET sealed = fresh.sealed
  FROM unnest(%(ids)s::bigint[], %(sealed)s::bytea[]) AS fresh(id, sealed)
 WHERE code.id = fresh.id
"""
# Rows that wait in a job's own table were sealed after its file, by the same key or a newer one.
WAITING = """
SELECT job.id FROM rewards_bulkjob AS job
 WHERE job.state = %(open)s AND EXISTS (
           SELECT 1 FROM rewards_uploadblock AS block
            WHERE block.bulk_job_id = job.id AND substring(sealed FROM 2 FOR 4) <> %(current)s)
 ORDER BY job.id
"""


class ImportsWaiting(Refusal):
    """Files that began to be imported before the key was changed still need the old one."""

    code = "imports_waiting"
    title = "Imports that began under an older key have not ended"
    status = 409

    def __init__(self, jobs: list[int]) -> None:
        names = ", ".join(map(str, jobs))
        super().__init__(
            f"Let the jobs {names} end, or cancel them, and rotate again.",
            jobs=[str(job) for job in jobs],
        )


def rotate_keys() -> Iterator[int]:
    """Encrypt every code by the current key; gives the count after each batch.

    Each batch commits by itself and a sealed code says by which key, so it can be stopped
    at any moment and started again. Reveals go on meanwhile. Raises `CannotOpen`
    when a key that is still needed is missing, and at its end `ImportsWaiting` when files that
    wait in background imports need an older one; what was done before stays done.
    """
    fresh = sealer()
    # Seen first: the codes of one that ends meanwhile may come in behind us.
    waiting = _waiting(fresh)
    after, done = 0, 0
    while True:
        with transaction.atomic():
            ids = _reseal_batch(fresh, after)
        if not ids:
            break
        after, done = ids[-1], done + len(ids)
        yield done
    if waiting:
        raise ImportsWaiting(waiting)


def _waiting(sealer: Sealer) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(WAITING, {"open": BulkJob.State.OPEN, "current": sealer.current_key_id})
        return [row[0] for row in cursor.fetchall()]


def _reseal_batch(sealer: Sealer, after: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            STALE, {"after": after, "current": sealer.current_key_id, "most": CODES_AT_ONCE}
        )
        rows = cursor.fetchall()
        if not rows:
            return []
        ids = [row[0] for row in rows]
        sealed = [
            sealer.reseal(series_id, digest.bytes, bytes(old)) for _, series_id, digest, old in rows
        ]
        cursor.execute(RESEAL, {"ids": ids, "sealed": sealed})
    return ids
