"""The rules that some assets have of their own: see `wallet.ownership_rules`."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from wallet.ownership_rules import LONGEST_HOLDING_S, MOST_REGIONS, Ownership


class AssetRules(models.Model):
    """Who may own an asset, how long units are held back, until when they are traded.

    Rooms that make assets (voucher series) write them by `wallet.ownership.set_rules`; rooms
    that move them read them. An asset without a row is free.
    """

    asset = models.OneToOneField(
        "wallet.Asset", on_delete=models.PROTECT, primary_key=True, related_name="rules"
    )
    is_transferable = models.BooleanField(
        default=True, help_text="No: units stay with whoever got them, and are not traded."
    )
    holding_s = models.IntegerField(
        default=0, help_text="Units received less than so many seconds ago are not passed on."
    )
    regions = ArrayField(
        models.CharField(max_length=6),
        default=list,
        blank=True,
        help_text="Who may get units: DE, or DE-BY. None: everybody.",
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    stops_before_s = models.IntegerField(
        default=0, help_text="Trading ends so many seconds before the units expire."
    )
    face_value_minor = models.BigIntegerField(null=True, blank=True)
    face_value_asset = models.ForeignKey(
        "wallet.Asset",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )

    class Meta:
        verbose_name_plural = "asset rules"
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    holding_s__range=(0, LONGEST_HOLDING_S),
                    stops_before_s__range=(0, LONGEST_HOLDING_S),
                ),
                name="wallet_assetrules_times",
            ),
            models.CheckConstraint(
                condition=Q(regions__len__lte=MOST_REGIONS), name="wallet_assetrules_regions"
            ),
            models.CheckConstraint(
                condition=Q(face_value_minor__isnull=True, face_value_asset__isnull=True)
                | Q(face_value_minor__gt=0, face_value_asset__isnull=False),
                name="wallet_assetrules_face_value",
            ),
        ]

    def __str__(self) -> str:
        return f"rules of asset {self.asset_id}"

    @property
    def ownership(self) -> Ownership:
        """The rules as the pure modules take them."""
        return Ownership(
            is_transferable=self.is_transferable,
            holding_s=self.holding_s,
            regions=frozenset(self.regions),
            expires_s=int(self.expires_at.timestamp()) if self.expires_at else 0,
            stops_before_s=self.stops_before_s,
        )
