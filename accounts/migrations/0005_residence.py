"""The region a person belongs to, and how that is known."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_rates"),
    ]

    operations = [
        migrations.CreateModel(
            name="Residence",
            fields=[
                (
                    "person",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="residence",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("region", models.CharField(help_text="DE, or DE-BY.", max_length=6)),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("document", "an identity document"),
                            ("payment", "the country of a card or bank account"),
                            ("address", "a confirmed postal address"),
                            ("operator", "an operator's word"),
                        ],
                        max_length=10,
                    ),
                ),
                ("set_at", models.DateTimeField()),
                (
                    "set_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("region__regex", "^[A-Z]{2}(-[A-Z0-9]{1,3})?$")),
                        name="accounts_residence_region",
                    )
                ],
            },
        ),
    ]
