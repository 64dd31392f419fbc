"""The rules of the ledger: what may move, what is refused, and why. Pure.

A `Ledger` is one batch's view of accounts and holds that somebody else has locked. It
decides item by item, in memory, and lists the transfers and entries that the decisions
leave behind; it never reads a clock, a database or a network.

Every rule checks everything first and then changes what cannot fail any more, so a
refused item has changed nothing. Refusals are tested in the order in which `Refusal`
names them. The semantics follow TigerBeetle's two-phase and linked transfers, with two
differences: a hold may leave open who will receive it, and a post may keep the rest on
hold (an order fills in parts).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from wallet.items import (
    LARGEST_AMOUNT,
    Hold,
    HoldState,
    Item,
    Post,
    Refusal,
    Result,
    Status,
    Transfer,
    Void,
)


class Account:
    """A locked account while a batch is decided. Amounts are in the asset's minor units."""

    __slots__ = (
        "asset_id", "balance", "ceiling", "entry_count", "floor", "held", "id", "incoming",
        "largest_debit", "last_transfer_id", "status",
    )  # fmt: skip

    def __init__(
        self, id: int, asset_id: int, balance: int, held: int, incoming: int, floor: int | None,
        ceiling: int | None, largest_debit: int | None, status: int, entry_count: int,
        last_transfer_id: int,
    ) -> None:  # fmt: skip
        self.id = id
        self.asset_id = asset_id
        self.balance = balance
        self.held = held
        self.incoming = incoming
        self.floor = floor
        self.ceiling = ceiling
        self.largest_debit = largest_debit
        self.status = status
        self.entry_count = entry_count
        self.last_transfer_id = last_transfer_id

    @property
    def available(self) -> int:
        """What can be spent: posted balance less what is on hold."""
        return self.balance - self.held

    @property
    def spare(self) -> int:
        """The most that one transfer can take now, if the account is open: at times below 0."""
        above_floor = self.available - (self.floor or 0)
        if self.largest_debit is None:
            return above_floor
        return min(above_floor, self.largest_debit)


class HeldFunds:
    """A locked hold while a batch is decided."""

    __slots__ = (
        "account_id", "amount", "asset_id", "credit_account_id", "expires_at", "id",
        "remaining", "state",
    )  # fmt: skip

    def __init__(
        self, id: int, account_id: int, credit_account_id: int | None, asset_id: int,
        amount: int, remaining: int, state: int, expires_at: datetime | None,
    ) -> None:  # fmt: skip
        self.id = id
        self.account_id = account_id
        self.credit_account_id = credit_account_id
        self.asset_id = asset_id
        self.amount = amount
        self.remaining = remaining
        self.state = state
        self.expires_at = expires_at


class TransferRow(NamedTuple):
    """One row of the journal: an immutable fact.

    `released` is what a post gave back besides the amount it paid: the rest of a hold that
    was not kept. A void carries the hold's `expires_at` only if that had passed. With these
    every hold can be rebuilt from the journal alone.
    """

    id: int
    kind: int
    code: int
    asset_id: int
    debit_account_id: int
    credit_account_id: int | None
    amount: int
    hold_id: int | None
    reverses_id: int | None
    effective_at: datetime | None
    expires_at: datetime | None
    reference: str
    memo: str
    released: int | None = None


class EntryRow(NamedTuple):
    """One side of a transfer on one account, with the balance after it."""

    account_id: int
    transfer_id: int
    amount: int
    balance_after: int
    effective_at: datetime | None


_ALL_CREATED = (Refusal.CREATED, 0)


class Ledger:
    """One batch being decided: locked accounts and holds in, journal rows out.

    `first_id` is the id of the batch's first transfer, `now` the moment that holds are
    measured against. Only accounts and holds given to it exist for it; the accounts of a
    hold must be among them.
    """

    def __init__(
        self,
        *,
        first_id: int,
        now: datetime,
        accounts: dict[int, Account],
        holds: dict[int, HeldFunds],
    ) -> None:
        self.accounts = accounts
        self.holds = holds
        self.now = now
        self.next_id = first_id
        self.transfers: list[TransferRow] = []
        self.entries: list[EntryRow] = []
        self.new_hold_ids: list[int] = []
        self.touched_account_ids: set[int] = set()
        self.touched_hold_ids: set[int] = set()
        self._undo: list[tuple[Account | HeldFunds, tuple[int, ...]]] = []
        self._is_in_chain = False

    def apply(self, chain: Sequence[Item]) -> list[Result]:
        """Decide one chain: all of its items happen, or none does and each says why.

        The items must have passed `check_item`, and their references must be new.
        """
        first_id = self.next_id
        refusal, place = self.decide(chain)
        if not refusal:
            return [Result(Refusal.CREATED, first_id + index) for index in range(len(chain))]
        results = [Result(Refusal.CHAIN_REFUSED, 0)] * len(chain)
        results[place] = Result(refusal, 0)
        return results

    def decide(self, chain: Sequence[Item]) -> tuple[Refusal, int]:
        """Decide one chain as `apply` does; answer why it was refused, and which item was.

        `CREATED` says that all happened; their ids follow each other up to `next_id`.
        """
        if len(chain) == 1:
            item = chain[0]
            return _RULES[type(item)](self, item), 0  # type: ignore[operator]
        self._is_in_chain = True
        mark = (len(self.transfers), len(self.entries), len(self.new_hold_ids), self.next_id)
        refused = _ALL_CREATED
        for index, item in enumerate(chain):
            refusal = _RULES[type(item)](self, item)  # type: ignore[operator]
            if refusal:
                self._take_back(mark)
                refused = refusal, index
                break
        self._is_in_chain = False
        self._undo.clear()
        return refused

    # -- the rules, one for each kind of item: check everything, then change --------------

    def _transfer(self, item: Transfer) -> Refusal:
        if item.effective_at is not None and item.effective_at > self.now:
            return Refusal.EFFECTIVE_IN_FUTURE
        if item.expires_at is not None and item.expires_at <= self.now:
            return Refusal.EXPIRY_IN_PAST
        debit = self.accounts.get(item.debit_account_id)
        if debit is None:
            return Refusal.DEBIT_ACCOUNT_UNKNOWN
        credit = self.accounts.get(item.credit_account_id)
        if credit is None:
            return Refusal.CREDIT_ACCOUNT_UNKNOWN
        amount = item.amount
        if debit.asset_id != item.asset_id or credit.asset_id != item.asset_id:
            return Refusal.ASSET_MISMATCH
        if refusal := (
            _check_statuses(debit, credit) or _check_debit(debit, amount)
            or check_credit(credit, amount) or _check_range(debit, amount)
        ):  # fmt: skip
            return refusal
        if self._is_in_chain:
            self._remember(debit, credit)
        self._move(
            debit, credit, amount,
            TransferRow(
                self.next_id, 1, item.code, item.asset_id, debit.id, credit.id, amount, None,
                item.reverses_id, item.effective_at, item.expires_at, item.reference, item.memo,
            ),
        )  # fmt: skip
        return Refusal.CREATED

    def _hold(self, item: Hold) -> Refusal:
        if item.expires_at is not None and item.expires_at <= self.now:
            return Refusal.EXPIRY_IN_PAST
        debit = self.accounts.get(item.debit_account_id)
        if debit is None:
            return Refusal.DEBIT_ACCOUNT_UNKNOWN
        amount, credit = item.amount, None
        if item.credit_account_id is not None:
            credit = self.accounts.get(item.credit_account_id)
            if credit is None:
                return Refusal.CREDIT_ACCOUNT_UNKNOWN
        if debit.asset_id != item.asset_id or (credit and credit.asset_id != item.asset_id):
            return Refusal.ASSET_MISMATCH
        refusal = _check_statuses(debit, credit) or _check_debit(debit, amount)
        if not refusal and credit is not None:
            refusal = check_credit(credit, amount)
        if refusal := refusal or _check_range(debit, amount):
            return refusal
        if self._is_in_chain:
            self._remember(debit, credit)
        debit.held += amount
        debit.last_transfer_id = self.next_id
        if credit is not None:
            credit.incoming += amount
            credit.last_transfer_id = self.next_id
        self._open_hold(item)
        return Refusal.CREATED

    def _open_hold(self, item: Hold) -> None:
        hold_id = self.next_id
        self.holds[hold_id] = HeldFunds(
            hold_id, item.debit_account_id, item.credit_account_id, item.asset_id,
            item.amount, item.amount, HoldState.OPEN, item.expires_at,
        )  # fmt: skip
        self.new_hold_ids.append(hold_id)
        self._record(
            TransferRow(
                hold_id, 2, item.code, item.asset_id, item.debit_account_id,
                item.credit_account_id, item.amount, None, None, None, item.expires_at,
                item.reference, item.memo,
            )
        )  # fmt: skip

    def _post(self, item: Post) -> Refusal:
        hold = self.holds.get(item.hold_id)
        if hold is None:
            return Refusal.HOLD_UNKNOWN
        credit_id = item.credit_account_id
        if credit_id is None:
            credit_id = hold.credit_account_id
        debit = self.accounts[hold.account_id]
        credit = self.accounts.get(credit_id) if credit_id is not None else None
        amount = hold.remaining if item.amount is None else item.amount
        if refusal := self._check_post(item, hold, debit, credit, amount):
            return refusal
        assert credit is not None
        if self._is_in_chain:
            self._remember(debit, credit, hold)
        released = 0 if item.rest_is_kept else hold.remaining - amount
        self._shrink(hold, debit, amount + released, HoldState.POSTED)
        self._move(
            debit, credit, amount,
            TransferRow(
                self.next_id, 3, item.code, hold.asset_id, debit.id, credit.id, amount,
                hold.id, None, None, None, item.reference, item.memo, released or None,
            ),
        )  # fmt: skip
        return Refusal.CREATED

    def _check_post(
        self, item: Post, hold: HeldFunds, debit: Account, credit: Account | None, amount: int
    ) -> Refusal:
        if credit is None:
            if item.credit_account_id is None and hold.credit_account_id is None:
                return Refusal.CREDIT_ACCOUNT_MISSING
            return Refusal.CREDIT_ACCOUNT_UNKNOWN
        if credit.asset_id != hold.asset_id:
            return Refusal.ASSET_MISMATCH
        promised = hold.credit_account_id
        if promised is not None and promised != credit.id:
            return Refusal.CREDIT_ACCOUNT_DIFFERS
        if credit is debit:
            return Refusal.CREDIT_ACCOUNT_DIFFERS
        if refusal := self._check_hold(hold, amount):
            return refusal
        if credit.status == Status.CLOSED:
            return Refusal.CREDIT_ACCOUNT_CLOSED
        # What the receiver was promised already counts against its ceiling.
        return Refusal.CREATED if promised is not None else check_credit(credit, amount)

    def _void(self, item: Void) -> Refusal:
        hold = self.holds.get(item.hold_id)
        if hold is None:
            return Refusal.HOLD_UNKNOWN
        amount = hold.remaining if item.amount is None else item.amount
        if refusal := self._check_hold(hold, amount, even_when_lapsed=True):
            return refusal
        debit = self.accounts[hold.account_id]
        if self._is_in_chain:
            self._remember(debit, hold)
        lapsed_at = hold.expires_at if self._is_lapsed(hold) else None
        self._shrink(hold, debit, amount, HoldState.EXPIRED if lapsed_at else HoldState.VOIDED)
        self._record(
            TransferRow(
                self.next_id, 4, item.code, hold.asset_id, debit.id, hold.credit_account_id,
                amount, hold.id, None, None, lapsed_at, item.reference, item.memo,
            )
        )  # fmt: skip
        return Refusal.CREATED

    def _is_lapsed(self, hold: HeldFunds) -> bool:
        return hold.expires_at is not None and hold.expires_at <= self.now

    def _check_hold(
        self, hold: HeldFunds, amount: int, *, even_when_lapsed: bool = False
    ) -> Refusal:
        if hold.state == HoldState.POSTED:
            return Refusal.HOLD_ALREADY_POSTED
        if hold.state == HoldState.VOIDED:
            return Refusal.HOLD_ALREADY_VOIDED
        is_over = hold.state == HoldState.EXPIRED
        if is_over or (self._is_lapsed(hold) and not even_when_lapsed):
            return Refusal.HOLD_EXPIRED
        if amount > hold.remaining:
            return Refusal.AMOUNT_EXCEEDS_HOLD
        return Refusal.CREATED

    # -- changes that cannot fail ----------------------------------------------------------

    def _shrink(self, hold: HeldFunds, debit: Account, amount: int, end: HoldState) -> None:
        """Take `amount` off the hold; it ends as `end` once nothing remains."""
        hold.remaining -= amount
        debit.held -= amount
        debit.last_transfer_id = self.next_id
        if hold.credit_account_id is not None:
            credit = self.accounts[hold.credit_account_id]
            if self._is_in_chain:
                self._remember(credit)
            credit.incoming -= amount
            credit.last_transfer_id = self.next_id
            self.touched_account_ids.add(credit.id)
        if hold.remaining == 0:
            hold.state = end
        self.touched_hold_ids.add(hold.id)

    def _move(self, debit: Account, credit: Account, amount: int, row: TransferRow) -> None:
        transfer_id = row.id
        debit.balance -= amount
        debit.entry_count += 1
        debit.last_transfer_id = transfer_id
        credit.balance += amount
        credit.entry_count += 1
        credit.last_transfer_id = transfer_id
        append = self.entries.append
        effective_at = row.effective_at
        append(EntryRow(debit.id, transfer_id, -amount, debit.balance, effective_at))
        append(EntryRow(credit.id, transfer_id, amount, credit.balance, effective_at))
        self._record(row)

    def _record(self, row: TransferRow) -> None:
        self.touched_account_ids.add(row.debit_account_id)
        if row.credit_account_id is not None:
            self.touched_account_ids.add(row.credit_account_id)
        self.transfers.append(row)
        self.next_id += 1

    # -- undo within a chain ---------------------------------------------------------------

    def _remember(self, *things: Account | HeldFunds | None) -> None:
        for thing in things:
            if isinstance(thing, Account):
                before: tuple[int, ...] = (
                    thing.balance, thing.held, thing.incoming, thing.entry_count,
                    thing.last_transfer_id,
                )  # fmt: skip
                self._undo.append((thing, before))
            elif thing is not None:
                self._undo.append((thing, (thing.remaining, thing.state)))

    def _take_back(self, mark: tuple[int, int, int, int]) -> None:
        for thing, before in reversed(self._undo):
            if isinstance(thing, Account):
                (
                    thing.balance, thing.held, thing.incoming, thing.entry_count,
                    thing.last_transfer_id,
                ) = before  # fmt: skip
            else:
                assert isinstance(thing, HeldFunds)
                thing.remaining, thing.state = before
        transfers, entries, new_holds, self.next_id = mark
        del self.transfers[transfers:]
        del self.entries[entries:]
        for hold_id in self.new_hold_ids[new_holds:]:
            del self.holds[hold_id]
            self.touched_hold_ids.discard(hold_id)
        del self.new_hold_ids[new_holds:]


_RULES = {
    Transfer: Ledger._transfer,
    Hold: Ledger._hold,
    Post: Ledger._post,
    Void: Ledger._void,
}
"""Beside the class: bound methods in a ledger would keep it, and all it holds, from dying with
its batch."""


def _check_statuses(debit: Account, credit: Account | None) -> Refusal:
    if debit.status == Status.CLOSED:
        return Refusal.DEBIT_ACCOUNT_CLOSED
    if credit is not None and credit.status == Status.CLOSED:
        return Refusal.CREDIT_ACCOUNT_CLOSED
    if debit.status == Status.FROZEN:
        return Refusal.DEBIT_ACCOUNT_FROZEN
    return Refusal.CREATED


def _check_debit(account: Account, amount: int) -> Refusal:
    if account.largest_debit is not None and amount > account.largest_debit:
        return Refusal.AMOUNT_EXCEEDS_LIMIT
    after = account.balance - account.held - amount
    if account.floor is not None and after < account.floor:
        return Refusal.INSUFFICIENT_FUNDS
    return Refusal.CREATED


def _check_range(account: Account, amount: int) -> Refusal:
    after = account.balance - account.held - amount
    return Refusal.CREATED if after >= -LARGEST_AMOUNT else Refusal.BALANCE_OVERFLOW


def check_credit(account: Account, amount: int) -> Refusal:
    """Whether an account has room for so much more."""
    after = account.balance + account.incoming + amount
    if account.ceiling is not None and after > account.ceiling:
        return Refusal.CEILING_EXCEEDED
    return Refusal.CREATED if after <= LARGEST_AMOUNT else Refusal.BALANCE_OVERFLOW
