"""Redemptions by partners: qualify, reserve, confirm, roll back, reverse.

    reserve ─▶ confirm ─▶ (reverse)
       ├─────▶ roll back
       └─────▶ lapses by itself

One transaction each. A redemption is named for ever by its caller's key; the other steps name
the redemption, so each happens once however often it is asked for. Locks go in one order:
voucher, redemption, the ledger's accounts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from edge import audit
from edge.idempotency_keys import KeyReused
from edge.problems import Refusal
from rewards.events import announce
from rewards.models import Partner, Redemption, Voucher
from rewards.redemption import moves, rules
from rewards.redemption.lookup import Found, find
from rewards.redemption.problems import (
    RedemptionMovedOn,
    RedemptionUnknown,
    ReservationLapsed,
    ReservationTooLong,
    ReversalTooLate,
    VoucherRefused,
)
from rewards.redemption.reversals import reversal_of
from rewards.redemption.rules import Ask, Reason, State, Use
from rewards.redemption.standing import Standing, ask_at, lock_voucher, locked, read
from rewards.sealing import sealer
from rewards.units import post_all
from wallet.items import Item
from wallet.items import Refusal as LedgerReason
from wallet.problems import LedgerRefusal

REVERSIBLE = timedelta(days=31)
LONGEST_REFERENCE = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a partner asks for. Without `reserve_s` the voucher is used at once.

    `amount_minor` is what to spend of a gift balance; `order_minor` what the customer buys.
    """

    typed: str
    series_code: str | None = None
    amount_minor: int | None = None
    order_minor: int | None = None
    customer: User | None = None
    reference: str = ""
    reserve_s: int | None = None

    def fingerprint(self) -> bytes:
        """Digest what was asked; of the code only what the lookup key makes of it."""
        code = sealer().digest(0, self.typed.strip())
        customer = self.customer.pk if self.customer else None
        asked = [code, self.series_code, self.amount_minor, self.order_minor, customer,
                 self.reference, self.reserve_s]  # fmt: skip
        return hashlib.sha256(msgspec.json.encode(asked)).digest()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a dry run says: every reason against it, or what it would be worth."""

    found: Found
    reasons: list[Reason]
    value_minor: int
    balance_minor: int | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A redemption as it stands after a step. `is_replay`: the step was done before."""

    redemption: Redemption
    is_replay: bool = False


def qualify(partner: Partner, wish: Wish, *, actor: User, now: datetime | None = None) -> Verdict:
    """Say whether a voucher could be used, what it would be worth, or all that stands against it.

    Changes nothing. Raises what `find` does for a code that is not the partner's to see.
    """
    ask = _ask(wish, now)
    found = find(partner, wish.typed, actor=actor, series_code=wish.series_code)
    facts = read(found, ask).facts
    reasons = rules.faults(facts, ask)
    value = 0 if reasons else rules.worth(facts, ask)
    balance = facts.balance_minor if facts.kind is rules.Kind.GIFT else None
    return Verdict(found, reasons, value, balance)


def redeem(
    partner: Partner, wish: Wish, *, request: UUID, actor: User, now: datetime | None = None
) -> Outcome:
    """Use a voucher at once, or reserve it for `reserve_s` seconds.

    `request` names the redemption for ever: asked again with the same wish it brings the same
    redemption as it stands by then; with another wish, or for another partner, it is refused
    (`KeyReused`). Raises what `find` does, `VoucherRefused` with every reason,
    `ReservationTooLong`.
    """
    fingerprint = wish.fingerprint()
    if earlier := _earlier(partner, request, fingerprint):
        return earlier
    limit = rules.LONGEST_RESERVATION.total_seconds()
    if wish.reserve_s is not None and not 1 <= wish.reserve_s <= limit:
        raise ReservationTooLong
    ask = _ask(wish, now)
    found = find(partner, wish.typed, actor=actor, series_code=wish.series_code)
    try:
        with transaction.atomic():
            standing = locked(found, ask)
            if reasons := rules.faults(standing.facts, ask):
                raise VoucherRefused(reasons)
            made = _made(partner, wish, standing, ask, request, fingerprint, actor)
            _carry_out(made, standing, ask.now)
            _told(made, actor, "redeem" if wish.reserve_s is None else "reserve")
    except (IntegrityError, Refusal):
        # The same request was at work at the same time and won; ours was undone.
        if earlier := _earlier(partner, request, fingerprint):
            return earlier
        raise
    return Outcome(made)


def _ask(wish: Wish, now: datetime | None) -> Ask:
    customer_id = wish.customer.pk if wish.customer else None
    return ask_at(now or timezone.now(), wish.amount_minor, wish.order_minor, customer_id)


def _earlier(partner: Partner, request: UUID, fingerprint: bytes) -> Outcome | None:
    found = Redemption.objects.with_story().filter(request=request).first()
    if found is None:
        return None
    if found.partner_id != partner.pk or bytes(found.fingerprint) != fingerprint:
        raise KeyReused
    return Outcome(found, is_replay=True)


def _made(
    partner: Partner,
    wish: Wish,
    standing: Standing,
    ask: Ask,
    request: UUID,
    fingerprint: bytes,
    actor: User,
) -> Redemption:
    """Write the redemption down, after those that lapsed have made way."""
    found, facts = standing.found, standing.facts
    for each in standing.lapsed:
        _end(each, State.LAPSED, ask.now)
    value = rules.worth(facts, ask)
    is_whole = found.code is not None and facts.kind is not rules.Kind.GIFT
    is_reserved = wish.reserve_s is not None
    backing = 0 if facts.kind is rules.Kind.GIFT else found.series.backing_minor
    return Redemption.objects.create(
        partner=partner,
        series=found.series,
        code=found.code,
        generic=found.generic,
        customer=wish.customer,
        request=request,
        fingerprint=fingerprint,
        is_whole=is_whole,
        value_minor=value,
        rest_minor=max(0, backing - value),
        order_minor=wish.order_minor,
        reserved_until=ask.now + timedelta(seconds=wish.reserve_s) if wish.reserve_s else None,
        state=State.RESERVED if is_reserved else State.CONFIRMED,
        ended_at=None if is_reserved else ask.now,
        reference=wish.reference,
        made_by=actor,
        made_at=ask.now,
    )


def _carry_out(made: Redemption, standing: Standing, now: datetime) -> None:
    """Move what a new redemption moves, and mark the voucher."""
    voucher, is_reserved = standing.voucher, made.state == State.RESERVED
    items: list[Item] = [*moves.free_lapsed(standing.lapsed)]
    hold_at = None
    if moves.is_gift(made):
        assert voucher is not None
        account_id, opening = moves.open_gift(made.series, voucher)
        items += opening
        if is_reserved:
            hold_at = len(items)
            items.append(moves.set_aside_gift(made, account_id))
        else:
            items += moves.pay_gift(made, account_id)
        voucher.save(update_fields=["account_id"])
    elif made.generic is not None and is_reserved:
        hold_at = len(items)
        items.append(moves.set_aside_use(made, made.generic))
    elif made.generic is not None:
        items += [moves.count_use(made, made.generic), *moves.pay_whole(made)]
    elif not is_reserved:
        items += moves.pay_whole(made)
    if made.is_whole and voucher is not None:
        _mark(voucher, Use.RESERVED if is_reserved else Use.USED, made.reserved_until)
    transfers = _posted(items, now)
    if hold_at is not None:
        made.hold_id = transfers[hold_at]
        made.save(update_fields=["hold_id"])
    else:
        _note_transfers(made, items, transfers)


def _mark(voucher: Voucher, use: Use, until: datetime | None = None) -> None:
    voucher.use = use
    voucher.reserved_until = until
    voucher.save(update_fields=["use", "reserved_until"])


def _posted(items: list[Item], now: datetime) -> list[int]:
    """Go through the door once; what the ledger counts differently is told as the rules would."""
    try:
        return [result.transfer_id for result in post_all(items, now=now)]
    except LedgerRefusal as refusal:
        if refusal.reason is LedgerReason.INSUFFICIENT_FUNDS:
            is_use = any(item.reference.endswith((":use", ":count")) for item in items)
            reason = Reason.USED_UP if is_use else Reason.BALANCE_TOO_SMALL
            raise VoucherRefused([reason]) from None
        if refusal.reason is LedgerReason.HOLD_EXPIRED:
            raise ReservationLapsed from None
        raise


def _note_transfers(made: Redemption, items: list[Item], transfers: list[int]) -> None:
    by_name = {item.reference: id for item, id in zip(items, transfers, strict=True)}
    made.transfer_id = by_name.get(moves.name(made, "pay"))
    made.rest_transfer_id = by_name.get(moves.name(made, "rest"))
    made.unit_transfer_id = by_name.get(moves.name(made, "count"))
    made.save(update_fields=["transfer_id", "rest_transfer_id", "unit_transfer_id"])


# -- what follows a reservation ------------------------------------------------------------


def confirm(
    redemption_id: int,
    *,
    partner: Partner,
    actor: User,
    amount_minor: int | None = None,
    now: datetime | None = None,
) -> Outcome:
    """Use what was reserved; of a gift balance perhaps less, the rest is free again.

    Once confirmed it stays so: asked again it changes nothing. Raises `ReservationLapsed`
    after its time, `RedemptionMovedOn` when it was rolled back or reversed.
    """
    now = now or timezone.now()
    with transaction.atomic():
        found, voucher = _locked(redemption_id, partner)
        if found.state == State.CONFIRMED and amount_minor in (None, found.value_minor):
            return Outcome(found, is_replay=True)
        if found.state == State.LAPSED:
            raise ReservationLapsed
        if found.state != State.RESERVED:
            raise moved_on(found)
        if _is_over(found, now):
            raise ReservationLapsed
        _use_less(found, amount_minor)
        _end(found, State.CONFIRMED, now)
        items: list[Item] = []
        if moves.is_gift(found):
            assert voucher is not None and voucher.account_id is not None
            items += moves.pay_gift(found, voucher.account_id)
        else:
            if found.generic is not None:
                items.append(moves.count_use(found, found.generic))
            items += moves.pay_whole(found)
        if found.is_whole and voucher is not None:
            _mark(voucher, Use.USED)
        _note_transfers(found, items, _posted(items, now))
        _told(found, actor, "confirm_redemption")
    return Outcome(found)


def _use_less(found: Redemption, amount_minor: int | None) -> None:
    if amount_minor is None or amount_minor == found.value_minor:
        return
    if not moves.is_gift(found):
        raise VoucherRefused([Reason.AMOUNT_NOT_TAKEN])
    if amount_minor > found.value_minor:
        raise VoucherRefused([Reason.BALANCE_TOO_SMALL])
    found.value_minor = amount_minor
    found.save(update_fields=["value_minor"])


def roll_back(
    redemption_id: int, *, partner: Partner, actor: User, now: datetime | None = None
) -> Outcome:
    """Give back what was reserved. Asked again it changes nothing.

    One whose time is over has lapsed, whether somebody has looked at it since or not.
    """
    now = now or timezone.now()
    with transaction.atomic():
        found, voucher = _locked(redemption_id, partner)
        if found.state in (State.ROLLED_BACK, State.LAPSED):
            return Outcome(found, is_replay=True)
        if found.state != State.RESERVED:
            raise moved_on(found)
        if _is_over(found, now):
            give_back(found, voucher, State.LAPSED, now)
            _told(found, None, "lapse_reservation")
        else:
            give_back(found, voucher, State.ROLLED_BACK, now)
            _told(found, actor, "roll_back_redemption")
    return Outcome(found)


def _is_over(reservation: Redemption, now: datetime) -> bool:
    assert reservation.reserved_until is not None
    return reservation.reserved_until <= now


def lapse(redemption_id: int, *, now: datetime) -> bool:
    """End a reservation whose time is over; `False` if it ended otherwise meanwhile."""
    with transaction.atomic():
        found, voucher = _locked(redemption_id, None)
        if found.state != State.RESERVED or not _is_over(found, now):
            return False
        give_back(found, voucher, State.LAPSED, now)
        _told(found, None, "lapse_reservation")
    return True


def give_back(found: Redemption, voucher: Voucher | None, state: State, now: datetime) -> None:
    """End a locked reservation: the voucher is free, and what was set aside can be spent."""
    _end(found, state, now)
    if found.is_whole and voucher is not None and voucher.use == Use.RESERVED:
        _mark(voucher, Use.FREE)
    _posted([*moves.free_lapsed([found])], now)


def reverse(
    redemption_id: int,
    *,
    partner: Partner | None,
    actor: User,
    reason: str,
    now: datetime | None = None,
) -> Outcome:
    """Undo a confirmed redemption: the partner gives the money back, the voucher can be used again.

    What it is worth goes to breakage if the voucher has expired or was taken out of use
    meanwhile. A partner does so for 31 days; an operator (`partner` is `None`) at any time.
    Refused by the ledger when the partner's account holds less.
    """
    now = now or timezone.now()
    with transaction.atomic():
        found, voucher = _locked(redemption_id, partner)
        if found.state == State.REVERSED:
            return Outcome(found, is_replay=True)
        if found.state != State.CONFIRMED:
            raise moved_on(found)
        if partner is not None and found.made_at < now - REVERSIBLE:
            raise ReversalTooLate
        items = _reversal_of(found, voucher, now)
        _end(found, State.REVERSED, now)
        results = post_all(items, now=now)
        if found.transfer_id is not None:
            found.reversal_id = results[0].transfer_id
            found.save(update_fields=["reversal_id"])
        _told(found, actor, "reverse_redemption", reason)
    return Outcome(found)


def _reversal_of(found: Redemption, voucher: Voucher | None, now: datetime) -> list[Item]:
    """What goes back where; and the voucher is free again, if it can still be used."""
    items, use = reversal_of(found, voucher, now)
    if use is not None and voucher is not None:
        _mark(voucher, use)
    return items


def moved_on(found: Redemption) -> RedemptionMovedOn:
    """Say in which state it is instead."""
    return RedemptionMovedOn(state=State(found.state).name.lower())


def _locked(redemption_id: int, partner: Partner | None) -> tuple[Redemption, Voucher | None]:
    """Lock a redemption and its voucher, the voucher first, as everybody does."""
    mine = Redemption.objects.filter(pk=redemption_id)
    if partner is not None:
        mine = mine.filter(partner=partner)
    seen = mine.only("code_id").first()
    if seen is None:
        raise RedemptionUnknown
    voucher = lock_voucher(seen.code_id) if seen.code_id is not None else None
    found = Redemption.objects.with_story().select_for_update(no_key=True, of=("self",))
    return found.get(pk=redemption_id), voucher


def _end(redemption: Redemption, state: State, now: datetime) -> None:
    redemption.state = state
    redemption.ended_at = now
    redemption.save(update_fields=["state", "ended_at"])


def _told(redemption: Redemption, actor: User | None, deed: str, reason: str = "") -> None:
    """Write down who did it, and tell the platform's listeners. Last in the transaction."""
    story = {
        "redemption_id": str(redemption.pk),
        "partner": redemption.partner.code,
        "state": State(redemption.state).name.lower(),
        "value": redemption.value_minor,
    }
    audit.record(
        actor=actor,
        action=f"rewards.{deed}",
        object_type="redemption",
        object_id=redemption.pk,
        reason=reason,
        after=story,
    )
    series = redemption.series
    asset = series.face_value_asset.code if series.face_value_asset else None
    announce(f"redemption_{story['state']}", series.code, series=series.code, asset=asset, **story)
