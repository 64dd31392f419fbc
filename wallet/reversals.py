"""Undoing a transfer: one person asks and says why, another approves, and the ledger moves back.

Nothing that was written is changed: a reversal is a new transfer with the sides swapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.utils import timezone

from edge.audit import record
from edge.problems import Refusal
from wallet import items
from wallet.actions import post
from wallet.freezing import LONGEST_REASON, ReasonMissing
from wallet.items import Kind, Result
from wallet.models import Code, Reference, ReversalRequest, Transfer
from wallet.references import digest_of

State = ReversalRequest.State
LEG_CODES = (Code.TRADE_UNITS, Code.TRADE_PRICE, Code.TRADE_FEE)
"""What a trade is made of; it is undone as a whole (`wallet.trades`)."""


class TransferUnknown(Refusal):
    """No transfer has this id."""

    code = "transfer_unknown"
    title = "There is no such transfer"
    status = 404


class NotReversible(Refusal):
    """Only a transfer that moved money, and is no reversal itself, can be undone."""

    code = "transfer_not_reversible"
    title = "This transfer cannot be reversed"
    status = 409


class ReversalExists(Refusal):
    """The transfer is reversed already, or somebody asked for it before."""

    code = "reversal_exists"
    title = "This transfer is reversed, or its reversal is asked for"
    status = 409


class RequestUnknown(Refusal):
    """No reversal request has this id."""

    code = "reversal_unknown"
    title = "There is no such reversal request"
    status = 404


class RequestDecided(Refusal):
    """The request was approved or rejected before."""

    code = "reversal_decided"
    title = "This reversal request has been decided"
    status = 409


class OwnRequest(Refusal):
    """Four eyes: whoever asked may not decide."""

    code = "reversal_needs_another_person"
    title = "Somebody else must decide this request"
    status = 403


@transaction.atomic
def request_reversal(
    transfer_id: int, *, actor: AbstractBaseUser, reason: str, ip: str | None = None
) -> ReversalRequest:
    """Ask that a transfer be undone, and say why. Nothing moves yet.

    Refused for holds and voids (they moved nothing), for a reversal, and for a transfer
    that is reversed or asked for already.
    """
    _check_reason(reason)
    transfer = Transfer.objects.filter(pk=transfer_id).first()
    if transfer is None:
        raise TransferUnknown
    if transfer.kind not in (Kind.TRANSFER, Kind.POST):
        raise NotReversible("It moved no money.")
    if transfer.code in LEG_CODES:
        raise NotReversible("It is a part of a trade: the trade is busted as a whole.")
    if transfer.reverses_id is not None:
        raise NotReversible("It is a reversal itself; post a new transfer instead.")
    if was_undone(transfer_id):
        raise ReversalExists("It was reversed or taken back.")
    request = _insert(transfer_id, actor, reason)
    _audit("request_reversal", request, actor, reason, ip)
    return request


@transaction.atomic
def approve(request_id: int, *, actor: AbstractBaseUser, ip: str | None = None) -> ReversalRequest:
    """Approve a reversal that somebody else asked for, and post it, in one transaction.

    When the ledger refuses, because the funds are spent perhaps, nothing moves: the request
    comes back open with the reason in `last_refusal`, and may be approved again later.
    Locks the request, then passes through the door.
    """
    request = _locked_open(request_id, actor)
    result = _post_reversal(request)
    if result.is_created:
        request.reversal_id = result.transfer_id
        request.last_refusal = None
        _decide(request, State.APPROVED, actor)
        _audit("approve_reversal", request, actor, request.reason, ip)
    else:
        request.last_refusal = result.refusal
        request.save(update_fields=["last_refusal"])
        _audit("refused_reversal", request, actor, result.refusal.name.lower(), ip)
    return request


@transaction.atomic
def reject(
    request_id: int, *, actor: AbstractBaseUser, note: str, ip: str | None = None
) -> ReversalRequest:
    """Turn down a reversal that somebody else asked for. It may be asked for anew."""
    _check_reason(note)
    request = _locked_open(request_id, actor)
    request.note = note
    _decide(request, State.REJECTED, actor)
    _audit("reject_reversal", request, actor, note, ip)
    return request


def reversal_of(transfer: Transfer) -> items.Transfer:
    """Spell the transfer that undoes another: sides swapped, all else the same."""
    assert transfer.credit_account_id is not None
    return items.Transfer(
        reference=_reference(transfer.pk),
        asset_id=transfer.asset_id,
        debit_account_id=transfer.credit_account_id,
        credit_account_id=transfer.debit_account_id,
        amount=transfer.amount,
        code=Code.REVERSAL,
        memo=f"reversal of {transfer.pk}",
        reverses_id=transfer.pk,
    )


def reversals_of(transfer_ids: Sequence[int]) -> list[items.Transfer]:
    """Spell the transfers that undo these, in their order, for a deed that undoes its own."""
    found = Transfer.objects.in_bulk(list(transfer_ids))
    return [reversal_of(found[transfer_id]) for transfer_id in transfer_ids]


def _reference(transfer_id: int) -> str:
    """The name of whatever undoes a transfer; clawbacks use it too, so only one can happen."""
    return f"reversal:{transfer_id}"


def was_undone(transfer_id: int) -> bool:
    """Say whether a transfer was reversed, or taken back."""
    digest = UUID(bytes=digest_of(_reference(transfer_id)))
    return Reference.objects.filter(digest=digest, refusal=0).exists()


def _insert(transfer_id: int, actor: AbstractBaseUser, reason: str) -> ReversalRequest:
    # The partial unique index decides a race; a look first could not.
    try:
        with transaction.atomic():
            return ReversalRequest.objects.create(
                transfer_id=transfer_id, requested_by_id=actor.pk, reason=reason
            )
    except IntegrityError:
        raise ReversalExists from None


def _locked_open(request_id: int, actor: AbstractBaseUser) -> ReversalRequest:
    request = ReversalRequest.objects.select_for_update(no_key=True).filter(pk=request_id).first()
    if request is None:
        raise RequestUnknown
    if request.state != State.OPEN:
        raise RequestDecided(f"It was {request.get_state_display()}.")
    if request.requested_by_id == actor.pk:
        raise OwnRequest
    return request


def _post_reversal(request: ReversalRequest) -> Result:
    item = reversal_of(Transfer.objects.get(pk=request.transfer_id))
    with transaction.atomic():
        [result] = post([item])
        if not result.is_created:
            # The ledger would keep the refusal under this reference for ever; the savepoint
            # takes it out again, so that a later approval is decided anew.
            transaction.set_rollback(True)
    return result


def _decide(request: ReversalRequest, state: int, actor: AbstractBaseUser) -> None:
    request.state = state
    request.decided_by_id = actor.pk
    request.decided_at = timezone.now()
    request.save()


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > LONGEST_REASON or "\x00" in reason:
        raise ReasonMissing


def _audit(
    verb: str, request: ReversalRequest, actor: AbstractBaseUser, reason: str, ip: str | None
) -> None:
    record(
        actor=actor,
        action=f"wallet.{verb}",
        object_type="reversal request",
        object_id=request.pk,
        reason=reason,
        after={
            "transfer_id": str(request.transfer_id),
            "reversal_id": str(request.reversal_id or ""),
        },
        ip=ip,
    )
