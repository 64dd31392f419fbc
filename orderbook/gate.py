"""Holds a batch's orders to the rules of the units they trade (`orderbook.eligibility`).

Rules are in memory with the market. What they need to know of people is read once a batch, and
only if the batch has orders that ask for it: the regions of buyers before matching, and what
sellers received lately once their wallets are locked. Most batches read nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from accounts.regions import regions_of
from orderbook.book import Side
from orderbook.eligibility import refusal_of
from orderbook.matching import Refusal
from orderbook.memory import Memory
from orderbook.plans import AmendPlan, PlacePlan, Plan
from orderbook.steps import Step
from sequencer.commands import Answer
from wallet.items import Hold, Item, Transfer
from wallet.ledger import Ledger
from wallet.ownership import received_since
from wallet.ownership_rules import passing_fault

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Gate:
    """The orders of one batch whose units have rules.

    `has_holding_periods`: what sellers received lately must be read with their wallets locked.
    """

    def __init__(self, plans: Sequence[Plan | Answer], memory: Memory, now_us: int) -> None:
        self.has_holding_periods = any(
            not isinstance(plan, Answer) and plan.trading.ownership.holding_s for plan in plans
        )
        guarded = [
            plan for plan in plans if not isinstance(plan, Answer) and plan.trading.is_guarded
        ]
        self._plans = [plan for plan in guarded if isinstance(plan, PlacePlan)]
        self._changes = [plan for plan in guarded if isinstance(plan, AmendPlan)]
        self._memory = memory
        self._now_us = now_us
        self._received: dict[int, int] = {}
        self._entries_seen = 0

    def bar(self) -> None:
        """Refuse, before anything is matched, what the rules forbid whatever people have."""
        buyers = {
            plan.user_id
            for plan in (*self._plans, *self._changes)
            if plan.trading.ownership.regions
            and (isinstance(plan, AmendPlan) or plan.order.side is Side.BUY)
        }
        regions = regions_of(buyers) if buyers else {}
        for plan in self._plans:
            # A market closes when its trading ends: then that is the better reason.
            if plan.rule in (Refusal.ACCEPTED, Refusal.MARKET_CLOSED):
                plan.rule = self._refusal_of(plan, plan.order.side, regions) or plan.rule
        for change in self._changes:
            # Which side it is of is known once the order is found.
            change.bars = {side: self._refusal_of(change, side, regions) for side in Side}

    def _refusal_of(self, step: Step, side: Side, regions: Mapping[int, str]) -> Refusal:
        trading = step.trading
        return refusal_of(
            trading.ownership,
            side,
            trading_ends_us=trading.ends_us,
            now_us=self._now_us,
            region=regions.get(step.user_id, ""),
        )

    def look(self, ledger: Ledger) -> None:
        """Read what sellers received lately; their wallets are locked now. One look-up a period."""
        asked: dict[int, set[int]] = {}
        for plan in self._plans:
            account_id = self._sells_from(plan)
            if account_id in ledger.accounts:
                asked.setdefault(plan.trading.ownership.holding_s, set()).add(account_id)
        for holding_s, accounts in asked.items():
            self._read(accounts, holding_s, ledger)

    def is_too_young(self, step: Step, chain: Sequence[Item], ledger: Ledger) -> bool:
        """Say whether an order would pass on units that its owner has not had for long enough.

        What the order had on hold before comes back first: it was old enough then.
        """
        account_id = self._sells_from(step)
        if not account_id:
            return False
        holding_s = step.trading.ownership.holding_s
        if account_id not in self._received:
            self._read({account_id}, holding_s, ledger)
        self._note_batch(ledger)
        amount = sum(
            item.amount
            for item in chain
            if isinstance(item, Transfer | Hold) and item.debit_account_id == account_id
        )
        if step.had_hold:
            amount -= ledger.holds[self._memory.hold_of[step.order_id]].remaining
        account = ledger.accounts[account_id]
        fault = passing_fault(
            step.trading.ownership,
            amount,
            balance=account.balance,
            held=account.held,
            received=self._received[account_id],
        )
        return amount > 0 and fault is not None

    def _read(self, account_ids: set[int], holding_s: int, ledger: Ledger) -> None:
        since = UNIX_EPOCH + timedelta(microseconds=self._now_us, seconds=-holding_s)
        received = received_since(account_ids, since)
        self._received |= {id: received.get(id, 0) for id in account_ids}
        for entry in ledger.entries[: self._entries_seen]:
            if entry.amount > 0 and entry.account_id in account_ids:
                self._received[entry.account_id] += entry.amount

    def _note_batch(self, ledger: Ledger) -> None:
        """What came in within this very batch is the youngest of all."""
        for entry in ledger.entries[self._entries_seen :]:
            if entry.amount > 0 and entry.account_id in self._received:
                self._received[entry.account_id] += entry.amount
        self._entries_seen = len(ledger.entries)

    def _sells_from(self, step: Step) -> int:
        """The wallet that units with a holding period are sold from; 0 for all other orders."""
        trading = step.trading
        if not trading.ownership.holding_s or step.order.side is not Side.SELL:
            return 0
        return self._memory.find_account(step.user_id, trading.base_id) or 0
