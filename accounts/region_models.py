"""Where a person belongs, as somebody established it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q


class Residence(models.Model):
    """The region a person belongs to, and how it is known. A person without a row: unknown.

    People do not set it themselves; `accounts.regions` does, with its source.
    """

    class Source(models.TextChoices):
        DOCUMENT = "document", "an identity document"
        PAYMENT = "payment", "the country of a card or bank account"
        ADDRESS = "address", "a confirmed postal address"
        OPERATOR = "operator", "an operator's word"

    person = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        primary_key=True,
        related_name="residence",
    )
    region = models.CharField(max_length=6, help_text="DE, or DE-BY.")
    source = models.CharField(max_length=10, choices=Source)
    set_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    set_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(region__regex=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$"),
                name="accounts_residence_region",
            )
        ]

    def __str__(self) -> str:
        return self.region
