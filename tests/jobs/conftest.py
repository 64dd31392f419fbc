"""A table for effects, the jobs of `work.py`, and looks into the database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from jobs import bell
from jobs.models import Job
from tests.jobs import work


@pytest.fixture
def effects(transactional_db: None) -> Iterator[None]:
    """An empty table of effects, in a database where commits are real."""
    with connection.cursor() as cursor:
        cursor.execute(work.TABLE)
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE effects")


@pytest.fixture
def rings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[int]]]:
    """What was rung, instead of ringing it."""
    heard: list[tuple[str, list[int]]] = []

    def ring(queue: str, ids: Any, *, limit_s: int) -> bool:
        heard.append((queue, list(ids)))
        return True

    monkeypatch.setattr(bell, "ring", ring)
    return heard


def left() -> list[tuple[int, str]]:
    """The effects so far."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT number, what FROM effects ORDER BY number, what")
        return [tuple(row) for row in cursor.fetchall()]


def the_job(job_id: int) -> Job:
    return Job.objects.get(pk=job_id)
