"""Units on their way from one person to another."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q


class Present(models.Model):
    """Vouchers somebody wants to give to a friend: set aside until accepted or declined."""

    class State(models.TextChoices):
        OPEN = "open"
        ACCEPTED = "accepted"
        DECLINED = "declined"
        CANCELLED = "cancelled"

    series = models.ForeignKey("rewards.Series", on_delete=models.PROTECT, db_index=False)
    giver = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, db_index=False, related_name="+"
    )
    receiver = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, db_index=False, related_name="+"
    )
    amount = models.BigIntegerField()
    message = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    request = models.UUIDField(unique=True, help_text="Digest of person, address and key.")
    hold_id = models.BigIntegerField(null=True, help_text="What sets the units aside.")
    expires_at = models.DateTimeField()
    made_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="rewards_present_amount"),
            models.CheckConstraint(
                condition=~Q(giver=F("receiver")), name="rewards_present_to_another"
            ),
        ]
        indexes = [
            models.Index(fields=["receiver", "-id"], name="rewards_present_receiver"),
            models.Index(fields=["giver", "-id"], name="rewards_present_giver"),
        ]

    def __str__(self) -> str:
        return f"present #{self.pk}"
