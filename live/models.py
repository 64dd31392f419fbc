"""Events waiting to be told, and how far the relay has told them."""

from __future__ import annotations

from django.db import models


class OutboxEvent(models.Model):
    """Something that happened, written in the transaction that made it so.

    The table is cut by day of `created_at`; told days are dropped (`live/days.py`). Ids
    come from one sequence. Rows are written by `live.outbox.record` alone.
    """

    id = models.BigIntegerField(primary_key=True)
    topic = models.CharField(max_length=80)
    key = models.CharField(max_length=80)
    payload = models.BinaryField(help_text="One JSON value.")
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.topic} #{self.pk}"


class Relay(models.Model):
    """How far the relay has come: a single row, number 1."""

    id = models.SmallIntegerField(primary_key=True)
    position = models.BigIntegerField(default=0, help_text="Every event up to it was told.")
    is_asleep = models.BooleanField(default=False, help_text="Wants a NOTIFY for the next event.")
    heartbeat_at = models.DateTimeField(null=True)
    lag_events = models.BigIntegerField(default=0, help_text="Not told yet; at most so many.")
    lag_ms = models.FloatField(default=0.0, help_text="Age of the oldest that is not told.")

    def __str__(self) -> str:
        return f"relay at {self.position}"
