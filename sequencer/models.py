"""What the writers leave in PostgreSQL: one row per shard, and the commands set aside."""

from __future__ import annotations

from django.db import models


class Shard(models.Model):
    """One line of commands, applied by one writer at a time.

    The writer updates this row in every commit, on the condition that `epoch` is still
    its own: a writer that was replaced cannot commit any more.
    """

    class State(models.TextChoices):
        STOPPED = "stopped"
        LOADING = "loading"
        RUNNING = "running"

    id = models.PositiveSmallIntegerField(primary_key=True)
    epoch = models.BigIntegerField(default=0, help_text="Grows each time a writer takes over.")
    state = models.CharField(max_length=10, choices=State, default=State.STOPPED)
    position = models.CharField(
        max_length=60, blank=True, default="", help_text="Last command done, in the stream."
    )
    heartbeat_at = models.DateTimeField(null=True)
    batches = models.BigIntegerField(default=0)
    commands = models.BigIntegerField(default=0)
    last_batch_size = models.IntegerField(default=0)
    last_commit_ms = models.FloatField(default=0.0, help_text="Of the batch before the last.")

    def __str__(self) -> str:
        return f"shard {self.pk}"


class DeadLetter(models.Model):
    """A command that no engine could decide: answered 500, kept here with its error."""

    command_id = models.CharField(max_length=36, unique=True)
    shard = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=40)
    user_id = models.BigIntegerField()
    key_id = models.BigIntegerField(null=True)
    sent_at = models.DateTimeField()
    body = models.BinaryField()
    error = models.TextField(help_text="The traceback.")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.kind} {self.command_id}"
