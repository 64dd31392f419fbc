"""The ledger's tables, laid out to grow for ever: see docs/decisions/0001-ledger-tables.md."""

from datetime import UTC, datetime
from typing import Any

import django.db.models.deletion
import django.db.models.expressions
from django.conf import settings
from django.db import migrations, models

from edge.partitions import MONTHS_AHEAD, ensure_months

PARTITIONED = ("wallet_transfer", "wallet_entry", "wallet_hold", "wallet_batch")

TABLES = """
CREATE TABLE wallet_transfer (
    id bigint NOT NULL,
    kind smallint NOT NULL,
    code smallint NOT NULL,
    asset_id integer NOT NULL,
    debit_account_id bigint NOT NULL,
    credit_account_id bigint,
    amount bigint NOT NULL,
    hold_id bigint,
    reverses_id bigint,
    effective_at timestamptz,
    expires_at timestamptz,
    reference varchar(100) NOT NULL,
    memo varchar(200) NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT wallet_transfer_amount CHECK (amount > 0),
    CONSTRAINT wallet_transfer_sides CHECK (debit_account_id <> credit_account_id),
    CONSTRAINT wallet_transfer_kind CHECK (
        (kind = 1 AND credit_account_id IS NOT NULL AND hold_id IS NULL)
        OR (kind = 2 AND hold_id IS NULL)
        OR (kind = 3 AND credit_account_id IS NOT NULL AND hold_id IS NOT NULL)
        OR (kind = 4 AND hold_id IS NOT NULL))
) PARTITION BY RANGE (id);

CREATE TABLE wallet_entry (
    account_id bigint NOT NULL,
    transfer_id bigint NOT NULL,
    amount bigint NOT NULL,
    balance_after bigint NOT NULL,
    effective_at timestamptz,
    PRIMARY KEY (account_id, transfer_id),
    CONSTRAINT wallet_entry_amount CHECK (amount <> 0)
) PARTITION BY RANGE (transfer_id);
-- Rows arrive in the order of transfer_id, so a few bytes a megabyte find a transfer's entries.
CREATE INDEX wallet_entry_transfer ON wallet_entry USING brin (transfer_id)
    WITH (pages_per_range = 16, autosummarize = on);
CREATE INDEX wallet_entry_effective ON wallet_entry (account_id, effective_at)
    INCLUDE (amount) WHERE effective_at IS NOT NULL;

CREATE TABLE wallet_hold (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    credit_account_id bigint,
    asset_id integer NOT NULL,
    amount bigint NOT NULL,
    remaining bigint NOT NULL,
    state smallint NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (id),
    CONSTRAINT wallet_hold_amounts CHECK (amount > 0 AND remaining BETWEEN 0 AND amount),
    CONSTRAINT wallet_hold_state CHECK ((state = 0) = (remaining > 0))
) PARTITION BY RANGE (id);
CREATE INDEX wallet_hold_due ON wallet_hold (expires_at)
    WHERE state = 0 AND expires_at IS NOT NULL;
CREATE INDEX wallet_hold_open ON wallet_hold (account_id, id) WHERE state = 0;

CREATE TABLE wallet_batch (
    xid bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    id bigint NOT NULL,
    transfer_count integer NOT NULL,
    PRIMARY KEY (xid, id)
) PARTITION BY RANGE (id);

CREATE TABLE wallet_reference (
    digest uuid NOT NULL PRIMARY KEY,
    transfer_id bigint NOT NULL,
    fingerprint bigint NOT NULL,
    refusal smallint NOT NULL
);

CREATE SEQUENCE wallet_batch_sequence MINVALUE 0 MAXVALUE 31 CYCLE;
ALTER TABLE wallet_account SET (fillfactor = 60);
"""

APPEND_ONLY = """
CREATE FUNCTION wallet_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;
"""
GUARDED = ("wallet_transfer", "wallet_entry", "wallet_batch", "wallet_reference")
GUARD = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION wallet_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION wallet_refuse_change();
"""

KINDS = [
    # code, name, side, is_owned, floor
    ("wallet", "Wallet", "Liabilities", True, 0),
    ("owed", "Owed by the holder", "Assets", True, None),
    ("issuance", "Issuance", "Equity", False, None),
    ("budget", "Campaign budget", "Liabilities", False, 0),
    ("clearing", "Gateway clearing", "Assets", False, None),
    ("fees", "Fees", "Income", False, 0),
    ("breakage", "Breakage", "Income", False, 0),
    ("redeemed", "Redeemed and revealed", "Equity", False, 0),
    ("suspense", "Suspense", "Liabilities", False, None),
]


def make_partitions(apps: Any, schema_editor: Any) -> None:
    for table in PARTITIONED:
        ensure_months(schema_editor, table, start=datetime.now(UTC), months=MONTHS_AHEAD + 1)


def make_kinds(apps: Any, schema_editor: Any) -> None:
    account_kind = apps.get_model("wallet", "AccountKind")
    for code, name, side, is_owned, floor in KINDS:
        account_kind.objects.create(code=code, name=name, side=side, is_owned=is_owned, floor=floor)


class Migration(migrations.Migration):
    initial = True

    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]

    operations = [
        migrations.CreateModel(
            name="AccountKind",
            fields=[
                ("code", models.CharField(max_length=20, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=80)),
                (
                    "side",
                    models.CharField(
                        choices=[
                            ("Assets", "Assets"),
                            ("Liabilities", "Liabilities"),
                            ("Equity", "Equity"),
                            ("Income", "Income"),
                            ("Expenses", "Expenses"),
                        ],
                        max_length=12,
                    ),
                ),
                ("is_owned", models.BooleanField(default=False, help_text="Belongs to a person.")),
                (
                    "floor",
                    models.BigIntegerField(
                        blank=True, help_text="Least available balance.", null=True
                    ),
                ),
                (
                    "ceiling",
                    models.BigIntegerField(blank=True, help_text="Greatest balance.", null=True),
                ),
                (
                    "largest_debit",
                    models.BigIntegerField(blank=True, help_text="Per transfer.", null=True),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Asset",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("code", models.CharField(max_length=40, unique=True)),
                ("name", models.CharField(max_length=120)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("currency", "Currency"),
                            ("points", "Points"),
                            ("series", "Series"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "scale",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="Decimal places of the unit."
                    ),
                ),
                (
                    "expires",
                    models.BooleanField(
                        default=False, help_text="Grants of it may lapse (points)."
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("code__regex", "^[A-Z][A-Z0-9_.-]{1,39}$")),
                        name="wallet_asset_code",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("scale__lte", 8)), name="wallet_asset_scale"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Account",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("label", models.CharField(blank=True, default="", max_length=60)),
                (
                    "balance",
                    models.BigIntegerField(
                        default=0, help_text="Posted credits less posted debits."
                    ),
                ),
                ("held", models.BigIntegerField(default=0, help_text="Set aside by open holds.")),
                (
                    "incoming",
                    models.BigIntegerField(
                        default=0, help_text="Promised by open holds of others."
                    ),
                ),
                ("floor", models.BigIntegerField(blank=True, null=True)),
                ("ceiling", models.BigIntegerField(blank=True, null=True)),
                ("largest_debit", models.BigIntegerField(blank=True, null=True)),
                (
                    "status",
                    models.SmallIntegerField(
                        choices=[(0, "open"), (1, "frozen"), (2, "closed")],
                        default=0,
                    ),
                ),
                ("entry_count", models.BigIntegerField(default=0)),
                ("last_transfer_id", models.BigIntegerField(default=0)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "owner",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="ledger_accounts",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "kind",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="wallet.accountkind",
                    ),
                ),
                (
                    "asset",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="wallet.asset",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("owner", "asset", "kind", "label"),
                        name="wallet_account_purpose",
                        nulls_distinct=False,
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("held__gte", 0), ("incoming__gte", 0)),
                        name="wallet_account_holds",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("floor__isnull", True),
                            (
                                "balance__gte",
                                django.db.models.expressions.CombinedExpression(
                                    models.F("floor"), "+", models.F("held")
                                ),
                            ),
                            _connector="OR",
                        ),
                        name="wallet_account_floor",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("ceiling__isnull", True),
                            (
                                "balance__lte",
                                django.db.models.expressions.CombinedExpression(
                                    models.F("ceiling"), "-", models.F("incoming")
                                ),
                            ),
                            _connector="OR",
                        ),
                        name="wallet_account_ceiling",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", 2), _negated=True),
                            models.Q(("balance", 0), ("held", 0), ("incoming", 0)),
                            _connector="OR",
                        ),
                        name="wallet_account_closed",
                    ),
                ],
            },
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(TABLES, migrations.RunSQL.noop)],
            state_operations=[
                migrations.CreateModel(
                    name="Batch",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "xid",
                                "id",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("xid", models.BigIntegerField()),
                        ("id", models.BigIntegerField()),
                        ("transfer_count", models.IntegerField()),
                    ],
                ),
                migrations.CreateModel(
                    name="Entry",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "account_id",
                                "transfer_id",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("account_id", models.BigIntegerField()),
                        ("transfer_id", models.BigIntegerField()),
                        ("amount", models.BigIntegerField()),
                        ("balance_after", models.BigIntegerField()),
                        ("effective_at", models.DateTimeField(null=True)),
                    ],
                ),
                migrations.CreateModel(
                    name="Hold",
                    fields=[
                        ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                        ("account_id", models.BigIntegerField()),
                        ("credit_account_id", models.BigIntegerField(null=True)),
                        ("asset_id", models.IntegerField()),
                        ("amount", models.BigIntegerField()),
                        ("remaining", models.BigIntegerField()),
                        (
                            "state",
                            models.SmallIntegerField(
                                choices=[(0, "open"), (1, "posted"), (2, "voided"), (3, "expired")]
                            ),
                        ),
                        ("expires_at", models.DateTimeField(null=True)),
                    ],
                ),
                migrations.CreateModel(
                    name="Reference",
                    fields=[
                        ("digest", models.UUIDField(primary_key=True, serialize=False)),
                        ("transfer_id", models.BigIntegerField()),
                        ("fingerprint", models.BigIntegerField()),
                        ("refusal", models.SmallIntegerField()),
                    ],
                ),
                migrations.CreateModel(
                    name="Transfer",
                    fields=[
                        ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                        (
                            "kind",
                            models.SmallIntegerField(
                                choices=[(1, "transfer"), (2, "hold"), (3, "post"), (4, "void")]
                            ),
                        ),
                        (
                            "code",
                            models.SmallIntegerField(
                                choices=[
                                    (1, "adjustment"),
                                    (2, "issue"),
                                    (3, "grant"),
                                    (4, "payment"),
                                    (5, "order hold"),
                                    (6, "trade units"),
                                    (7, "trade price"),
                                    (8, "trade fee"),
                                    (9, "reveal"),
                                    (10, "expiry"),
                                    (11, "clawback"),
                                    (12, "repayment"),
                                    (13, "reversal"),
                                    (14, "deposit"),
                                    (15, "withdrawal"),
                                    (16, "claim"),
                                    (17, "redemption"),
                                    (18, "hold"),
                                    (19, "release"),
                                ]
                            ),
                        ),
                        ("asset_id", models.IntegerField()),
                        ("debit_account_id", models.BigIntegerField()),
                        ("credit_account_id", models.BigIntegerField(null=True)),
                        ("amount", models.BigIntegerField()),
                        ("hold_id", models.BigIntegerField(null=True)),
                        ("reverses_id", models.BigIntegerField(null=True)),
                        ("effective_at", models.DateTimeField(null=True)),
                        ("expires_at", models.DateTimeField(null=True)),
                        ("reference", models.CharField(blank=True, max_length=100)),
                        ("memo", models.CharField(blank=True, max_length=200)),
                    ],
                ),
            ],
        ),
        migrations.RunPython(make_partitions, migrations.RunPython.noop),
        migrations.RunSQL(
            APPEND_ONLY + "".join(GUARD.format(table=t) for t in GUARDED), migrations.RunSQL.noop
        ),
        migrations.RunPython(make_kinds, migrations.RunPython.noop),
    ]
