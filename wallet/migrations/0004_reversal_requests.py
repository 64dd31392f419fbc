"""Reversal requests, asked by one and decided by another, and the rights to finance deeds."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import F, Q

FINAL = """
CREATE FUNCTION wallet_refuse_reversal_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state <> 0
        OR (OLD.transfer_id, OLD.reason, OLD.requested_by_id, OLD.requested_at)
        IS DISTINCT FROM (NEW.transfer_id, NEW.reason, NEW.requested_by_id, NEW.requested_at)
    THEN
        RAISE EXCEPTION 'a reversal request is decided once and never changed: % refused', TG_OP
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER decided_once BEFORE UPDATE OR DELETE ON wallet_reversalrequest
    FOR EACH ROW EXECUTE FUNCTION wallet_refuse_reversal_change();
"""
NOT_FINAL = """
DROP TRIGGER decided_once ON wallet_reversalrequest;
DROP FUNCTION wallet_refuse_reversal_change();
"""

DEEDS = [
    ("freeze_account", "May freeze, unfreeze and close accounts and change limits"),
    ("reverse_transfer", "May ask for reversals and decide those that others ask for"),
    ("export_ledger", "May export the books"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("wallet", "0002_seal_released"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ReversalRequest",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("transfer_id", models.BigIntegerField(help_text="The transfer to undo.")),
                ("reason", models.CharField(max_length=500)),
                ("requested_at", models.DateTimeField(auto_now_add=True)),
                (
                    "state",
                    models.SmallIntegerField(
                        choices=[(0, "open"), (1, "approved"), (2, "rejected")], default=0
                    ),
                ),
                ("decided_at", models.DateTimeField(null=True)),
                (
                    "note",
                    models.CharField(blank=True, help_text="Why it was rejected.", max_length=500),
                ),
                (
                    "reversal_id",
                    models.BigIntegerField(help_text="The transfer that undid it.", null=True),
                ),
                (
                    "last_refusal",
                    models.SmallIntegerField(
                        help_text="Why the last approval moved nothing: a Refusal.", null=True
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
                    "requested_by",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "permissions": DEEDS,
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(decided_by__isnull=True) | ~Q(requested_by=F("decided_by")),
                        name="wallet_reversal_four_eyes",
                    ),
                    models.CheckConstraint(
                        condition=Q(state=0, decided_by__isnull=True, decided_at__isnull=True)
                        | Q(state__in=(1, 2), decided_by__isnull=False, decided_at__isnull=False),
                        name="wallet_reversal_decided",
                    ),
                    models.CheckConstraint(
                        condition=Q(state=1, reversal_id__isnull=False)
                        | (~Q(state=1) & Q(reversal_id__isnull=True)),
                        name="wallet_reversal_posted",
                    ),
                    models.UniqueConstraint(
                        fields=["transfer_id"],
                        condition=Q(state__in=(0, 1)),
                        name="wallet_reversal_once",
                    ),
                ],
            },
        ),
        migrations.RunSQL(FINAL, NOT_FINAL),
    ]
