"""The ledger's side of a claim and of its reversal: one pass through the door each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from accounts.models import User
from edge.fields import format_time
from rewards.campaigns.deciding import Payment
from rewards.campaigns.directory import Compiled
from rewards.campaigns.models import Claim, TierProgram
from rewards.campaigns.problems import RewardSpent
from rewards.campaigns.standings import STATUS
from wallet.accounts import ISSUANCE, REDEEMED, Purpose, open_accounts
from wallet.items import Refusal, Transfer
from wallet.models import Code
from wallet.points import Grant, clawback_all, grant
from wallet.problems import LedgerRefusal
from wallet.reversals import reversals_of

DISCOUNTS = "discounts"
TO_WALLETS = frozenset({"points", "units", "cashback"})
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bill:
    """What one claim pays out."""

    entry: Compiled
    claim_id: int
    payments: Sequence[Payment]


class Unpaid(Exception):
    """The ledger refused a payment of one bill; the caller undoes its transaction."""

    def __init__(self, claim_id: int, reason: Refusal) -> None:
        super().__init__(claim_id, reason)
        self.claim_id = claim_id
        self.reason = reason


def pay(bills: Sequence[Bill], now: datetime) -> dict[int, list[Row]]:
    """Pay what claims grant; gives each claim's payments with their transfers.

    One pass through the door. Raises `Unpaid` for the first bill that the ledger refuses: a
    budget that has too little, a wallet that may not receive.
    """
    lines = [(bill, index) for bill in bills for index in range(len(bill.payments))]
    to_wallets = [line for line in lines if _kind(line) in TO_WALLETS]
    others = [line for line in lines if _kind(line) not in TO_WALLETS]
    grants = [_grant(*_spelt(line)) for line in to_wallets]
    transfers = [_transfer(*_spelt(line)) for line in others]
    results = grant(grants, also=transfers, now=now)
    paid: dict[tuple[int, int], int] = {}
    for (bill, index), result in zip([*to_wallets, *others], results, strict=True):
        if not result.is_created:
            raise Unpaid(bill.claim_id, result.refusal)
        paid[bill.claim_id, index] = result.transfer_id
    return {
        bill.claim_id: [
            _row(bill.entry, payment, paid[bill.claim_id, index])
            for index, payment in enumerate(bill.payments)
        ]
        for bill in bills
    }


Line = tuple[Bill, int]


def _kind(line: Line) -> str:
    bill, index = line
    return bill.payments[index].kind


def _spelt(line: Line) -> tuple[Compiled, Payment, str]:
    bill, index = line
    return bill.entry, bill.payments[index], f"claim:{bill.claim_id}:{index}"


def _row(entry: Compiled, payment: Payment, transfer_id: int) -> Row:
    expiry = {"expires_at": format_time(payment.expires_at)} if payment.expires_at else {}
    budget = entry.budgets.get(payment.asset)
    is_budgeted = payment.kind != "tier_points" and budget is not None
    return {
        "kind": payment.kind,
        "asset": payment.asset,
        "amount": payment.amount,
        "person": str(payment.person),
        "transfer_id": str(transfer_id),
        "budget": str(budget.account_id) if is_budgeted and budget else None,
        **expiry,
    }


def _grant(entry: Compiled, payment: Payment, reference: str) -> Grant:
    budget = entry.budgets[payment.asset]
    return Grant(
        reference=reference,
        owner_id=payment.person,
        asset_id=budget.asset_id,
        amount=payment.amount,
        expires_at=payment.expires_at,
        memo=f"campaign {entry.code}",
        code=Code.CLAIM,
        source_id=budget.account_id,
    )


def _transfer(entry: Compiled, payment: Payment, reference: str) -> Transfer:
    """Discounts leave the budget for good; tier points come from their issuance."""
    if payment.kind == "discount":
        budget = entry.budgets[payment.asset]
        asset_id, debit = budget.asset_id, budget.account_id
        given = Purpose(None, asset_id, REDEEMED, DISCOUNTS)
        credit = open_accounts([given])[given]
    else:
        asset_id = TierProgram.objects.values_list("asset_id", flat=True).get(code=payment.asset)
        source = Purpose(None, asset_id, ISSUANCE)
        status = Purpose(payment.person, asset_id, STATUS)
        opened = open_accounts([source, status])
        debit, credit = opened[source], opened[status]
    return Transfer(
        reference=reference,
        asset_id=asset_id,
        debit_account_id=debit,
        credit_account_id=credit,
        amount=payment.amount,
        code=Code.CLAIM,
        memo=f"campaign {entry.code}",
    )


def take_back(claim: Claim, *, actor: User | None, reason: str) -> list[Row]:
    """Take back everything a claim paid; what of points and money is spent becomes a debt.

    Units that are no longer held cannot be owed: then all of it is refused (`RewardSpent`).
    """
    rows = claim.payments
    owed = [row for row in rows if row["kind"] in {"points", "cashback"}]
    others = [int(row["transfer_id"]) for row in rows if row not in owed]
    back = reversals_of(others)
    try:
        taken = clawback_all(
            [int(row["transfer_id"]) for row in owed], actor=actor, reason=reason, also=back
        )
    except LedgerRefusal as refusal:
        if refusal.reason is Refusal.INSUFFICIENT_FUNDS:
            raise RewardSpent from None
        raise
    return [
        {"asset": row["asset"], "person": row["person"], "taken": each.taken, "owed": each.owed}
        for row, each in zip(owed, taken, strict=True)
    ]
