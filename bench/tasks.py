"""What `bench/jobs.py` has the workers do: one row that keeps the time of its insertion."""

from __future__ import annotations

import time

from celery import shared_task
from django.db import connection

from jobs import job

EFFECT = "INSERT INTO bench_effect (number, started_at) VALUES (%s, to_timestamp(%s))"


def leave(number: int) -> None:
    started = time.time()
    with connection.cursor() as cursor:
        cursor.execute(EFFECT, [number, started])


@job("bench.leave", shares_commit=True)
def leave_row(*, number: int) -> None:
    """The trivial effect, as a job."""
    leave(number)


@shared_task(name="bench.plain")  # type: ignore[untyped-decorator]
def plain(number: int) -> None:
    """The same effect as a plain Celery task: lost or doubled when something dies."""
    leave(number)
