"""The ledger in the words of plain-text accounting, for beancount and hledger alike.

In those tools a debit is positive, so a posting is the negative of our entry. An account's
name is its side, its kind, its asset and its id: the names need nothing that people typed,
and never change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from edge.ids import time_of
from wallet.exports.balances import AccountRow
from wallet.exports.scope import Scope
from wallet.exports.snapshot import Snapshot

_FOREIGN = re.compile(r"[^A-Za-z0-9]+")
TRANSFERS = """
SELECT t.id, t.code, t.asset_id, s.code, s.scale, t.amount,
       t.debit_account_id, d.kind_id, dk.side, t.credit_account_id, c.kind_id, ck.side,
       t.effective_at, t.reference, t.memo
  FROM wallet_transfer AS t
  JOIN wallet_asset AS s ON s.id = t.asset_id
  JOIN wallet_account AS d ON d.id = t.debit_account_id
  JOIN wallet_accountkind AS dk ON dk.code = d.kind_id
  JOIN wallet_account AS c ON c.id = t.credit_account_id
  JOIN wallet_accountkind AS ck ON ck.code = c.kind_id
 WHERE t.kind IN (1, 3) AND t.id >= %(first_id)s AND t.id < %(end_id)s {asset}
 ORDER BY t.id
"""


class Movement(NamedTuple):
    """One transfer with the names of its accounts. `amount` is in minor units, positive."""

    transfer_id: int
    code: int
    asset_id: int
    asset: str
    scale: int
    amount: int
    debit_id: int
    debit_kind: str
    debit_side: str
    credit_id: int
    credit_kind: str
    credit_side: str
    effective_at: datetime | None
    reference: str
    memo: str

    @property
    def debit_account(self) -> str:
        return account_name(self.debit_side, self.debit_kind, self.asset, self.debit_id)

    @property
    def credit_account(self) -> str:
        return account_name(self.credit_side, self.credit_kind, self.asset, self.credit_id)

    @property
    def written_on(self) -> date:
        return time_of(self.transfer_id).date()

    @property
    def effective_on(self) -> date | None:
        return self.effective_at and self.effective_at.astimezone(UTC).date()


def movements(snapshot: Snapshot, scope: Scope) -> Iterator[Movement]:
    """Read the transfers written in the slice, in order."""
    asset = "" if scope.asset_id is None else "AND t.asset_id = %(asset_id)s"
    parameters: dict[str, object] = {"first_id": scope.first_id, "end_id": scope.end_id}
    if scope.asset_id is not None:
        parameters["asset_id"] = scope.asset_id
    rows = snapshot.ordered_rows(TRANSFERS.format(asset=asset), parameters)
    return map(Movement._make, rows)


def name_of(row: AccountRow) -> str:
    """Name an account: `Liabilities:Wallet:PTS:42`."""
    return account_name(row.side, row.kind, row.asset, row.id)


def account_name(side: str, kind: str, asset: str, id: int) -> str:
    """Name an account by parts that both tools accept: letters, digits and dashes."""
    return f"{side}:{_part(kind)}:{_part(asset)}:{id}"


def _part(text: str) -> str:
    part = _FOREIGN.sub("-", text).strip("-") or "X"
    return part[0].upper() + part[1:]


def plain(text: str) -> str:
    """Put text on one line: line breaks and control characters become spaces."""
    return "".join(mark if mark.isprintable() else " " for mark in text)


def closing_date(scope: Scope) -> date:
    """Say the first day on which everything in the slice has happened."""
    return (scope.end.astimezone(UTC) - timedelta(microseconds=1)).date() + timedelta(days=1)
