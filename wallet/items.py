"""What may be asked of the ledger, and what it answers. Pure.

Items are requests: `Transfer`, `Hold`, `Post`, `Void`. A `Result` says what became of
one; a `Refusal` why it was not done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

import msgspec

LARGEST_AMOUNT = 1 << 62
"""Amounts and balances stay within ±2^62, so that no sum of two overflows 64 bits."""
LONGEST_REFERENCE = 100
LONGEST_MEMO = 200


class Refusal(IntEnum):
    """Why an item was refused, in order of precedence; `CREATED` means it was not."""

    CREATED = 0
    # What the item itself gets wrong: never remembered, a corrected item may follow.
    REFERENCE_INVALID = 1
    MEMO_INVALID = 2
    AMOUNT_NOT_POSITIVE = 3
    AMOUNT_TOO_LARGE = 4
    ACCOUNTS_SAME = 5
    CHAIN_OPEN = 6
    # What an earlier item of the same reference settled.
    REFERENCE_REUSED = 7
    # What the clock does not allow: not remembered either, but a replay comes before it.
    EFFECTIVE_IN_FUTURE = 8
    EXPIRY_IN_PAST = 9
    # What the state of the ledger does not allow: remembered under the reference for ever.
    HOLD_UNKNOWN = 10
    DEBIT_ACCOUNT_UNKNOWN = 11
    CREDIT_ACCOUNT_UNKNOWN = 12
    ASSET_MISMATCH = 13
    CREDIT_ACCOUNT_MISSING = 14
    CREDIT_ACCOUNT_DIFFERS = 15
    HOLD_ALREADY_POSTED = 16
    HOLD_ALREADY_VOIDED = 17
    HOLD_EXPIRED = 18
    AMOUNT_EXCEEDS_HOLD = 19
    DEBIT_ACCOUNT_CLOSED = 20
    CREDIT_ACCOUNT_CLOSED = 21
    DEBIT_ACCOUNT_FROZEN = 22
    AMOUNT_EXCEEDS_LIMIT = 23
    INSUFFICIENT_FUNDS = 24
    CEILING_EXCEEDED = 25
    BALANCE_OVERFLOW = 26
    # Another item of the same chain was refused.
    CHAIN_REFUSED = 27

    @property
    def depends_on_state(self) -> bool:
        """Say whether asking again later could have ended otherwise."""
        return self.HOLD_UNKNOWN <= self <= self.BALANCE_OVERFLOW


class Kind(IntEnum):
    """What a transfer row records. Only `TRANSFER` and `POST` move money and leave entries."""

    TRANSFER = 1
    HOLD = 2
    POST = 3
    VOID = 4


class Status(IntEnum):
    """An account's condition. Frozen: nothing new goes out; holds still post, money comes in."""

    OPEN = 0
    FROZEN = 1
    CLOSED = 2


class HoldState(IntEnum):
    """A hold's condition. It is over once nothing remains of it."""

    OPEN = 0
    POSTED = 1
    VOIDED = 2
    EXPIRED = 3


class Transfer(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Move `amount` of one asset from one account to another, now.

    `expires_at` makes the credited amount a lot that lapses then (points). `linked` ties
    the item to the next one of the batch: all of a chain happen, or none.
    """

    reference: str
    asset_id: int
    debit_account_id: int
    credit_account_id: int
    amount: int
    code: int
    memo: str = ""
    linked: bool = False
    effective_at: datetime | None = None
    expires_at: datetime | None = None
    reverses_id: int | None = None


class Hold(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Set `amount` aside, so that nothing else can spend it until it is posted or voided.

    Without `credit_account_id` each post names who receives. The hold lapses at `expires_at`.
    """

    reference: str
    asset_id: int
    debit_account_id: int
    credit_account_id: int | None
    amount: int
    code: int
    memo: str = ""
    linked: bool = False
    expires_at: datetime | None = None


class Post(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Pay from a hold: `amount`, or all that remains. What is left is released unless kept."""

    reference: str
    hold_id: int
    code: int
    amount: int | None = None
    credit_account_id: int | None = None
    rest_is_kept: bool = False
    memo: str = ""
    linked: bool = False


class Void(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Release a hold: `amount` of it, or all that remains."""

    reference: str
    hold_id: int
    code: int
    amount: int | None = None
    memo: str = ""
    linked: bool = False


Item = Transfer | Hold | Post | Void


class Result(NamedTuple):
    """What became of one item: the id of its transfer, or why there is none."""

    refusal: Refusal
    transfer_id: int
    is_replay: bool = False

    @property
    def is_created(self) -> bool:
        return self.refusal is Refusal.CREATED


def check_item(item: Item) -> Refusal:
    """Say what is wrong with the item itself, before anything is looked up.

    Covers the refusals up to `ACCOUNTS_SAME`; `CREATED` means nothing is wrong.
    """
    if len(item.reference) > LONGEST_REFERENCE or not _is_storable(item.reference):
        return Refusal.REFERENCE_INVALID
    if item.memo and (len(item.memo) > LONGEST_MEMO or not _is_storable(item.memo)):
        return Refusal.MEMO_INVALID
    amount = item.amount
    if amount is not None:
        if amount <= 0:
            return Refusal.AMOUNT_NOT_POSITIVE
        if amount > LARGEST_AMOUNT:
            return Refusal.AMOUNT_TOO_LARGE
    kind = type(item)
    if kind is Transfer or kind is Hold:
        if item.debit_account_id == item.credit_account_id:  # type: ignore[union-attr]
            return Refusal.ACCOUNTS_SAME
    return Refusal.CREATED


def _is_storable(text: str) -> bool:
    """PostgreSQL stores no NUL, and half of a surrogate pair is no character at all."""
    if text.isascii():
        return "\x00" not in text
    return "\x00" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def chains(items: Sequence[Item]) -> Iterable[tuple[int, int]]:
    """Cut a batch into chains: pairs of first index and the index after the last."""
    start = 0
    for index, item in enumerate(items):
        if not item.linked:
            yield start, index + 1
            start = index + 1
    if start < len(items):
        yield start, len(items)
