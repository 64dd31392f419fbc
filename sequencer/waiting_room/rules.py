"""The rules of a waiting room: who stands where, who may pass, how long it takes. Pure."""

from __future__ import annotations

import hashlib
import hmac
import math
from dataclasses import dataclass
from enum import StrEnum

PRESENT_S = 25
"""Who was not heard of for so long has left, and gets the old place back when they return."""
REFRESH_S = 8
"""How often a page without scripts asks again; well below `PRESENT_S`."""
POLL_S = 4
STREAM_S = 2
GRACE_S = 10
"""After its memory was wiped a room lets nobody pass for so long: long enough for everybody
who waits to have shown their ticket again."""
BURST_S = 10
"""Passes that nobody took are kept for so long: those in front may take a moment to ask."""


class Phase(StrEnum):
    """What a room does just now."""

    SHUT = "shut"
    """Not open yet, or closed: it neither gives tickets nor guards."""
    LOBBY = "lobby"
    """Tickets are given; nobody passes; the order will be drawn."""
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Room:
    """A waiting room's terms. Times are seconds since 1970."""

    id: int
    name: str
    title: str
    opens_at: float
    starts_at: float
    passes_per_minute: int
    pass_life_s: int
    market: str
    path_prefix: str
    seed: str

    def phase(self, now: float) -> Phase:
        """What the room does now; a closed room is no `Room` any more."""
        if now < self.opens_at:
            return Phase.SHUT
        return Phase.LOBBY if now < self.starts_at else Phase.RUNNING


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one person stands: with a pass until `pass_until`, or behind `ahead` others."""

    score: float
    pass_until: int = 0
    ahead: int = 0
    waiting: int = 0


def draw(seed: str, user_id: int) -> float:
    """A person's lot, from 0 to below 1: even, the same each time, and not to be guessed.

    So leaving and coming back, or asking from many places at once, draws no second lot, and a
    room that lost its memory draws the same order again.
    """
    digest = hmac.digest(seed.encode(), b"%d" % user_id, hashlib.sha256)
    return int.from_bytes(digest[:6], "big") / (1 << 48)


def expected_wait_s(standing: Standing, room: Room, *, now: float) -> int:
    """How long until this person may pass, if nobody ahead of them leaves."""
    until_start = max(0.0, room.starts_at - now)
    ahead = standing.waiting / 2 if now < room.starts_at else standing.ahead
    return math.ceil(until_start + ahead * 60 / room.passes_per_minute)


def said_wait(seconds: int) -> str:
    """A wait as people say it."""
    if seconds < 20:
        return "a few seconds"
    if seconds < 90:
        return "about a minute"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} minutes"
    return f"about {round(seconds / 3600)} hours"
