"""How rows of the journal are sent: one array of a composite type for each table."""

from django.db import migrations

TYPES = """
CREATE TYPE wallet_transfer_row AS (
    id bigint, kind smallint, code smallint, asset_id integer, debit_account_id bigint,
    amount bigint, credit_account_id bigint, hold_id bigint, reverses_id bigint,
    effective_at timestamptz, expires_at timestamptz, reference text, memo text, released bigint
);
CREATE TYPE wallet_entry_row AS (
    account_id bigint, transfer_id bigint, amount bigint, balance_after bigint,
    effective_at timestamptz
);
CREATE TYPE wallet_hold_row AS (
    id bigint, account_id bigint, asset_id integer, amount bigint, remaining bigint,
    state smallint, credit_account_id bigint, expires_at timestamptz
);
CREATE TYPE wallet_reference_row AS (
    digest uuid, transfer_id bigint, fingerprint bigint, refusal smallint
);
CREATE TYPE wallet_account_state AS (
    id bigint, balance bigint, held bigint, incoming bigint, entry_count bigint,
    last_transfer_id bigint
);
"""
NO_TYPES = """
DROP TYPE wallet_transfer_row, wallet_entry_row, wallet_hold_row, wallet_reference_row,
    wallet_account_state;
"""


class Migration(migrations.Migration):
    dependencies = [("wallet", "0006_assetrules"), ("edge", "0002_expect")]

    operations = [migrations.RunSQL(TYPES, NO_TYPES)]
