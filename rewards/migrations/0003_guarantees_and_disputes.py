"""Guarantees for codes, the money behind each revealed code, and disputes."""

from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

GUARDS = """
CREATE TRIGGER rewards_guarantee_kept BEFORE DELETE ON rewards_guarantee
    FOR EACH ROW EXECUTE FUNCTION edge_refuse_change();
CREATE TRIGGER rewards_guarantee_promised BEFORE UPDATE ON rewards_guarantee
    FOR EACH ROW WHEN ((OLD.series_id, OLD.issuer_id, OLD.asset_id, OLD.refund_minor,
        OLD.window_s, OLD.answer_s, OLD.two_people_over_minor)
        IS DISTINCT FROM (NEW.series_id, NEW.issuer_id, NEW.asset_id, NEW.refund_minor,
        NEW.window_s, NEW.answer_s, NEW.two_people_over_minor) OR OLD.state > NEW.state)
    EXECUTE FUNCTION edge_refuse_change();
CREATE TRIGGER rewards_cover_kept BEFORE DELETE ON rewards_cover
    FOR EACH ROW EXECUTE FUNCTION edge_refuse_change();
-- What was released or refunded stays so; only the transfer that did it may be noted.
CREATE TRIGGER rewards_cover_settled BEFORE UPDATE OF state ON rewards_cover
    FOR EACH ROW WHEN (OLD.state >= 2 AND NEW.state <> OLD.state)
    EXECUTE FUNCTION edge_refuse_change();
CREATE TRIGGER rewards_dispute_kept BEFORE DELETE ON rewards_dispute
    FOR EACH ROW EXECUTE FUNCTION edge_refuse_change();
CREATE TRIGGER rewards_dispute_ended BEFORE UPDATE ON rewards_dispute
    FOR EACH ROW WHEN (OLD.state >= 2) EXECUTE FUNCTION edge_refuse_change();
"""


def first_rules(apps: Any, schema_editor: Any) -> None:
    """Series that were made before assets could have rules of their own."""
    rules = apps.get_model("wallet", "AssetRules")
    for series in apps.get_model("rewards", "Series").objects.all():
        if series.expires_at is not None or series.face_value_minor is not None:
            rules.objects.create(
                asset_id=series.asset_id,
                expires_at=series.expires_at,
                face_value_minor=series.face_value_minor,
                face_value_asset_id=series.face_value_asset_id,
            )


def make_kind(apps: Any, schema_editor: Any) -> None:
    apps.get_model("wallet", "AccountKind").objects.get_or_create(
        code="guarantee",
        defaults={
            "name": "Behind codes", "side": "Liabilities", "is_owned": False, "floor": 0,
        },
    )  # fmt: skip


class Migration(migrations.Migration):
    dependencies = [
        ("rewards", "0002_redemption_and_bulk"),
        ("wallet", "0006_assetrules"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Guarantee",
            fields=[
                (
                    "series",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="guarantee",
                        serialize=False,
                        to="rewards.series",
                    ),
                ),
                (
                    "refund_minor",
                    models.BigIntegerField(help_text="What a holder gets for a code in vain."),
                ),
                (
                    "window_s",
                    models.IntegerField(
                        help_text="How long after its reveal a code may be disputed."
                    ),
                ),
                (
                    "answer_s",
                    models.IntegerField(help_text="How long the issuer has to answer a dispute."),
                ),
                (
                    "two_people_over_minor",
                    models.BigIntegerField(
                        default=5000,
                        help_text="Above this refund, two of our people decide a contested dispute.",
                    ),
                ),
                (
                    "state",
                    models.SmallIntegerField(choices=[(0, "open"), (1, "closed")], default=0),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "asset",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="wallet.asset",
                    ),
                ),
                (
                    "issuer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="guarantees",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Cover",
            fields=[
                (
                    "reveal",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="cover",
                        serialize=False,
                        to="rewards.reveal",
                    ),
                ),
                ("closes_at", models.DateTimeField()),
                (
                    "state",
                    models.SmallIntegerField(
                        choices=[(0, "open"), (1, "disputed"), (2, "released"), (3, "refunded")],
                        default=0,
                    ),
                ),
                (
                    "transfer_id",
                    models.BigIntegerField(help_text="What the money went away by.", null=True),
                ),
                (
                    "guarantee",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="rewards.guarantee",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Dispute",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "request",
                    models.UUIDField(
                        help_text="Digest of person and key: once, for ever.", unique=True
                    ),
                ),
                (
                    "problem",
                    models.CharField(
                        choices=[
                            ("unknown", "the shop does not know the code"),
                            ("used", "the shop says it was used"),
                            ("expired", "the shop says it has expired"),
                            ("refused", "the shop did not take it"),
                            ("other", "something else"),
                        ],
                        max_length=10,
                    ),
                ),
                ("evidence", models.CharField(max_length=2000)),
                ("hold_id", models.BigIntegerField(help_text="The issuer's money, frozen.")),
                (
                    "is_voucher_held",
                    models.BooleanField(help_text="The code could be used until then."),
                ),
                (
                    "state",
                    models.SmallIntegerField(
                        choices=[
                            (0, "asked"),
                            (1, "contested"),
                            (2, "refunded"),
                            (3, "rejected"),
                            (4, "withdrawn"),
                        ],
                        default=0,
                    ),
                ),
                ("opened_at", models.DateTimeField()),
                ("answer_by", models.DateTimeField()),
                ("answered_at", models.DateTimeField(null=True)),
                ("answer", models.CharField(blank=True, max_length=2000)),
                ("proposal", models.CharField(blank=True, max_length=10)),
                ("reason", models.CharField(blank=True, max_length=500)),
                (
                    "end",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("issuer", "the issuer agreed"),
                            ("silence", "the issuer did not answer"),
                            ("holder", "the holder withdrew"),
                            ("support", "our support decided"),
                        ],
                        max_length=10,
                    ),
                ),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "transfer_id",
                    models.BigIntegerField(help_text="What ended the freeze.", null=True),
                ),
                (
                    "cover",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="dispute",
                        to="rewards.cover",
                    ),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "holder",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "proposed_by",
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
                "indexes": [
                    models.Index(fields=["holder", "-id"], name="rewards_dispute_holder"),
                    models.Index(
                        condition=models.Q(("state", 0)),
                        fields=["answer_by"],
                        name="rewards_dispute_due",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("end", ""), ("ended_at__isnull", True), ("state__lt", 2)),
                            models.Q(
                                ("ended_at__isnull", False),
                                ("state__gte", 2),
                                models.Q(("end", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="rewards_dispute_ended",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("decided_by__isnull", True),
                            ("proposed_by__isnull", True),
                            models.Q(("decided_by", models.F("proposed_by")), _negated=True),
                            _connector="OR",
                        ),
                        name="rewards_dispute_four_eyes",
                    ),
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="guarantee",
            constraint=models.CheckConstraint(
                condition=models.Q(("refund_minor__gt", 0), ("two_people_over_minor__gte", 0)),
                name="rewards_guarantee_amounts",
            ),
        ),
        migrations.AddConstraint(
            model_name="guarantee",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("answer_s__range", (60, 2592000)), ("window_s__range", (60, 7776000))
                ),
                name="rewards_guarantee_times",
            ),
        ),
        migrations.AddIndex(
            model_name="cover",
            index=models.Index(
                condition=models.Q(("state__in", (0, 1))),
                fields=["guarantee", "closes_at"],
                name="rewards_cover_due",
            ),
        ),
        migrations.RunPython(make_kind, migrations.RunPython.noop),
        migrations.RunPython(first_rules, migrations.RunPython.noop),
        migrations.RunSQL(GUARDS, migrations.RunSQL.noop),
    ]
