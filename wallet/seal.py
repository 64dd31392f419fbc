"""The hash chain: seals that make any later change of the journal visible.

A seal covers every batch whose transaction id lies in a window [from_xid, horizon). The
horizon is at most the oldest transaction still running, so all of the window has ended and
nothing can be added to it any more. Its digest is the SHA-256 of the seal before, of the
window itself, and of the window's batches, transfers and entries as PostgreSQL's COPY
writes them in text. So an auditor needs nothing but SQL and `sha256sum` to repeat it.

Sealing runs in the background and costs the door nothing: it reads what was committed and
writes one row. `docs/decisions/0006-hash-chain.md` says what it proves and what it cannot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from django.db import transaction
from django.db.models import Sum

from edge.ids import INDEX_BITS, ROWS_PER_BATCH
from edge.postgres import raw_cursor
from wallet.models import Seal

GENESIS = bytes(32)
"""What stands in place of the digest before the first seal."""
MOST_BATCHES = 20_000
MOST_TRANSFERS = 200_000
"""A window ends after so many batches or transfers; the next seal goes on from there."""
MOST_SEALS = 50
LOCK_KEYS = (0x5EA1, 0)
"""Advisory lock: one sealer at a time."""

TRY_LOCK = "SELECT pg_try_advisory_xact_lock(%s, %s)"
OLDEST_RUNNING = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
NEXT_BATCHES = """
SELECT xid, transfer_count FROM wallet_batch
 WHERE xid >= %s AND xid < %s ORDER BY xid LIMIT %s
"""
RANGE = "SELECT min(id), max(id) FROM wallet_batch WHERE xid >= %s AND xid < %s"
WINDOW = "SELECT DISTINCT id FROM wallet_batch WHERE xid >= {from_xid} AND xid < {horizon}"
PARTS = {
    "batches": """
COPY (SELECT xid, id, transfer_count FROM wallet_batch
       WHERE xid >= {from_xid} AND xid < {horizon} ORDER BY id, xid) TO STDOUT
""",
    "transfers": f"""
COPY (SELECT t.id, t.kind, t.code, t.asset_id, t.debit_account_id, t.credit_account_id, t.amount,
             t.hold_id, t.reverses_id,
             (extract(epoch FROM t.effective_at) * 1000000)::bigint,
             (extract(epoch FROM t.expires_at) * 1000000)::bigint,
             t.reference, t.memo, t.released
        FROM wallet_transfer AS t JOIN ({WINDOW}) AS b
          ON b.id = t.id >> {INDEX_BITS} << {INDEX_BITS}
       WHERE t.id BETWEEN {{first}} AND {{last}} ORDER BY t.id) TO STDOUT
""",
    "entries": f"""
COPY (SELECT e.transfer_id, e.account_id, e.amount, e.balance_after,
             (extract(epoch FROM e.effective_at) * 1000000)::bigint
        FROM wallet_entry AS e JOIN ({WINDOW}) AS b
          ON b.id = e.transfer_id >> {INDEX_BITS} << {INDEX_BITS}
       WHERE e.transfer_id BETWEEN {{first}} AND {{last}}
       ORDER BY e.transfer_id, e.account_id) TO STDOUT
""",
}
"""What a digest is made of. Times are microseconds since 1970, so no session setting counts."""


class TransactionIdsWentBack(RuntimeError):
    """The cluster's transaction ids are below those already sealed: it was filled from a dump."""


@dataclass(frozen=True, slots=True)
class Window:
    """What the digest of one seal is computed from."""

    number: int
    previous: bytes
    from_xid: int
    horizon: int


@dataclass(frozen=True, slots=True)
class Content:
    """What was found in a window: its digest, and how many rows there are."""

    digest: bytes
    batch_count: int
    transfer_count: int
    entry_count: int


@dataclass(frozen=True, slots=True)
class Head:
    """The newest seal, fit to be kept elsewhere: it vouches for everything up to it."""

    seal: int
    horizon: int
    sha256: str
    sealed_at: datetime
    transfer_count: int


def seal(most: int = MOST_SEALS) -> list[Seal]:
    """Seal what was committed since the last seal, in windows of bounded size.

    Each seal is a transaction of its own. Ends when nothing is left, after `most` seals, or
    at once when another sealer is at work. Raises `TransactionIdsWentBack` on a cluster
    restored from a dump.
    """
    made: list[Seal] = []
    while len(made) < most and (made_now := _seal_next()):
        made.append(made_now)
    return made


@transaction.atomic
def _seal_next() -> Seal | None:
    with raw_cursor() as cursor:
        if not _one(cursor, TRY_LOCK, *LOCK_KEYS):
            return None
        last = Seal.objects.order_by("-number").first()
        from_xid = last.horizon if last else 0
        horizon = _next_horizon(cursor, from_xid)
        if horizon is None:
            return None
        window = _window(last, horizon)
        content = content_of(cursor, window)
    return Seal.objects.create(
        number=window.number,
        from_xid=from_xid,
        horizon=horizon,
        batch_count=content.batch_count,
        transfer_count=content.transfer_count,
        entry_count=content.entry_count,
        digest=content.digest,
        sealed_at=datetime.now(UTC),
    )


def _window(last: Seal | None, horizon: int) -> Window:
    if last is None:
        return Window(1, GENESIS, 0, horizon)
    return Window(last.number + 1, bytes(last.digest), last.horizon, horizon)


def _next_horizon(cursor: psycopg.Cursor[Any], from_xid: int) -> int | None:
    """Say where the next window ends, or None when there is nothing to seal."""
    oldest_running = int(_one(cursor, OLDEST_RUNNING))
    if oldest_running < from_xid:
        raise TransactionIdsWentBack(f"sealed up to {from_xid}, but {oldest_running} is running")
    cursor.execute(NEXT_BATCHES, (from_xid, oldest_running, MOST_BATCHES + 1))
    return cut(cursor.fetchall(), oldest_running)


def cut(batches: list[tuple[int, int]], oldest_running: int) -> int | None:
    """Choose the end of a window from (xid, transfers) of the batches in it. Pure.

    A transaction is never cut in two: one that is larger than a window has one to itself.
    """
    if not batches:
        return None
    first_xid, transfer_total = batches[0][0], 0
    for count, (xid, transfer_count) in enumerate(batches, 1):
        transfer_total += transfer_count
        if count > MOST_BATCHES or transfer_total > MOST_TRANSFERS:
            return max(xid, first_xid + 1)
    return oldest_running


def content_of(cursor: psycopg.Cursor[Any], window: Window) -> Content:
    """Compute a window's digest from the rows there are now. Streams; memory stays flat."""
    cursor.execute(RANGE, (window.from_xid, window.horizon))
    first, last = cursor.fetchone() or (None, None)
    bounds = {
        "from_xid": window.from_xid,
        "horizon": window.horizon,
        "first": first or 0,
        "last": (last or 0) + ROWS_PER_BATCH - 1,
    }
    sha = hashlib.sha256(window.previous)
    sha.update(f"seal {window.number} {window.from_xid} {window.horizon}\n".encode())
    counts = []
    for name, statement in PARTS.items():
        sha.update(f"{name}\n".encode())
        with cursor.copy(statement.format(**bounds).encode()) as copy:
            for block in copy:
                sha.update(block)
        counts.append(cursor.rowcount)
    return Content(sha.digest(), *counts)


def faults() -> Iterator[tuple[int, str, object, object]]:
    """Compute every seal anew and name those that differ: (number, field, expected, found).

    Each is judged against the stored digest of the one before, so only windows that were
    tampered with are named, the first one first. Expected is what the seal says.
    """
    number, previous, horizon = 0, GENESIS, 0
    for stored in Seal.objects.order_by("number").iterator(chunk_size=500):
        number += 1
        if (stored.number, stored.from_xid) != (number, horizon):
            yield stored.number, "follows", f"seal {number} from {horizon}", stored.from_xid
        window = Window(stored.number, previous, stored.from_xid, stored.horizon)
        with transaction.atomic(), raw_cursor() as cursor:
            content = content_of(cursor, window)
        for field in ("batch_count", "transfer_count", "entry_count"):
            if getattr(stored, field) != getattr(content, field):
                yield stored.number, field, getattr(stored, field), getattr(content, field)
        if content.digest != bytes(stored.digest):
            yield stored.number, "sha256", bytes(stored.digest).hex(), content.digest.hex()
        number, previous, horizon = stored.number, bytes(stored.digest), stored.horizon


def head() -> Head | None:
    """Read the newest seal, or None before the first. Keep it where no one here can reach it."""
    newest = Seal.objects.order_by("-number").first()
    if newest is None:
        return None
    # Up to this one: the next may be written just now.
    upto = Seal.objects.filter(number__lte=newest.number)
    total = upto.aggregate(total=Sum("transfer_count"))["total"]
    return Head(newest.number, newest.horizon, bytes(newest.digest).hex(), newest.sealed_at, total)


def is_on_chain(exported: Head) -> bool:
    """Say whether a head that was exported earlier is still a seal of the chain."""
    stored = Seal.objects.filter(number=exported.seal, horizon=exported.horizon).first()
    if stored is None or bytes(stored.digest).hex() != exported.sha256:
        return False
    before = Seal.objects.filter(number__lte=exported.seal)
    total: int = before.aggregate(total=Sum("transfer_count"))["total"]
    return total == exported.transfer_count


def _one(cursor: psycopg.Cursor[Any], sql: str, *parameters: object) -> Any:
    row = cursor.execute(sql, parameters).fetchone()
    assert row is not None
    return row[0]
