"""The units of a series on the ledger: issued with the codes, burnt by a reveal.

Four kinds of accounts hold a series' asset. `issuance` stands at minus the codes in use,
`redeemed` at the codes revealed; treasury and people's wallets hold the rest. So units in
circulation are always as many as codes available: `manage.py series verify` counts.

`redeemed` is cut into stripes: people who reveal codes of one series at the same moment lock
different ones, and do not wait for each other's commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.models import Q

from wallet.accounts import BUDGET, ISSUANCE, REDEEMED, WALLET, Purpose, open_accounts
from wallet.actions import post
from wallet.items import Item, Refusal, Result, Transfer
from wallet.models import Account, Code
from wallet.problems import LedgerRefusal

TREASURY = "treasury"
"""The label of the account that holds units nobody was given yet."""
STRIPES = 16
CHAINED = Refusal.CHAIN_REFUSED
GENERIC = "generic"
"""The label of what belongs to codes that many people use: apart from units and their codes."""


class SeriesAccounts(NamedTuple):
    """The house's accounts of one series, by id."""

    issuance: int
    treasury: int


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
    return SeriesAccounts(opened[purposes[0]], opened[purposes[1]])


def _house_purposes(asset_id: int) -> list[Purpose]:
    return [
        Purpose(None, asset_id, ISSUANCE),
        Purpose(None, asset_id, BUDGET, TREASURY),
        *(Purpose(None, asset_id, REDEEMED, stripe_of(number)) for number in range(STRIPES)),
    ]


def stripe_of(number: int) -> str:
    """Say the label of the `redeemed` account that takes the unit of this reveal."""
    return str(number % STRIPES or "")


def holding_account(asset_id: int, owner_id: int | None) -> int:
    """Say the account that holds units for a person, or the treasury for nobody."""
    if owner_id is None:
        return house_accounts(asset_id).treasury
    purpose = Purpose(owner_id, asset_id, WALLET)
    return open_accounts([purpose])[purpose]


def counts_of(asset_ids: Iterable[int]) -> dict[int, UnitCounts]:
    """Count the units of several series in one query."""
    rows = Account.objects.filter(
        Q(kind=ISSUANCE, label="")
        | Q(kind=BUDGET, label=TREASURY)
        | (Q(kind=REDEEMED) & ~Q(label=GENERIC)),
        asset_id__in=list(asset_ids),
        owner=None,
    ).values_list("asset_id", "kind_id", "balance")
    found: dict[int, dict[str, int]] = {}
    for asset_id, kind, balance in rows:
        sums = found.setdefault(asset_id, dict.fromkeys((ISSUANCE, BUDGET, REDEEMED), 0))
        sums[kind] += balance
    return {
        asset_id: UnitCounts(
            issued=-sums[ISSUANCE], in_treasury=sums[BUDGET], revealed=sums[REDEEMED]
        )
        for asset_id, sums in found.items()
    }


def units_of(owner_id: int, asset_ids: Iterable[int]) -> dict[int, int]:
    """Say how many units of each series a person can spend now; those on hold do not count."""
    wallets = Account.objects.filter(
        owner_id=owner_id, asset_id__in=list(asset_ids), kind=WALLET, label=""
    )
    return {wallet.asset_id: wallet.available for wallet in wallets}


class Wallet(NamedTuple):
    """Where a person's units are, and how many they can spend."""

    account_id: int
    available: int


def wallet_of(owner_id: int, asset_id: int) -> Wallet | None:
    """Find a person's wallet of a series; `None` for somebody who never had a unit."""
    found = Account.objects.filter(
        owner_id=owner_id, asset_id=asset_id, kind=WALLET, label=""
    ).first()
    return Wallet(found.pk, found.available) if found else None


def redeemed_account(asset_id: int, number: int) -> int:
    """Say the account that takes the unit burnt by this reveal."""
    purpose = Purpose(None, asset_id, REDEEMED, stripe_of(number))
    return open_accounts([purpose])[purpose]


def move(*, reference: str, asset_id: int, debit: int, credit: int, amount: int, code: Code) -> int:
    """Move units and say the transfer's id. Last in its transaction; a refusal is raised.

    Locks both accounts until the transaction ends (see `wallet.actions.post`).
    """
    item = Transfer(
        reference=reference,
        asset_id=asset_id,
        debit_account_id=debit,
        credit_account_id=credit,
        amount=amount,
        code=code,
    )
    return post_all([item])[0].transfer_id


def post_all(items: Sequence[Item], *, now: datetime | None = None) -> list[Result]:
    """Do all of these or none, by one passage through the door; the first refusal is raised."""
    results = post(items, now=now)
    refusals = [result.refusal for result in results if not result.is_created]
    if refusals:
        raise LedgerRefusal(next((each for each in refusals if each is not CHAINED), CHAINED))
    return results
