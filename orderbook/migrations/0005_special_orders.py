"""Orders of every type: see docs/decisions on them."""

from datetime import UTC, datetime
from typing import Any

from django.db import migrations, models

from edge.partitions import MONTHS_AHEAD, ensure_months

TABLES = """
ALTER TABLE orderbook_order
    ADD COLUMN kind smallint NOT NULL DEFAULT 0,
    ADD COLUMN self_trade smallint NOT NULL DEFAULT 0,
    DROP CONSTRAINT orderbook_order_lots,
    ADD CONSTRAINT orderbook_order_lots CHECK (
        remaining_lots >= 0 AND taken_lots BETWEEN 0 AND quantity_lots);

CREATE TABLE orderbook_specialorder (
    id bigint NOT NULL PRIMARY KEY,
    market_id integer NOT NULL,
    stop_ticks bigint NOT NULL,
    minimum_lots bigint NOT NULL,
    peak_lots bigint NOT NULL,
    expires_us bigint NOT NULL,
    partner_id bigint NOT NULL,
    amended_price_ticks bigint NOT NULL,
    amended_stop_ticks bigint NOT NULL,
    reduced_lots bigint NOT NULL,
    shown_lots bigint NOT NULL,
    priority_id bigint NOT NULL,
    priority_index integer NOT NULL,
    turn integer NOT NULL,
    ran_id bigint NOT NULL,
    CONSTRAINT orderbook_specialorder_counts CHECK (
        stop_ticks >= 0 AND minimum_lots >= 0 AND peak_lots >= 0 AND expires_us >= 0
        AND partner_id >= 0 AND amended_price_ticks >= 0 AND amended_stop_ticks >= 0
        AND shown_lots >= 0 AND priority_id >= 0 AND priority_index >= 0 AND turn >= 0
        AND ran_id >= 0)
) PARTITION BY RANGE (id);

CREATE VIEW orderbook_live AS
SELECT o.id, o.market_id, o.user_id, o.side, o.hold_id, o.kind, o.time_in_force, o.self_trade,
       coalesce(nullif(s.amended_price_ticks, 0), o.price_ticks) AS price_ticks,
       o.remaining_lots,
       coalesce(nullif(s.shown_lots, 0), o.remaining_lots) AS shown_lots,
       coalesce(nullif(s.priority_id, 0), o.id) AS priority_id,
       coalesce(s.priority_index, 0) AS priority_index,
       CASE WHEN s.ran_id = 0
            THEN coalesce(nullif(s.amended_stop_ticks, 0), s.stop_ticks) ELSE 0 END AS stop_ticks,
       coalesce(s.minimum_lots, 0) AS minimum_lots,
       coalesce(s.peak_lots, 0) AS peak_lots,
       coalesce(s.expires_us, 0) AS expires_us,
       coalesce(s.partner_id, 0) AS partner_id,
       coalesce(s.turn, 0) AS turn,
       s.id IS NOT NULL AS is_special
  FROM orderbook_order AS o LEFT JOIN orderbook_specialorder AS s ON s.id = o.id
 WHERE o.state = 0;
COMMENT ON VIEW orderbook_live IS
    'Orders that hold funds. With stop_ticks = 0 they wait in the book, showing shown_lots.';
"""


def make_partitions(apps: Any, schema_editor: Any) -> None:
    ensure_months(
        schema_editor,
        "orderbook_specialorder",
        start=datetime(2026, 1, 1, tzinfo=UTC),
        months=MONTHS_AHEAD + 12,
    )


class Migration(migrations.Migration):
    dependencies = [("orderbook", "0004_venue")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(TABLES)],
            state_operations=[
                migrations.AddField(
                    model_name="order",
                    name="kind",
                    field=models.SmallIntegerField(db_default=0, default=0),
                ),
                migrations.AddField(
                    model_name="order",
                    name="self_trade",
                    field=models.SmallIntegerField(db_default=0, default=0),
                ),
                migrations.CreateModel(
                    name="SpecialOrder",
                    fields=[
                        ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                        ("market_id", models.IntegerField()),
                        ("stop_ticks", models.BigIntegerField()),
                        ("minimum_lots", models.BigIntegerField()),
                        ("peak_lots", models.BigIntegerField()),
                        ("expires_us", models.BigIntegerField()),
                        ("partner_id", models.BigIntegerField()),
                        ("amended_price_ticks", models.BigIntegerField()),
                        ("amended_stop_ticks", models.BigIntegerField()),
                        ("reduced_lots", models.BigIntegerField()),
                        ("shown_lots", models.BigIntegerField()),
                        ("priority_id", models.BigIntegerField()),
                        ("priority_index", models.IntegerField()),
                        ("turn", models.IntegerField()),
                        ("ran_id", models.BigIntegerField()),
                    ],
                ),
            ],
        ),
        migrations.RunPython(make_partitions, migrations.RunPython.noop),
    ]
