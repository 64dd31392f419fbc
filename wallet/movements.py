"""Transfers and holds as their people read them: who paid whom, as far as each may know.

Reads only. Between people, the other one is named by handle; in a trade neither side learns
who the other is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from edge.ids import time_of
from wallet.models import Account, Code, Hold, Transfer
from wallet.statements import Line

NAMED_CODES = frozenset({Code.PAYMENT, Code.HOLD, Code.RELEASE})


@dataclass(frozen=True, slots=True)
class Movement:
    """A transfer and the accounts on its two sides."""

    transfer: Transfer
    debit: Account
    credit: Account | None

    @property
    def asset(self) -> str:
        return self.debit.asset.code

    @property
    def sender(self) -> str | None:
        """Who paid, where both may know it."""
        return self._handle_of(self.debit)

    @property
    def receiver(self) -> str | None:
        """Who is paid, where both may know it."""
        return self._handle_of(self.credit)

    def concerns(self, owner_id: int) -> bool:
        """Say whether one of the sides is this person's."""
        return any(side and side.owner_id == owner_id for side in (self.debit, self.credit))

    def _handle_of(self, account: Account | None) -> str | None:
        if account is None or account.owner is None or self.transfer.code not in NAMED_CODES:
            return None
        return account.owner.handle


@dataclass(frozen=True, slots=True)
class Held:
    """A hold, and the transfer that made it with its accounts."""

    hold: Hold
    movement: Movement

    @property
    def at(self) -> datetime:
        """When it was made, to 64 µs."""
        return time_of(self.hold.pk)


def movements(transfers: Iterable[Transfer]) -> list[Movement]:
    """Put the accounts beside transfers, in their order. One query."""
    rows = list(transfers)
    accounts = _sides(rows)
    return [
        Movement(row, accounts[row.debit_account_id], accounts.get(row.credit_account_id or 0))
        for row in rows
    ]


def movement(transfer_id: int) -> Movement | None:
    """Find one transfer with its accounts."""
    found = movements(Transfer.objects.filter(pk=transfer_id))
    return found[0] if found else None


def held(holds: Sequence[Hold]) -> list[Held]:
    """Put the transfers that made them beside holds, in their order. Two queries."""
    made = Transfer.objects.in_bulk([hold.pk for hold in holds])
    beside = movements(made[hold.pk] for hold in holds)
    return [Held(hold, each) for hold, each in zip(holds, beside, strict=True)]


def handles_beside(lines: Iterable[Line]) -> dict[int, str]:
    """Say who stands on the other side of statement lines: handles by transfer id. One query.

    Only where the owner of the statement may know it.
    """
    others = {
        line.transfer_id: line.counter_account_id for line in lines if line.code in NAMED_CODES
    }
    owned = Account.objects.filter(pk__in=set(others.values()), owner__isnull=False)
    handles = dict(owned.values_list("pk", "owner__handle"))
    return {
        transfer_id: handles[account_id]
        for transfer_id, account_id in others.items()
        if account_id in handles
    }


def _sides(transfers: Collection[Transfer]) -> dict[int, Account]:
    ids = {row.debit_account_id for row in transfers}
    ids |= {row.credit_account_id for row in transfers if row.credit_account_id is not None}
    return Account.objects.select_related("owner", "asset", "kind").in_bulk(list(ids))
