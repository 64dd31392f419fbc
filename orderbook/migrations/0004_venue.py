"""The venue: states, auctions, bands, instructions, limits, switches, a clock."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

EVERYBODY = """
INSERT INTO orderbook_tradinglimit (user_id, most_open_orders, most_open_notional, reason)
VALUES (NULL, 100000, NULL, 'as installed')
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_rates"),
        ("orderbook", "0003_open_orders_of_user"),
        ("wallet", "0005_lots"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="DeadMansSwitch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("shard", models.PositiveSmallIntegerField()),
                ("timeout_s", models.IntegerField()),
                ("is_armed", models.BooleanField(default=True)),
                ("renewal", models.BigIntegerField(default=1)),
                ("fired_at", models.DateTimeField(help_text="By the shard's clock.", null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Instruction",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "deed",
                    models.CharField(
                        choices=[
                            ("open", "begin its opening auction"),
                            ("halt", "halt"),
                            ("resume", "resume through an auction"),
                            ("call", "interrupt it by an auction"),
                            ("uncross", "end its auction now"),
                            ("close", "close for good"),
                            ("cancel", "cancel orders"),
                            ("move", "move to another shard"),
                        ],
                        max_length=8,
                    ),
                ),
                ("arguments", models.JSONField(default=dict)),
                ("reason", models.CharField(max_length=500)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "state",
                    models.SmallIntegerField(
                        choices=[(0, "waiting"), (1, "done"), (2, "refused")], default=0
                    ),
                ),
                (
                    "done_count",
                    models.BigIntegerField(default=0, help_text="Orders cancelled by it."),
                ),
                ("outcome", models.CharField(blank=True, default="", max_length=200)),
                ("done_at", models.DateTimeField(help_text="By the shard's clock.", null=True)),
            ],
        ),
        migrations.CreateModel(
            name="TradingLimit",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("most_open_orders", models.IntegerField(blank=True, null=True)),
                (
                    "most_open_notional",
                    models.BigIntegerField(
                        blank=True,
                        help_text="In minor units of each quote asset, both sides together.",
                        null=True,
                    ),
                ),
                ("reason", models.CharField(blank=True, default="", max_length=500)),
            ],
        ),
        migrations.CreateModel(
            name="VenueTime",
            fields=[
                ("shard", models.PositiveSmallIntegerField(primary_key=True, serialize=False)),
                ("now_us", models.BigIntegerField(help_text="Microseconds since 1970.")),
            ],
        ),
        migrations.AddField(
            model_name="fill",
            name="is_auction",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="market",
            name="auction_s",
            field=models.IntegerField(
                default=0, help_text="How long an auction gathers orders; 0: it ends at once."
            ),
        ),
        migrations.AddField(
            model_name="market",
            name="closes_at",
            field=models.DateTimeField(
                blank=True, help_text="When it cancels its orders and closes for good.", null=True
            ),
        ),
        migrations.AddField(
            model_name="market",
            name="dynamic_band_bps",
            field=models.IntegerField(
                default=0, help_text="How far from the last trade the next may be; 0: no band."
            ),
        ),
        migrations.AddField(
            model_name="market",
            name="halt_s",
            field=models.IntegerField(
                default=60, help_text="How long it rests after a trade would have left the band."
            ),
        ),
        migrations.AddField(
            model_name="market",
            name="opens_at",
            field=models.DateTimeField(
                blank=True, help_text="When a scheduled market begins its auction.", null=True
            ),
        ),
        migrations.AddField(
            model_name="market",
            name="reference_ticks",
            field=models.BigIntegerField(
                default=0, help_text="The last auction's price; 0: there was none."
            ),
        ),
        migrations.AddField(
            model_name="market",
            name="state_until",
            field=models.DateTimeField(
                editable=False, help_text="When the present state ends by itself.", null=True
            ),
        ),
        migrations.AddField(
            model_name="market",
            name="static_band_bps",
            field=models.IntegerField(
                default=0, help_text="How far from the last auction an order may be; 0: no band."
            ),
        ),
        migrations.AddField(
            model_name="market",
            name="uncross_ticks",
            field=models.BigIntegerField(
                default=0,
                editable=False,
                help_text="The price of an auction that is being settled.",
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="key_id",
            field=models.BigIntegerField(help_text="The API key that placed it.", null=True),
        ),
        migrations.AlterField(
            model_name="market",
            name="state",
            field=models.CharField(
                choices=[
                    ("scheduled", "Scheduled"),
                    ("auction", "Auction"),
                    ("open", "Open"),
                    ("halted", "Halted"),
                    ("closing", "Closing"),
                    ("closed", "Closed"),
                ],
                default="open",
                max_length=10,
            ),
        ),
        migrations.AddConstraint(
            model_name="market",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("auction_s__range", (0, 86400)),
                    ("dynamic_band_bps__range", (0, 100000)),
                    ("halt_s__range", (0, 86400)),
                    ("reference_ticks__gte", 0),
                    ("static_band_bps__range", (0, 100000)),
                    ("uncross_ticks__gte", 0),
                ),
                name="orderbook_market_venue",
            ),
        ),
        migrations.AddField(
            model_name="deadmansswitch",
            name="key",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.apikey"
            ),
        ),
        migrations.AddField(
            model_name="instruction",
            name="actor",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="instruction",
            name="market",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="instructions",
                to="orderbook.market",
            ),
        ),
        migrations.AddField(
            model_name="tradinglimit",
            name="user",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="deadmansswitch",
            index=models.Index(
                condition=models.Q(("is_armed", True)),
                fields=["shard"],
                name="orderbook_deadmans_armed",
            ),
        ),
        migrations.AddConstraint(
            model_name="deadmansswitch",
            constraint=models.UniqueConstraint(
                fields=("key", "shard"), name="orderbook_deadmansswitch_one"
            ),
        ),
        migrations.AddConstraint(
            model_name="deadmansswitch",
            constraint=models.CheckConstraint(
                condition=models.Q(("timeout_s__range", (1, 86400))),
                name="orderbook_deadmansswitch_time",
            ),
        ),
        migrations.AddIndex(
            model_name="instruction",
            index=models.Index(
                condition=models.Q(("state", 0)), fields=["id"], name="orderbook_instruction_wait"
            ),
        ),
        migrations.AddConstraint(
            model_name="tradinglimit",
            constraint=models.UniqueConstraint(
                fields=("user",), name="orderbook_tradinglimit_one", nulls_distinct=False
            ),
        ),
        migrations.AddConstraint(
            model_name="tradinglimit",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("most_open_orders__isnull", True),
                        ("most_open_orders__gte", 0),
                        _connector="OR",
                    ),
                    models.Q(
                        ("most_open_notional__isnull", True),
                        ("most_open_notional__gte", 0),
                        _connector="OR",
                    ),
                ),
                name="orderbook_tradinglimit_amounts",
            ),
        ),
        migrations.RunSQL(EVERYBODY, "DELETE FROM orderbook_tradinglimit"),
    ]
