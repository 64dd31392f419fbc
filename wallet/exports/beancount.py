"""The ledger as a beancount file: it loads without error, and its balances are ours.

Amounts are exact decimals. Every account closes with a `balance` of tolerance zero, so
`bean-check` proves the file by itself. Entries stand on the day they were written, with
their effective date, where they have one, beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import groupby

from edge.ids import EPOCH
from wallet.exports.amounts import decimal
from wallet.exports.balances import AccountRow, account_rows
from wallet.exports.books import Movement, closing_date, movements, name_of, plain
from wallet.exports.journal import CODES
from wallet.exports.scope import Scope
from wallet.exports.snapshot import Row, Snapshot

_COMMODITY = re.compile(r"[A-Z][A-Z0-9'._-]*[A-Z0-9]")
RESERVED = frozenset({"TRUE", "FALSE", "NULL"})
BEGINNING = EPOCH.date()
ASSETS = "SELECT id, code, name, scale FROM wallet_asset ORDER BY id"


def commodity(asset: str, asset_id: int) -> str:
    """Name an asset as beancount allows: its code, unless that ends in a mark or is reserved.

    Then the marks go and an apostrophe with the asset's id follows (`GOLD-` is `GOLD'7`). No
    code of ours holds an apostrophe, so no two assets share a name.
    """
    if _COMMODITY.fullmatch(asset) and asset not in RESERVED:
        return asset
    return f"{asset.rstrip('._-')}'{asset_id}"


def beancount_file(snapshot: Snapshot, scope: Scope) -> Iterator[str]:
    """Write the slice as a beancount file, a directive at a time."""
    yield f"; The ledger until {scope.end.isoformat()}. A debit is positive.\n"
    yield 'option "title" "Ledger"\n\n'
    yield from map(_commodity, snapshot.rows(ASSETS))
    yield from map(_open, account_rows(snapshot, scope))
    if scope.start is not None:
        opened = (row for row in account_rows(snapshot, scope) if row.opening)
        yield from _opening(opened, scope.begins.date())
    yield from map(_transaction, movements(snapshot, scope))
    checked_on = closing_date(scope)
    for row in account_rows(snapshot, scope):
        yield (
            f"{checked_on} balance {name_of(row)} "
            f"{decimal(-row.closing, row.scale)} ~ 0 {commodity(row.asset, row.asset_id)}\n"
        )


def _commodity(row: Row) -> str:
    asset_id, code, name, scale = row
    return (
        f"{BEGINNING} commodity {commodity(code, asset_id)}\n"
        f"  name: {_text(name)}\n  asset: {_text(code)}\n  scale: {scale}\n"
    )


def _open(row: AccountRow) -> str:
    owner = "" if row.owner_id is None else f'  owner: "{row.owner_id}"\n'
    label = f"  label: {_text(row.label)}\n" if row.label else ""
    opened = f"{BEGINNING} open {name_of(row)} {commodity(row.asset, row.asset_id)}\n"
    return opened + owner + label


def _opening(rows: Iterable[AccountRow], on: date) -> Iterator[str]:
    """One transaction for each asset; it balances because the asset does."""
    for asset, held in groupby(rows, key=lambda row: row.asset):
        yield f'\n{on} * "Opening balances of {asset}"\n'
        for row in held:
            amount = decimal(-row.opening, row.scale)
            yield f"  {name_of(row)} {amount} {commodity(asset, row.asset_id)}\n"


def _transaction(move: Movement) -> str:
    amount = decimal(move.amount, move.scale)
    unit = commodity(move.asset, move.asset_id)
    dated = f"  effective: {move.effective_on}\n" if move.effective_on else ""
    reference = f"  reference: {_text(move.reference)}\n" if move.reference else ""
    return (
        f"\n{move.written_on} * {_text(CODES.get(move.code, str(move.code)))} {_text(move.memo)}\n"
        f'  transfer: "{move.transfer_id}"\n{dated}{reference}'
        f"  {move.debit_account} {amount} {unit}\n"
        f"  {move.credit_account} -{amount} {unit}\n"
    )


def _text(text: str) -> str:
    escaped = plain(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
