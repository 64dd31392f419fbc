"""What remembers which points lapse: derived from entries, see docs/decisions/0007-lots.md."""

from datetime import UTC, datetime
from typing import Any

from django.db import migrations

from edge.partitions import MONTHS_AHEAD, ensure_months

# Both tables are caches: `manage.py points rebuild` makes them anew from the entries.
TABLES = """
-- How far an account's lots were folded, and what they were then: [[microseconds, amount]].
CREATE TABLE wallet_lot_position (
    account_id bigint PRIMARY KEY,
    transfer_id bigint NOT NULL,
    undated bigint NOT NULL,
    lots jsonb NOT NULL,
    soonest_at timestamptz,
    -- A lot that came in with `incoming_id` and was not folded yet lapses at `incoming_at`.
    incoming_at timestamptz,
    incoming_id bigint,
    due_at timestamptz GENERATED ALWAYS AS (least(soonest_at, incoming_at)) STORED,
    CONSTRAINT wallet_lot_position_incoming CHECK (incoming_id > transfer_id)
) WITH (fillfactor = 80);
CREATE INDEX wallet_lot_position_due ON wallet_lot_position (due_at, account_id)
    WHERE due_at IS NOT NULL;

-- What a debit took of lots that lapse; what a transfer did not take of any never lapses.
CREATE TABLE wallet_lot_move (
    transfer_id bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    amount bigint NOT NULL,
    PRIMARY KEY (transfer_id, expires_at),
    CONSTRAINT wallet_lot_move_amount CHECK (amount > 0)
) PARTITION BY RANGE (transfer_id);

-- Until when the grants that lapse were entered in the positions as incoming.
CREATE TABLE wallet_lot_sweep (
    id smallint PRIMARY KEY CHECK (id = 1),
    scheduled_until timestamptz NOT NULL
);
INSERT INTO wallet_lot_sweep VALUES (1, '2025-01-01 00:00+00');

-- Raised when both caches are thrown away: nobody then writes what followed from the old ones.
CREATE TABLE wallet_lot_generation (
    id smallint PRIMARY KEY CHECK (id = 1),
    generation integer NOT NULL
);
INSERT INTO wallet_lot_generation VALUES (1, 1);

-- Only grants that lapse are in it, so other transfers pay nothing for it.
CREATE INDEX wallet_transfer_lapse ON wallet_transfer (expires_at, id)
    WHERE expires_at IS NOT NULL AND kind = 1;
"""
NO_TABLES = """
DROP INDEX wallet_transfer_lapse;
DROP TABLE wallet_lot_generation, wallet_lot_sweep, wallet_lot_move, wallet_lot_position;
"""


def make_partitions(apps: Any, schema_editor: Any) -> None:
    ensure_months(
        schema_editor,
        "wallet_lot_move",
        start=datetime.now(UTC),
        months=MONTHS_AHEAD + 1,
    )


class Migration(migrations.Migration):
    dependencies = [("wallet", "0004_reversal_requests")]

    operations = [
        migrations.RunSQL(TABLES, NO_TABLES),
        migrations.RunPython(make_partitions, migrations.RunPython.noop),
    ]
