"""Which points lapse when: lots, folded out of what happened. Pure.

A credit that carries an expiry is a *lot*. A debit takes the soonest-expiring lots first and
what never expires last; a lot that has lapsed and was not yet swept is simply the soonest.
What one person's debit took, another person's credit brings: points keep their expiry when
they change hands. So the lots of an account follow from its entries, in order, and from what
the debits of others took; nothing about lots is written when money moves.

Lots of one account that lapse at the same moment are one lot.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple


class Part(NamedTuple):
    """Some of an amount: what of it lapses at `expires_at`, or never lapses (`None`)."""

    expires_at: datetime | None
    amount: int


Parts = tuple[Part, ...]
NOTHING: Parts = ()


class Reversed(NamedTuple):
    """The transfer that a reversal undoes, as one account saw it."""

    transfer_id: int
    expires_at: datetime | None
    amount: int
    """Positive where the account was credited then, negative where it was debited."""
    is_between_people: bool


class Movement(NamedTuple):
    """One entry of a person's account with what decides its lots. Amounts in minor units."""

    transfer_id: int
    account_id: int
    code: int
    amount: int
    balance_after: int
    counter_id: int
    is_between_people: bool
    expires_at: datetime | None
    reverses: Reversed | None


class LotsDoNotTie(AssertionError):
    """An account's lots differ from its balance: the ledger or the cache of lots is damaged."""


class Lots:
    """What of one account's balance lapses when. Dated lots in order, each with an amount.

    `undated` never lapses; it is below zero where the account may be overdrawn, and then
    nothing is dated.
    """

    __slots__ = ("_amounts", "_expiries", "undated")

    def __init__(self, dated: Iterable[Part] = (), undated: int = 0) -> None:
        self._expiries: list[datetime] = []
        self._amounts: list[int] = []
        self.undated = undated
        self.add(dated)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lots) and self.parts == other.parts

    def __repr__(self) -> str:
        return f"Lots({self.dated!r}, {self.undated})"

    __hash__ = None  # type: ignore[assignment]

    @property
    def total(self) -> int:
        """All of it: the account's balance."""
        return sum(self._amounts) + self.undated

    @property
    def dated(self) -> list[Part]:
        """The lots that lapse, the soonest first."""
        return [Part(*lot) for lot in zip(self._expiries, self._amounts, strict=True)]

    @property
    def parts(self) -> Parts:
        """Everything there is, what never lapses last."""
        undated = (Part(None, self.undated),) if self.undated else ()
        return (*self.dated, *undated)

    @property
    def soonest(self) -> datetime | None:
        """When the next lot lapses."""
        return self._expiries[0] if self._expiries else None

    def lapsed(self, now: datetime) -> list[Part]:
        """The lots that lapse at `now` or before."""
        return [lot for lot in self.dated if lot.expires_at is not None and lot.expires_at <= now]

    def add(self, parts: Iterable[Part]) -> None:
        """Put in what a credit brings. An overdraft is repaid by the soonest of it."""
        for expires_at, amount in parts:
            if expires_at is None:
                self.undated += amount
                continue
            at = bisect_left(self._expiries, expires_at)
            if at < len(self._expiries) and self._expiries[at] == expires_at:
                self._amounts[at] += amount
            else:
                self._expiries.insert(at, expires_at)
                self._amounts.insert(at, amount)
        while self.undated < 0 and self._expiries:
            [repaid] = self._take_first(-self.undated)
            self.undated += repaid.amount

    def take(self, amount: int, *, first: Iterable[Part] = ()) -> Parts:
        """Take out what a debit spends and say which lots it came from.

        `first` names lots to take before all others, as far as they are still there; the
        rest comes soonest first. What the lots do not cover is an overdraft, undated.
        """
        taken: dict[datetime | None, int] = {}
        left = amount
        for expires_at, most in first:
            got = self._take_from(expires_at, min(most, left))
            taken[expires_at] = taken.get(expires_at, 0) + got
            left -= got
        while left and self._expiries:
            for expires_at, got in self._take_first(left):
                taken[expires_at] = taken.get(expires_at, 0) + got
                left -= got
        self.undated -= left
        taken[None] = taken.get(None, 0) + left
        return tuple(Part(*part) for part in taken.items() if part[1])

    def _take_first(self, most: int) -> Parts:
        return (Part(self._expiries[0], self._take_from(self._expiries[0], most)),)

    def _take_from(self, expires_at: datetime | None, most: int) -> int:
        if expires_at is None:
            got = max(0, min(most, self.undated))
            self.undated -= got
            return got
        at = bisect_left(self._expiries, expires_at)
        if at == len(self._expiries) or self._expiries[at] != expires_at:
            return 0
        got = min(most, self._amounts[at])
        self._amounts[at] -= got
        if not self._amounts[at]:
            del self._expiries[at], self._amounts[at]
        return got


def fold(lots: Lots, movement: Movement, taken: Mapping[int, Parts]) -> Parts:
    """Let one entry change its account's lots; say which lots it took, if it is a debit.

    `taken` holds the dated parts that earlier debits took, by transfer; it must know the
    transfer itself where another person paid it, and the transfer that it reverses. An
    account's entries are folded in the order of their ids. Raises `LotsDoNotTie` when the
    lots then differ from the balance after the entry.
    """
    if movement.amount < 0:
        took = lots.take(-movement.amount, first=_brought_back(movement.reverses, taken))
    else:
        lots.add(_brought(movement, taken))
        took = NOTHING
    if lots.total != movement.balance_after:
        raise LotsDoNotTie(
            f"account {movement.account_id} after transfer {movement.transfer_id}: "
            f"lots {lots.total}, balance {movement.balance_after}"
        )
    return took


def dated(parts: Parts) -> Parts:
    """What of the parts lapses: all that `taken` has to remember."""
    return tuple(part for part in parts if part.expires_at is not None)


def _brought(movement: Movement, taken: Mapping[int, Parts]) -> Parts:
    """Say what a credit brings: a lot of its own, another's lots, or what it gives back."""
    if movement.is_between_people:
        carried = _within(movement.amount, taken[movement.transfer_id])
        return tuple(Part(_sooner(part, movement.expires_at), part.amount) for part in carried)
    undone = movement.reverses
    if movement.expires_at is None and undone is not None and undone.amount < 0:
        return _within(movement.amount, taken.get(undone.transfer_id, NOTHING))
    return (Part(movement.expires_at, movement.amount),)


def _brought_back(undone: Reversed | None, taken: Mapping[int, Parts]) -> Parts:
    """Say what a reversed credit had brought: its reversal takes those lots first."""
    if undone is None or undone.amount < 0:
        return NOTHING
    if undone.is_between_people:
        return _within(undone.amount, taken.get(undone.transfer_id, NOTHING))
    return (Part(undone.expires_at, undone.amount),)


def _within(amount: int, parts: Parts) -> Parts:
    """Complete dated parts to `amount` with what never lapses; cut them off above it."""
    within = []
    for part in parts:
        got = min(part.amount, amount)
        if got:
            within.append(Part(part.expires_at, got))
        amount -= got
    return (*within, Part(None, amount)) if amount else tuple(within)


def _sooner(part: Part, limit: datetime | None) -> datetime | None:
    """A payment may shorten a lot's life and never lengthens it."""
    if limit is None or part.expires_at is None:
        return part.expires_at or limit
    return min(part.expires_at, limit)
