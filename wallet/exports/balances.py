"""The balances of all accounts at the two ends of an export's slice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from wallet.exports.scope import Scope
from wallet.exports.snapshot import Snapshot
from wallet.statements import BALANCE_BEFORE

# An account counts once it has an entry written before the slice ends.
ACCOUNTS = f"""
SELECT a.id, s.id AS asset_id, s.code AS asset, s.scale, k.code AS kind, k.side, k.is_owned,
       a.owner_id, a.label,
       {BALANCE_BEFORE.format(cut="%(first_id)s")} AS opening,
       {BALANCE_BEFORE.format(cut="%(end_id)s")} AS closing
  FROM wallet_account AS a
  JOIN wallet_asset AS s ON s.id = a.asset_id
  JOIN wallet_accountkind AS k ON k.code = a.kind_id
 WHERE (%(asset_id)s::bigint IS NULL OR a.asset_id = %(asset_id)s)
   AND EXISTS (SELECT FROM wallet_entry AS e
                WHERE e.account_id = a.id AND e.transfer_id < %(end_id)s)
"""
# Dated entries that stand on the other side of {moment} than their writing, added up.
DATED = """
SELECT account_id, sum(CASE WHEN effective_at < {moment} THEN amount ELSE -amount END) AS amount
  FROM wallet_entry
 WHERE (effective_at < {moment} AND transfer_id >= {cut})
    OR (effective_at >= {moment} AND transfer_id < {cut})
 GROUP BY account_id
"""
ACCOUNTS_BY_DATE = f"""
WITH opening AS ({DATED.format(moment="%(start)s", cut="%(first_id)s")}),
     closing AS ({DATED.format(moment="%(end)s", cut="%(end_id)s")})
SELECT a.id, s.id AS asset_id, s.code AS asset, s.scale, k.code AS kind, k.side, k.is_owned,
       a.owner_id, a.label,
       ({BALANCE_BEFORE.format(cut="%(first_id)s")}
        + coalesce(opening.amount, 0))::bigint AS opening,
       ({BALANCE_BEFORE.format(cut="%(end_id)s")}
        + coalesce(closing.amount, 0))::bigint AS closing
  FROM wallet_account AS a
  JOIN wallet_asset AS s ON s.id = a.asset_id
  JOIN wallet_accountkind AS k ON k.code = a.kind_id
  LEFT JOIN opening ON opening.account_id = a.id
  LEFT JOIN closing ON closing.account_id = a.id
 WHERE (%(asset_id)s::bigint IS NULL OR a.asset_id = %(asset_id)s) AND a.entry_count > 0
"""


BY_BOOK = "ORDER BY asset, side, kind, id"
KINDS = """
SELECT asset_id, asset, scale, kind, side, is_owned, sum(opening), sum(closing)
  FROM ({accounts}) AS account
 GROUP BY asset_id, asset, scale, kind, side, is_owned
 ORDER BY asset, side, kind
"""


class AccountRow(NamedTuple):
    """An account and its balances at both ends. Minor units; credits less debits."""

    id: int
    asset_id: int
    asset: str
    scale: int
    kind: str
    side: str
    is_owned: bool
    owner_id: int | None
    label: str
    opening: int
    closing: int


class KindRow(NamedTuple):
    """All accounts of one asset and kind together, as `AccountRow` has each."""

    asset_id: int
    asset: str
    scale: int
    kind: str
    side: str
    is_owned: bool
    opening: int
    closing: int


def account_rows(snapshot: Snapshot, scope: Scope) -> Iterator[AccountRow]:
    """Read every account that moved before the slice ends, by asset, side, kind and id.

    Balances count by written time, or by effective date where the scope says so.
    """
    return map(AccountRow._make, snapshot.rows(_accounts(scope) + BY_BOOK, _parameters(scope)))


def kind_rows(snapshot: Snapshot, scope: Scope) -> Iterator[KindRow]:
    """Read the balances of `account_rows`, added up for each asset and kind of account."""
    for row in snapshot.rows(KINDS.format(accounts=_accounts(scope)), _parameters(scope)):
        yield KindRow._make((*row[:6], int(row[6]), int(row[7])))


def _accounts(scope: Scope) -> str:
    return ACCOUNTS_BY_DATE if scope.by_effective_date else ACCOUNTS


def _parameters(scope: Scope) -> dict[str, object]:
    return {
        "asset_id": scope.asset_id,
        "first_id": scope.first_id,
        "end_id": scope.end_id,
        "start": scope.begins,
        "end": scope.end,
    }
