"""What an account holds, what it held, and what moved it. Reads only.

Balances of the past are looked up, never added up: every entry keeps the balance after it,
and ids grow with time, so the balance as of a moment stands in the newest entry before it.
That is one descent of the index in each month that is searched, however long the account's
history. A moment counts as its first instant: what was written exactly then is after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from django.db import connection
from django.db.models import Q, QuerySet, Sum

from edge.ids import LARGEST_ID, first_id_at, time_of
from wallet.items import HoldState
from wallet.models import Account, Entry, EntryQuerySet, Hold, Transfer

PAGE_LINES = 50
MOST_LINES = 200
MOST_ACCOUNTS = 10_000

# The balance of account `a` before the transfer id {cut}. An account that has not moved
# since then needs no look-up.
BALANCE_BEFORE = """
CASE WHEN a.last_transfer_id < {cut} THEN a.balance ELSE coalesce(
    (SELECT e.balance_after FROM wallet_entry AS e
      WHERE e.account_id = a.id AND e.transfer_id < {cut}
      ORDER BY e.transfer_id DESC LIMIT 1), 0) END
"""
# What account `a` gains when dated entries count on their date: those written later for an
# earlier date come in. (Those written earlier for a later date go out: a date in the future
# is refused, so these are at most the last 64 µs.)
DATED_OTHERWISE = """
coalesce((SELECT sum(e.amount) FROM wallet_entry AS e
           WHERE e.account_id = a.id AND e.effective_at < {moment}
             AND e.transfer_id >= {cut}), 0)
- coalesce((SELECT sum(e.amount) FROM wallet_entry AS e
             WHERE e.account_id = a.id AND e.effective_at >= {moment}
               AND e.transfer_id < {cut}), 0)
"""


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account holds now, in minor units of its asset."""

    posted: int
    held: int
    incoming: int

    @property
    def available(self) -> int:
        """What can be spent: posted less what open holds have set aside."""
        return self.posted - self.held


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a statement with the facts of its transfer. Credits are positive."""

    transfer_id: int
    written_at: datetime
    effective_at: datetime | None
    code: int
    amount: int
    balance_after: int
    counter_account_id: int
    expires_at: datetime | None
    hold_id: int | None
    reverses_id: int | None
    reference: str
    memo: str


@dataclass(frozen=True, slots=True)
class Page:
    """Lines, newest first. `next_before` asks for the page after; `None` when this is the last."""

    lines: list[Line]
    next_before: int | None


@dataclass(frozen=True, slots=True)
class Statement:
    """What an account held at both ends of a period, and the newest page of what moved it."""

    account_id: int
    start: datetime | None
    end: datetime
    opening: int
    closing: int
    page: Page


def balance_now(account_id: int) -> Balance:
    """Say what an account holds now. Raises `Account.DoesNotExist`."""
    fields = ("balance", "held", "incoming")
    return Balance(*Account.objects.values_list(*fields).get(pk=account_id))


def balance_as_of(account_id: int, moment: datetime) -> int:
    """Say what an account held just before `moment`, by when transfers were written."""
    newest = entries(account_id, end=moment).values_list("balance_after", flat=True).first()
    return newest or 0


def effective_balance_as_of(account_id: int, moment: datetime) -> int:
    """Say what an account held just before `moment`, counting entries on their own dates.

    The written balance, corrected by the entries whose date lies on the other side of
    `moment` than their writing: two ranges of a partial index that holds dated entries only.
    """
    cut = first_id_at(moment)
    dated = Entry.objects.filter(account_id=account_id)
    came_in = dated.filter(effective_at__lt=moment, transfer_id__gte=cut)
    went_out = dated.filter(effective_at__gte=moment, transfer_id__lt=cut)
    return balance_as_of(account_id, moment) + _sum(came_in) - _sum(went_out)


def balances_as_of(
    account_ids: Sequence[int], moment: datetime, *, by_effective_date: bool = False
) -> dict[int, int]:
    """Say what each of up to 10,000 accounts held just before `moment`, in one statement.

    Accounts that do not exist are left out.
    """
    assert len(account_ids) <= MOST_ACCOUNTS
    cut = min(first_id_at(moment), LARGEST_ID)
    balance = BALANCE_BEFORE.format(cut="%(cut)s")
    if by_effective_date:
        balance += "+" + DATED_OTHERWISE.format(cut="%(cut)s", moment="%(moment)s")
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT a.id, {balance} FROM wallet_account AS a WHERE a.id = ANY(%(ids)s)",
            {"ids": list(account_ids), "cut": cut, "moment": moment},
        )
        return {id: int(balance) for id, balance in cursor.fetchall()}


def entries(
    account_id: int, *, start: datetime | None = None, end: datetime | None = None
) -> EntryQuerySet:
    """The entries of an account written from `start` until just before `end`, newest first."""
    found = Entry.objects.filter(account_id=account_id)
    if start is not None:
        found = found.filter(transfer_id__gte=first_id_at(start))
    if end is not None:
        found = found.before(end)
    return found.order_by("-transfer_id")


def open_holds(account_id: int) -> QuerySet[Hold]:
    """The holds that set something of the account aside, oldest first."""
    return Hold.objects.filter(account_id=account_id, state=HoldState.OPEN).order_by("id")


def page(
    account_id: int,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    before: int | None = None,
    limit: int = PAGE_LINES,
) -> Page:
    """Read up to `limit` (at most 200) lines older than transfer `before`, newest first.

    One range of the primary key and one look-up of the transfers: a page costs the same in
    an account of a million entries as in one of a hundred.
    """
    assert 0 < limit <= MOST_LINES
    found = entries(account_id, start=start, end=end)
    if before is not None:
        found = found.filter(transfer_id__lt=before)
    newest = list(found[: limit + 1])
    following = newest[limit - 1].transfer_id if len(newest) > limit else None
    return Page(with_transfers(newest[:limit]), following)


def statement(
    account_id: int, *, end: datetime, start: datetime | None = None, limit: int = PAGE_LINES
) -> Statement:
    """Read the statement of a period: both balances and the newest page of lines.

    Later pages come from `page` with the same period. What is written while this reads is
    left out of the balance and the lines alike.
    """
    newest = entries(account_id, end=end).values_list("transfer_id", "balance_after").first()
    newest_id, closing = newest or (0, 0)
    return Statement(
        account_id=account_id,
        start=start,
        end=end,
        opening=0 if start is None else balance_as_of(account_id, start),
        closing=closing,
        page=page(account_id, start=start, end=end, before=newest_id + 1, limit=limit),
    )


def with_transfers(found: Iterable[Entry]) -> list[Line]:
    """Put the facts of its transfer beside each entry, in the order given. One look-up."""
    rows = list(found)
    transfers = Transfer.objects.in_bulk([entry.transfer_id for entry in rows])
    return [_line(entry, transfers) for entry in rows]


def _line(entry: Entry, transfers: Mapping[Any, Transfer]) -> Line:
    transfer = transfers[entry.transfer_id]
    sides = {transfer.debit_account_id, transfer.credit_account_id}
    return Line(
        transfer_id=transfer.id,
        written_at=time_of(transfer.id),
        effective_at=transfer.effective_at,
        code=transfer.code,
        amount=entry.amount,
        balance_after=entry.balance_after,
        counter_account_id=cast("int", (sides - {entry.account_id}).pop()),
        expires_at=transfer.expires_at,
        hold_id=transfer.hold_id,
        reverses_id=transfer.reverses_id,
        reference=transfer.reference,
        memo=transfer.memo,
    )


def _sum(found: QuerySet[Entry]) -> int:
    return int(found.filter(Q(effective_at__isnull=False)).aggregate(n=Sum("amount"))["n"] or 0)
