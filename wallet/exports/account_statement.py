"""One account's statement as CSV: opening balance, every entry, closing balance."""

from __future__ import annotations

from collections.abc import Iterator

from wallet.exports.amounts import decimal
from wallet.exports.csv_rows import csv_chunks, guarded, moment
from wallet.exports.journal import CODES, Line, lines
from wallet.exports.scope import Scope
from wallet.exports.snapshot import Snapshot
from wallet.statements import BALANCE_BEFORE

HEADER = (
    "row", "written_at", "effective_at", "transfer_id", "code", "counter_account_id",
    "reference", "memo", "debit", "credit", "balance",
)  # fmt: skip
ENDS = f"""
SELECT s.scale, {BALANCE_BEFORE.format(cut="%(first_id)s")},
       {BALANCE_BEFORE.format(cut="%(end_id)s")}
  FROM wallet_account AS a JOIN wallet_asset AS s ON s.id = a.asset_id
 WHERE a.id = %(account_id)s
"""


class StatementDoesNotTie(RuntimeError):
    """Entries and balances differ: the ledger is damaged; run `manage.py ledger verify`."""


def statement_csv(snapshot: Snapshot, scope: Scope) -> Iterator[bytes]:
    """Write an account's statement, oldest entry first. Raises `StatementDoesNotTie`."""
    return csv_chunks(HEADER, _rows(snapshot, scope))


def _rows(snapshot: Snapshot, scope: Scope) -> Iterator[tuple[object, ...]]:
    parameters = {
        "account_id": scope.account_id,
        "first_id": scope.first_id,
        "end_id": scope.end_id,
    }
    [(scale, opening, closing)] = snapshot.rows(ENDS, parameters)
    yield _end("opening balance", moment(scope.start), decimal(opening, scale))
    balance = opening
    for line in lines(snapshot, scope):
        balance += line.amount
        if balance != line.balance_after:
            raise StatementDoesNotTie(f"transfer {line.transfer_id} on {line.account_id}")
        yield _row(line)
    if balance != closing:
        raise StatementDoesNotTie(f"account {scope.account_id}: {balance} is not {closing}")
    yield _end("closing balance", moment(scope.end), decimal(closing, scale))


def _end(row: str, at: str, balance: str) -> tuple[object, ...]:
    return (row, at, "", "", "", "", "", "", "", "", balance)


def _row(line: Line) -> tuple[object, ...]:
    amount = decimal(abs(line.amount), line.scale)
    columns = (amount, "") if line.amount < 0 else ("", amount)
    return (
        "entry", moment(line.written_at), moment(line.effective_at), line.transfer_id,
        CODES.get(line.code, str(line.code)), line.counter_account_id, guarded(line.reference),
        guarded(line.memo), *columns, decimal(line.balance_after, line.scale),
    )  # fmt: skip
