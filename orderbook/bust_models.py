"""Trades that are undone: asked for by one of our people, approved by another."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q


class Bust(models.Model):
    """One trade that somebody asks to undo. Approved, its fill is busted for ever.

    Fills themselves never change; who reads one looks here.
    """

    class State(models.IntegerChoices):
        OPEN = 0, "open"
        APPROVED = 1, "approved"
        REJECTED = 2, "rejected"

    fill_id = models.BigIntegerField()
    market = models.ForeignKey(
        "orderbook.Market", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    reason = models.CharField(max_length=500)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    requested_at = models.DateTimeField(auto_now_add=True)
    state = models.SmallIntegerField(choices=State, default=State.OPEN)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    decided_at = models.DateTimeField(null=True)
    note = models.CharField(max_length=500, blank=True, help_text="Why it was rejected.")
    reversal_ids = ArrayField(models.BigIntegerField(), default=list)
    last_refusal = models.CharField(
        max_length=40, blank=True, help_text="Why the last approval moved nothing."
    )

    class Meta:
        permissions = [("bust_trade", "May ask that trades be undone, and approve what others ask")]
        constraints = [
            models.UniqueConstraint(
                fields=["fill_id"], condition=Q(state__in=(0, 1)), name="orderbook_bust_once"
            ),
            models.CheckConstraint(
                condition=Q(decided_by__isnull=True) | ~Q(requested_by=F("decided_by")),
                name="orderbook_bust_four_eyes",
            ),
            models.CheckConstraint(
                condition=Q(state=0, decided_by__isnull=True, decided_at__isnull=True)
                | Q(state__in=(1, 2), decided_by__isnull=False, decided_at__isnull=False),
                name="orderbook_bust_decided",
            ),
            models.CheckConstraint(
                condition=Q(state=1, reversal_ids__len__gte=2)
                | (~Q(state=1) & Q(reversal_ids__len=0)),
                name="orderbook_bust_reversed",
            ),
        ]

    def __str__(self) -> str:
        return f"bust of trade {self.fill_id}"
