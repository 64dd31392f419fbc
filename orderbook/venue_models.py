"""What the venue keeps beside markets and orders: instructions, limits, switches, its clock."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q


class InstructionQuerySet(models.QuerySet["Instruction"]):
    """Reads of instructions."""

    def waiting(self) -> InstructionQuerySet:
        """Those the writer has not carried out yet, in the order in which they were given."""
        return self.filter(state=Instruction.State.WAITING).order_by("id")


class Instruction(models.Model):
    """What an operator wants done to a market. Its shard's writer does it, and says so here.

    Only the writer changes a market's state, so an instruction is carried out between two
    commands, never beside them, and once: its row changes in the same commit.
    """

    class Deed(models.TextChoices):
        OPEN = "open", "begin its opening auction"
        HALT = "halt", "halt"
        RESUME = "resume", "resume through an auction"
        CALL = "call", "interrupt it by an auction"
        UNCROSS = "uncross", "end its auction now"
        CLOSE = "close", "close for good"
        CANCEL = "cancel", "cancel orders"
        MOVE = "move", "move to another shard"

    class State(models.IntegerChoices):
        WAITING = 0, "waiting"
        DONE = 1, "done"
        REFUSED = 2, "refused"

    market = models.ForeignKey(
        "orderbook.Market", on_delete=models.PROTECT, related_name="instructions"
    )
    deed = models.CharField(max_length=8, choices=Deed)
    arguments = models.JSONField(default=dict)
    reason = models.CharField(max_length=500)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    state = models.SmallIntegerField(choices=State, default=State.WAITING)
    done_count = models.BigIntegerField(default=0, help_text="Orders cancelled by it.")
    outcome = models.CharField(max_length=200, blank=True, default="")
    done_at = models.DateTimeField(null=True, help_text="By the shard's clock.")

    objects = InstructionQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["id"], name="orderbook_instruction_wait", condition=Q(state=0))
        ]

    def __str__(self) -> str:
        return f"{self.deed} {self.pk}"


class TradingLimit(models.Model):
    """The most that one person may have waiting. The row without a person is everybody's.

    Counted on each shard by itself. Empty means no limit of this kind (in a person's own
    row: not everybody's either).
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    most_open_orders = models.IntegerField(null=True, blank=True)
    most_open_notional = models.BigIntegerField(
        null=True, blank=True, help_text="In minor units of each quote asset, both sides together."
    )
    reason = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user"], nulls_distinct=False, name="orderbook_tradinglimit_one"
            ),
            models.CheckConstraint(
                condition=(Q(most_open_orders__isnull=True) | Q(most_open_orders__gte=0))
                & (Q(most_open_notional__isnull=True) | Q(most_open_notional__gte=0)),
                name="orderbook_tradinglimit_amounts",
            ),
        ]

    def __str__(self) -> str:
        return f"limit of user {self.user_id}" if self.user_id else "everybody's limit"


class DeadMansSwitch(models.Model):
    """One API key's promise to be heard from, on one shard: else its orders are cancelled.

    The key's owner raises `renewal`; the shard's writer counts the time by its own clock,
    from when it sees the renewal.
    """

    key = models.ForeignKey("accounts.ApiKey", on_delete=models.CASCADE, related_name="+")
    shard = models.PositiveSmallIntegerField()
    timeout_s = models.IntegerField()
    is_armed = models.BooleanField(default=True)
    renewal = models.BigIntegerField(default=1)
    fired_at = models.DateTimeField(null=True, help_text="By the shard's clock.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["key", "shard"], name="orderbook_deadmansswitch_one"),
            models.CheckConstraint(
                condition=Q(timeout_s__range=(1, 86_400)), name="orderbook_deadmansswitch_time"
            ),
        ]
        indexes = [
            models.Index(
                fields=["shard"], name="orderbook_deadmans_armed", condition=Q(is_armed=True)
            )
        ]

    def __str__(self) -> str:
        return f"switch of key {self.key_id} on shard {self.shard}"


class VenueTime(models.Model):
    """How far a shard's own clock had come when it last did something by it."""

    shard = models.PositiveSmallIntegerField(primary_key=True)
    now_us = models.BigIntegerField(help_text="Microseconds since 1970.")

    def __str__(self) -> str:
        return f"time of shard {self.shard}"
