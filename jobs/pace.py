"""How far a long job has come, how fast it goes, and when it will be there."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from jobs.models import Job


def rate_per_s(job: Job) -> float | None:
    """What is done a second since it began, the waits between its turns included; None if
    nobody works on it."""
    if job.state not in (Job.State.QUEUED, Job.State.RUNNING) or job.began_at is None:
        return None
    seconds = (timezone.now() - job.began_at).total_seconds()
    return (job.done - job.done_at_start) / max(seconds, 0.001)


def time_left(job: Job) -> timedelta | None:
    """How long it will take at this rate; None if nobody can say."""
    rate = rate_per_s(job)
    if not rate or job.total is None:
        return None
    return timedelta(seconds=round((job.total - job.done) / rate))


def progress_of(job: Job) -> str:
    """All of it in words: "1200 of 5000, 300.0/s, 0:00:13 left"; "" before the first step."""
    if not job.done and job.total is None:
        return ""
    words = f"{job.done} of {job.total}" if job.total is not None else str(job.done)
    if rate := rate_per_s(job):
        words += f", {rate:.1f}/s"
    left = time_left(job)
    return f"{words}, {left} left" if left is not None else words
