"""What a waiting room tells: what people wait for, and where one of them stands."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Literal

import msgspec

from sequencer.waiting_room.page import words
from sequencer.waiting_room.rules import POLL_S, Phase, Room, Standing, expected_wait_s
from sequencer.waiting_room.tokens import Pass, Ticket, write_pass, write_ticket


class RoomAnswer(msgspec.Struct):
    """What people wait for, from when on, and how fast."""

    name: str
    title: str
    state: Literal["shut", "lobby", "running"]
    opens_at: str
    starts_at: str
    passes_per_minute: int


class StandingAnswer(msgspec.Struct):
    """Where one stands. Keep the newest `ticket`; with `pass` set, it is one's turn.

    `expected_wait_s` is a guess; ask again after `poll_after_s`. `position` counts from 1.
    """

    room: str
    state: Literal["lobby", "waiting", "passed"]
    ticket: str
    position: int | None
    people_waiting: int
    expected_wait_s: int
    starts_at: str
    poll_after_s: int
    held_pass: str | None = msgspec.field(name="pass")
    pass_until: int | None
    pass_expires_at: str | None


class StreamedStanding(StandingAnswer):
    """The same, with the two lines that the page shows."""

    big: str
    said: str


def room_answer(room: Room) -> RoomAnswer:
    """Describe a room."""
    return RoomAnswer(
        name=room.name,
        title=room.title,
        state=room.phase(time.time()).value,
        opens_at=moment(room.opens_at),
        starts_at=moment(room.starts_at),
        passes_per_minute=room.passes_per_minute,
    )


def standing_answer(room: Room, user_id: int, standing: Standing) -> StandingAnswer:
    """Tell a person where they stand, with a ticket of that place, and the pass if it is time."""
    now = time.time()
    is_running = room.phase(now) is Phase.RUNNING
    until = standing.pass_until
    return StandingAnswer(
        room=room.name,
        state="passed" if until else "waiting" if is_running else "lobby",
        ticket=write_ticket(Ticket(room.id, user_id, standing.score)),
        position=standing.ahead + 1 if is_running and not until else None,
        people_waiting=standing.waiting,
        expected_wait_s=0 if until else expected_wait_s(standing, room, now=now),
        starts_at=moment(room.starts_at),
        poll_after_s=POLL_S,
        held_pass=write_pass(Pass(room.id, user_id, until)) if until else None,
        pass_until=until or None,
        pass_expires_at=moment(until) if until else None,
    )


def streamed_standing(room: Room, user_id: int, standing: Standing) -> StreamedStanding:
    """Tell a person where they stand, in words too."""
    answer = standing_answer(room, user_id, standing)
    big, said = words(room, standing, now=time.time(), wait_s=answer.expected_wait_s)
    return StreamedStanding(**msgspec.structs.asdict(answer), big=big, said=said)


def moment(seconds: float) -> str:
    """A time of a room, as JSON says it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
