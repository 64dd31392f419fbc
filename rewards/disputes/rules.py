"""When a code may be disputed, what becomes of a dispute, and where its money goes. Pure.

    asked ──▶ contested ──▶ rejected          the issuer keeps the money
      │           └───────▶ refunded          the holder gets it
      ├──▶ refunded                           the issuer agrees, or says nothing in time
      └──▶ withdrawn                          the holder was wrong

Each code of a guaranteed series has `refund_minor` of its issuer's money behind it, from the
moment it is issued until nobody can dispute it any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum

MOST_OPEN = 3
"""Disputes of one person that may be open at a time."""
MOST_A_DAY = 5
MOST_REJECTED = 3
"""Who lost so many within `REJECTED_COUNT_FOR` disputes nothing for now."""
REJECTED_COUNT_FOR = timedelta(days=180)
DAY = timedelta(days=1)
LEAST_WINDOW_S, LONGEST_WINDOW_S = 60, 90 * 86_400
LEAST_ANSWER_S, LONGEST_ANSWER_S = 60, 30 * 86_400


class Cover(IntEnum):
    """Where the money behind one revealed code stands."""

    OPEN = 0
    DISPUTED = 1
    RELEASED = 2
    REFUNDED = 3


class State(IntEnum):
    """Where a dispute stands."""

    ASKED = 0
    CONTESTED = 1
    REFUNDED = 2
    REJECTED = 3
    WITHDRAWN = 4


class Step(StrEnum):
    """What somebody does about a dispute; `SILENCE` is the issuer's time running out."""

    ACCEPT = "accept"
    CONTEST = "contest"
    SILENCE = "silence"
    WITHDRAW = "withdraw"
    REFUND = "refund"
    REJECT = "reject"


NEXT: dict[tuple[State, Step], State] = {
    (State.ASKED, Step.ACCEPT): State.REFUNDED,
    (State.ASKED, Step.CONTEST): State.CONTESTED,
    (State.ASKED, Step.SILENCE): State.REFUNDED,
    (State.ASKED, Step.WITHDRAW): State.WITHDRAWN,
    (State.CONTESTED, Step.WITHDRAW): State.WITHDRAWN,
    (State.CONTESTED, Step.REFUND): State.REFUNDED,
    (State.CONTESTED, Step.REJECT): State.REJECTED,
}
"""What each step leads to; what is not here is refused."""


class Fault(StrEnum):
    """Why a code cannot be disputed; the values are stable, clients compare them."""

    NO_GUARANTEE = "no_guarantee"
    ALREADY_DISPUTED = "already_disputed"
    WINDOW_OVER = "claim_window_over"
    CODE_USED = "code_was_used"
    TOO_MANY_REJECTED = "disputes_suspended"
    TOO_MANY_OPEN = "too_many_open_disputes"
    TOO_MANY_TODAY = "too_many_disputes_today"


TITLES: dict[Fault, str] = {
    Fault.NO_GUARANTEE: "Nobody guarantees for codes of this series",
    Fault.ALREADY_DISPUTED: "This code was disputed before",
    Fault.WINDOW_OVER: "The time to dispute this code is over",
    Fault.CODE_USED: "This code was used, or is being used just now",
    Fault.TOO_MANY_REJECTED: "Your earlier disputes were rejected: ask our support",
    Fault.TOO_MANY_OPEN: f"At most {MOST_OPEN} disputes may be open at a time",
    Fault.TOO_MANY_TODAY: f"At most {MOST_A_DAY} disputes a day",
}


@dataclass(frozen=True, slots=True)
class Record:
    """A person's disputes so far: those open, those of the last day, those lost of late."""

    open: int = 0
    today: int = 0
    rejected: int = 0


def fault(
    cover: Cover | None,
    closes_at: datetime | None,
    now: datetime,
    *,
    is_code_free: bool,
    by: Record,
) -> Fault | None:
    """Say why a revealed code cannot be disputed now. Without a cover nobody guarantees for it."""
    if cover is None or closes_at is None:
        return Fault.NO_GUARANTEE
    if cover in (Cover.DISPUTED, Cover.REFUNDED):
        return Fault.ALREADY_DISPUTED
    if cover is Cover.RELEASED or closes_at <= now:
        return Fault.WINDOW_OVER
    if not is_code_free:
        return Fault.CODE_USED
    if by.rejected >= MOST_REJECTED:
        return Fault.TOO_MANY_REJECTED
    if by.open >= MOST_OPEN:
        return Fault.TOO_MANY_OPEN
    if by.today >= MOST_A_DAY:
        return Fault.TOO_MANY_TODAY
    return None


def after(state: State, step: Step) -> State | None:
    """Say where a step leads; `None`: it cannot be taken from here."""
    return NEXT.get((state, step))


def secured_minor(refund_minor: int, *, codes: int, covers: int) -> int:
    """Say what must lie with us: for each code not yet given, and each given and not settled."""
    return refund_minor * (codes + covers)
