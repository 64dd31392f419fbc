"""Rules that some assets have of their own: who may own them, and when they may be passed on."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("wallet", "0005_lots"),
    ]

    operations = [
        migrations.CreateModel(
            name="AssetRules",
            fields=[
                (
                    "asset",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="rules",
                        serialize=False,
                        to="wallet.asset",
                    ),
                ),
                (
                    "is_transferable",
                    models.BooleanField(
                        default=True,
                        help_text="No: units stay with whoever got them, and are not traded.",
                    ),
                ),
                (
                    "holding_s",
                    models.IntegerField(
                        default=0,
                        help_text="Units received less than so many seconds ago are not passed on.",
                    ),
                ),
                (
                    "regions",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=6),
                        blank=True,
                        default=list,
                        help_text="Who may get units: DE, or DE-BY. None: everybody.",
                        size=None,
                    ),
                ),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                (
                    "stops_before_s",
                    models.IntegerField(
                        default=0, help_text="Trading ends so many seconds before the units expire."
                    ),
                ),
                ("face_value_minor", models.BigIntegerField(blank=True, null=True)),
                (
                    "face_value_asset",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="wallet.asset",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "asset rules",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("holding_s__range", (0, 31622400)),
                            ("stops_before_s__range", (0, 31622400)),
                        ),
                        name="wallet_assetrules_times",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("regions__len__lte", 300)),
                        name="wallet_assetrules_regions",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("face_value_asset__isnull", True),
                                ("face_value_minor__isnull", True),
                            ),
                            models.Q(
                                ("face_value_asset__isnull", False), ("face_value_minor__gt", 0)
                            ),
                            _connector="OR",
                        ),
                        name="wallet_assetrules_face_value",
                    ),
                ],
            },
        ),
    ]
