"""Giving units to a friend, who accepts them, declines them, or lets the offer end.

The units are set aside on the ledger for the friend alone, until then. Only units go: a code
that somebody has seen cannot be unseen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.handles import normalise_handle
from accounts.models import User
from edge import audit
from edge.idempotency_keys import KeyReused
from edge.problems import Refusal
from rewards.events import announce
from rewards.importing import SeriesUnknown
from rewards.models import Present, Series
from rewards.units import post_all
from wallet.accounts import Purpose, open_accounts
from wallet.items import Hold, Item, Post, Void
from wallet.items import Refusal as Reason
from wallet.models import Code
from wallet.ownership import check_passing
from wallet.people import PersonUnknown
from wallet.problems import LedgerRefusal

LIFETIME = timedelta(days=14)
LONGEST_MESSAGE = 200
MOST_UNITS = 1_000


class PresentUnknown(Refusal):
    """No present of or for this person has this id."""

    code = "present_unknown"
    title = "There is no such present"
    status = 404


class PresentMovedOn(Refusal):
    """It was accepted, declined or taken back, or its time is over."""

    code = "present_moved_on"
    title = "The present can do that no more"
    status = 409


class PresentToYourself(Refusal):
    """A present is for somebody else."""

    code = "present_to_yourself"
    title = "A present is for somebody else"
    status = 422


class PresentInvalid(Refusal):
    """Its number of units or its message is out of bounds."""

    code = "present_invalid"
    title = f"A present has 1 to {MOST_UNITS:,} units and at most {LONGEST_MESSAGE} characters"
    status = 422


@dataclass(frozen=True, slots=True, kw_only=True)
class Gift:
    """What is given: so many units of a series, to whom, with which words."""

    series_code: str
    to: str
    amount: int
    message: str = ""


def give(
    gift: Gift, *, giver: User, request: UUID, now: datetime | None = None
) -> tuple[Present, bool]:
    """Set units aside for a friend for two weeks; also says whether that was done before.

    `request` names it for ever; with another gift it is refused (`KeyReused`). Refused too by the
    ledger without the units, and by the rules of their series about who may own them
    (`OwnershipBarred`).
    """
    now = now or timezone.now()
    if earlier := _earlier(gift, giver, request):
        return earlier, True
    if not 1 <= gift.amount <= MOST_UNITS or len(gift.message) > LONGEST_MESSAGE:
        raise PresentInvalid
    series = Series.objects.public().filter(asset__code=gift.series_code).first()
    if series is None:
        raise SeriesUnknown
    receiver = User.objects.by_handle(gift.to)
    if receiver is None:
        raise PersonUnknown
    if receiver.pk == giver.pk:
        raise PresentToYourself
    try:
        with transaction.atomic():
            return _given(gift, series, giver, receiver, request, now), False
    except (IntegrityError, Refusal):
        # The same request was at work at the same time and won; ours was undone.
        if earlier := _earlier(gift, giver, request):
            return earlier, True
        raise


def _earlier(gift: Gift, giver: User, request: UUID) -> Present | None:
    found = _all().filter(request=request, giver=giver).first()
    if found is None:
        return None
    given = Gift(
        series_code=found.series.code,
        to=found.receiver.handle,
        amount=found.amount,
        message=found.message,
    )
    if replace(gift, to=normalise_handle(gift.to)) != given:
        raise KeyReused
    return found


def _given(
    gift: Gift, series: Series, giver: User, receiver: User, request: UUID, now: datetime
) -> Present:
    made = Present.objects.create(
        series=series,
        giver=giver,
        receiver=receiver,
        amount=gift.amount,
        message=gift.message,
        request=request,
        expires_at=now + LIFETIME,
        made_at=now,
    )
    _note(made, "give_present", giver)
    purposes = [Purpose(person.pk, series.asset_id) for person in (giver, receiver)]
    opened = open_accounts(purposes)
    check_passing(
        asset_id=series.asset_id,
        sender_account=opened[purposes[0]],
        receiver_account=opened[purposes[1]],
        receiver_id=receiver.pk,
        amount=gift.amount,
        now=now,
    )
    [result] = post_all(
        [
            Hold(
                reference=f"present:{made.pk}",
                asset_id=series.asset_id,
                debit_account_id=opened[purposes[0]],
                credit_account_id=opened[purposes[1]],
                amount=gift.amount,
                code=Code.HOLD,
                expires_at=made.expires_at,
            )
        ],
        now=now,
    )
    made.hold_id = result.transfer_id
    made.save(update_fields=["hold_id"])
    _tell(made, "present_given")
    return made


def accept(present_id: int, *, receiver: User, now: datetime | None = None) -> Present:
    """Take a present: its units are yours. Asked again it changes nothing."""

    def move(present: Present) -> Item:
        assert present.hold_id is not None
        return Post(reference=f"present:{present.pk}:accept", hold_id=present.hold_id,
                    code=Code.PAYMENT)  # fmt: skip

    mine = {"pk": present_id, "receiver": receiver}
    return _ended(mine, Present.State.ACCEPTED, move, receiver, now)


def decline(present_id: int, *, receiver: User, now: datetime | None = None) -> Present:
    """Leave a present to its giver."""
    mine = {"pk": present_id, "receiver": receiver}
    return _ended(mine, Present.State.DECLINED, _release, receiver, now)


def take_back(present_id: int, *, giver: User, now: datetime | None = None) -> Present:
    """Take a present back that was not accepted yet."""
    mine = {"pk": present_id, "giver": giver}
    return _ended(mine, Present.State.CANCELLED, _release, giver, now)


def _release(present: Present) -> Item:
    assert present.hold_id is not None
    return Void(reference=f"present:{present.pk}:end", hold_id=present.hold_id, code=Code.RELEASE)


def _ended(
    mine: dict[str, object],
    state: Present.State,
    move: Callable[[Present], Item],
    actor: User,
    now: datetime | None,
) -> Present:
    now = now or timezone.now()
    with transaction.atomic():
        found = _all().select_for_update(no_key=True, of=("self",)).filter(**mine).first()
        if found is None:
            raise PresentUnknown
        if found.state == state:
            return found
        if found.state != Present.State.OPEN or found.expires_at <= now:
            raise PresentMovedOn(state=state_of(found, now))
        found.state, found.ended_at = state, now
        found.save(update_fields=["state", "ended_at"])
        _note(found, f"present_{state}", actor)
        try:
            post_all([move(found)], now=now)
        except LedgerRefusal as refusal:
            if refusal.reason is Reason.HOLD_EXPIRED:
                raise PresentMovedOn(state="expired") from None
            raise
        _tell(found, f"present_{state}")
    return found


def state_of(present: Present, now: datetime) -> str:
    """Say where a present stands; one whose time is over has gone back by itself."""
    if present.state == Present.State.OPEN and present.expires_at <= now:
        return "expired"
    return present.state


def _all() -> QuerySet[Present]:
    return Present.objects.select_related("series__asset", "giver", "receiver")


def _note(present: Present, deed: str, actor: User) -> None:
    audit.record(
        actor=actor,
        action=f"rewards.{deed}",
        object_type="present",
        object_id=present.pk,
        after={"series": present.series.code, "amount": present.amount},
    )


def _tell(present: Present, kind: str) -> None:
    code = present.series.code
    announce(kind, code, series=code, present_id=str(present.pk), amount=present.amount)
