"""The ledger as plain lists and dictionaries: slow, small and obviously right.

It shares no code with `wallet/`: nothing is stored that can be computed. A balance is the
sum of its moves, what is held is the sum of open holds, and a chain that fails is undone by
putting the old state back. Items are read by their field names alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

LARGEST = 2**62
LASTING = {
    "HOLD_UNKNOWN", "DEBIT_ACCOUNT_UNKNOWN", "CREDIT_ACCOUNT_UNKNOWN", "ASSET_MISMATCH",
    "CREDIT_ACCOUNT_MISSING", "CREDIT_ACCOUNT_DIFFERS", "HOLD_ALREADY_POSTED",
    "HOLD_ALREADY_VOIDED", "HOLD_EXPIRED", "AMOUNT_EXCEEDS_HOLD", "DEBIT_ACCOUNT_CLOSED",
    "CREDIT_ACCOUNT_CLOSED", "DEBIT_ACCOUNT_FROZEN", "AMOUNT_EXCEEDS_LIMIT",
    "INSUFFICIENT_FUNDS", "CEILING_EXCEEDED", "BALANCE_OVERFLOW",
}  # fmt: skip
"""The refusals that a reference keeps for ever."""
Answer = tuple[str, int, bool]
"""Refusal, transfer id or 0, whether it is a replay."""
Fault = Iterator[tuple[str, object]]
"""Refusals in order of precedence, each with whether it applies; later ones may count on it."""


@dataclass
class Move:
    """An amount that came (positive) or went."""

    transfer_id: int
    at: datetime
    amount: int
    effective_at: datetime | None


@dataclass
class Account:
    asset_id: int
    floor: int | None
    ceiling: int | None
    limit: int | None
    status: str = "open"
    moves: list[Move] = field(default_factory=list)


@dataclass
class Hold:
    debit: int
    credit: int | None
    asset_id: int
    amount: int
    remaining: int
    expires_at: datetime | None
    state: str = "open"


class Model:
    """Accounts, holds and used references."""

    def __init__(self) -> None:
        self.accounts: dict[int, Account] = {}
        self.holds: dict[int, Hold] = {}
        self.used: dict[str, tuple[object, Answer]] = {}
        self.now = datetime(2025, 1, 1, tzinfo=UTC)
        self.next_id = 0

    # -- reads ------------------------------------------------------------------------

    def balance(self, account_id: int, before: datetime | None = None) -> int:
        moves = self.accounts[account_id].moves
        return sum(move.amount for move in moves if before is None or move.at < before)

    def effective_balance(self, account_id: int, before: datetime) -> int:
        moves = self.accounts[account_id].moves
        return sum(move.amount for move in moves if (move.effective_at or move.at) < before)

    def held(self, account_id: int) -> int:
        return sum(hold.remaining for hold in self.holds.values() if hold.debit == account_id)

    def incoming(self, account_id: int) -> int:
        return sum(hold.remaining for hold in self.holds.values() if hold.credit == account_id)

    def entries(self, account_id: int) -> list[tuple[int, int, int]]:
        """Transfer id, amount and balance after it, oldest first."""
        balance, rows = 0, []
        for move in self.accounts[account_id].moves:
            balance += move.amount
            rows.append((move.transfer_id, move.amount, balance))
        return rows

    # -- writes -----------------------------------------------------------------------

    def post(self, items: list[Any], now: datetime, first_id: int) -> list[Answer]:
        """Answer a batch whose first transfer, if there is one, gets the id `first_id`."""
        self.now, self.next_id = now, first_id
        answers: list[Answer] = []
        while len(answers) < len(items):
            start = end = len(answers)
            while items[end].linked and end + 1 < len(items):
                end += 1
            answers += self._chain(items[start : end + 1])
        return answers

    def _chain(self, chain: list[Any]) -> list[Answer]:
        before = deepcopy((self.accounts, self.holds, self.next_id))
        answers = [self._known(item, chain[:n]) for n, item in enumerate(chain)]
        is_open = chain[-1].linked
        if is_open and (answers[-1] is None or not malformed(chain[-1])):
            answers[-1] = ("CHAIN_OPEN", 0, False)
        if any(answers):
            return whole(answers)
        done: list[Answer] = []
        for place, item in enumerate(chain):
            refusal = self._decide(item)
            if refusal:
                self.accounts, self.holds, self.next_id = before
                done = [("CHAIN_REFUSED", 0, False)] * len(chain)
                done[place] = (refusal, 0, False)
                break
            done.append(("CREATED", self.next_id - 1, False))
        for item, answer in zip(chain, done, strict=True):
            if answer[0] == "CREATED" or answer[0] in LASTING:
                self.used[item.reference] = (content(item), answer)
        return done

    def _known(self, item: Any, earlier: list[Any]) -> Answer | None:
        if refusal := malformed(item):
            return refusal, 0, False
        if any(item.reference == other.reference and not malformed(other) for other in earlier):
            return "REFERENCE_REUSED", 0, False
        if item.reference not in self.used:
            return None
        asked, (refusal, transfer_id, _) = self.used[item.reference]
        if asked != content(item):
            return "REFERENCE_REUSED", 0, False
        return refusal, transfer_id, True

    def _decide(self, item: Any) -> str | None:
        kind = type(item).__name__
        faults = {
            "Transfer": self._transfer_faults,
            "Hold": self._hold_faults,
            "Post": self._post_faults,
            "Void": self._void_faults,
        }[kind](item)
        for refusal, applies in faults:
            if applies:
                return refusal
        {
            "Transfer": self._transfer,
            "Hold": self._hold,
            "Post": self._post,
            "Void": self._void,
        }[kind](item)
        self.next_id += 1
        return None

    # -- what may be wrong, in order --------------------------------------------------

    def _transfer_faults(self, item: Any) -> Fault:
        yield "EFFECTIVE_IN_FUTURE", item.effective_at and item.effective_at > self.now
        yield "EXPIRY_IN_PAST", item.expires_at and item.expires_at <= self.now
        yield from self._sides_faults(item)

    def _hold_faults(self, item: Any) -> Fault:
        yield "EXPIRY_IN_PAST", item.expires_at and item.expires_at <= self.now
        yield from self._sides_faults(item)

    def _sides_faults(self, item: Any) -> Fault:
        debit_id, credit_id, amount = item.debit_account_id, item.credit_account_id, item.amount
        yield "DEBIT_ACCOUNT_UNKNOWN", debit_id not in self.accounts
        yield "CREDIT_ACCOUNT_UNKNOWN", credit_id is not None and credit_id not in self.accounts
        debit = self.accounts[debit_id]
        credit = None if credit_id is None else self.accounts[credit_id]
        yield "ASSET_MISMATCH", debit.asset_id != item.asset_id
        yield "ASSET_MISMATCH", credit and credit.asset_id != item.asset_id
        yield "DEBIT_ACCOUNT_CLOSED", debit.status == "closed"
        yield "CREDIT_ACCOUNT_CLOSED", credit and credit.status == "closed"
        yield "DEBIT_ACCOUNT_FROZEN", debit.status == "frozen"
        yield "AMOUNT_EXCEEDS_LIMIT", debit.limit is not None and amount > debit.limit
        available = self.balance(debit_id) - self.held(debit_id)
        yield "INSUFFICIENT_FUNDS", debit.floor is not None and available - amount < debit.floor
        yield from self._room_faults(credit_id, amount)
        yield "BALANCE_OVERFLOW", available - amount < -LARGEST

    def _room_faults(self, credit_id: int | None, amount: int) -> Fault:
        if credit_id is not None:
            credit = self.accounts[credit_id]
            after = self.balance(credit_id) + self.incoming(credit_id) + amount
            yield "CEILING_EXCEEDED", credit.ceiling is not None and after > credit.ceiling
            yield "BALANCE_OVERFLOW", after > LARGEST

    def _post_faults(self, item: Any) -> Fault:
        yield "HOLD_UNKNOWN", item.hold_id not in self.holds
        hold = self.holds[item.hold_id]
        credit_id = hold.credit if item.credit_account_id is None else item.credit_account_id
        yield "CREDIT_ACCOUNT_UNKNOWN", credit_id is not None and credit_id not in self.accounts
        credit = None if credit_id is None else self.accounts[credit_id]
        yield "ASSET_MISMATCH", credit and credit.asset_id != hold.asset_id
        yield "CREDIT_ACCOUNT_MISSING", credit is None
        yield "CREDIT_ACCOUNT_DIFFERS", hold.credit is not None and credit_id != hold.credit
        yield "CREDIT_ACCOUNT_DIFFERS", credit_id == hold.debit
        amount = hold.remaining if item.amount is None else item.amount
        yield "HOLD_ALREADY_POSTED", hold.state == "posted"
        yield "HOLD_ALREADY_VOIDED", hold.state == "voided"
        yield "HOLD_EXPIRED", hold.state == "expired" or self._has_lapsed(hold)
        yield "AMOUNT_EXCEEDS_HOLD", amount > hold.remaining
        yield "CREDIT_ACCOUNT_CLOSED", credit and credit.status == "closed"
        if hold.credit is None:
            yield from self._room_faults(credit_id, amount)

    def _void_faults(self, item: Any) -> Fault:
        yield "HOLD_UNKNOWN", item.hold_id not in self.holds
        hold = self.holds[item.hold_id]
        yield "HOLD_ALREADY_POSTED", hold.state == "posted"
        yield "HOLD_ALREADY_VOIDED", hold.state == "voided"
        yield "HOLD_EXPIRED", hold.state == "expired"
        yield "AMOUNT_EXCEEDS_HOLD", (item.amount or 0) > hold.remaining

    def _has_lapsed(self, hold: Hold) -> bool:
        return hold.expires_at is not None and hold.expires_at <= self.now

    # -- what happens -----------------------------------------------------------------

    def _transfer(self, item: Any) -> None:
        self._move(item.debit_account_id, item.credit_account_id, item.amount, item.effective_at)

    def _hold(self, item: Any) -> None:
        self.holds[self.next_id] = Hold(
            item.debit_account_id, item.credit_account_id, item.asset_id, item.amount,
            item.amount, item.expires_at,
        )  # fmt: skip

    def _post(self, item: Any) -> None:
        hold = self.holds[item.hold_id]
        amount = hold.remaining if item.amount is None else item.amount
        credit_id = hold.credit if item.credit_account_id is None else item.credit_account_id
        assert credit_id is not None
        self._move(hold.debit, credit_id, amount, None)
        hold.remaining = hold.remaining - amount if item.rest_is_kept else 0
        hold.state = "open" if hold.remaining else "posted"

    def _void(self, item: Any) -> None:
        hold = self.holds[item.hold_id]
        hold.remaining -= hold.remaining if item.amount is None else item.amount
        if hold.remaining == 0:
            hold.state = "expired" if self._has_lapsed(hold) else "voided"

    def _move(self, debit: int, credit: int, amount: int, effective_at: datetime | None) -> None:
        self.accounts[debit].moves.append(Move(self.next_id, self.now, -amount, effective_at))
        self.accounts[credit].moves.append(Move(self.next_id, self.now, amount, effective_at))


def malformed(item: Any) -> str | None:
    """What is wrong with the item itself, whatever the ledger says."""
    if not 1 <= len(item.reference) <= 100 or "\0" in item.reference:
        return "REFERENCE_INVALID"
    if len(item.memo) > 200 or "\0" in item.memo:
        return "MEMO_INVALID"
    if item.amount is not None and item.amount <= 0:
        return "AMOUNT_NOT_POSITIVE"
    if item.amount is not None and item.amount > LARGEST:
        return "AMOUNT_TOO_LARGE"
    sides = [getattr(item, side, None) for side in ("debit_account_id", "credit_account_id")]
    if type(item).__name__ in {"Transfer", "Hold"} and sides[0] == sides[1]:
        return "ACCOUNTS_SAME"
    return None


def content(item: Any) -> object:
    """Everything an item asks for, except its name and its place in a chain."""
    fields = {name: getattr(item, name) for name in item.__struct_fields__}
    return type(item).__name__, {**fields, "reference": None, "linked": None}


def whole(answers: list[Answer | None]) -> list[Answer]:
    """The answers of a chain that is not decided: all replays, or refused as a whole."""
    known = [answer for answer in answers if answer is not None]
    if len(known) == len(answers) and all(answer[0] == "CREATED" for answer in known):
        return known
    refused: list[Answer] = []
    for answer in answers:
        if answer is None:
            refused.append(("CHAIN_REFUSED", 0, False))
        elif answer[0] == "CREATED":
            refused.append(("REFERENCE_REUSED", 0, False))
        else:
            refused.append(answer)
    return refused
