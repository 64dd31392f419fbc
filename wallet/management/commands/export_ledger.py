"""`manage.py export_ledger`: finance's files, written whole or not at all."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from edge.problems import Refusal
from wallet.exports import EXPORTS, Export, Scope
from wallet.models import Asset

REPORT_EVERY_S = 1.0


class Command(BaseCommand):
    """Writes an export to a file, or to standard output."""

    help = (
        "Write a file for finance. Dates are days in UTC (2026-01-31, from its first moment to "
        "its last) or moments with their zone (2026-01-31T17:00:00+01:00, --to is exclusive)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("export", choices=sorted(EXPORTS), help="which file")
        parser.add_argument("--from", dest="start", help="first day or moment (all, if missing)")
        parser.add_argument("--to", dest="end", help="last day, or the moment after (now)")
        parser.add_argument("--asset", help="code of one asset (all)")
        parser.add_argument("--account", type=int, help="id of one account")
        parser.add_argument(
            "--out", help="file or folder to write (its own name, here); - is stdout"
        )
        parser.add_argument("--by-account", action="store_true", help="list accounts one by one")
        parser.add_argument(
            "--effective", action="store_true", help="count transfers on their effective date"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Parse, then stream the export into its place."""
        export = EXPORTS[options["export"]]
        scope = _scope(options)
        progress = _Progress(self.stderr.write)
        try:
            chunks = export.stream(scope, progress.rows_read)
            if options["out"] == "-":
                sys.stdout.buffer.writelines(chunks)
                place = "standard output"
            else:
                place = str(_write(chunks, _target(options["out"], export, scope)))
        except Refusal as refusal:
            raise CommandError(str(refusal)) from None
        except OSError as error:
            raise CommandError(f"The file cannot be written: {error}") from None
        except DatabaseError as error:
            raise CommandError(f"The database did not answer: {error}") from None
        except RuntimeError as error:
            # The books do not balance: the sentence says where.
            raise CommandError(str(error)) from None
        self.stderr.write(f"{export.title}: {progress.row_count} rows read, in {place}")


class _Progress:
    """Says on stderr, once a second at most, how many rows were read and how fast."""

    def __init__(self, say: Any) -> None:
        self.row_count = 0
        self._say = say
        self._started = self._said = time.monotonic()

    def rows_read(self, row_count: int) -> None:
        self.row_count = row_count
        now = time.monotonic()
        if now - self._said >= REPORT_EVERY_S:
            self._said = now
            self._say(f"{row_count} rows, {row_count / (now - self._started):.0f} a second")


def _scope(options: dict[str, Any]) -> Scope:
    return Scope(
        start=None if options["start"] is None else _moment(options["start"], is_end=False),
        end=datetime.now(UTC) if options["end"] is None else _moment(options["end"], is_end=True),
        asset_id=None if options["asset"] is None else _asset_id(options["asset"]),
        account_id=options["account"],
        by_effective_date=options["effective"],
        by_account=options["by_account"],
    )


def _moment(text: str, *, is_end: bool) -> datetime:
    """Read a day or a moment. A day that ends a period is in the period as a whole."""
    try:
        if len(text) == len("2026-01-31"):
            day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            return day + timedelta(days=1) if is_end else day
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise CommandError(f"{text!r} is neither a day like 2026-01-31 nor a moment.") from None
    if moment.tzinfo is None:
        raise CommandError(f"{text!r} needs its time zone: 2026-01-31T17:00:00+01:00.")
    return moment


def _asset_id(code: str) -> int:
    asset = Asset.objects.filter(code=code).first()
    if asset is None:
        raise CommandError(f"There is no asset {code!r}.")
    return asset.pk


def _target(out: str | None, export: Export, scope: Scope) -> Path:
    path = Path(out or ".")
    return path / export.filename(scope) if path.is_dir() else path


def _write(chunks: Iterator[bytes], target: Path) -> Path:
    """Write beside the target and rename at the end: nobody ever sees half a file."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        unfinished.chmod(0o640)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return target
