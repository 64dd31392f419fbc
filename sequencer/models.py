"""What the sequencer keeps in PostgreSQL: a row per shard, commands set aside, waiting rooms."""

from __future__ import annotations

import secrets

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone


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


def new_seed() -> str:
    """What a room's lots are drawn from; who knows it knows the order, so it is shown nowhere."""
    return secrets.token_hex(32)


class WaitingRoom(models.Model):
    """A waiting room before an announced drop; see `sequencer.waiting_room`.

    From `opens_at` on it gives tickets and guards its market or prefix; from `starts_at` on
    it gives passes. Gateways follow this table within a second.
    """

    name = models.SlugField(
        max_length=60, unique=True, help_text="In its address on the site and the API."
    )
    title = models.CharField(max_length=120, help_text="What people wait for, in their words.")
    opens_at = models.DateTimeField(default=timezone.now)
    starts_at = models.DateTimeField(help_text="Before it lots are drawn, after it people queue.")
    passes_per_minute = models.PositiveIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(1_000_000)]
    )
    pass_life_s = models.PositiveIntegerField(
        "life of a pass in seconds",
        default=600,
        validators=[MinValueValidator(10), MaxValueValidator(86_400)],
    )
    market = models.CharField(
        max_length=60, blank=True, help_text="Orders on the market of this code need a pass."
    )
    path_prefix = models.CharField(
        max_length=120,
        blank=True,
        validators=[RegexValidator(r"^/api/v1/[!-~]*\Z", "An address of the API.")],
        help_text="Commands at addresses that begin so need a pass.",
    )
    seed = models.CharField(max_length=64, default=new_seed, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(opens_at__lte=F("starts_at")),
                name="sequencer_room_opens_first",
                violation_error_message="A room opens before it starts.",
            ),
            models.CheckConstraint(
                condition=Q(passes_per_minute__gte=1, passes_per_minute__lte=1_000_000)
                & Q(pass_life_s__gte=10, pass_life_s__lte=86_400),
                name="sequencer_room_rate",
            ),
        ]

    def __str__(self) -> str:
        return self.name
