"""Freezing, unfreezing and closing an account, and changing its limits. Every deed is audited.

An account is locked the way the door locks it, so a deed falls before or after a posting,
never into the middle of one. The amounts of the row are never written here.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction

from edge.audit import record
from edge.problems import Refusal
from wallet.items import LARGEST_AMOUNT, Status
from wallet.models import Account, AccountKind

LONGEST_REASON = 500
LIMITS = ("floor", "ceiling", "largest_debit")


class AccountUnknown(Refusal):
    """No account has this id."""

    code = "account_unknown"
    title = "There is no such account"
    status = 404


class AccountStatusDiffers(Refusal):
    """The deed does not fit the account's condition: freezing a frozen account, and the like."""

    code = "account_status_differs"
    title = "The account's condition does not allow this"
    status = 409


class AccountNotEmpty(Refusal):
    """Closing an account would strand money: it holds, sets aside or awaits some."""

    code = "account_not_empty"
    title = "Only an empty account can be closed"
    status = 409


class ReasonMissing(Refusal):
    """A deed that another person must be able to understand later came without its why."""

    code = "reason_required"
    title = f"Say why, in 1 to {LONGEST_REASON} characters"
    status = 422


class LimitInvalid(Refusal):
    """The limits contradict each other, the account's balance, or the range of the ledger."""

    code = "limit_invalid"
    title = "The account cannot have these limits"
    status = 422


def freeze(
    account_id: int, *, actor: AbstractBaseUser, reason: str, ip: str | None = None
) -> Account:
    """Stop anything new from leaving an account. Its holds still post, and money still comes in."""
    return _change_status(account_id, "freeze", Status.OPEN, Status.FROZEN, actor, reason, ip)


def unfreeze(
    account_id: int, *, actor: AbstractBaseUser, reason: str, ip: str | None = None
) -> Account:
    """Let a frozen account pay again."""
    return _change_status(account_id, "unfreeze", Status.FROZEN, Status.OPEN, actor, reason, ip)


@transaction.atomic
def close(
    account_id: int, *, actor: AbstractBaseUser, reason: str, ip: str | None = None
) -> Account:
    """Close an empty account for good: nothing moves on it again.

    Refused while anything is on it, set aside from it or promised to it. A frozen account
    may be closed.
    """
    account = locked(account_id)
    check_reason(reason)
    if account.status == Status.CLOSED:
        raise AccountStatusDiffers("The account is closed already.")
    if account.balance or account.held or account.incoming:
        raise AccountNotEmpty(balance=account.balance, held=account.held, incoming=account.incoming)
    return _save(account, "close", {"status": Status.CLOSED.value}, actor, reason, ip)


@transaction.atomic
def change_limits(
    account_id: int,
    *,
    floor: int | None,
    ceiling: int | None,
    largest_debit: int | None,
    actor: AbstractBaseUser,
    reason: str,
    ip: str | None = None,
) -> Account:
    """Set what an account may hold at least and at most, and pay at once; `None` is no limit.

    Refused when what is on the account now would break the new limit.
    """
    account = locked(account_id)
    check_reason(reason)
    if account.status == Status.CLOSED:
        raise AccountStatusDiffers("The account is closed.")
    check_limits(floor, ceiling, largest_debit)
    if floor is not None and account.available < floor:
        raise LimitInvalid(f"{account.available} is available, less than the new floor.")
    if ceiling is not None and account.balance + account.incoming > ceiling:
        raise LimitInvalid("The account holds or awaits more than the new ceiling.")
    after = {"floor": floor, "ceiling": ceiling, "largest_debit": largest_debit}
    return _save(account, "change_limits", after, actor, reason, ip)


@transaction.atomic
def change_kind_limits(
    kind_code: str,
    *,
    floor: int | None,
    ceiling: int | None,
    largest_debit: int | None,
    actor: AbstractBaseUser,
    reason: str,
    ip: str | None = None,
) -> AccountKind:
    """Set the limits that accounts of this kind are opened with; open accounts keep theirs."""
    kind = AccountKind.objects.select_for_update(no_key=True).get(pk=kind_code)
    check_reason(reason)
    check_limits(floor, ceiling, largest_debit)
    if (floor is not None and floor > 0) or (ceiling is not None and ceiling < 0):
        raise LimitInvalid("A new account is empty, and these limits do not allow that.")
    before = {name: getattr(kind, name) for name in LIMITS}
    kind.floor, kind.ceiling, kind.largest_debit = floor, ceiling, largest_debit
    kind.save(update_fields=LIMITS)
    record(
        actor=actor,
        action="wallet.change_kind_limits",
        object_type="account kind",
        object_id=kind.pk,
        reason=reason,
        before=before,
        after={name: getattr(kind, name) for name in LIMITS},
        ip=ip,
    )
    return kind


def check_limits(floor: int | None, ceiling: int | None, largest_debit: int | None) -> None:
    """Refuse limits that contradict each other or lie outside the ledger's range. Pure."""
    for limit in (floor, ceiling, largest_debit):
        if limit is not None and abs(limit) > LARGEST_AMOUNT:
            raise LimitInvalid("A limit lies within ±2^62.")
    if floor is not None and ceiling is not None and floor > ceiling:
        raise LimitInvalid("The floor is above the ceiling.")
    if largest_debit is not None and largest_debit < 1:
        raise LimitInvalid("The largest debit is at least 1; freeze the account to stop payments.")


def locked(account_id: int) -> Account:
    """Read an account and keep postings off it until the transaction ends.

    The same row lock as the door's (`FOR NO KEY UPDATE`), so each waits for the other.
    """
    account = Account.objects.select_for_update(no_key=True).filter(pk=account_id).first()
    if account is None:
        raise AccountUnknown
    return account


@transaction.atomic
def _change_status(
    account_id: int,
    verb: str,
    expected: Status,
    wanted: Status,
    actor: AbstractBaseUser,
    reason: str,
    ip: str | None,
) -> Account:
    account = locked(account_id)
    check_reason(reason)
    if account.status != expected:
        now = Status(account.status).name.lower()
        raise AccountStatusDiffers(
            f"To {verb} an account it is {expected.name.lower()}; it is {now}."
        )
    return _save(account, verb, {"status": wanted.value}, actor, reason, ip)


def check_reason(reason: str) -> None:
    """Refuse a deed that says nothing about its why, or too much."""
    if not reason.strip() or len(reason) > LONGEST_REASON or "\x00" in reason:
        raise ReasonMissing


def _save(
    account: Account,
    verb: str,
    after: dict[str, Any],
    actor: AbstractBaseUser,
    reason: str,
    ip: str | None,
) -> Account:
    before = {name: getattr(account, name) for name in after}
    for name, value in after.items():
        setattr(account, name, value)
    account.save(update_fields=list(after))
    record(
        actor=actor,
        action=f"wallet.{verb}",
        object_type="account",
        object_id=account.pk,
        reason=reason,
        before=before,
        after=after,
        ip=ip,
    )
    return account
