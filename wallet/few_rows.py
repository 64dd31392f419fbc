"""A handful of ledger rows in one statement: one journey to PostgreSQL in place of nine.

COPY moves thousands of rows fastest, but each COPY is two journeys whatever it carries.
A small batch goes as arrays instead, and one statement writes all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from edge.postgres import array, uuid_array
from wallet.ledger import Account, EntryRow, TransferRow
from wallet.references import ReferenceRow

MOST_ROWS = 24
"""Up to so many transfers this is faster than COPY."""

WRITE = """
WITH reference AS (
    INSERT INTO wallet_reference (digest, transfer_id, fingerprint, refusal)
    SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::smallint[])
), transfer AS (
    INSERT INTO wallet_transfer
        (id, kind, code, asset_id, debit_account_id, credit_account_id, amount, hold_id,
         reverses_id, released, effective_at, expires_at, reference, memo)
    SELECT * FROM unnest(
        %s::bigint[], %s::smallint[], %s::smallint[], %s::int[], %s::bigint[], %s::bigint[],
        %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[],
        %s::timestamptz[], %s::text[], %s::text[])
), entry AS (
    INSERT INTO wallet_entry (account_id, transfer_id, amount, balance_after, effective_at)
    SELECT * FROM unnest(
        %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[])
), batch AS (
    INSERT INTO wallet_batch (id, transfer_count) VALUES (%s, %s)
)
UPDATE wallet_account AS a
   SET balance = u.balance, held = u.held, incoming = u.incoming,
       entry_count = u.entry_count, last_transfer_id = u.last_transfer_id
  FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
              %s::bigint[]) AS u(id, balance, held, incoming, entry_count, last_transfer_id)
 WHERE a.id = u.id
"""


def parameters(
    references: Sequence[ReferenceRow],
    transfers: Sequence[TransferRow],
    entries: Sequence[EntryRow],
    batch_id: int,
    accounts: Sequence[Account],
) -> tuple[object, ...]:
    """Lay the rows out for `WRITE`, an array for each column."""
    return (
        uuid_array(row.digest for row in references),
        *(_integers(row[place] for row in references) for place in (1, 2, 3)),
        *(_integers(row[place] for row in transfers) for place in (*range(9), 13)),
        *([row[place] for row in transfers] for place in (9, 10, 11, 12)),
        *(_integers(row[place] for row in entries) for place in range(4)),
        [row.effective_at for row in entries],
        batch_id,
        len(transfers),
        *account_columns(accounts),
    )


def account_columns(accounts: Sequence[Account]) -> tuple[str, ...]:
    """What a batch changes of its accounts, an array for each column, their ids first."""
    return (
        array(account.id for account in accounts),
        array(account.balance for account in accounts),
        array(account.held for account in accounts),
        array(account.incoming for account in accounts),
        array(account.entry_count for account in accounts),
        array(account.last_transfer_id for account in accounts),
    )


def _integers(values: Iterable[Any]) -> str:
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"
