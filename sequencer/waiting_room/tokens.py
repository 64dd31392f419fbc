"""Tickets and passes: what a person holds in their hand, signed, so that nobody must remember it.

A ticket says who waits and where they stand; it brings the place back when the room's memory
is lost. A pass says who may enter and until when. Both are bound to room and person, and
are checked with the site's key alone. Signing again gives the very same pass.
"""

from __future__ import annotations

from typing import NamedTuple

from django.core import signing

TICKET_SALT = "sequencer.waiting_room.ticket"
PASS_SALT = "sequencer.waiting_room.pass"  # noqa: S105  # a label, no secret
LONGEST = 300
MOST_REMEMBERED = 20_000
UNPLACED = -1.0


class Ticket(NamedTuple):
    """A place in a room's line; `score` is `UNPLACED` until the room has given one."""

    room_id: int
    user_id: int
    score: float


class Pass(NamedTuple):
    """The right to enter until a moment, in seconds since 1970."""

    room_id: int
    user_id: int
    until: int


def write_ticket(ticket: Ticket) -> str:
    """Sign a ticket."""
    return _sign(f"{ticket.room_id}.{ticket.user_id}.{ticket.score!r}", TICKET_SALT)


def read_ticket(text: str) -> Ticket | None:
    """Read a ticket; None if it is forged, spoilt or for something else."""
    if (said := _said(text, TICKET_SALT)) is None:
        return None
    room_id, user_id, score = said.split(".", 2)
    return Ticket(int(room_id), int(user_id), float(score))


def write_pass(held: Pass) -> str:
    """Sign a pass. The same pass is the same text each time."""
    return _sign(f"{held.room_id}.{held.user_id}.{held.until}", PASS_SALT)


def read_pass(text: str) -> Pass | None:
    """Read a pass; None if it is forged, spoilt or for something else. Says nothing of the time."""
    if (said := _said(text, PASS_SALT)) is None:
        return None
    return Pass(*map(int, said.split(".")))


class PassReader:
    """Reads passes and remembers those that were good: a person shows theirs many times."""

    def __init__(self) -> None:
        self._known: dict[str, Pass] = {}

    def read(self, text: str) -> Pass | None:
        """As `read_pass`, most times without computing a signature."""
        held = self._known.get(text)
        if held is None and (held := read_pass(text)) is not None:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[text] = held
        return held


def _sign(said: str, salt: str) -> str:
    return signing.Signer(salt=salt).sign(said)


def _said(text: str, salt: str) -> str | None:
    if len(text) > LONGEST:
        return None
    try:
        return signing.Signer(salt=salt).unsign(text)
    except signing.BadSignature:
        return None
