"""`manage.py import_codes SERIES FILE`: take a file of codes into a series, or none of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User
from edge.problems import Refusal
from rewards.importing import CodeFile, Outcome, import_codes
from rewards.reports import Fault, counted

FAULTS_SHOWN = 50


class Command(BaseCommand):
    """Import a file of codes, or check it; ends with 1 when it has faults."""

    help = "Import a CSV or Parquet file of codes into a series: all of it, or a report."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("series", help="the code of the series, as in STADIUM-DRINK")
        parser.add_argument(
            "file", type=Path, help="CSV in UTF-8, or Parquet, with a column `code`"
        )
        parser.add_argument("--owner", help="handle of who gets the units; else the treasury")
        parser.add_argument("--dry-run", action="store_true", help="only check and report")

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"]
        try:
            with file.open("rb") as stream:
                outcome = import_codes(
                    series_code=options["series"],
                    file=CodeFile.offered(stream, file.name),
                    actor=None,
                    owner=named(options["owner"]),
                    is_dry_run=options["dry_run"],
                )
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}") from None
        except Refusal as refusal:
            raise CommandError(told(refusal)) from None
        self._tell(outcome)

    def _tell(self, outcome: Outcome) -> None:
        report = outcome.report
        faults = report.faults
        for fault in faults[:FAULTS_SHOWN]:
            self.stderr.write(line_of(fault))
        hidden = report.fault_count + report.warning_count - len(faults[:FAULTS_SHOWN])
        if hidden:
            self.stderr.write(f"… and {hidden:,} more")
        if not outcome.is_clean:
            raise CommandError(f"{counted(report.fault_count, 'fault')}; nothing was imported")
        if outcome.code_import is None:
            self.stdout.write(f"{counted(report.row_count, 'good code')}; nothing was imported")
        else:
            made = outcome.code_import
            self.stdout.write(
                f"import {made.pk}: {counted(made.code_count, 'code')}, as many units"
            )


def line_of(fault: Fault) -> str:
    """Write a fault on one line, as compilers do."""
    place = f"line {fault.line}" if fault.line else "file"
    kind = "warning" if fault.is_warning else "fault"
    column = f", {fault.column}" if fault.column else ""
    return f"{place}{column}: {kind}: {fault.message}"


def named(handle: str | None) -> User | None:
    """Find an active person by handle; nobody for no handle."""
    if handle is None:
        return None
    person = User.objects.by_handle(handle)
    if person is None:
        raise CommandError(f"there is no person {handle}")
    return person


def told(refusal: Refusal) -> str:
    """Write a refusal on one line."""
    return f"{refusal.title} ({refusal.code}). {refusal.detail}".strip()
