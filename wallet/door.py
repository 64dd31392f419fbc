"""The one door to the ledger: lock the accounts, decide in memory, write once.

`opened()` locks every account that may be touched, in id order, in one statement, and
yields a `Posting`. `Posting.apply()` decides chains of items by the rules of
`wallet.ledger`, and leaving the block writes what was decided: COPY for the rows that are
new, one UPDATE … FROM unnest for balances and one for holds. Nothing is written a row at
a time and no balance is ever a SUM.

The caller owns the transaction and passes through the door once in it: two passes could
wait for each other's locks. `wallet.actions.post` is the everyday way in; the order
engine comes straight here, because it decides whether to go on between two chains.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg

from edge.ids import batch_at, batch_of, first_id
from edge.postgres import array, copy_rows, copying, raw_cursor
from wallet import few_rows
from wallet.copy_rows import entry_bytes, hold_bytes, reference_bytes, transfer_bytes
from wallet.items import Item, Result
from wallet.ledger import Account, HeldFunds, Ledger
from wallet.references import ReferenceRow

LOCK_ACCOUNTS = """
SELECT id, asset_id, balance, held, incoming, floor, ceiling, largest_debit, status,
       entry_count, last_transfer_id, (SELECT nextval('wallet_batch_sequence'))
  FROM wallet_account WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE
"""
HOLD_ACCOUNTS = """
SELECT account_id, credit_account_id FROM wallet_hold WHERE id = ANY(%s::bigint[])
"""
READ_HOLDS = """
SELECT id, account_id, credit_account_id, asset_id, amount, remaining, state, expires_at
  FROM wallet_hold WHERE id = ANY(%s::bigint[])
"""
# Behind a SELECT the planner does not count an array's elements. Else it prefers reading
# every account there is to a few thousand steps down an index, and is five times slower.
WRITE_ACCOUNTS = """
UPDATE wallet_account AS a
   SET balance = u.balance, held = u.held, incoming = u.incoming,
       entry_count = u.entry_count, last_transfer_id = u.last_transfer_id
  FROM unnest((SELECT %s::bigint[]), (SELECT %s::bigint[]), (SELECT %s::bigint[]),
              (SELECT %s::bigint[]), (SELECT %s::bigint[]), (SELECT %s::bigint[]))
    AS u(id, balance, held, incoming, entry_count, last_transfer_id)
 WHERE a.id = u.id
"""
WRITE_BATCH = "INSERT INTO wallet_batch (id, transfer_count) VALUES (%s, %s)"
WRITE_HOLDS = """
UPDATE wallet_hold AS h SET remaining = u.remaining, state = u.state
  FROM unnest((SELECT %s::bigint[]), (SELECT %s::bigint[]), (SELECT %s::smallint[]))
    AS u(id, remaining, state)
 WHERE h.id = u.id AND h.id = ANY(%s::bigint[])
"""
"""The ids come twice: a join alone does not tell PostgreSQL which months to leave out."""
COPY_TRANSFERS = """
COPY wallet_transfer (id, kind, code, asset_id, debit_account_id, amount, credit_account_id,
    hold_id, reverses_id, effective_at, expires_at, reference, memo, released)
FROM STDIN WITH (FORMAT binary)
"""
COPY_ENTRIES = """
COPY wallet_entry (account_id, transfer_id, amount, balance_after, effective_at)
FROM STDIN WITH (FORMAT binary)
"""
COPY_HOLDS = """
COPY wallet_hold (id, account_id, asset_id, amount, remaining, state, credit_account_id,
    expires_at)
FROM STDIN WITH (FORMAT binary)
"""
COPY_REFERENCES = """
COPY wallet_reference (digest, transfer_id, fingerprint, refusal)
FROM STDIN WITH (FORMAT binary)
"""


class Posting:
    """One pass through the door: locked accounts and holds, and what is decided on them."""

    def __init__(self, ledger: Ledger, batch: int) -> None:
        self.ledger = ledger
        self.batch = batch
        self.references: list[ReferenceRow] = []

    def apply(self, chain: Sequence[Item]) -> list[Result]:
        """Decide one chain in memory; see `Ledger.apply`. Nothing is written yet."""
        return self.ledger.apply(chain)


@contextmanager
def opened(
    account_ids: Iterable[int],
    hold_ids: Iterable[int] = (),
    *,
    now: datetime | None = None,
    names_hold_accounts: bool = False,
) -> Iterator[Posting]:
    """Open the door on these accounts and holds (and the holds' accounts), and write at the end.

    Must run inside a transaction, once. Ids that do not exist are simply not there: the
    rules refuse what names them. An exception in the block writes nothing. `now` is for
    tests; it defaults to the clock, read after the locks are held. A caller that names the
    holds' accounts among `account_ids` saves a look-up; a hold whose account is not named
    is then not there.
    """
    with raw_cursor() as cursor:
        accounts, holds = set(account_ids), sorted(set(hold_ids))
        if holds and not names_hold_accounts:
            accounts.update(_accounts_of_holds(cursor, holds))
        posting = _lock(cursor, accounts, holds, now)
        yield posting
        _write(cursor, posting)


def _accounts_of_holds(cursor: psycopg.Cursor[Any], hold_ids: list[int]) -> Iterator[int]:
    rows = cursor.execute(HOLD_ACCOUNTS, (array(hold_ids),), prepare=True).fetchall()
    return (id for row in rows for id in row if id is not None)


def _lock(
    cursor: psycopg.Cursor[Any], account_ids: set[int], hold_ids: list[int], now: datetime | None
) -> Posting:
    rows = cursor.execute(
        LOCK_ACCOUNTS, (array(sorted(account_ids)),), prepare=True, binary=True
    ).fetchall()
    accounts = {row[0]: Account(*row[:-1]) for row in rows}
    sequence = rows[0][-1] if rows else 0
    holds = {}
    if hold_ids:
        cursor.execute(READ_HOLDS, (array(hold_ids),), prepare=True, binary=True)
        rows = cursor.fetchall()
        # The accounts of a hold that came after our first look are not locked: not here yet.
        locked = accounts.keys() | {None}
        holds = {row[0]: HeldFunds(*row) for row in rows if locked >= set(row[1:3])}
    newest = max((account.last_transfer_id for account in accounts.values()), default=0)
    moment_us = time.time_ns() // 1000 if now is None else int(now.timestamp() * 1_000_000)
    batch = batch_at(moment_us, sequence=sequence, after_id=newest)
    ledger = Ledger(
        first_id=first_id(batch),
        now=now or datetime.fromtimestamp(moment_us / 1_000_000, UTC),
        accounts=accounts,
        holds=holds,
    )
    return Posting(ledger, batch)


def _write(cursor: psycopg.Cursor[Any], posting: Posting) -> None:
    ledger = posting.ledger
    # In order of digest: two batches that share references wait for each other one way.
    references = sorted(posting.references)
    if not ledger.transfers:
        copy_rows(cursor, COPY_REFERENCES, map(reference_bytes, references))
        return
    assert batch_of(ledger.transfers[-1].id) == posting.batch, "too many items in one batch"
    accounts = [ledger.accounts[id] for id in sorted(ledger.touched_account_ids)]
    if len(ledger.transfers) <= few_rows.MOST_ROWS:
        rows = (references, ledger.transfers, ledger.entries, first_id(posting.batch), accounts)
        cursor.execute(few_rows.WRITE, few_rows.parameters(*rows), prepare=True)
        assert cursor.rowcount == len(accounts)
        if ledger.new_hold_ids:
            copy_rows(cursor, COPY_HOLDS, _new_holds(ledger))
        holds = _changed_holds(ledger)
        if holds:
            cursor.execute(WRITE_HOLDS, _hold_columns(holds), prepare=True)
            assert cursor.rowcount == len(holds)
    else:
        _write_many(cursor, posting, references, accounts)


def _write_many(
    cursor: psycopg.Cursor[Any],
    posting: Posting,
    references: list[ReferenceRow],
    accounts: list[Account],
) -> None:
    """Write thousands of rows. Whatever can be packed while the server works is packed then."""
    ledger = posting.ledger
    holds = _changed_holds(ledger)
    with raw_cursor() as beside:
        with cursor.connection.pipeline():
            cursor.execute(WRITE_ACCOUNTS, few_rows.account_columns(accounts), prepare=True)
            if holds:
                beside.execute(WRITE_HOLDS, _hold_columns(holds), prepare=True)
            transfers = list(map(transfer_bytes, ledger.transfers))
        assert cursor.rowcount == len(accounts)
        assert not holds or beside.rowcount == len(holds)
    with copying(cursor) as copies:
        copies.add(COPY_TRANSFERS, transfers)
        if references:
            copies.add(COPY_REFERENCES, map(reference_bytes, references))
        if ledger.entries:
            copies.add(COPY_ENTRIES, map(entry_bytes, ledger.entries))
        if ledger.new_hold_ids:
            copies.add(COPY_HOLDS, _new_holds(ledger))
    batch = (first_id(posting.batch), len(ledger.transfers))
    cursor.execute(WRITE_BATCH, batch, prepare=True)


def _new_holds(ledger: Ledger) -> Iterator[bytes]:
    return (hold_bytes(ledger.holds[id]) for id in ledger.new_hold_ids)


def _changed_holds(ledger: Ledger) -> list[HeldFunds]:
    """The holds of earlier batches that this one shrank or ended, by id."""
    changed = ledger.touched_hold_ids.difference(ledger.new_hold_ids)
    return [ledger.holds[id] for id in sorted(changed)]


def _hold_columns(holds: list[HeldFunds]) -> tuple[str, ...]:
    ids = array(h.id for h in holds)
    return ids, array(h.remaining for h in holds), array(h.state for h in holds), ids
