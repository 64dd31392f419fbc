"""The units of a series on the ledger: issued with the codes, burnt by a reveal.

Four kinds of accounts hold a series' asset. `issuance` stands at minus the codes in use,
`redeemed` at the codes revealed; treasury and people's wallets hold the rest. So units in
circulation are always as many as codes available: `manage.py series verify` counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from django.db.models import Q

from wallet.accounts import BUDGET, ISSUANCE, REDEEMED, WALLET, Purpose, open_accounts
from wallet.actions import post
from wallet.items import Transfer
from wallet.models import Account, Code
from wallet.problems import LedgerRefusal

TREASURY = "treasury"
"""The label of the account that holds units nobody was given yet."""


class SeriesAccounts(NamedTuple):
    """The house's accounts of one series, by id."""

    issuance: int
    treasury: int
    redeemed: int


class UnitCounts(NamedTuple):
    """How many units of a series there are; read from balances, so at any size at the same cost."""

    issued: int
    in_treasury: int
    revealed: int

    @property
    def available(self) -> int:
        """Units not yet revealed, wherever they are: as many as codes not yet given."""
        return self.issued - self.revealed


def house_accounts(asset_id: int) -> SeriesAccounts:
    """Say the house's accounts of a series, opening them at first use."""
    purposes = _house_purposes(asset_id)
    opened = open_accounts(purposes)
    return SeriesAccounts(*(opened[purpose] for purpose in purposes))


def _house_purposes(asset_id: int) -> list[Purpose]:
    return [
        Purpose(None, asset_id, ISSUANCE),
        Purpose(None, asset_id, BUDGET, TREASURY),
        Purpose(None, asset_id, REDEEMED),
    ]


def holding_account(asset_id: int, owner_id: int | None) -> int:
    """Say the account that holds units for a person, or the treasury for nobody."""
    if owner_id is None:
        return house_accounts(asset_id).treasury
    purpose = Purpose(owner_id, asset_id, WALLET)
    return open_accounts([purpose])[purpose]


def counts_of(asset_ids: Iterable[int]) -> dict[int, UnitCounts]:
    """Count the units of several series in one query."""
    rows = Account.objects.filter(
        asset_id__in=list(asset_ids), owner=None, kind__in=(ISSUANCE, BUDGET, REDEEMED)
    ).values_list("asset_id", "kind_id", "label", "balance")
    found: dict[int, dict[tuple[str, str], int]] = {}
    for asset_id, kind, label, balance in rows:
        found.setdefault(asset_id, {})[kind, label] = balance
    return {
        asset_id: UnitCounts(
            issued=-balances.get((ISSUANCE, ""), 0),
            in_treasury=balances.get((BUDGET, TREASURY), 0),
            revealed=balances.get((REDEEMED, ""), 0),
        )
        for asset_id, balances in found.items()
    }


def units_of(owner_id: int, asset_ids: Iterable[int]) -> dict[int, int]:
    """Say how many units of each series a person can spend now; those on hold do not count."""
    wallets = Account.objects.filter(
        owner_id=owner_id, asset_id__in=list(asset_ids), kind=WALLET, label=""
    )
    return {wallet.asset_id: wallet.available for wallet in wallets}


class Burn(NamedTuple):
    """Where a person's unit is and where it goes when it is burnt; and how many they can spend."""

    wallet: int
    redeemed: int
    available: int


def burn_of(owner_id: int, asset_id: int) -> Burn | None:
    """Find the accounts of a burn in one query; `None` for a person without a wallet."""
    mine = Q(owner_id=owner_id, kind=WALLET, label="")
    house = Q(owner=None, kind=REDEEMED, label="")
    found = {
        account.kind_id: account
        for account in Account.objects.filter(mine | house, asset_id=asset_id)
    }
    if WALLET not in found:
        return None
    return Burn(found[WALLET].pk, found[REDEEMED].pk, found[WALLET].available)


def move(*, reference: str, asset_id: int, debit: int, credit: int, amount: int, code: Code) -> int:
    """Move units and say the transfer's id. Last in its transaction; a refusal is raised.

    Locks both accounts until the transaction ends (see `wallet.actions.post`).
    """
    [result] = post(
        [
            Transfer(
                reference=reference,
                asset_id=asset_id,
                debit_account_id=debit,
                credit_account_id=credit,
                amount=amount,
                code=code,
            )
        ]
    )
    if not result.is_created:
        raise LedgerRefusal(result.refusal)
    return result.transfer_id
