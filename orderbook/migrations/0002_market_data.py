"""Market data: see docs/decisions on it."""

import django.db.models.deletion
from django.db import migrations, models

# Rows that change often leave room for their next versions on the same page.
ROOM = """
ALTER TABLE orderbook_feed SET (fillfactor = 50);
ALTER TABLE orderbook_projection SET (fillfactor = 50);
ALTER TABLE orderbook_pricelevel SET (fillfactor = 50);
ALTER TABLE orderbook_ownfeed SET (fillfactor = 70);
ALTER TABLE orderbook_candle SET (fillfactor = 80);
INSERT INTO orderbook_projector (id, position) VALUES (1, 0);
-- A market that was traded on before has no first change: its tables are made from its orders.
INSERT INTO orderbook_feed (market_id, sequence, last_price, last_quantity, last_fill_id)
SELECT m.id, 1, f.price_ticks * m.tick_minor, f.quantity_lots * m.lot_units, f.id
  FROM orderbook_market AS m
  LEFT JOIN LATERAL (SELECT * FROM orderbook_fill AS l WHERE l.market_id = m.id
                      ORDER BY l.id DESC LIMIT 1) AS f ON true
 WHERE EXISTS (SELECT FROM orderbook_order AS o WHERE o.market_id = m.id);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("orderbook", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="BookChange",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "market_id",
                        "sequence",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("market_id", models.IntegerField()),
                ("sequence", models.BigIntegerField()),
                ("payload", models.BinaryField(help_text="A MarketChange as JSON.")),
            ],
        ),
        migrations.CreateModel(
            name="Candle",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "market_id",
                        "interval_s",
                        "start_s",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("market_id", models.IntegerField()),
                ("interval_s", models.IntegerField()),
                ("start_s", models.BigIntegerField(help_text="Seconds since 1970.")),
                ("open", models.BigIntegerField()),
                ("high", models.BigIntegerField()),
                ("low", models.BigIntegerField()),
                ("close", models.BigIntegerField()),
                ("volume", models.DecimalField(decimal_places=0, max_digits=40)),
                ("turnover", models.DecimalField(decimal_places=0, max_digits=40)),
                ("trades", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="OwnEvent",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "user_id",
                        "sequence",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("user_id", models.BigIntegerField()),
                ("sequence", models.BigIntegerField()),
                ("batch_id", models.BigIntegerField(help_text="The first order id of the commit.")),
                ("order_id", models.BigIntegerField(null=True)),
                ("market_id", models.IntegerField(null=True)),
                ("is_new", models.BooleanField()),
                ("state", models.SmallIntegerField(null=True)),
                ("remaining_lots", models.BigIntegerField(default=0)),
                ("filled_lots", models.BigIntegerField(default=0)),
                ("filled_minor", models.BigIntegerField(default=0)),
                ("fee_minor", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="OwnFeed",
            fields=[
                ("user_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("sequence", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="Projection",
            fields=[
                ("market_id", models.IntegerField(primary_key=True, serialize=False)),
                ("sequence", models.BigIntegerField()),
                ("fill_id", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="Projector",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("position", models.BigIntegerField(default=0)),
                ("heartbeat_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Feed",
            fields=[
                (
                    "market",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="feed",
                        serialize=False,
                        to="orderbook.market",
                    ),
                ),
                ("sequence", models.BigIntegerField()),
                ("bid_price", models.BigIntegerField(null=True)),
                ("bid_quantity", models.BigIntegerField(null=True)),
                ("ask_price", models.BigIntegerField(null=True)),
                ("ask_quantity", models.BigIntegerField(null=True)),
                ("last_price", models.BigIntegerField(null=True)),
                ("last_quantity", models.BigIntegerField(null=True)),
                ("last_fill_id", models.BigIntegerField(null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("sequence__gte", 1)), name="orderbook_feed_sequence"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PriceLevel",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "market_id",
                        "side",
                        "price",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("market_id", models.IntegerField()),
                ("side", models.SmallIntegerField(choices=[(1, "buy"), (2, "sell")])),
                ("price", models.BigIntegerField()),
                ("quantity", models.BigIntegerField()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("price__gt", 0), ("quantity__gt", 0)),
                        name="orderbook_pricelevel_amounts",
                    )
                ],
            },
        ),
        migrations.RunSQL(ROOM, migrations.RunSQL.noop),
    ]
