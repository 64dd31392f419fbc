"""Codes that go out in a file, to be printed or mailed: nobody in particular revealed them.

A step takes codes and burns as many units of the treasury. The file is never stored: it is
written while it is read, code by code, from what is sealed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import User
from edge import audit
from edge.fields import format_time
from edge.problems import Refusal
from jobs import Step
from rewards import units
from rewards.bulk import actions
from rewards.code_files import NEVER
from rewards.disputes.money import unsecuring
from rewards.events import announce
from rewards.models import BulkJob, VoucherCode
from rewards.redemption import money
from rewards.sealing import sealer
from wallet.models import Code

MOST_CODES = 2_000_000
CODES_PER_STEP = 20_000
ROWS_PER_PAGE = 5_000
MOMENT = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema([pa.field("code", pa.string(), nullable=False), pa.field("expires_at", MOMENT)])

# A CTE, which runs once: the planner may run a subquery in FROM for each code anew, and each run
# passes by the codes that the ones before took, so that all codes would go.
TAKE = """
WITH free AS MATERIALIZED (
    SELECT id FROM rewards_vouchercode
     WHERE series_id = %(series)s AND state = 0 AND expires_at > %(now)s
     ORDER BY expires_at, id LIMIT %(most)s FOR NO KEY UPDATE {waiting}
)
UPDATE rewards_vouchercode AS code SET state = 1, export_id = %(export)s
  FROM free WHERE code.id = free.id
"""
TAKE_FREE = TAKE.format(waiting="SKIP LOCKED")
TAKE_WAITING = TAKE.format(waiting="")


class ExportTooLarge(Refusal):
    """A file holds so many codes at most."""

    code = "export_too_large"
    title = f"An export has 1 to {MOST_CODES:,} codes"
    status = 422


class ExportNotReady(Refusal):
    """The codes are still being taken, or were never."""

    code = "export_not_ready"
    title = "The export is not done"
    status = 409


class FormatUnknown(Refusal):
    """A file is CSV or Parquet."""

    code = "format_unknown"
    title = "A file of codes is csv or parquet"
    status = 404


def export(series_code: str, count: int, *, actor: User | None, reason: str = "") -> BulkJob:
    """Start taking codes out of the treasury for a file: those that expire soonest.

    Ends with fewer when the treasury or the codes run out; the report says how many.
    """
    if not 1 <= count <= MOST_CODES:
        raise ExportTooLarge
    return actions.start(
        BulkJob.Kind.EXPORT, series_code, {"count": count}, actor=actor, total=count, reason=reason
    )


def step(bulk: BulkJob) -> Step:
    """Take the next codes and burn their units."""
    accounts = units.house_accounts(bulk.series.asset_id)
    total = bulk.total or 0
    most = min(CODES_PER_STEP, total - bulk.done, money.available(accounts.treasury))
    taken = _taken(bulk, most) if most > 0 else 0
    bulk.done += taken
    is_last = not taken or bulk.done >= total
    if taken:
        name = f"export:{bulk.pk}:{bulk.done}"
        redeemed = units.redeemed_account(bulk.series.asset_id, bulk.pk)
        burnt = money.transfer(
            name, bulk.series.asset_id, accounts.treasury, redeemed, taken, code=Code.REVEAL
        )
        # Whoever gets the file is nobody we could refund.
        units.post_all([*burnt, *unsecuring(bulk.series, taken, name)])
    if is_last:
        actions.end(bulk, BulkJob.State.DONE, codes=bulk.done, wanted=total)
    else:
        bulk.save(update_fields=["done"])
        announce("codes_exported", bulk.series.code, series=bulk.series.code, codes=taken)
    return Step(done=bulk.done, total=bulk.total, is_last=is_last)


def _taken(bulk: BulkJob, most: int) -> int:
    """Take codes, say how many: those that nobody holds, or one that somebody held and left free.

    It waits for that one with none in hand, so that no two wait for each other. Where there is
    one there may be more: the next step looks.
    """
    asked: dict[str, Any] = {"export": bulk.pk, "series": bulk.series_id, "now": timezone.now()}
    with connection.cursor() as cursor:
        cursor.execute(TAKE_FREE, asked | {"most": most})
        if not cursor.rowcount:
            cursor.execute(TAKE_WAITING, asked | {"most": 1})
        count: int = cursor.rowcount
    return count


# -- the file ----------------------------------------------------------------------------------


def stream(bulk: BulkJob, form: str, *, actor: User, ip: str | None = None) -> Iterator[bytes]:
    """Write the codes of an export as CSV or Parquet, in constant memory; who took it is noted."""
    if form not in ("csv", "parquet"):
        raise FormatUnknown
    if bulk.kind != BulkJob.Kind.EXPORT or bulk.state != BulkJob.State.DONE:
        raise ExportNotReady
    with transaction.atomic():
        audit.record(
            actor=actor,
            action="rewards.download_export",
            object_type="bulk_job",
            object_id=bulk.pk,
            after={"format": form, "codes": bulk.done},
            ip=ip,
        )
    return _csv(bulk) if form == "csv" else _parquet(bulk)


Row = tuple[str, datetime | None]


def _rows(bulk: BulkJob) -> Iterator[Row]:
    """The codes in the clear, in the order of their ids, a page in memory at a time."""
    opener, last = sealer(), 0
    while page := list(
        VoucherCode.objects.filter(export=bulk, pk__gt=last).order_by("pk")[:ROWS_PER_PAGE]
    ):
        for code in page:
            plain = opener.open(code.series_id, code.digest.bytes, bytes(code.sealed))
            expires_at = None if code.expires_at == NEVER else code.expires_at
            yield plain.for_its_owner(), expires_at
        last = page[-1].pk


def _csv(bulk: BulkJob) -> Iterator[bytes]:
    rows = _rows(bulk)
    yield b"code,expires_at\r\n"
    while page := list(islice(rows, ROWS_PER_PAGE)):
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerows((code, format_time(at) if at else "") for code, at in page)
        yield text.getvalue().encode()


class _Sink:
    """A file that is only written to, and gives up what it has when asked."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.closed = False

    def write(self, part: bytes) -> int:
        self._parts.append(bytes(part))
        return len(part)

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        self.closed = True

    def drained(self) -> bytes:
        written = b"".join(self._parts)
        self._parts.clear()
        return written


def _parquet(bulk: BulkJob) -> Iterator[bytes]:
    sink, rows = _Sink(), _rows(bulk)
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), SCHEMA, compression="zstd") as writer:
        while page := list(islice(rows, ROWS_PER_PAGE)):
            writer.write_batch(_batch(page))
            yield sink.drained()
    yield sink.drained()


def _batch(page: Sequence[Row]) -> pa.RecordBatch:
    columns = zip(*page, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)
