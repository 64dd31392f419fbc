"""Markets go by the rules of the units they trade, and trades can be undone."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# A market's rules are partly its asset's: a change of those is a change of the market, which
# its own trigger then numbers, so that the writer takes it over with the next batch.
TOUCH = """
CREATE FUNCTION orderbook_touch_markets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE orderbook_market SET revision = revision WHERE base_asset_id = NEW.asset_id;
    RETURN NULL;
END $$;
CREATE TRIGGER touch_markets AFTER INSERT OR UPDATE ON wallet_assetrules
    FOR EACH ROW EXECUTE FUNCTION orderbook_touch_markets();
CREATE TRIGGER orderbook_bust_decided BEFORE UPDATE ON orderbook_bust
    FOR EACH ROW WHEN (OLD.state <> 0) EXECUTE FUNCTION edge_refuse_change();
CREATE TRIGGER orderbook_bust_kept BEFORE DELETE ON orderbook_bust
    FOR EACH ROW EXECUTE FUNCTION edge_refuse_change();
"""
UNTOUCH = """
DROP TRIGGER touch_markets ON wallet_assetrules;
DROP FUNCTION orderbook_touch_markets();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("orderbook", "0005_special_orders"),
        ("wallet", "0006_assetrules"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Bust",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("fill_id", models.BigIntegerField()),
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
                    "reversal_ids",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), default=list, size=None
                    ),
                ),
                (
                    "last_refusal",
                    models.CharField(
                        blank=True, help_text="Why the last approval moved nothing.", max_length=40
                    ),
                ),
            ],
            options={
                "permissions": [
                    ("bust_trade", "May ask that trades be undone, and approve what others ask")
                ],
            },
        ),
        migrations.AddField(
            model_name="market",
            name="minimum_life_s",
            field=models.IntegerField(
                default=0,
                help_text="Trading ends so many seconds before the units expire, at least.",
            ),
        ),
        migrations.AddConstraint(
            model_name="market",
            constraint=models.CheckConstraint(
                condition=models.Q(("minimum_life_s__range", (0, 31622400))),
                name="orderbook_market_minimum_life",
            ),
        ),
        migrations.AddField(
            model_name="bust",
            name="decided_by",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="bust",
            name="market",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="orderbook.market",
            ),
        ),
        migrations.AddField(
            model_name="bust",
            name="requested_by",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddConstraint(
            model_name="bust",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", (0, 1))),
                fields=("fill_id",),
                name="orderbook_bust_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="bust",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("decided_by__isnull", True),
                    models.Q(("requested_by", models.F("decided_by")), _negated=True),
                    _connector="OR",
                ),
                name="orderbook_bust_four_eyes",
            ),
        ),
        migrations.AddConstraint(
            model_name="bust",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("decided_at__isnull", True), ("decided_by__isnull", True), ("state", 0)
                    ),
                    models.Q(
                        ("decided_at__isnull", False),
                        ("decided_by__isnull", False),
                        ("state__in", (1, 2)),
                    ),
                    _connector="OR",
                ),
                name="orderbook_bust_decided",
            ),
        ),
        migrations.AddConstraint(
            model_name="bust",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("reversal_ids__len__gte", 2), ("state", 1)),
                    models.Q(models.Q(("state", 1), _negated=True), ("reversal_ids__len", 0)),
                    _connector="OR",
                ),
                name="orderbook_bust_reversed",
            ),
        ),
        migrations.RunSQL(TOUCH, UNTOUCH),
    ]
