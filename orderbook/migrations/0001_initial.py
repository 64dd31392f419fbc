"""Markets, orders and fills: see docs/decisions/0009-market-tables.md."""

from datetime import UTC, datetime
from typing import Any

import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

from edge.partitions import MONTHS_AHEAD, ensure_months

PARTITIONED = ("orderbook_order", "orderbook_fill")

TABLES = """
CREATE TABLE orderbook_order (
    id bigint NOT NULL PRIMARY KEY,
    market_id integer NOT NULL,
    user_id bigint NOT NULL,
    side smallint NOT NULL,
    time_in_force smallint NOT NULL,
    price_ticks bigint NOT NULL,
    quantity_lots bigint NOT NULL,
    client_order_id varchar(64) NOT NULL,
    entry_state smallint NOT NULL,
    refusal varchar(40) NOT NULL,
    taken_lots bigint NOT NULL,
    taken_minor bigint NOT NULL,
    taken_fee_minor bigint NOT NULL,
    state smallint NOT NULL,
    remaining_lots bigint NOT NULL,
    made_minor bigint NOT NULL,
    made_fee_minor bigint NOT NULL,
    hold_id bigint,
    ended_id bigint,
    CONSTRAINT orderbook_order_lots CHECK (
        remaining_lots BETWEEN 0 AND quantity_lots AND taken_lots BETWEEN 0 AND quantity_lots),
    CONSTRAINT orderbook_order_open CHECK ((state = 0) = (remaining_lots > 0 AND ended_id IS NULL)),
    CONSTRAINT orderbook_order_held CHECK (state <> 0 OR hold_id IS NOT NULL),
    CONSTRAINT orderbook_order_refused CHECK ((entry_state = 3) = (refusal <> ''))
) PARTITION BY RANGE (id);
CREATE INDEX orderbook_order_of_user ON orderbook_order (user_id, id);
CREATE INDEX orderbook_order_resting ON orderbook_order (market_id, id) WHERE state = 0;

CREATE TABLE orderbook_fill (
    id bigint NOT NULL PRIMARY KEY,
    market_id integer NOT NULL,
    taker_side smallint NOT NULL,
    price_ticks bigint NOT NULL,
    quantity_lots bigint NOT NULL,
    amount_minor bigint NOT NULL,
    maker_order_id bigint NOT NULL,
    taker_order_id bigint NOT NULL,
    maker_user_id bigint NOT NULL,
    taker_user_id bigint NOT NULL,
    maker_fee_minor bigint NOT NULL,
    taker_fee_minor bigint NOT NULL,
    ledger_batch_id bigint NOT NULL,
    CONSTRAINT orderbook_fill_amounts CHECK (
        price_ticks > 0 AND quantity_lots > 0 AND amount_minor > 0
        AND maker_fee_minor >= 0 AND taker_fee_minor >= 0),
    CONSTRAINT orderbook_fill_sides CHECK (maker_user_id <> taker_user_id)
) PARTITION BY RANGE (id);
CREATE INDEX orderbook_fill_of_market ON orderbook_fill (market_id, id);
CREATE INDEX orderbook_fill_of_maker ON orderbook_fill (maker_user_id, id);
CREATE INDEX orderbook_fill_of_taker ON orderbook_fill (taker_user_id, id);

CREATE TABLE orderbook_clientorder (
    digest uuid NOT NULL PRIMARY KEY,
    order_id bigint NOT NULL
);

CREATE SEQUENCE orderbook_batch_sequence MINVALUE 0 MAXVALUE 31 CYCLE;

ALTER TABLE orderbook_market ADD CONSTRAINT orderbook_market_fits_ledger CHECK (
    most_price_ticks::numeric * most_lots * tick_minor * 11 / 10 <= 4611686018427387904
    AND most_lots::numeric * lot_units <= 4611686018427387904);
CREATE SEQUENCE orderbook_revision;
CREATE FUNCTION orderbook_raise_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND
       (OLD.code, OLD.base_asset_id, OLD.quote_asset_id, OLD.tick_minor, OLD.lot_units,
        OLD.maker_fee_bps, OLD.taker_fee_bps)
       IS DISTINCT FROM
       (NEW.code, NEW.base_asset_id, NEW.quote_asset_id, NEW.tick_minor, NEW.lot_units,
        NEW.maker_fee_bps, NEW.taker_fee_bps) THEN
        RAISE EXCEPTION 'the terms of market % are fixed: funds are held under them', OLD.code
            USING ERRCODE = 'restrict_violation';
    END IF;
    NEW.revision := nextval('orderbook_revision');
    RETURN NEW;
END $$;
CREATE TRIGGER revision BEFORE INSERT OR UPDATE ON orderbook_market
    FOR EACH ROW EXECUTE FUNCTION orderbook_raise_revision();

CREATE FUNCTION orderbook_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON orderbook_fill
    FOR EACH ROW EXECUTE FUNCTION orderbook_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON orderbook_clientorder
    FOR EACH ROW EXECUTE FUNCTION orderbook_refuse_change();
"""


def make_partitions(apps: Any, schema_editor: Any) -> None:
    for table in PARTITIONED:
        ensure_months(schema_editor, table, start=datetime.now(UTC), months=MONTHS_AHEAD + 1)


class Migration(migrations.Migration):
    initial = True

    dependencies = [("wallet", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Market",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("code", models.CharField(max_length=60, unique=True)),
                ("name", models.CharField(max_length=120)),
                (
                    "tick_minor",
                    models.BigIntegerField(default=1, help_text="Quote minor units in one tick."),
                ),
                (
                    "lot_units",
                    models.BigIntegerField(default=1, help_text="Base units in one lot."),
                ),
                ("least_lots", models.BigIntegerField(default=1)),
                ("most_lots", models.BigIntegerField(default=1000000)),
                ("least_price_ticks", models.BigIntegerField(default=1)),
                ("most_price_ticks", models.BigIntegerField(default=1000000000)),
                ("maker_fee_bps", models.IntegerField(default=0)),
                ("taker_fee_bps", models.IntegerField(default=0)),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "Open"), ("halted", "Halted"), ("closed", "Closed")],
                        default="open",
                        max_length=8,
                    ),
                ),
                ("shard", models.PositiveSmallIntegerField(default=0)),
                (
                    "revision",
                    models.BigIntegerField(
                        default=0,
                        editable=False,
                        help_text="Raised by a trigger at each change.",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "base_asset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="wallet.asset",
                    ),
                ),
                (
                    "quote_asset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="wallet.asset",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("code__regex", "^[A-Z0-9][A-Z0-9_.-]{1,59}$")),
                        name="orderbook_market_code",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("base_asset", models.F("quote_asset")), _negated=True),
                        name="orderbook_market_assets",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("least_lots__gte", 1),
                            ("least_price_ticks__gte", 1),
                            ("lot_units__gte", 1),
                            ("most_lots__gte", models.F("least_lots")),
                            ("most_price_ticks__gte", models.F("least_price_ticks")),
                            ("tick_minor__gte", 1),
                        ),
                        name="orderbook_market_sizes",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("maker_fee_bps__range", (0, 1000)), ("taker_fee_bps__range", (0, 1000))
                        ),
                        name="orderbook_market_fees",
                    ),
                ],
            },
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(TABLES, migrations.RunSQL.noop)],
            state_operations=[
                migrations.CreateModel(
                    name="ClientOrder",
                    fields=[
                        ("digest", models.UUIDField(primary_key=True, serialize=False)),
                        ("order_id", models.BigIntegerField()),
                    ],
                ),
                migrations.CreateModel(
                    name="Fill",
                    fields=[
                        ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                        ("market_id", models.IntegerField()),
                        ("taker_side", models.SmallIntegerField(choices=[(1, "buy"), (2, "sell")])),
                        ("price_ticks", models.BigIntegerField()),
                        ("quantity_lots", models.BigIntegerField()),
                        ("amount_minor", models.BigIntegerField()),
                        ("maker_order_id", models.BigIntegerField()),
                        ("taker_order_id", models.BigIntegerField()),
                        ("maker_user_id", models.BigIntegerField()),
                        ("taker_user_id", models.BigIntegerField()),
                        ("maker_fee_minor", models.BigIntegerField()),
                        ("taker_fee_minor", models.BigIntegerField()),
                        ("ledger_batch_id", models.BigIntegerField()),
                    ],
                ),
                migrations.CreateModel(
                    name="Order",
                    fields=[
                        ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                        ("market_id", models.IntegerField()),
                        ("user_id", models.BigIntegerField()),
                        ("side", models.SmallIntegerField(choices=[(1, "buy"), (2, "sell")])),
                        ("time_in_force", models.SmallIntegerField()),
                        ("price_ticks", models.BigIntegerField()),
                        ("quantity_lots", models.BigIntegerField()),
                        ("client_order_id", models.CharField(max_length=64)),
                        (
                            "entry_state",
                            models.SmallIntegerField(
                                choices=[
                                    (0, "open"),
                                    (1, "filled"),
                                    (2, "cancelled"),
                                    (3, "refused"),
                                ]
                            ),
                        ),
                        ("refusal", models.CharField(blank=True, max_length=40)),
                        ("taken_lots", models.BigIntegerField()),
                        ("taken_minor", models.BigIntegerField()),
                        ("taken_fee_minor", models.BigIntegerField()),
                        (
                            "state",
                            models.SmallIntegerField(
                                choices=[
                                    (0, "open"),
                                    (1, "filled"),
                                    (2, "cancelled"),
                                    (3, "refused"),
                                ]
                            ),
                        ),
                        ("remaining_lots", models.BigIntegerField()),
                        ("made_minor", models.BigIntegerField()),
                        ("made_fee_minor", models.BigIntegerField()),
                        ("hold_id", models.BigIntegerField(null=True)),
                        ("ended_id", models.BigIntegerField(null=True)),
                    ],
                ),
            ],
        ),
        migrations.RunPython(make_partitions, migrations.RunPython.noop),
    ]
