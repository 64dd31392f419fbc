"""Takes a file of codes into a series: all of it and the units for it, or nothing.

One transaction: the rows are sealed and copied into a temporary table as they are read;
PostgreSQL finds the duplicates among them and with what is stored; without a fault they
become codes, and as many units are issued. With one, only the report is kept.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import islice
from struct import Struct
from typing import Any, BinaryIO

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from accounts.models import User
from edge import audit
from edge.postgres import copying, raw_cursor, timestamp_microseconds
from edge.problems import Refusal
from rewards import units
from rewards.code_files import BLOCK, CodeRow, RowRules, read_codes
from rewards.codes import CheckScheme, look_of
from rewards.disputes.money import securing
from rewards.events import announce
from rewards.models import CodeImport, ImportFault, Series
from rewards.parquet_files import readable
from rewards.redemption import money
from rewards.reports import (
    CODE_COLUMN,
    EXPIRY_COLUMN,
    MESSAGES,
    MOST_KEPT,
    Fault,
    FaultCode,
    Report,
)
from rewards.sealing import Sealer, sealer
from wallet.models import Code

ROWS_PER_COPY = 4_096
LONGEST_FILE_NAME = 200

TEMPORARY = "pg_temp.rewards_staging"
"""The table of rows that wait for the verdict on their file."""
COLUMNS = """
(line integer NOT NULL, digest uuid NOT NULL, look bigint NOT NULL,
 expires_at timestamptz NOT NULL, sealed bytea NOT NULL)
"""
STAGING = f"""
DROP TABLE IF EXISTS {TEMPORARY};
CREATE TEMPORARY TABLE rewards_staging {COLUMNS} ON COMMIT DROP;
"""
MORE_MEMORY = "SET LOCAL work_mem = '64MB'"
COPY_STAGING = """
COPY {staging} (line, digest, look, expires_at, sealed)
FROM STDIN WITH (FORMAT binary)
"""
# Each query gives (line, other line, how many in all), the first lines first.
REPEATED = """
WITH several AS (
    SELECT digest, min(line) AS first FROM {staging}
     GROUP BY digest HAVING count(*) > 1
)
SELECT staged.line, several.first, count(*) OVER ()
  FROM several JOIN {staging} AS staged USING (digest)
 WHERE staged.line > several.first ORDER BY staged.line LIMIT %(most)s
"""
STORED = """
SELECT staged.line, 0, count(*) OVER ()
  FROM {staging} AS staged
  JOIN rewards_vouchercode AS stored
    ON stored.series_id = %(series)s AND stored.digest = staged.digest
 ORDER BY staged.line LIMIT %(most)s
"""
LOOKS_LIKE = """
WITH several AS (
    SELECT look, min(line) AS first FROM {staging}
     GROUP BY look HAVING count(*) > 1
)
SELECT staged.line, several.first, count(*) OVER ()
  FROM several
  JOIN {staging} AS earlier ON earlier.line = several.first
  JOIN {staging} AS staged ON staged.look = several.look
 WHERE staged.line > several.first AND staged.digest <> earlier.digest
 ORDER BY staged.line LIMIT %(most)s
"""
DUPLICATES = (
    (FaultCode.CODE_REPEATED, REPEATED),
    (FaultCode.CODE_STORED, STORED),
    (FaultCode.CODE_LOOKS_LIKE, LOOKS_LIKE),
)
EXPIRED = """
SELECT line, 0, count(*) OVER () FROM {staging}
 WHERE expires_at <= %(now)s ORDER BY line LIMIT %(most)s
"""
TAKE_IN = """
WITH taken AS (
    INSERT INTO rewards_vouchercode
        (series_id, code_import_id, expires_at, digest, state, sealed)
    SELECT %(series)s, %(code_import)s, expires_at, digest, 0, sealed
      FROM {staging} ORDER BY line
    RETURNING id
)
SELECT min(id), max(id) FROM taken
"""
# field count, then the length and bytes of line, digest, look and expires_at, and sealed's length
_PACK = Struct("!h ii i16s i8s iq i").pack
_microseconds = lru_cache(maxsize=4_096)(timestamp_microseconds)


class SeriesUnknown(Refusal):
    """No series has this code."""

    code = "series_unknown"
    title = "There is no such series"
    status = 404


class SeriesClosed(Refusal):
    """The series takes no more codes."""

    code = "series_closed"
    title = "The series is closed"
    status = 409


class SeriesExpired(Refusal):
    """Codes that say no expiry of their own would have expired already."""

    code = "series_expired"
    title = "The series has expired"
    status = 409


class ImportInProgress(Refusal):
    """A series takes one file at a time."""

    code = "import_in_progress"
    title = "Another file is being imported into this series"
    status = 409

    def __init__(self) -> None:
        super().__init__("Try again when it is done.", retry_after_s=5)


class AlreadyImported(Refusal):
    """The series has taken this very file before."""

    code = "file_already_imported"
    title = "This file was imported before"
    status = 409

    def __init__(self, earlier: CodeImport) -> None:
        super().__init__(
            f"Import {earlier.pk} took the same file, {earlier.code_count} codes.",
            import_id=str(earlier.pk),
        )


@dataclass(frozen=True, slots=True)
class CodeFile:
    """A file as it was offered. The stream can be read twice (`seek`)."""

    stream: BinaryIO
    name: str

    @classmethod
    def offered(cls, stream: BinaryIO, name: str) -> CodeFile:
        """A file that somebody sends: CSV, or Parquet (`ParquetUnreadable`) read as one."""
        return cls(readable(stream), name)

    @property
    def size_bytes(self) -> int:
        """How large it is, a Parquet file once it is unpacked."""
        size = self.stream.seek(0, os.SEEK_END)
        self.stream.seek(0)
        return size


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file: taken in, refused with its report, or only checked."""

    report: Report
    code_import: CodeImport | None

    @property
    def is_clean(self) -> bool:
        """Say whether the file has no fault, so it was or would be taken in."""
        return not self.report.fault_count

    @property
    def state(self) -> str:
        return "checked" if self.code_import is None else self.code_import.state


def import_codes(
    *,
    series_code: str,
    file: CodeFile,
    actor: User | None,
    owner: User | None = None,
    is_dry_run: bool = False,
    now: datetime | None = None,
) -> Outcome:
    """Take a file of codes into a series and issue a unit for each, or say what is wrong with it.

    The units go to `owner`'s wallet, or to the treasury. A dry run changes nothing. Memory
    does not grow with the file; some 20 µs a line. Locks the series, then the ledger's
    accounts: call it last in a transaction. Raises `SeriesUnknown`, `SeriesClosed`,
    `SeriesExpired`, `ImportInProgress`, `AlreadyImported`, or the ledger's refusal; what the
    file itself gets wrong is no exception but in the outcome.
    """
    now = now or timezone.now()
    with transaction.atomic():
        series = _locked(series_code, now)
        sha256 = sha256_of(file.stream)
        refuse_repeat(series, sha256)
        report = _staged(series, file.stream, now)
        if is_dry_run:
            return Outcome(report, None)
        code_import = _record(series, file, sha256, report, actor=actor, owner=owner)
        if not report.fault_count:
            take_in(series, code_import, actor, TEMPORARY)
    return Outcome(report, code_import)


def _locked(series_code: str, now: datetime) -> Series:
    found = Series.objects.with_assets().filter(asset__code=series_code)
    series = found.select_for_update(skip_locked=True, no_key=True, of=("self",)).first()
    if series is None:
        raise ImportInProgress if found.exists() else SeriesUnknown
    refuse_ended(series, now)
    return series


def refuse_ended(series: Series, now: datetime) -> None:
    """Refuse a series that takes no more codes."""
    if series.state == Series.State.CLOSED:
        raise SeriesClosed
    if series.expires_at is not None and series.expires_at <= now:
        raise SeriesExpired


def sha256_of(stream: BinaryIO) -> bytes:
    """Digest a file, and rewind it."""
    stream.seek(0)
    digest = hashlib.sha256()
    while block := stream.read(BLOCK):
        digest.update(block)
    stream.seek(0)
    return digest.digest()


def refuse_repeat(series: Series, sha256: bytes) -> None:
    """Refuse a file that the series has taken."""
    earlier = CodeImport.objects.filter(
        series=series, sha256=sha256, state=CodeImport.State.IMPORTED
    ).first()
    if earlier is not None:
        raise AlreadyImported(earlier)


def rules_of(series: Series, now: datetime) -> RowRules:
    """What a series asks of every row of a file offered now."""
    return RowRules(
        now=now,
        valid_from=series.valid_from,
        default_expires_at=series.expires_at,
        check_scheme=CheckScheme(series.check_scheme),
        pattern=series.pattern,
    )


# -- staging -----------------------------------------------------------------------------


def _staged(series: Series, stream: BinaryIO, now: datetime) -> Report:
    """Read the file into the temporary table and say what is wrong with it."""
    report = Report()
    rules = rules_of(series, now)
    with raw_cursor() as cursor:
        cursor.execute(STAGING)
    stage(TEMPORARY, read_codes(stream, rules, report), series.pk, os.urandom(16))
    find_duplicates(TEMPORARY, series, report)
    return report


def stage(table: str, codes: Iterator[CodeRow], series_id: int, salt: bytes) -> int:
    """Seal rows and copy them into a table; say how many. `salt` hides what codes look like."""
    rows = _packed(codes, series_id, sealer(), salt)
    count = 0
    with raw_cursor() as cursor, copying(cursor) as copies:
        while chunk := list(islice(rows, ROWS_PER_COPY)):
            copies.add(COPY_STAGING.format(staging=table), chunk)
            count += len(chunk)
    return count


def _packed(
    rows: Iterator[CodeRow], series_id: int, sealer: Sealer, salt: bytes
) -> Iterator[bytes]:
    """Seal each row and pack it for COPY: from here on nothing holds the code in the clear."""
    for line, code, expires_at in rows:
        digest = sealer.digest(series_id, code)
        sealed = sealer.seal(series_id, digest, code)
        look = hashlib.blake2b(look_of(code), digest_size=8, key=salt).digest()
        head = _PACK(
            5, 4, line, 16, digest, 8, look, 8, _microseconds(expires_at), len(sealed)
        )  # fmt: skip
        yield head + sealed


def find_duplicates(table: str, series: Series, report: Report) -> None:
    """Report codes that stand twice in a table, or that the series has already."""
    with connection.cursor() as cursor:
        cursor.execute(MORE_MEMORY)
        for code, query in DUPLICATES:
            asked = {"series": series.pk, "most": MOST_KEPT}
            _find(cursor, code, CODE_COLUMN, query.format(staging=table), asked, report)


def find_expired(table: str, now: datetime, report: Report) -> None:
    """Report codes of a table that have expired since they were read."""
    with connection.cursor() as cursor:
        asked = {"now": now, "most": MOST_KEPT}
        query = EXPIRED.format(staging=table)
        _find(cursor, FaultCode.EXPIRY_PAST, EXPIRY_COLUMN, query, asked, report)


def _find(
    cursor: CursorWrapper,
    code: FaultCode,
    column: str,
    query: str,
    asked: dict[str, Any],
    report: Report,
) -> None:
    cursor.execute(query, asked)
    rows = cursor.fetchall()
    found = [
        Fault(line, column, code, MESSAGES[code].format(other=other)) for line, other, _ in rows
    ]
    report.merge(code, found, rows[0][2] if rows else 0)


# -- keeping -----------------------------------------------------------------------------


def _record(
    series: Series,
    file: CodeFile,
    sha256: bytes,
    report: Report,
    *,
    actor: User | None,
    owner: User | None,
) -> CodeImport:
    is_clean = not report.fault_count
    dialect = report.dialect
    code_import = CodeImport.objects.create(
        series=series,
        file_name=printable_name(file.name),
        sha256=sha256,
        size_bytes=file.stream.seek(0, os.SEEK_END),
        delimiter=dialect.delimiter if dialect else "",
        has_bom=bool(dialect and dialect.has_bom),
        line_ends=" ".join(sorted(report.line_ends)),
        row_count=report.row_count,
        code_count=report.row_count if is_clean else 0,
        fault_count=report.fault_count,
        warning_count=report.warning_count,
        counts=dict(report.counts),
        stopped_at_line=report.stopped_at_line,
        state=CodeImport.State.IMPORTED if is_clean else CodeImport.State.REFUSED,
        owner=owner,
        created_by=actor,
    )
    ImportFault.objects.bulk_create(
        ImportFault(code_import=code_import, **fault._asdict()) for fault in report.faults
    )
    return code_import


def printable_name(name: str) -> str:
    """Make a file's name safe to store and show: no folders, nothing invisible, 200 characters."""
    bare = name.replace("\\", "/").rpartition("/")[2]
    return "".join(filter(str.isprintable, bare))[-LONGEST_FILE_NAME:] or "codes.csv"


def take_in(series: Series, code_import: CodeImport, actor: User | None, table: str) -> None:
    """Make codes of the rows of a table and issue their units. Last in its transaction."""
    with connection.cursor() as cursor:
        take = TAKE_IN.format(staging=table)
        cursor.execute(take, {"series": series.pk, "code_import": code_import.pk})
        code_import.first_code_id, code_import.last_code_id = cursor.fetchone()
    if series.state == Series.State.DRAFT:
        Series.objects.filter(pk=series.pk).update(state=Series.State.ISSUED)
    story = {"series": series.code, "codes": code_import.code_count}
    audit.record(
        actor=actor,
        action="rewards.import_codes",
        object_type="code_import",
        object_id=code_import.pk,
        after=story,
    )
    code_import.transfer_id = issue(
        series, code_import.owner_id, code_import.code_count, f"import:{code_import.pk}"
    )
    code_import.save(update_fields=["transfer_id", "first_code_id", "last_code_id"])
    announce("codes_imported", series.code, import_id=str(code_import.pk), **story)


def issue(series: Series, owner_id: int | None, count: int, reference: str) -> int:
    """Issue a unit for each new code and book what they may cost; say the units' transfer."""
    results = units.post_all(
        [
            *money.transfer(
                reference,
                series.asset_id,
                units.house_accounts(series.asset_id).issuance,
                units.holding_account(series.asset_id, owner_id),
                count,
                code=Code.ISSUE,
            ),
            *money.backing(series, count, reference),
            *securing(series, count, reference),
        ]
    )
    return results[0].transfer_id
