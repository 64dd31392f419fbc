"""Disputes: a holder says that a code did not work; the issuer, its time, or support decide.

Each step is one transaction: voucher, cover and dispute are locked in this order, then the
ledger moves, and the event comes last. Whoever comes second finds the step taken.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts.models import User
from edge import audit
from edge.idempotency_keys import KeyReused
from edge.problems import Refusal
from rewards import units
from rewards.actions import checked_reason
from rewards.disputes import money, rules
from rewards.disputes.models import Cover, Dispute, Guarantee
from rewards.disputes.problems import (
    AnotherMustAgree,
    DisputeMovedOn,
    DisputeRefused,
    DisputeUnknown,
    EvidenceMissing,
    OwnDispute,
)
from rewards.disputes.rules import Fault, Record, State, Step
from rewards.events import announce
from rewards.models import Reveal, Voucher
from rewards.redemption import money as backing
from rewards.redemption.rules import Use
from rewards.redemption.standing import lock_voucher
from rewards.revealing import RevealUnknown
from wallet.items import Item, Transfer
from wallet.models import Code

logger = logging.getLogger(__name__)

LONGEST_TEXT = 2_000
MOST_DUE = 10_000
# One person's disputes are counted by one of their requests at a time.
ONE_PERSON = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


@dataclass(frozen=True, slots=True)
class Opened:
    """A dispute as it stands. `is_replay`: it was opened before, by the same request."""

    dispute: Dispute
    is_replay: bool = False


def open_dispute(
    *,
    reveal_id: int,
    holder: User,
    problem: Dispute.Problem,
    evidence: str,
    request: UUID,
    ip: str | None = None,
    now: datetime | None = None,
) -> Opened:
    """Say that a revealed code did not work: freezes the issuer's money and asks the issuer.

    The code can no longer be used with us. `request` names the dispute for ever; with other words
    it is refused (`KeyReused`). Raises `RevealUnknown`, `EvidenceMissing`, or `DisputeRefused`
    with the reason; then nothing moved.
    """
    evidence = _text(evidence)
    said = (reveal_id, problem, evidence)
    if earlier := _earlier(holder, request, said):
        return Opened(earlier, is_replay=True)
    moment = now or timezone.now()
    try:
        with transaction.atomic():
            made = _open(reveal_id, holder, problem, evidence, request, moment, ip)
    except (IntegrityError, Refusal):
        # The same request was at work at the same time and won; ours was undone.
        if earlier := _earlier(holder, request, said):
            return Opened(earlier, is_replay=True)
        raise
    return Opened(made)


def _earlier(holder: User, request: UUID, said: tuple[int, str, str]) -> Dispute | None:
    found = Dispute.objects.with_story().filter(request=request, holder=holder).first()
    if found is not None and (found.cover_id, found.problem, found.evidence) != said:
        raise KeyReused
    return found


def _text(words: str) -> str:
    words = words.strip()
    if not 10 <= len(words) <= LONGEST_TEXT or "\x00" in words:
        raise EvidenceMissing(f"Say it in 10 to {LONGEST_TEXT} characters.")
    return words


def _open(
    reveal_id: int,
    holder: User,
    problem: Dispute.Problem,
    evidence: str,
    request: UUID,
    now: datetime,
    ip: str | None,
) -> Dispute:
    reveal = Reveal.objects.filter(pk=reveal_id, owner=holder).first()
    if reveal is None:
        raise RevealUnknown
    with connection.cursor() as cursor:
        cursor.execute(ONE_PERSON, [f"disputes:{holder.pk}"])
    if not Cover.objects.filter(pk=reveal.pk).exists():
        raise DisputeRefused(Fault.NO_GUARANTEE)
    voucher = lock_voucher(reveal.code_id)
    cover = locked_cover(reveal.pk)
    fault = rules.fault(
        rules.Cover(cover.state),
        cover.closes_at,
        now,
        is_code_free=voucher.use in (Use.FREE, Use.EXPIRED),
        by=record_of(holder, now),
    )
    if fault is not None:
        raise DisputeRefused(fault)
    guarantee = _guarantee_of(cover)
    cover.state = Cover.State.DISPUTED
    cover.save(update_fields=["state"])
    # An expired code is of no use anyway, and its face value breaks, or has broken, by itself.
    is_voucher_held = voucher.use == Use.FREE and reveal.code.expires_at > now
    if is_voucher_held:
        _mark(voucher, Use.DEACTIVATED)
    [frozen] = units.post_all([money.freeze(guarantee, cover)])
    made = Dispute.objects.create(
        cover=cover,
        holder=holder,
        request=request,
        problem=problem,
        evidence=evidence,
        hold_id=frozen.transfer_id,
        is_voucher_held=is_voucher_held,
        opened_at=now,
        answer_by=now + timedelta(seconds=guarantee.answer_s),
    )
    _told(made, guarantee, holder, "open_dispute", ip=ip)
    return made


def record_of(holder: User, now: datetime) -> Record:
    """Count a person's disputes, as far as they limit the next one."""
    mine = Dispute.objects.filter(holder=holder)
    return Record(
        open=mine.undecided().count(),
        today=mine.filter(opened_at__gt=now - rules.DAY).count(),
        rejected=mine.filter(
            state=State.REJECTED, ended_at__gt=now - rules.REJECTED_COUNT_FOR
        ).count(),
    )


def locked_cover(reveal_id: int) -> Cover:
    """Lock what stands behind a revealed code."""
    return Cover.objects.select_for_update(of=("self",)).get(pk=reveal_id)


def _guarantee_of(cover: Cover) -> Guarantee:
    found = Guarantee.objects.select_related("series__asset", "asset", "issuer")
    return found.get(pk=cover.guarantee_id)


# -- what follows ------------------------------------------------------------------------------


def answer(
    dispute_id: int, *, issuer: User, accepts: bool, words: str = "", now: datetime | None = None
) -> Dispute:
    """The issuer agrees, and the holder is refunded; or contests it, and support decides.

    To contest takes words. Raises `DisputeUnknown` to everybody but the issuer, and
    `DisputeMovedOn` after the time to answer.
    """
    moment = now or timezone.now()
    words = _text(words) if not accepts else words.strip()[:LONGEST_TEXT]
    with transaction.atomic():
        found = _locked(dispute_id)
        if found.cover.guarantee.issuer_id != issuer.pk:
            raise DisputeUnknown
        step = Step.ACCEPT if accepts else Step.CONTEST
        if found.state == State.ASKED and found.answer_by <= moment:
            raise DisputeMovedOn("The time to answer is over.")
        _checked(found, step)
        found.answer, found.answered_at = words, moment
        if accepts:
            _end(found, State.REFUNDED, Dispute.End.ISSUER, moment)
        else:
            found.state = State.CONTESTED
            found.save()
        _told(found, found.cover.guarantee, issuer, f"{step.value}_dispute")
    return found


def withdraw(dispute_id: int, *, holder: User, now: datetime | None = None) -> Dispute:
    """The holder was wrong: the code can be used again, and the issuer's money is free."""
    moment = now or timezone.now()
    with transaction.atomic():
        found = _locked(dispute_id)
        if found.holder_id != holder.pk:
            raise DisputeUnknown
        _checked(found, Step.WITHDRAW)
        _end(found, State.WITHDRAWN, Dispute.End.HOLDER, moment)
        _told(found, found.cover.guarantee, holder, "withdraw_dispute")
    return found


def decide(
    dispute_id: int, *, actor: User, refunds: bool, reason: str, now: datetime | None = None
) -> Dispute:
    """Support decides a contested dispute; above the guarantee's limit two must say the same.

    The first one's word is a proposal; another word than the proposal replaces it. Raises
    `OwnDispute` for whoever stands to gain, `AnotherMustAgree`, `DisputeMovedOn`.
    """
    reason, moment = checked_reason(reason), now or timezone.now()
    step = Step.REFUND if refunds else Step.REJECT
    with transaction.atomic():
        found = _locked(dispute_id)
        guarantee = found.cover.guarantee
        if actor.pk in (found.holder_id, guarantee.issuer_id):
            raise OwnDispute
        target = _checked(found, step)
        if guarantee.needs_two_people and found.proposal != step.value:
            found.proposal, found.proposed_by, found.reason = step.value, actor, reason
            found.save()
            _told(found, guarantee, actor, f"propose_{step.value}", reason=reason)
            return found
        if guarantee.needs_two_people and found.proposed_by_id == actor.pk:
            raise AnotherMustAgree
        found.decided_by, found.reason = actor, reason
        _end(found, target, Dispute.End.SUPPORT, moment)
        _told(found, guarantee, actor, f"{step.value}_dispute", reason=reason)
    return found


def end_silences(now: datetime | None = None, limit: int = MOST_DUE) -> int:
    """Refund the disputes whose issuers did not answer in time; say how many.

    A transaction each; may be run again at any time, by several at once.
    """
    moment, done = now or timezone.now(), 0
    due = Dispute.objects.filter(state=State.ASKED, answer_by__lte=moment)
    for dispute_id in list(due.order_by("answer_by").values_list("pk", flat=True)[:limit]):
        try:
            done += _end_silence(dispute_id, moment)
        except Refusal as refusal:
            logger.warning("dispute %s stays open: %s", dispute_id, refusal.code)
    return done


@transaction.atomic
def _end_silence(dispute_id: int, now: datetime) -> bool:
    found = _locked(dispute_id)
    if found.state != State.ASKED or found.answer_by > now:
        return False
    _end(found, State.REFUNDED, Dispute.End.SILENCE, now)
    _told(found, found.cover.guarantee, None, "silence_dispute")
    return True


def _locked(dispute_id: int) -> Dispute:
    """Lock a dispute with its voucher and cover, in everybody's order."""
    seen = Dispute.objects.filter(pk=dispute_id).values_list("cover_id", "cover__reveal__code_id")
    if not (row := seen.first()):
        raise DisputeUnknown
    cover_id, code_id = row
    lock_voucher(code_id)
    locked_cover(cover_id)
    found = Dispute.objects.select_for_update(of=("self",)).with_story()
    return found.select_related("cover__reveal__code").get(pk=dispute_id)


def _checked(found: Dispute, step: Step) -> State:
    target = rules.after(State(found.state), step)
    if target is None:
        raise DisputeMovedOn(state=State(found.state).name.lower())
    return target


def _end(found: Dispute, state: State, end: str, now: datetime) -> None:
    """End a locked dispute: the frozen money goes where it belongs, in one passage."""
    cover, guarantee = found.cover, found.cover.guarantee
    is_refund = state is State.REFUNDED
    items: list[Item] = [money.pay_out(found, guarantee, is_refund=is_refund)]
    if found.is_voucher_held:
        items += _voided(found) if is_refund else _restored(found, now)
    transfers = units.post_all(items)
    found.state, found.end, found.ended_at = state, end, now
    found.transfer_id = transfers[0].transfer_id
    found.save()
    cover.state = Cover.State.REFUNDED if is_refund else Cover.State.RELEASED
    cover.transfer_id = found.transfer_id
    cover.save(update_fields=["state", "transfer_id"])


def _voided(found: Dispute) -> list[Transfer]:
    """The code stays out of use: what would be owed for it is not owed any more."""
    return backing.unbacking(found.cover.guarantee.series, 1, f"dispute-void:{found.pk}")


def _restored(found: Dispute, now: datetime) -> list[Transfer]:
    """Let the code be used again; of one that expired meanwhile the face value is breakage.

    The sweep of expired codes passes by what is out of use, so this one is not counted twice.
    """
    series, code = found.cover.guarantee.series, found.cover.reveal.code
    voucher = Voucher.objects.get(pk=code.pk)
    if voucher.use != Use.DEACTIVATED:
        return []
    if code.expires_at > now:
        _mark(voucher, Use.FREE)
        return []
    _mark(voucher, Use.EXPIRED)
    if not series.backing_minor:
        return []
    purse = backing.purse_of(series)
    rest, amount = backing.rest_account(series, purse), series.backing_minor
    name = f"dispute-expired:{found.pk}"
    asset_id = series.face_value_asset_id or 0
    return backing.transfer(name, asset_id, purse.liability, rest, amount, code=Code.EXPIRY)


def _mark(voucher: Voucher, use: Use) -> None:
    voucher.use, voucher.reserved_until = use, None
    voucher.save(update_fields=["use", "reserved_until"])


def _told(
    found: Dispute,
    guarantee: Guarantee,
    actor: User | None,
    deed: str,
    *,
    reason: str = "",
    ip: str | None = None,
) -> None:
    """Audit a step, and announce it: to the holder, the issuer and everybody who listens."""
    story = {
        "dispute_id": str(found.pk),
        "reveal_id": str(found.cover_id),
        "state": State(found.state).name.lower(),
        "refund": guarantee.refund_minor,
        "asset": guarantee.asset.code,
    }
    audit.record(
        actor=actor,
        action=f"rewards.{deed}",
        object_type="dispute",
        object_id=found.pk,
        reason=reason,
        after=story,
        ip=ip,
    )
    code = guarantee.series.code
    people = {"holder_id": str(found.holder_id), "issuer_id": str(guarantee.issuer_id)}
    announce(deed, code, series=code, **story, **people)
