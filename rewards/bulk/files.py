"""Takes a large file of codes in as work in steps: read in portions, then compared and taken whole.

The rows wait sealed in a table of their own. It is not logged, so a crash of PostgreSQL empties
it: the last step counts, and begins anew when rows are missing. All of the file is taken in by
one transaction, or nothing is.
"""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from datetime import datetime
from itertools import islice
from typing import Any, cast

from django.db import connection, transaction
from django.utils import timezone

from accounts.models import User
from edge.fields import format_time
from jobs import Step
from rewards import importing
from rewards.bulk import actions, blocks
from rewards.code_files import Place, read_codes
from rewards.importing import CodeFile
from rewards.models import BulkJob, CodeImport, ImportFault, Series
from rewards.reports import Dialect, Report

ROWS_PER_STEP = 50_000


def import_in_steps(
    *, series_code: str, file: CodeFile, actor: User | None, owner: User | None = None
) -> BulkJob:
    """Keep a file and start taking it into a series; the report comes with the progress.

    Refused at once: a series unknown, closed or expired, and a file taken before.
    """
    with transaction.atomic():
        bulk = actions.prepare(
            BulkJob.Kind.IMPORT, series_code, {"file_name": file.name[:200]}, actor=actor
        )
        importing.refuse_ended(bulk.series, timezone.now())
        sha256 = importing.sha256_of(file.stream)
        importing.refuse_repeat(bulk.series, sha256)
        size = blocks.keep(bulk, file.stream)
        code_import = CodeImport.objects.create(
            series=bulk.series,
            file_name=importing.printable_name(file.name),
            sha256=sha256,
            size_bytes=size,
            row_count=0,
            code_count=0,
            fault_count=0,
            warning_count=0,
            counts={},
            state=CodeImport.State.IMPORTING,
            owner=owner,
            created_by=actor,
        )
        bulk.parameters |= {"import_id": code_import.pk, "salt": os.urandom(16).hex()}
        bulk.total = size
        bulk.save(update_fields=["parameters", "total"])
        return actions.launch(bulk)


def step(bulk: BulkJob) -> Step:
    """Read the next rows; after the last, compare and take them in."""
    code_import = CodeImport.objects.get(pk=bulk.parameters["import_id"])
    if bulk.report.get("is_read"):
        return _verdict(bulk, code_import)
    report, place = _restored(bulk), Place(**bulk.report.get("place", {}))
    _make_table(bulk, is_new=not place.offset)
    series = bulk.series
    rules = importing.rules_of(series, bulk.created_at)
    # Of the first step: whoever moves it meanwhile means the codes of this file too.
    default = bulk.report.get("expires_at", series.expires_at and format_time(series.expires_at))
    rules = replace(rules, default_expires_at=default and datetime.fromisoformat(default))
    file: Any = blocks.KeptFile(bulk)
    rows = islice(read_codes(file, rules, report, place), ROWS_PER_STEP)
    salt = bytes.fromhex(bulk.parameters["salt"])
    staged = importing.stage(_table(bulk), rows, bulk.series_id, salt)
    _keep_faults(code_import, report)
    bulk.done = place.offset
    bulk.report = _stored(report, place, bulk.report.get("staged", 0) + staged)
    bulk.report |= {"is_read": staged < ROWS_PER_STEP, "expires_at": default}
    bulk.save(update_fields=["report", "done"])
    return Step(done=bulk.done, total=bulk.total)


def tidy(bulk: BulkJob) -> None:
    """Forget the file and its rows."""
    blocks.drop(bulk)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {_table(bulk)}")
    CodeImport.objects.filter(
        pk=bulk.parameters["import_id"], state=CodeImport.State.IMPORTING
    ).update(state=CodeImport.State.CANCELLED)


# -- between steps -----------------------------------------------------------------------------


def _table(bulk: BulkJob) -> str:
    return f"rewards_staged_{int(bulk.pk)}"


def _make_table(bulk: BulkJob, *, is_new: bool) -> None:
    with connection.cursor() as cursor:
        if is_new:
            cursor.execute(f"DROP TABLE IF EXISTS {_table(bulk)}")
            cursor.execute(f"CREATE UNLOGGED TABLE {_table(bulk)} {importing.COLUMNS}")


def _restored(bulk: BulkJob) -> Report:
    """The report as the step before left it; the faults it kept are stored already."""
    said = bulk.report
    report = Report()
    if said:
        report.row_count, report.line_count = said["row_count"], said["line_count"]
        report.line_ends = set(said["line_ends"])
        report.stopped_at_line = said["stopped_at_line"]
        report.counts.update(said["counts"])
        report.kept_before = cast("tuple[int, int]", tuple(said["kept"]))
        if said["dialect"]:
            delimiter, has_bom, columns = said["dialect"]
            report.dialect = Dialect(delimiter, has_bom, tuple(columns))
    return report


def _stored(report: Report, place: Place, staged: int) -> dict[str, Any]:
    kept = [report.kept_before[0], report.kept_before[1]]
    for fault in report.faults:
        kept[fault.is_warning] += 1
    return {
        "row_count": report.row_count,
        "line_count": report.line_count,
        "line_ends": sorted(report.line_ends),
        "stopped_at_line": report.stopped_at_line,
        "counts": dict(report.counts),
        "dialect": list(report.dialect) if report.dialect else None,
        "kept": kept,
        "place": asdict(place),
        "staged": staged,
    }


def _keep_faults(code_import: CodeImport, report: Report) -> None:
    ImportFault.objects.bulk_create(
        ImportFault(code_import=code_import, **fault._asdict()) for fault in report.faults
    )


# -- the end -----------------------------------------------------------------------------------


def _verdict(bulk: BulkJob, code_import: CodeImport) -> Step:
    """Take the whole file in, or refuse it, in the last step; or read it again from the start."""
    report = _restored(bulk)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {_table(bulk)}")
        if cursor.fetchone()[0] != bulk.report["staged"]:
            return _begin_anew(bulk, code_import)
    series = Series.objects.with_assets().select_for_update(no_key=True, of=("self",))
    found = series.get(pk=bulk.series_id)
    now = timezone.now()
    _follow_expiry(bulk, found)
    importing.find_duplicates(_table(bulk), found, report)
    importing.find_expired(_table(bulk), now, report)
    _keep_faults(code_import, report)
    is_clean = not report.fault_count
    if is_clean:
        importing.refuse_repeat(found, bytes(code_import.sha256))
        importing.refuse_ended(found, now)
    _describe(code_import, report, is_clean=is_clean)
    told = {"import_id": str(code_import.pk), "codes": code_import.code_count,
            "faults": report.fault_count, "warnings": report.warning_count,
            "counts": dict(report.counts)}  # fmt: skip
    blocks.drop(bulk)
    bulk.done = bulk.total or 0
    if is_clean:
        importing.take_in(found, code_import, bulk.created_by, _table(bulk))
    state = BulkJob.State.DONE if is_clean else BulkJob.State.REFUSED
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {_table(bulk)}")
    bulk.report = {}
    actions.end(bulk, state, **told)
    return Step(done=bulk.done, total=bulk.total, is_last=True)


def _follow_expiry(bulk: BulkJob, series: Series) -> None:
    """Let codes that expire with their series do so still, where it was extended meanwhile."""
    before = bulk.report.get("expires_at")
    if before is None or series.expires_at is None:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {_table(bulk)} SET expires_at = %(now)s"
            " WHERE expires_at = %(before)s AND expires_at < %(now)s",
            {"now": series.expires_at, "before": datetime.fromisoformat(before)},
        )


def _begin_anew(bulk: BulkJob, code_import: CodeImport) -> Step:
    ImportFault.objects.filter(code_import=code_import).delete()
    bulk.report, bulk.done = {}, 0
    bulk.save(update_fields=["report", "done"])
    return Step(done=0, total=bulk.total)


def _describe(code_import: CodeImport, report: Report, *, is_clean: bool) -> None:
    dialect = report.dialect
    code_import.delimiter = dialect.delimiter if dialect else ""
    code_import.has_bom = bool(dialect and dialect.has_bom)
    code_import.line_ends = " ".join(sorted(report.line_ends))
    code_import.row_count = report.row_count
    code_import.code_count = report.row_count if is_clean else 0
    code_import.fault_count = report.fault_count
    code_import.warning_count = report.warning_count
    code_import.counts = dict(report.counts)
    code_import.stopped_at_line = report.stopped_at_line
    imported, refused = CodeImport.State.IMPORTED, CodeImport.State.REFUSED
    code_import.state = imported if is_clean else refused
    code_import.save()
