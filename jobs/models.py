"""A job: what is to be done, by when, and how far it has come."""

from __future__ import annotations

from datetime import datetime

from django.db import models

from edge.ids import time_of
from jobs import rules


class Job(models.Model):
    """One piece of work. Rows are written by `jobs/claims.py` and `jobs/actions.py` alone.

    The table is cut by day of the id; days whose jobs have ended are dropped
    (`jobs/days.py`). docs/decisions/0010-jobs.md says how it is laid out.
    """

    class State(models.IntegerChoices):
        QUEUED = rules.State.QUEUED, "queued"
        RUNNING = rules.State.RUNNING, "running"
        PAUSED = rules.State.PAUSED, "paused"
        STRANDED = rules.State.STRANDED, "stranded"
        DONE = rules.State.DONE, "done"
        DEAD = rules.State.DEAD, "dead"
        CANCELLED = rules.State.CANCELLED, "cancelled"

    id = models.BigIntegerField(primary_key=True)
    name = models.CharField(max_length=100)
    version = models.SmallIntegerField(help_text="Of the declaration that wrote the arguments.")
    queue = models.CharField(max_length=40)
    arguments = models.JSONField()
    state = models.SmallIntegerField(choices=State)
    wish = models.SmallIntegerField(default=0, help_text="1 pause, 2 cancel: at the next step.")
    reason = models.CharField(max_length=40, blank=True)
    error = models.TextField(blank=True)
    attempt = models.SmallIntegerField(default=0)
    most_attempts = models.SmallIntegerField()
    backoff_s = models.IntegerField()
    time_limit_s = models.IntegerField()
    due_at = models.DateTimeField()
    rung_at = models.DateTimeField(null=True, help_text="When a worker was last told of it.")
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    fence = models.IntegerField(default=0, help_text="Grows with each claim; checked at the end.")
    session = models.IntegerField(default=0, help_text="PostgreSQL's number of the session.")
    worker = models.CharField(max_length=80, blank=True, help_text="Host and process.")
    unique_key = models.CharField(max_length=rules.LONGEST_KEY, blank=True)
    point = models.CharField(max_length=80, blank=True, help_text="Last recovery point.")
    progress = models.JSONField(default=dict, help_text="What the steps so far left behind.")
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(null=True)
    done_at_start = models.BigIntegerField(default=0, help_text="`done` when it began.")
    began_at = models.DateTimeField(
        null=True, help_text="Since when it goes on, turn after turn, without a break."
    )

    class Meta:
        verbose_name = "job"

    def __str__(self) -> str:
        return f"{self.name} #{self.pk}"

    @property
    def created_at(self) -> datetime:
        """When it was enqueued; the id knows."""
        return time_of(self.pk)


class UniqueKey(models.Model):
    """The key of a job that has not ended: a second job under it is not made."""

    key = models.CharField(max_length=rules.LONGEST_KEY, primary_key=True)
    job_id = models.BigIntegerField()

    def __str__(self) -> str:
        return self.key


class Tick(models.Model):
    """When a periodic entry last became a job, so that two beats make one."""

    entry = models.CharField(max_length=200, primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.entry} at {self.at}"


class Tally(models.Model):
    """How many jobs of a name have ended so, after such a wait and such a time of work.

    Only ever grows; the sweeper counts (`jobs/tally.py`), for metrics.
    """

    name = models.CharField(max_length=100)
    state = models.SmallIntegerField()
    wait_step = models.SmallIntegerField(help_text="How long it waited: jobs/tally.py")
    work_step = models.SmallIntegerField(help_text="How long it took: jobs/tally.py")
    jobs = models.BigIntegerField()
    attempts = models.BigIntegerField()
    wait_s = models.FloatField()
    work_s = models.FloatField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["name", "state", "wait_step", "work_step"], name="jobs_tally_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.jobs} of {self.name}"


class Sweeper(models.Model):
    """The sweeper's sign of life and its counts: a single row, number 1."""

    id = models.SmallIntegerField(primary_key=True)
    heartbeat_at = models.DateTimeField(null=True)
    rung = models.BigIntegerField(default=0, help_text="Jobs rung again so far.")
    returned = models.BigIntegerField(default=0, help_text="Jobs taken back so far.")
    tallied_until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"sweeper at {self.heartbeat_at}"
