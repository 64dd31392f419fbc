"""The one Celery task: run these jobs. And what happens at night in rooms below."""

from __future__ import annotations

import logging
from typing import Any

import psycopg
from celery import Task, shared_task
from celery.exceptions import TimeLimitExceeded
from celery.worker.request import Request
from django.utils import timezone

from edge import idempotency
from edge.database import database_conninfo
from jobs import bell, claims, runner
from jobs.registry import job
from jobs.rules import SLOW_QUEUE, Reason

logger = logging.getLogger(__name__)


class JobRequest(Request):
    """Notes at once, from the worker's parent process, that a child died over a job."""

    def on_failure(
        self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False
    ) -> Any:
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        is_late = isinstance(error, TimeLimitExceeded)
        reason = Reason.TIME_LIMIT if is_late else Reason.KILLED
        self._note(reason, f"the worker's process was ended: {error!r}")
        return super().on_failure(exc_info, send_failed_event, return_ok)

    def _note(self, reason: Reason, error: str) -> None:
        if not self.worker_pid:
            return
        try:
            # A session of its own: children that are forked later must not share it.
            with psycopg.connect(database_conninfo(), connect_timeout=2) as connection:
                claims.lose(connection, self.args[0], self.worker_pid, reason, error)
        except psycopg.Error:
            logger.warning("the sweeper will find what a dead worker left")


class JobTask(Task):
    Request = JobRequest


# Acknowledged when heard: the row is what is kept, and the sweeper rings again.
@shared_task(name=bell.TASK, base=JobTask, acks_late=False, ignore_result=True)  # type: ignore[untyped-decorator]
def run(ids: list[int]) -> None:
    """Run those of these jobs that still wait."""
    runner.run_all(ids)


@job("edge.forget_old_keys", queue=SLOW_QUEUE)
def forget_old_keys() -> int:
    """Empty the partition of idempotency keys that is too old, and say how many there were."""
    return idempotency.forget_old_keys(timezone.now())


@job("jobs.clear_sessions", queue=SLOW_QUEUE, time_limit_s=300)
def clear_sessions() -> None:
    """Remove the sessions of people who have not come back."""
    from django.contrib.sessions.models import Session

    Session.objects.filter(expire_date__lt=timezone.now()).delete()
