"""The gateway's side door: what a room guards is for those who show its pass.

Checked without Redis and without waiting, so it holds when everything else is down.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from edge.problems import Refusal, Unavailable
from sequencer.admission import Priority
from sequencer.exchange import Exchange
from sequencer.waiting_room.directory import RoomDirectory
from sequencer.waiting_room.rules import Phase, Room
from sequencer.waiting_room.tokens import LONGEST, Pass, PassReader

PASS_HEADER = b"x-waiting-room-pass"
LONGEST_COOKIES = 8_000


class PassRequired(Refusal):
    """The place is guarded by a waiting room, and the asker shows no pass of their own for it."""

    code = "waiting_room_pass_required"
    title = "Wait your turn: this needs a pass"
    status = 403


class RoomGuard:
    """Lets through who may pass; cancellations pass always, for they only set money free."""

    def __init__(self, directory: RoomDirectory) -> None:
        self._directory = directory
        self._passes = PassReader()

    def check(self, exchange: Exchange, /) -> None:
        """Refuse a request that a room guards and that shows no good pass."""
        if exchange.priority == Priority.CANCEL:
            return
        if not self._directory.guarding:
            if not self._directory.is_known:
                raise Unavailable("The waiting rooms are not known yet.")
            return
        now = time.time()
        for room in self._directory.guarding:
            if _guards(room, exchange) and room.phase(now) is not Phase.SHUT:
                self._require_pass(room, exchange, now)

    def _require_pass(self, room: Room, exchange: Exchange, now: float) -> None:
        text = shown_pass(exchange.headers, room.name)
        held = self._passes.read(text) if text else None
        if not is_good(held, room_id=room.id, user_id=exchange.principal.user_id, now=now):
            raise pass_required(room.name)


def pass_required(name: str) -> PassRequired:
    """The refusal of whoever shows no good pass for the room of this name."""
    return PassRequired(
        "Take a ticket and wait for your pass.",
        room=name,
        ticket_url=f"/api/v1/waiting-rooms/{name}/ticket/",
        page_url=f"/waiting/{name}/",
    )


def is_good(held: Pass | None, *, room_id: int, user_id: int, now: float) -> bool:
    """Say whether a pass opens this room to this person now."""
    return (
        held is not None
        and (held.room_id, held.user_id) == (room_id, user_id)
        and (now < held.until)
    )


def shown_pass(headers: Mapping[bytes, bytes], name: str) -> str:
    """Find the pass in the header for programs, or in the browser's cookie."""
    text = headers.get(PASS_HEADER)
    if text is None:
        text = cookie(headers, pass_cookie(name))
    return text[:LONGEST].decode("latin-1")


def pass_cookie(name: str) -> bytes:
    """Name the cookie that holds a room's pass."""
    return b"scrip_pass_" + name.encode()


def cookie(headers: Mapping[bytes, bytes], name: bytes) -> bytes:
    """Find a cookie's value; empty if there is none."""
    for part in headers.get(b"cookie", b"")[:LONGEST_COOKIES].split(b";"):
        found, _, value = part.strip().partition(b"=")
        if found == name:
            return value
    return b""


def _guards(room: Room, exchange: Exchange) -> bool:
    if room.market and exchange.path_values.get("market") == room.market:
        return True
    return bool(room.path_prefix) and exchange.path.startswith(room.path_prefix)
