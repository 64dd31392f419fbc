"""`manage.py jobs`: how the jobs stand, in a terminal."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.core.management.base import BaseCommand

from jobs.health import Report, report
from jobs.models import Job
from jobs.pace import progress_of

ROWS = 20
CLEAR = "\x1b[2J\x1b[H"


class Command(BaseCommand):
    help = "Show queues, running jobs with their leases, and dead ones with their errors."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--watch", action="store_true", help="look again every second")

    def handle(self, *args: Any, watch: bool, **options: Any) -> None:
        try:
            while True:
                text = "\n".join(_lines(report()))
                self.stdout.write((CLEAR if watch else "") + text)
                if not watch:
                    return
                time.sleep(1)
        except KeyboardInterrupt:
            return


def _lines(found: Report) -> Iterator[str]:
    yield from _table(
        ("queue", "due", "later", "oldest s"),
        ((q.name, q.due, q.later, f"{q.oldest_s:.1f}") for q in found.queues),
    )
    silence = found.sweeper_silence_s
    yield (
        f"running {found.running}, paused {found.paused}, stranded {found.stranded}, "
        f"dead {found.dead}; {found.done_per_s} done a second; "
        f"sweeper {'has not run' if silence is None else f'{silence:.1f} s ago'}"
    )
    jobs = Job.objects
    yield from _table(
        ("running", "name", "try", "lease until", "worker", "progress"),
        (
            (j.pk, j.name, j.attempt, f"{j.lease_until:%H:%M:%S}", j.worker, progress_of(j))
            for j in jobs.filter(state=Job.State.RUNNING).order_by("id")[:ROWS]
        ),
    )
    attention = (Job.State.PAUSED, Job.State.STRANDED, Job.State.DEAD)
    yield from _table(
        ("job", "name", "state", "reason", "arguments", "error"),
        (
            (j.pk, j.name, j.get_state_display(), j.reason, _short(j.arguments), _last(j.error))
            for j in jobs.filter(state__in=attention).order_by("-id")[:ROWS]
        ),
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Lay out rows under their heads; nothing if there are none."""
    cells = [[str(cell) for cell in row] for row in rows]
    if not cells:
        return
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    for line in (head, *cells):
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
    yield ""


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _last(error: str) -> str:
    """The line of a traceback that says what it was."""
    return _short(error.strip().rpartition("\n")[2])
