"""Whether a voucher can be used now, and what for. Pure.

`faults` lists every reason against it, the one to tell first at the head; `worth` says what
a use takes from the voucher. The same rules serve a dry run and the real thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum

LONGEST_RESERVATION = timedelta(hours=24)
BPS = 10_000


class Kind(StrEnum):
    """What a voucher is good for."""

    PERCENTAGE = "percentage"
    AMOUNT = "amount"
    ITEM = "item"
    GIFT = "gift"
    TICKET = "ticket"


class Use(IntEnum):
    """Where a voucher stands once its code has gone out."""

    FREE = 0
    RESERVED = 1
    USED = 2
    DEACTIVATED = 3
    EXPIRED = 4


class State(IntEnum):
    """Where a redemption stands. Only `RESERVED` can still be confirmed."""

    RESERVED = 0
    CONFIRMED = 1
    ROLLED_BACK = 2
    LAPSED = 3
    REVERSED = 4


class Reason(StrEnum):
    """Why a voucher cannot be used; the values are stable, clients compare them."""

    CODE_NOT_GIVEN = "code_not_given"
    DEACTIVATED = "voucher_deactivated"
    ALREADY_USED = "voucher_used"
    NOT_YET_VALID = "voucher_not_yet_valid"
    EXPIRED = "voucher_expired"
    RESERVED = "voucher_reserved"
    USED_UP = "voucher_used_up"
    CUSTOMER_MISSING = "customer_missing"
    ANOTHERS = "voucher_of_another"
    PERSON_LIMIT = "person_limit_reached"
    ORDER_MISSING = "order_missing"
    AMOUNT_MISSING = "amount_missing"
    AMOUNT_NOT_TAKEN = "amount_not_taken"
    BALANCE_TOO_SMALL = "balance_too_small"


TITLES: dict[Reason, str] = {
    Reason.CODE_NOT_GIVEN: "The code has not been given to anybody yet",
    Reason.DEACTIVATED: "The voucher was taken out of use",
    Reason.ALREADY_USED: "The voucher has been used",
    Reason.NOT_YET_VALID: "The voucher is not valid yet",
    Reason.EXPIRED: "The voucher has expired",
    Reason.RESERVED: "The voucher is reserved by another purchase",
    Reason.USED_UP: "The code has been used as often as it may be",
    Reason.CUSTOMER_MISSING: "The voucher is personal: say whose it is",
    Reason.ANOTHERS: "The voucher belongs to somebody else",
    Reason.PERSON_LIMIT: "This person has used the code as often as one may",
    Reason.ORDER_MISSING: "A percentage needs the amount of the order",
    Reason.AMOUNT_MISSING: "Say how much of the balance is to be spent",
    Reason.AMOUNT_NOT_TAKEN: "Only a gift balance is spent by amount",
    Reason.BALANCE_TOO_SMALL: "The voucher has less left than that",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A voucher as it stands. `balance_minor` is what a gift balance has to spend."""

    kind: Kind
    is_given: bool = True
    use: Use = Use.FREE
    reserved_until: datetime | None = None
    face_minor: int | None = None
    discount_bps: int | None = None
    valid_from: datetime | None = None
    expires_at: datetime
    is_personal: bool = False
    owner_id: int | None = None
    balance_minor: int = 0
    uses_left: int | None = None
    person_limit: int | None = None
    person_uses: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a partner wants: to spend an amount, on an order, for a customer; now."""

    now: datetime
    amount_minor: int | None = None
    order_minor: int | None = None
    customer_id: int | None = None


def faults(facts: Facts, ask: Ask) -> list[Reason]:
    """Say everything that stands against it, the weightiest first; nothing: it can be used."""
    return [*_state_faults(facts, ask.now), *_person_faults(facts, ask), *_ask_faults(facts, ask)]


def _state_faults(facts: Facts, now: datetime) -> list[Reason]:
    found = []
    if not facts.is_given:
        found.append(Reason.CODE_NOT_GIVEN)
    if facts.use is Use.DEACTIVATED:
        found.append(Reason.DEACTIVATED)
    if facts.use is Use.USED:
        found.append(Reason.ALREADY_USED)
    if facts.valid_from is not None and facts.valid_from > now:
        found.append(Reason.NOT_YET_VALID)
    if facts.use is Use.EXPIRED or facts.expires_at <= now:
        found.append(Reason.EXPIRED)
    if is_reserved(facts.use, facts.reserved_until, now):
        found.append(Reason.RESERVED)
    if facts.uses_left is not None and facts.uses_left < 1:
        found.append(Reason.USED_UP)
    return found


def is_reserved(use: Use, reserved_until: datetime | None, now: datetime) -> bool:
    """Say whether a reservation stands in the way; one that has lapsed does not."""
    return use is Use.RESERVED and reserved_until is not None and reserved_until > now


def _person_faults(facts: Facts, ask: Ask) -> list[Reason]:
    found = []
    needs_person = facts.is_personal or facts.person_limit is not None
    if needs_person and ask.customer_id is None:
        found.append(Reason.CUSTOMER_MISSING)
    elif facts.is_personal and ask.customer_id != facts.owner_id:
        found.append(Reason.ANOTHERS)
    elif facts.person_limit is not None and facts.person_uses >= facts.person_limit:
        found.append(Reason.PERSON_LIMIT)
    return found


def _ask_faults(facts: Facts, ask: Ask) -> list[Reason]:
    if facts.kind is Kind.PERCENTAGE and ask.order_minor is None:
        return [Reason.ORDER_MISSING]
    if facts.kind is not Kind.GIFT:
        return [] if ask.amount_minor is None else [Reason.AMOUNT_NOT_TAKEN]
    if ask.amount_minor is None and ask.order_minor is None:
        return [Reason.AMOUNT_MISSING]
    if ask.amount_minor is None:
        return [] if facts.balance_minor else [Reason.BALANCE_TOO_SMALL]
    return [Reason.BALANCE_TOO_SMALL] if ask.amount_minor > facts.balance_minor else []


def worth(facts: Facts, ask: Ask) -> int:
    """Say what the use is worth to the partner, in minor units; 0 where no value is named.

    A gift balance gives the amount asked for, or as much of the order as it has; a percentage
    gives its part of the order, rounded down, up to its face value; the others give their
    face value, and never more than the order.
    """
    order = ask.order_minor
    if facts.kind is Kind.GIFT:
        if ask.amount_minor is not None:
            return ask.amount_minor
        assert order is not None
        return min(order, facts.balance_minor)
    if facts.kind is Kind.PERCENTAGE:
        assert order is not None and facts.discount_bps is not None
        part = order * facts.discount_bps // BPS
        return part if facts.face_minor is None else min(part, facts.face_minor)
    face = facts.face_minor or 0
    return face if order is None else min(face, order)
