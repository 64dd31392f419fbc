"""The ledger's side of a claim and of its reversal: one pass through the door each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.utils import timezone
from msgspec.structs import replace

from accounts.models import User
from edge.fields import format_time
from edge.ids import time_of
from rewards.campaigns.deciding import TO_WALLETS, Payment
from rewards.campaigns.directory import Compiled
from rewards.campaigns.models import Claim, TierProgram
from rewards.campaigns.problems import RewardSpent, RewardTakenBack
from rewards.campaigns.standings import STATUS
from wallet.accounts import ISSUANCE, REDEEMED, Purpose, open_accounts
from wallet.door import Posting, opened
from wallet.items import Refusal, Transfer
from wallet.models import Code
from wallet.once import retried
from wallet.points import Grant, Granting, GrantTakenBack, clawback_all
from wallet.problems import LedgerRefusal
from wallet.reversals import reversals_of, was_undone

DISCOUNTS = "discounts"
Row = dict[str, Any]


class Bill(NamedTuple):
    """What one claim pays out."""

    entry: Compiled
    claim_id: int
    payments: Sequence[Payment]
    at_worst: Mapping[tuple[int, str], int] = {}


class Unpaid(Exception):
    """The ledger refuses a payment of one bill. The caller undoes its transaction."""

    def __init__(self, claim_id: int, reason: Refusal) -> None:
        super().__init__(claim_id, reason)
        self.claim_id = claim_id
        self.reason = reason


def pay(bills: Sequence[Bill], now: datetime) -> dict[int, list[Row]]:
    """Pay what claims grant; gives each claim's payments with their transfers.

    One pass through the door. Raises `Unpaid` for the first bill that the ledger refuses: a
    budget that has too little, a wallet that may not receive.
    """
    payroll = Payroll(bills)
    if payroll.is_empty:
        return {bill.claim_id: [] for bill in bills}

    def attempt() -> dict[int, list[Row]]:
        with opened(payroll.account_ids, digests=payroll.digests, now=now) as posting:
            return payroll.decide(posting)

    return retried(attempt)


class Payroll:
    """All payments of some claims, for who opens the ledger's door himself.

    Opens wallets and finds accounts, so not with accounts locked.
    """

    def __init__(self, bills: Sequence[Bill]) -> None:
        self._bills = bills
        self._lines = [
            _Line(bill.entry, payment, bill.claim_id, f"claim:{bill.claim_id}:{index}")
            for bill in bills
            for index, payment in enumerate(bill.payments)
        ]
        to_wallets = [line for line in self._lines if line.payment.kind in TO_WALLETS]
        others = [line for line in self._lines if line.payment.kind not in TO_WALLETS]
        self._in_turn = [*to_wallets, *others]
        rooms = [_wallet(bill, *key) for bill in bills for key in bill.at_worst]
        grants = [_grant(line) for line in to_wallets]
        self._granting = Granting(grants, _transfers(others), beside=rooms)
        self.account_ids = self._granting.account_ids
        self.digests = self._granting.digests

    @property
    def is_empty(self) -> bool:
        return not self.account_ids

    def decide(self, posting: Posting) -> dict[int, list[Row]]:
        """Pay on locked accounts; gives each claim's payments. Raises `Unpaid`."""
        self._check_rooms(posting)
        paid: dict[str, int] = {}
        for line, result in zip(self._in_turn, self._granting.decide(posting), strict=True):
            if not result.is_created:
                raise Unpaid(line.claim_id, result.refusal)
            paid[line.reference] = result.transfer_id
        rows: dict[int, list[Row]] = {bill.claim_id: [] for bill in self._bills}
        for line in self._lines:
            rows[line.claim_id].append(_row(line.entry, line.payment, paid[line.reference]))
        return rows

    def _check_rooms(self, posting: Posting) -> None:
        """Nobody is told by a refusal what they would have drawn: all outcomes must fit."""
        given = Counter[Purpose]()
        for bill in self._bills:
            for key, worst in bill.at_worst.items():
                wallet = _wallet(bill, *key)
                no = self._granting.room(posting, wallet, given[wallet] + worst)
                if no is not Refusal.CREATED:
                    raise Unpaid(bill.claim_id, no)
            for payment in bill.payments:
                if payment.kind in TO_WALLETS:
                    given[_wallet(bill, payment.person, payment.asset)] += payment.amount


def _wallet(bill: Bill, person: int, asset: str) -> Purpose:
    return Purpose(person, bill.entry.budgets[asset].asset_id)


class _Line(NamedTuple):
    """One payment of one claim, and the name of its transfer."""

    entry: Compiled
    payment: Payment
    claim_id: int
    reference: str


def _row(entry: Compiled, payment: Payment, transfer_id: int) -> Row:
    budget = entry.budgets.get(payment.asset)
    is_budgeted = payment.kind != "tier_points" and budget is not None
    row: Row = {
        "kind": payment.kind,
        "asset": payment.asset,
        "amount": payment.amount,
        "person": str(payment.person),
        "transfer_id": str(transfer_id),
        "budget": str(budget.account_id) if is_budgeted and budget else None,
    }
    if payment.expires_at:
        row["expires_at"] = format_time(payment.expires_at)
    return row


def _grant(line: _Line) -> Grant:
    payment, budget = line.payment, line.entry.budgets[line.payment.asset]
    return Grant(
        reference=line.reference,
        owner_id=payment.person,
        asset_id=budget.asset_id,
        amount=payment.amount,
        expires_at=payment.expires_at,
        memo=f"campaign {line.entry.code}",
        code=Code.CLAIM,
        source_id=budget.account_id,
    )


def _transfers(lines: Sequence[_Line]) -> list[Transfer]:
    """Discounts leave the budget for good; tier points come from their issuance."""
    if not lines:
        return []
    codes = {line.payment.asset for line in lines if line.payment.kind == "tier_points"}
    programs = TierProgram.objects.filter(code__in=codes)
    tier_assets = dict(programs.values_list("code", "asset_id"))
    ends = [_ends(line, tier_assets) for line in lines]
    accounts = open_accounts(each for pair in ends for each in pair if isinstance(each, Purpose))
    return [
        Transfer(
            reference=line.reference,
            asset_id=credit.asset_id,
            debit_account_id=accounts[debit] if isinstance(debit, Purpose) else debit,
            credit_account_id=accounts[credit],
            amount=line.payment.amount,
            code=Code.CLAIM,
            memo=f"campaign {line.entry.code}",
        )
        for line, (debit, credit) in zip(lines, ends, strict=True)
    ]


def _ends(line: _Line, tier_assets: Mapping[str, int]) -> tuple[Purpose | int, Purpose]:
    """Where a payment comes from, an account or the purpose of one, and where it goes."""
    if line.payment.kind == "discount":
        budget = line.entry.budgets[line.payment.asset]
        return budget.account_id, Purpose(None, budget.asset_id, REDEEMED, DISCOUNTS)
    asset_id = tier_assets[line.payment.asset]
    return Purpose(None, asset_id, ISSUANCE), Purpose(line.payment.person, asset_id, STATUS)


def take_back(
    claim: Claim, *, actor: User | None, reason: str, then: Sequence[Transfer] = ()
) -> list[Row]:
    """Take back everything a claim paid; what of points and money is spent becomes a debt.

    Units that are no longer held cannot be owed: then all of it is refused (`RewardSpent`), as
    where a grant was taken back by itself (`RewardTakenBack`). `then` moves along.
    """
    rows = claim.payments
    owed = [row for row in rows if row["kind"] in {"points", "cashback"}]
    back = _reversals(row for row in rows if row not in owed)
    try:
        taken = clawback_all(
            [int(row["transfer_id"]) for row in owed],
            actor=actor,
            reason=reason,
            also=[*back, *then],
        )
    except GrantTakenBack:
        raise RewardTakenBack from None
    except LedgerRefusal as refusal:
        if refusal.reason is Refusal.INSUFFICIENT_FUNDS:
            raise RewardSpent from None
        raise
    return [
        {"asset": row["asset"], "person": row["person"], "taken": each.taken, "owed": each.owed}
        for row, each in zip(owed, taken, strict=True)
    ]


def _reversals(rows: Iterable[Row]) -> list[Transfer]:
    """Undo payments. Tier points count in a period: theirs, not the one they are undone in.

    What finance has undone by itself stays as it was undone.
    """
    kinds = {int(row["transfer_id"]): row["kind"] for row in rows}
    now = timezone.now()
    return [
        replace(each, effective_at=written)
        if kinds[id] == "tier_points" and (written := time_of(id)) <= now and not was_undone(id)
        else each
        for id, each in zip(kinds, reversals_of(list(kinds)), strict=True)
    ]
