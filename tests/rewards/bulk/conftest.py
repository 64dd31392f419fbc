"""Work in steps, done in this process or in one that is killed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.db import connection, transaction

from jobs.models import Job
from jobs.runner import run_one
from rewards.actions import SeriesTerms, create_series
from rewards.bulk import steps
from rewards.models import BulkJob, Series
from tests.rewards.conftest import code_keys
from tests.rewards.redemption.conftest import Till, make_till

__all__ = ["code_keys"]
SOON = datetime(2127, 1, 31, tzinfo=UTC)


@pytest.fixture
def till(db: None) -> Till:
    return make_till()


def create_sun() -> Series:
    """A series with a pattern whose codes expire soon, unless they say otherwise."""
    terms = SeriesTerms(code="SUN", title="A day in the sun", issuer_name="Fan shop",
                        expires_at=SOON, code_pattern="SUN-####-####*")  # fmt: skip
    return create_series(terms, actor=None)


def run(bulk: BulkJob) -> BulkJob:
    """Do all its steps, each in a transaction, as the job does."""
    is_last = False
    while not is_last:
        with transaction.atomic():
            is_last = steps.step(bulk.pk).is_last
    bulk.refresh_from_db()
    return bulk


def run_job(bulk: BulkJob) -> BulkJob:
    """Let a worker of this process do the job."""
    assert bulk.job_id is not None
    run_one(bulk.job_id)
    bulk.refresh_from_db()
    return bulk


def job_of(bulk: BulkJob) -> Job:
    return Job.objects.get(pk=bulk.job_id or 0)


def tables() -> Iterator[str]:
    """The tables of rows that wait."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relname LIKE 'rewards_staged_%'")
        yield from (name for (name,) in cursor.fetchall())
