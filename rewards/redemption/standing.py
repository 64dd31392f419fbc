"""What is true of a voucher right now: read for a dry run, or locked for the real thing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from django.db import connection
from django.db.models import QuerySet

from rewards.models import GenericCode, Redemption, Reveal, Voucher, VoucherCode
from rewards.redemption import money
from rewards.redemption.lookup import Found
from rewards.redemption.rules import Ask, Facts, Kind, State, Use, is_reserved

TOUCH = """
INSERT INTO rewards_voucher (code_id, use) VALUES (%s, 0) ON CONFLICT (code_id) DO NOTHING
"""
# Uses of a generic code by one person are counted by one of their requests at a time.
ONE_PERSON = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


@dataclass(slots=True)
class Standing:
    """A voucher as it stands, with the rows that are locked; `lapsed` stand in the way no more."""

    found: Found
    facts: Facts
    voucher: Voucher | None = None
    lapsed: list[Redemption] = field(default_factory=list)


def read(found: Found, ask: Ask) -> Standing:
    """Look, without a lock: for a dry run."""
    if found.generic is not None:
        return _of_generic(found, found.generic, ask, _lapsed_uses(found.generic, ask))
    assert found.code is not None
    voucher = Voucher.objects.filter(code=found.code.pk).first()
    return _of_code(found, found.code, voucher, ask)


def locked(found: Found, ask: Ask) -> Standing:
    """Look, and let nobody else change it until the transaction ends.

    Locks the voucher's row; for a generic code with a limit for each person, that person's
    uses of it. The ledger counts the rest.
    """
    if found.generic is not None:
        if found.generic.person_limit is not None and ask.customer_id is not None:
            lock_person(found.generic.pk, ask.customer_id)
        due = _lapsed_uses(found.generic, ask).select_for_update(skip_locked=True, no_key=True)
        return _of_generic(found, found.generic, ask, due)
    assert found.code is not None
    if found.code.state != VoucherCode.State.REVEALED:
        return _of_code(found, found.code, None, ask)
    voucher = lock_voucher(found.code.pk)
    # Whoever had the lock may have changed until when it is valid.
    found.code.refresh_from_db(fields=["expires_at"])
    return _of_code(found, found.code, voucher, ask)


def lock_voucher(code_id: int) -> Voucher:
    """Lock what became of a code, making its row at the first touch."""
    with connection.cursor() as cursor:
        cursor.execute(TOUCH, [code_id])
    return Voucher.objects.select_for_update(no_key=True).get(pk=code_id)


def lock_person(generic_id: int, customer_id: int) -> None:
    """Let one request of a person use a generic code at a time."""
    with connection.cursor() as cursor:
        cursor.execute(ONE_PERSON, [f"generic:{generic_id}:{customer_id}"])


def _of_code(found: Found, code: VoucherCode, voucher: Voucher | None, ask: Ask) -> Standing:
    series = found.series
    lapsed = list(
        Redemption.objects.filter(code=code, state=State.RESERVED, reserved_until__lte=ask.now)
        if voucher is not None
        else ()
    )
    use = _use_of(code, voucher)
    if use is Use.RESERVED and voucher is not None:
        if not is_reserved(use, voucher.reserved_until, ask.now):
            use = Use.FREE
    facts = Facts(
        kind=Kind(series.kind),
        is_given=code.state != VoucherCode.State.AVAILABLE,
        use=use,
        reserved_until=voucher.reserved_until if voucher else None,
        face_minor=series.face_value_minor,
        discount_bps=series.discount_bps,
        valid_from=series.valid_from,
        expires_at=code.expires_at,
        is_personal=series.is_personal,
        owner_id=_owner_of(code),
        balance_minor=_gift_left(found, voucher, lapsed),
    )
    return Standing(found, facts, voucher, lapsed)


def _use_of(code: VoucherCode, voucher: Voucher | None) -> Use:
    if code.state == VoucherCode.State.DEACTIVATED:
        return Use.DEACTIVATED
    return Use(voucher.use) if voucher else Use.FREE


def _owner_of(code: VoucherCode) -> int | None:
    reveal = Reveal.objects.filter(code=code.pk).first()
    return reveal.owner_id if reveal else None


def _gift_left(found: Found, voucher: Voucher | None, lapsed: list[Redemption]) -> int:
    """The balance, with what lapsed reservations hold that the ledger has not given back yet."""
    if found.series.kind != Kind.GIFT:
        return 0
    if voucher is None or voucher.account_id is None:
        return found.series.face_value_minor or 0
    return money.available_without(voucher.account_id, _holds_of(lapsed))


def _holds_of(lapsed: list[Redemption]) -> list[int]:
    return [each.hold_id for each in lapsed if each.hold_id is not None]


def _lapsed_uses(generic: GenericCode, ask: Ask) -> QuerySet[Redemption]:
    """Reservations of a generic code whose time is over."""
    due = Redemption.objects.filter(state=State.RESERVED, reserved_until__lte=ask.now)
    return due.filter(generic=generic).order_by("pk")


def _of_generic(
    found: Found, generic: GenericCode, ask: Ask, due: QuerySet[Redemption]
) -> Standing:
    series = found.series
    uses = Redemption.objects.counting().filter(generic=generic, customer_id=ask.customer_id)
    mine = 0
    if generic.person_limit is not None and ask.customer_id is not None:
        mine = uses.exclude(state=State.RESERVED, reserved_until__lte=ask.now).count()
    account_id = money.uses_of(generic).left
    # When none is left, one that lapsed is as good: it makes way for this one.
    lapsed = list(due[:1]) if money.available(account_id) < 1 else []
    facts = Facts(
        kind=Kind(series.kind),
        use=Use.FREE if generic.is_active else Use.DEACTIVATED,
        face_minor=series.face_value_minor,
        discount_bps=series.discount_bps,
        valid_from=series.valid_from,
        expires_at=generic.expires_at,
        uses_left=money.available_without(account_id, _holds_of(lapsed)),
        person_limit=generic.person_limit,
        person_uses=mine,
    )
    return Standing(found, facts, lapsed=lapsed)


def ask_at(now: datetime, amount: int | None, order: int | None, customer_id: int | None) -> Ask:
    """Spell what is asked for, for the rules."""
    return Ask(now=now, amount_minor=amount, order_minor=order, customer_id=customer_id)
