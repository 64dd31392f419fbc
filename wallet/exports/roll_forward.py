"""The liability roll-forward: what was owed, what came and went and why, what is owed now.

For each asset and each kind of account on the liability side: the opening balance, what
was issued, deposited, redeemed, withdrawn, expired, clawed back and so on (signed: what lowers
the liability is negative), and their sum, the closing balance. The movements are added up from
transfers, the balances are read from accounts; a report in which the two do not meet to the
unit is not made.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from wallet.exports.amounts import decimal
from wallet.exports.balances import KindRow, kind_rows
from wallet.exports.csv_rows import csv_chunks
from wallet.exports.scope import Scope
from wallet.exports.snapshot import Snapshot
from wallet.models import AccountKind, Code

CATEGORIES = (
    "issued", "deposited", "redeemed", "withdrawn", "expired", "clawed_back", "repaid", "fees",
    "moved", "other",
)  # fmt: skip
BY_CODE = {
    Code.ISSUE: "issued",
    Code.GRANT: "issued",
    Code.CLAIM: "issued",
    Code.DEPOSIT: "deposited",
    Code.REVEAL: "redeemed",
    Code.REDEMPTION: "redeemed",
    Code.WITHDRAWAL: "withdrawn",
    Code.EXPIRY: "expired",
    Code.CLAWBACK: "clawed_back",
    Code.REPAYMENT: "repaid",
    Code.TRADE_FEE: "fees",
    Code.PAYMENT: "moved",
    Code.TRADE_UNITS: "moved",
    Code.TRADE_PRICE: "moved",
}
BY_KIND = {"issuance": "issued", "redeemed": "redeemed", "breakage": "expired", "fees": "fees"}
"""For codes that say nothing of the purpose: a reversed issue counts against what was issued."""

HEADER = ("asset", "account_kind", "opening", *CATEGORIES, "closing")
TRANSFERS = """
SELECT t.asset_id, t.code, d.kind_id, c.kind_id, sum(t.amount)
  FROM wallet_transfer AS t
  JOIN wallet_account AS d ON d.id = t.debit_account_id
  JOIN wallet_account AS c ON c.id = t.credit_account_id
 WHERE t.kind IN (1, 3) AND d.kind_id <> c.kind_id AND t.id >= %(first_id)s AND {period}
   AND (%(asset_id)s::bigint IS NULL OR t.asset_id = %(asset_id)s)
 GROUP BY 1, 2, 3, 4
"""
WRITTEN = "t.id < %(end_id)s"
# A date is never later than the writing, so nothing written before the slice belongs to it.
EFFECTIVE = """(
    (t.effective_at IS NULL AND t.id < %(end_id)s)
    OR (t.effective_at >= %(start)s AND t.effective_at < %(end)s))
"""
Movements = dict[tuple[int, str], Counter[str]]


class RollForwardDoesNotTie(RuntimeError):
    """Movements and balances differ: the ledger is damaged; run `manage.py ledger verify`."""


def category(code: int, debit_kind: str, credit_kind: str) -> str:
    """Say in which column a transfer counts: by its code, or else by the accounts it joins."""
    if code in BY_CODE:
        return BY_CODE[Code(code)]
    return BY_KIND.get(debit_kind) or BY_KIND.get(credit_kind) or "other"


def roll_forward_csv(snapshot: Snapshot, scope: Scope) -> Iterator[bytes]:
    """Write the roll-forward of the slice. Raises `RollForwardDoesNotTie`."""
    return csv_chunks(HEADER, _lines(snapshot, scope))


def _lines(snapshot: Snapshot, scope: Scope) -> Iterator[tuple[object, ...]]:
    moved = _movements(snapshot, scope)
    for row in kind_rows(snapshot, scope):
        if row.side == AccountKind.Side.LIABILITIES:
            yield _line(row, moved[row.asset_id, row.kind])


def _movements(snapshot: Snapshot, scope: Scope) -> Movements:
    """Add up what moved between kinds of account: into one, out of the other."""
    period = EFFECTIVE if scope.by_effective_date else WRITTEN
    parameters = {
        "first_id": scope.first_id,
        "end_id": scope.end_id,
        "start": scope.begins,
        "end": scope.end,
        "asset_id": scope.asset_id,
    }
    moved: Movements = defaultdict(Counter)
    for asset_id, code, debit_kind, credit_kind, total in snapshot.rows(
        TRANSFERS.format(period=period), parameters
    ):
        column = category(code, debit_kind, credit_kind)
        moved[asset_id, debit_kind][column] -= int(total)
        moved[asset_id, credit_kind][column] += int(total)
    return moved


def _line(row: KindRow, moved: Counter[str]) -> tuple[object, ...]:
    if row.opening + moved.total() != row.closing:
        raise RollForwardDoesNotTie(
            f"{row.asset} {row.kind}: {row.opening} + {moved.total()} is not {row.closing}"
        )
    columns = (decimal(moved[column], row.scale) for column in CATEGORIES)
    ends = (decimal(row.opening, row.scale), decimal(row.closing, row.scale))
    return (row.asset, row.kind, ends[0], *columns, ends[1])
