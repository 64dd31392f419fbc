"""Starting work on many codes, pausing it, letting it go on, giving it up.

The work itself is a job in steps (`rewards/bulk/steps.py`); each step commits with its
progress, so whatever dies, the next worker goes on after the last one.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from edge import audit
from edge.problems import Refusal
from jobs import control, enqueue
from jobs.models import Job
from jobs.problems import NotPossible
from rewards.actions import checked_reason
from rewards.events import announce
from rewards.importing import SeriesUnknown
from rewards.models import BulkJob, Series

JOB = "rewards.bulk"
MOST_OPEN = 20
"""Pieces of work on one series that wait or run at the same time."""


class BulkJobUnknown(Refusal):
    """No work has this id."""

    code = "bulk_job_unknown"
    title = "There is no such job"
    status = 404


class BulkJobEnded(Refusal):
    """The work is done or given up."""

    code = "bulk_job_ended"
    title = "The job has ended"
    status = 409


class TooManyJobs(Refusal):
    """So much work waits for this series that more would only wait longer."""

    code = "too_many_jobs"
    title = f"The series has {MOST_OPEN} jobs that have not ended"
    status = 409


def start(
    kind: str,
    series_code: str,
    parameters: dict[str, Any],
    *,
    actor: User | None,
    total: int | None = None,
    reason: str = "",
) -> BulkJob:
    """Write a piece of work down and enqueue it; the caller has checked its parameters."""
    with transaction.atomic():
        bulk = prepare(kind, series_code, parameters, actor=actor, total=total, reason=reason)
        return launch(bulk)


def prepare(
    kind: str,
    series_code: str,
    parameters: dict[str, Any],
    *,
    actor: User | None,
    total: int | None = None,
    reason: str = "",
) -> BulkJob:
    """Write a piece of work down, to be enqueued in the same transaction by `launch`."""
    series = Series.objects.with_assets().filter(asset__code=series_code).first()
    if series is None:
        raise SeriesUnknown
    if BulkJob.objects.filter(series=series, state=BulkJob.State.OPEN).count() >= MOST_OPEN:
        raise TooManyJobs
    bulk = BulkJob.objects.create(
        kind=kind,
        series=series,
        parameters=parameters,
        total=total,
        reason=reason,
        created_by=actor,
    )
    audit.record(
        actor=actor,
        action=f"rewards.start_{kind}",
        object_type="bulk_job",
        object_id=bulk.pk,
        reason=reason,
        after={"series": series_code, **parameters},
    )
    return bulk


def launch(bulk: BulkJob) -> BulkJob:
    """Let the work begin once this transaction commits."""
    bulk.job_id = enqueue(JOB, {"bulk_job_id": bulk.pk})
    bulk.save(update_fields=["job_id"])
    return bulk


def end(bulk: BulkJob, state: str, **report: Any) -> None:
    """Note what came of a piece of work, in the transaction of its last step; last in it."""
    bulk.state = state
    bulk.ended_at = timezone.now()
    bulk.report |= report
    bulk.save(update_fields=["state", "ended_at", "report", "done", "total"])
    code = bulk.series.code
    announce("bulk_job_ended", code, series=code, bulk_job_id=str(bulk.pk), work=bulk.kind,
             state=state)  # fmt: skip


# -- what people do with it ----------------------------------------------------------------


def pause(bulk_job_id: int, *, actor: User, reason: str) -> BulkJob:
    """Hold work up after the step it is at."""
    return _control(bulk_job_id, control.pause, actor, reason)


def resume(bulk_job_id: int, *, actor: User, reason: str) -> BulkJob:
    """Let paused work go on after its last step."""
    return _control(bulk_job_id, control.resume, actor, reason)


def retry(bulk_job_id: int, *, actor: User, reason: str) -> BulkJob:
    """Let work whose attempts are used up try again, after its last step."""
    return _control(bulk_job_id, control.retry, actor, reason)


def _control(bulk_job_id: int, deed: Any, actor: User, reason: str) -> BulkJob:
    reason = checked_reason(reason)
    with transaction.atomic():
        bulk = locked(bulk_job_id)
        if bulk.state != BulkJob.State.OPEN or bulk.job_id is None:
            raise BulkJobEnded
        deed([bulk.job_id], actor=actor, reason=reason)
    return bulk


def cancel(bulk_job_id: int, *, actor: User, reason: str) -> BulkJob:
    """Give work up. What its steps have done stays done; a file in part is taken in not at all."""
    reason = checked_reason(reason)
    with transaction.atomic():
        bulk = locked(bulk_job_id)
        if bulk.state != BulkJob.State.OPEN or bulk.job_id is None:
            raise BulkJobEnded
        bulk.state = BulkJob.State.CANCELLED
        bulk.ended_at = timezone.now()
        bulk.save(update_fields=["state", "ended_at"])
        audit.record(
            actor=actor,
            action="rewards.cancel_bulk_job",
            object_type="bulk_job",
            object_id=bulk.pk,
            reason=reason,
        )
        _let_tidy(bulk, actor, reason)
    return bulk


def _let_tidy(bulk: BulkJob, actor: User, reason: str) -> None:
    """See that a step comes that finds the work given up and tidies up after it.

    A paused job has to be let go for that. One that is dead brings no step, and one that is at
    work may be at its last attempt: then a new job does.
    """
    job = Job.objects.filter(pk=bulk.job_id or 0).first()
    if job is not None and job.state == Job.State.PAUSED:
        with suppress(NotPossible):
            control.resume([job.pk], actor=actor, reason=reason)
    elif job is None or job.state != Job.State.QUEUED:
        launch(bulk)


def locked(bulk_job_id: int) -> BulkJob:
    """Lock a piece of work: its step and what people do with it wait for each other."""
    found = (
        BulkJob.objects.select_related("series__asset", "series__face_value_asset", "created_by")
        .select_for_update(no_key=True, of=("self",))
        .filter(pk=bulk_job_id)
        .first()
    )
    if found is None:
        raise BulkJobUnknown
    return found


def state_of(bulk: BulkJob) -> str:
    """Say where work stands: its own end, or where its job is."""
    if bulk.state != BulkJob.State.OPEN:
        return bulk.state
    job = Job.objects.filter(pk=bulk.job_id or 0).first()
    return Job.State(job.state).label if job else "queued"
