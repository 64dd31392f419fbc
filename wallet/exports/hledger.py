"""The ledger as an hledger journal: `hledger check` passes, and its balances are ours.

Commodities are written in quotes, so every asset code is legal as it is. The journal ends
with a transaction that moves nothing and asserts every account's balance. Transactions
stand on the day they were written; an effective date is hledger's secondary date.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from itertools import groupby

from wallet.exports.amounts import decimal
from wallet.exports.balances import AccountRow, account_rows
from wallet.exports.books import Movement, closing_date, movements, name_of, plain
from wallet.exports.journal import CODES
from wallet.exports.scope import Scope
from wallet.exports.snapshot import Row, Snapshot

ASSETS = "SELECT id, code, name, scale FROM wallet_asset ORDER BY id"


def hledger_journal(snapshot: Snapshot, scope: Scope) -> Iterator[str]:
    """Write the slice as an hledger journal, a directive at a time."""
    yield f"; The ledger until {scope.end.isoformat()}. A debit is positive.\n"
    yield "decimal-mark .\n\n"
    yield from map(_commodity, snapshot.rows(ASSETS))
    yield from (f"account {name_of(row)}\n" for row in account_rows(snapshot, scope))
    if scope.start is not None:
        opened = (row for row in account_rows(snapshot, scope) if row.opening)
        yield from _opening(opened, scope.begins.date())
    yield from map(_transaction, movements(snapshot, scope))
    yield f"\n{closing_date(scope)} * Closing balances, asserted\n"
    for row in account_rows(snapshot, scope):
        closing = decimal(-row.closing, row.scale)
        yield f'    {name_of(row)}  0 "{row.asset}" = {closing} "{row.asset}"\n'


def _commodity(row: Row) -> str:
    _, code, _, scale = row
    return f'commodity 1000.{"0" * scale} "{code}"\n'


def _opening(rows: Iterable[AccountRow], on: date) -> Iterator[str]:
    """One transaction for each asset; it balances because the asset does."""
    for asset, held in groupby(rows, key=lambda row: row.asset):
        yield f"\n{on} * Opening balances of {asset}\n"
        for row in held:
            yield f'    {name_of(row)}  {decimal(-row.opening, row.scale)} "{asset}"\n'


def _transaction(move: Movement) -> str:
    amount = decimal(move.amount, move.scale)
    dated = f"={move.effective_on}" if move.effective_on else ""
    memo = f" | {_text(move.memo)}" if move.memo else ""
    reference = f"    ; reference: {_text(move.reference)}\n" if move.reference else ""
    code = CODES.get(move.code, str(move.code))
    return (
        f"\n{move.written_on}{dated} * ({move.transfer_id}) {code}{memo}\n{reference}"
        f'    {move.debit_account}  {amount} "{move.asset}"\n'
        f'    {move.credit_account}  -{amount} "{move.asset}"\n'
    )


def _text(text: str) -> str:
    """A semicolon would start a comment."""
    return plain(text).replace(";", ",")
