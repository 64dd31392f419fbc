"""Opening accounts and finding them. Money on them moves through the door alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from edge.journey import ask
from edge.postgres import repeated_texts
from wallet.models import Account, AccountKind, Asset

WALLET = "wallet"
ISSUANCE = "issuance"
FEES = "fees"
REDEEMED = "redeemed"
BREAKAGE = "breakage"
OWED = "owed"
BUDGET = "budget"
MOST_AT_ONCE = 10_000

OPEN_ACCOUNTS = """
WITH asked AS (
    SELECT * FROM unnest($1::bigint[], $2::int[], $3::varchar[], $4::varchar[])
        AS asked(owner_id, asset_id, kind_id, label)
)
INSERT INTO wallet_account
    (owner_id, asset_id, kind_id, label, balance, held, incoming, floor, ceiling,
     largest_debit, status, entry_count, last_transfer_id, created_at)
SELECT asked.owner_id, asked.asset_id, asked.kind_id, asked.label, 0, 0, 0, kind.floor,
       kind.ceiling, kind.largest_debit, 0, 0, 0, now()
  FROM asked JOIN wallet_accountkind AS kind ON kind.code = asked.kind_id
 ORDER BY 1, 2, 3, 4
ON CONFLICT ON CONSTRAINT wallet_account_purpose DO NOTHING
RETURNING owner_id, asset_id, kind_id, label, id
"""
FIND_ACCOUNTS = """
WITH asked AS (
    SELECT * FROM unnest($1::bigint[], $2::int[], $3::varchar[], $4::varchar[])
        AS asked(owner_id, asset_id, kind_id, label)
)
SELECT a.owner_id, a.asset_id, a.kind_id, a.label, a.id
  FROM asked JOIN wallet_account AS a USING (owner_id, asset_id, kind_id, label)
UNION ALL
SELECT a.owner_id, a.asset_id, a.kind_id, a.label, a.id
  FROM asked JOIN wallet_account AS a USING (asset_id, kind_id, label)
 WHERE asked.owner_id IS NULL AND a.owner_id IS NULL
"""


class Purpose(NamedTuple):
    """What tells one account from all others: owner (or none), asset, kind and label."""

    owner_id: int | None
    asset_id: int
    kind: str = WALLET
    label: str = ""


def open_accounts(
    purposes: Iterable[Purpose], *, also: Iterable[Purpose] = ()
) -> dict[Purpose, int]:
    """Say the account id for each purpose, opening those that do not exist yet.

    One look-up, and one INSERT for all that are missing: the cost does not grow with the
    number of accounts there are. At most 10,000 at once. A new account takes the limits of
    its kind. Safe to race: both callers get the same account. `also` are looked up on the
    way, and are in the answer only if they exist.
    """
    wanted = list(dict.fromkeys(purposes))
    asked = list(dict.fromkeys([*wanted, *also]))
    assert len(asked) <= MOST_AT_ONCE
    found = find_accounts(asked)
    if missing := [purpose for purpose in wanted if purpose not in found]:
        found |= _ids(OPEN_ACCOUNTS, missing)
        # Another transaction opened these between our look and our INSERT.
        found |= find_accounts([purpose for purpose in missing if purpose not in found])
    return found


def find_accounts(purposes: Sequence[Purpose]) -> dict[Purpose, int]:
    """Say the account ids of those purposes that have one."""
    return _ids(FIND_ACCOUNTS, purposes) if purposes else {}


def _ids(statement: str, purposes: Sequence[Purpose]) -> dict[Purpose, int]:
    found = ask(statement, *_columns(purposes))
    return {Purpose._make(row[:4]): row[4] for row in found.fetchall()}


def _columns(purposes: Sequence[Purpose]) -> tuple[str, str, str, str]:
    """Spell the four columns as arrays: thousands of purposes bind as four texts."""
    owners = ",".join(["NULL" if each[0] is None else str(each[0]) for each in purposes])
    assets = ",".join([str(each[1]) for each in purposes])
    kinds = repeated_texts([each[2] for each in purposes])
    labels = repeated_texts([each[3] for each in purposes])
    return f"{{{owners}}}", f"{{{assets}}}", kinds, labels


def wallet_of(owner_id: int, asset: Asset) -> Account:
    """Get a person's wallet for an asset, opening it at first use."""
    purpose = Purpose(owner_id, asset.pk)
    return Account.objects.get(pk=open_accounts([purpose])[purpose])


def system_account(asset: Asset, kind: str, label: str = "") -> Account:
    """Get an account of the house (issuance, fees, breakage …), opening it at first use."""
    assert not AccountKind.objects.get(pk=kind).is_owned
    purpose = Purpose(None, asset.pk, kind, label)
    return Account.objects.get(pk=open_accounts([purpose])[purpose])
