"""The trial balance: every account's balance in one of two columns, which must be equal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from wallet.exports.amounts import decimal
from wallet.exports.balances import AccountRow, KindRow, account_rows, kind_rows
from wallet.exports.csv_rows import csv_chunks, guarded
from wallet.exports.scope import Scope
from wallet.exports.snapshot import Snapshot

HEADER = (
    "row", "asset", "side", "account_kind", "account_id", "owner_id", "account_label",
    "debit", "credit",
)  # fmt: skip


class BooksDoNotBalance(RuntimeError):
    """Debits differ from credits: the ledger is damaged; run `manage.py ledger verify`."""


def trial_balance_csv(snapshot: Snapshot, scope: Scope) -> Iterator[bytes]:
    """Write the trial balance at the end of the slice: for each asset its kinds and a total.

    With `by_account` one row for each account. Raises `BooksDoNotBalance`.
    """
    rows: Iterable[AccountRow | KindRow] = (
        account_rows(snapshot, scope) if scope.by_account else kind_rows(snapshot, scope)
    )
    return csv_chunks(HEADER, _lines(rows))


def _lines(rows: Iterable[AccountRow | KindRow]) -> Iterator[tuple[object, ...]]:
    for (asset, scale), held in groupby(rows, key=lambda row: (row.asset, row.scale)):
        debits = credits_ = 0
        for row in held:
            debits += max(0, -row.closing)
            credits_ += max(0, row.closing)
            yield _line(row)
        if debits != credits_:
            raise BooksDoNotBalance(f"{asset}: debits {debits}, credits {credits_}")
        total = decimal(debits, scale)
        yield ("total", asset, "", "", "", "", "", total, total)


def _line(row: AccountRow | KindRow) -> tuple[object, ...]:
    amount = decimal(abs(row.closing), row.scale)
    columns = (amount, "") if row.closing < 0 else ("", amount)
    if isinstance(row, KindRow):
        return ("kind", row.asset, row.side, row.kind, "", "", "", *columns)
    label = guarded(row.label)
    return ("account", row.asset, row.side, row.kind, row.id, row.owner_id, label, *columns)
