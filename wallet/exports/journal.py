"""The journal: every entry of the ledger in the order it was written, as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from edge.ids import time_of
from wallet.exports.amounts import decimal
from wallet.exports.csv_rows import csv_chunks, guarded, moment
from wallet.exports.scope import Scope
from wallet.exports.snapshot import Snapshot
from wallet.models import Code

CODES = {code.value: str(code.label) for code in Code}

# Both entries of a transfer are found by their primary key; the debit comes first.
ENTRIES = """
SELECT t.id, t.code, s.code, s.scale, e.account_id, a.kind_id, a.owner_id, a.label,
       e.amount, e.balance_after,
       CASE e.account_id WHEN t.debit_account_id THEN t.credit_account_id
                         ELSE t.debit_account_id END,
       t.effective_at, t.expires_at, t.hold_id, t.reverses_id, t.reference, t.memo
  FROM wallet_transfer AS t
  JOIN wallet_entry AS e ON e.transfer_id = t.id
       AND e.account_id = ANY (ARRAY[t.debit_account_id, t.credit_account_id])
  JOIN wallet_account AS a ON a.id = e.account_id
  JOIN wallet_asset AS s ON s.id = t.asset_id
 WHERE t.kind IN (1, 3) AND t.id >= %s AND t.id < %s {asset}
 ORDER BY t.id, e.amount > 0
"""
ENTRIES_OF_ACCOUNT = """
SELECT t.id, t.code, s.code, s.scale, e.account_id, a.kind_id, a.owner_id, a.label,
       e.amount, e.balance_after,
       CASE e.account_id WHEN t.debit_account_id THEN t.credit_account_id
                         ELSE t.debit_account_id END,
       t.effective_at, t.expires_at, t.hold_id, t.reverses_id, t.reference, t.memo
  FROM wallet_entry AS e
  JOIN wallet_transfer AS t ON t.id = e.transfer_id
  JOIN wallet_account AS a ON a.id = e.account_id
  JOIN wallet_asset AS s ON s.id = t.asset_id
 WHERE e.account_id = %s AND e.transfer_id >= %s AND e.transfer_id < %s
 ORDER BY e.transfer_id
"""
HEADER = (
    "transfer_id", "written_at", "effective_at", "code", "asset", "account_id",
    "account_kind", "owner_id", "account_label", "amount_minor", "amount",
    "balance_after_minor", "counter_account_id", "expires_at", "hold_id", "reverses_id",
    "reference", "memo",
)  # fmt: skip


class Line(NamedTuple):
    """One entry with the facts of its transfer. Amounts in minor units, credits positive."""

    transfer_id: int
    code: int
    asset: str
    scale: int
    account_id: int
    account_kind: str
    owner_id: int | None
    account_label: str
    amount: int
    balance_after: int
    counter_account_id: int
    effective_at: datetime | None
    expires_at: datetime | None
    hold_id: int | None
    reverses_id: int | None
    reference: str
    memo: str

    @property
    def written_at(self) -> datetime:
        return time_of(self.transfer_id)


def lines(snapshot: Snapshot, scope: Scope) -> Iterator[Line]:
    """Read the entries written in the slice, in order; a transfer's debit before its credit."""
    if scope.account_id is not None:
        parameters: list[object] = [scope.account_id, scope.first_id, scope.end_id]
        return map(Line._make, snapshot.ordered_rows(ENTRIES_OF_ACCOUNT, parameters))
    parameters = [scope.first_id, scope.end_id]
    asset = ""
    if scope.asset_id is not None:
        asset = "AND t.asset_id = %s"
        parameters.append(scope.asset_id)
    return map(Line._make, snapshot.ordered_rows(ENTRIES.format(asset=asset), parameters))


def journal_csv(snapshot: Snapshot, scope: Scope) -> Iterator[bytes]:
    """Write the journal of the slice as CSV, one row for each entry."""
    return csv_chunks(HEADER, map(_csv_row, lines(snapshot, scope)))


def _csv_row(line: Line) -> tuple[object, ...]:
    return (
        line.transfer_id, moment(line.written_at), moment(line.effective_at),
        CODES.get(line.code, str(line.code)), line.asset, line.account_id, line.account_kind,
        line.owner_id, guarded(line.account_label), line.amount,
        decimal(line.amount, line.scale), line.balance_after, line.counter_account_id,
        moment(line.expires_at), line.hold_id, line.reverses_id, guarded(line.reference),
        guarded(line.memo),
    )  # fmt: skip
