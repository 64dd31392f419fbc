"""What vouchers cost: the ledger's accounts behind their face values, and moves between them.

When codes of a series that partners redeem with us come in, their whole face value is booked
as owed (`voucher_liability`, by series). A use moves it on to what we owe the partner
(`settlement`); what is not used goes back to the cost of vouchers (percentages) or to
breakage. A gift balance gets an account of its own when it is first touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.db import connection

from rewards.models import GenericCode, Partner, Series
from rewards.redemption.rules import Kind
from rewards.units import GENERIC
from wallet.accounts import BREAKAGE, BUDGET, ISSUANCE, REDEEMED, Purpose, open_accounts
from wallet.items import Transfer
from wallet.models import Account, Code

COST = "voucher_cost"
LIABILITY = "voucher_liability"
GIFT = "gift_balance"
SETTLEMENT = "settlement"

# One statement, because the ledger's sweep may release a hold between two.
WITHOUT = """
SELECT balance - held + (SELECT coalesce(sum(remaining), 0) FROM wallet_hold
                          WHERE account_id = %(account)s AND id = ANY(%(holds)s) AND state = 0)
  FROM wallet_account WHERE id = %(account)s
"""


class Purse(NamedTuple):
    """The accounts behind one series' face value, by id."""

    cost: int
    liability: int
    breakage: int


def purse_of(series: Series) -> Purse:
    """Say the accounts of a series' face value, opening them at first use."""
    asset_id = series.face_value_asset_id
    assert asset_id is not None
    kinds = (COST, LIABILITY, BREAKAGE)
    purposes = [Purpose(None, asset_id, kind, series.code) for kind in kinds]
    opened = open_accounts(purposes)
    return Purse(*(opened[purpose] for purpose in purposes))


def rest_account(series: Series, purse: Purse) -> int:
    """Say where the part of a face value goes that a use did not need."""
    return purse.cost if series.kind == Kind.PERCENTAGE else purse.breakage


def settlement_of(partner: Partner, asset_id: int) -> int:
    """Say the account of what we owe a partner in a currency."""
    purpose = Purpose(None, asset_id, SETTLEMENT, f"partner:{partner.pk}")
    return open_accounts([purpose])[purpose]


def gift_account(code_id: int, asset_id: int) -> int:
    """Say the account of one gift balance, opening it at first use."""
    purpose = Purpose(None, asset_id, GIFT, f"code:{code_id}")
    return open_accounts([purpose])[purpose]


def available(account_id: int) -> int:
    """Say what an account has to spend now."""
    return Account.objects.get(pk=account_id).available


def available_without(account_id: int, holds: Sequence[int]) -> int:
    """Say what an account would have to spend without these holds, those that are still open."""
    with connection.cursor() as cursor:
        cursor.execute(WITHOUT, {"account": account_id, "holds": list(holds)})
        (amount,) = cursor.fetchone()
    return int(amount)


def transfer(
    reference: str,
    asset_id: int,
    debit: int,
    credit: int,
    amount: int,
    *,
    code: Code = Code.REDEMPTION,
    reverses_id: int | None = None,
) -> list[Transfer]:
    """Spell a move of money for the door; none for nothing."""
    if not amount:
        return []
    return [
        Transfer(
            reference=reference,
            asset_id=asset_id,
            debit_account_id=debit,
            credit_account_id=credit,
            amount=amount,
            code=code,
            reverses_id=reverses_id,
        )
    ]


def backing(series: Series, count: int, reference: str) -> list[Transfer]:
    """Book what is owed for so many new vouchers of a series."""
    if not series.backing_minor:
        return []
    purse, amount = purse_of(series), count * series.backing_minor
    asset_id = series.face_value_asset_id or 0
    return transfer(
        f"{reference}:owed", asset_id, purse.cost, purse.liability, amount, code=Code.ISSUE
    )


def unbacking(series: Series, count: int, reference: str) -> list[Transfer]:
    """Take back what was owed for vouchers that will never be used: they cost nothing."""
    if not series.backing_minor:
        return []
    purse, amount = purse_of(series), count * series.backing_minor
    asset_id = series.face_value_asset_id or 0
    return transfer(
        f"{reference}:owed", asset_id, purse.liability, purse.cost, amount, code=Code.CLAWBACK
    )


class Uses(NamedTuple):
    """The accounts that count the uses of one generic code, in units of its series."""

    issuance: int
    left: int
    used: int


def uses_of(generic: GenericCode) -> Uses:
    """Say where the uses of a generic code are counted."""
    asset_id = generic.series.asset_id
    purposes = [
        Purpose(None, asset_id, ISSUANCE, GENERIC),
        Purpose(None, asset_id, BUDGET, f"{GENERIC}:{generic.pk}"),
        Purpose(None, asset_id, REDEEMED, GENERIC),
    ]
    opened = open_accounts(purposes)
    return Uses(*(opened[purpose] for purpose in purposes))
