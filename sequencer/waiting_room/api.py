"""The waiting room's addresses at the gateway: tickets, a stream, and the page for people.

    GET       /api/v1/waiting-rooms/{name}/          what people wait for
    GET POST  /api/v1/waiting-rooms/{name}/ticket/   take a ticket, or ask where one stands
    GET       /api/v1/waiting-rooms/{name}/stream/   the same, as it changes (server-sent events)
    GET       /waiting/{name}/                       the page

A program shows its key, a browser the ticket in its cookie. No body is read.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Mapping

import msgspec

from edge.problems import RateLimited, Refusal, Unavailable
from edge.rates import Buckets, Rate
from sequencer.gateway import Message, Receive, Send, respond_json
from sequencer.routes import Authenticator, MethodNotAllowed, NotFound
from sequencer.waiting_room import page
from sequencer.waiting_room.answers import (
    StreamedStanding,
    moment,
    room_answer,
    standing_answer,
    streamed_standing,
)
from sequencer.waiting_room.directory import RoomDirectory, UnknownRoom
from sequencer.waiting_room.guard import cookie, is_good, pass_cookie, shown_pass
from sequencer.waiting_room.line import WaitingLines
from sequencer.waiting_room.rules import (
    STREAM_S,
    Phase,
    Room,
    Standing,
)
from sequencer.waiting_room.tokens import (
    UNPLACED,
    Ticket,
    read_pass,
    read_ticket,
)

API = "/api/v1/waiting-rooms/"
PAGE = "/waiting/"
TICKET_HEADER = b"x-waiting-room-ticket"
ASKING = Rate(per_s=2, burst=30)
"""How often one person may ask, in all tabs and programs together."""
MOST_STREAMS = 5_000
STREAMS_A_PERSON = 4
HEARTBEAT_S = 15.0
LONGEST_STREAM_S = 900.0
_NAME = "([a-zA-Z0-9_-]{1,60})/"
_ADDRESS = re.compile(rf"(?:{API}{_NAME}(ticket/|stream/)?|{PAGE}{_NAME})\Z")
_METHODS = {"": ("GET",), "ticket/": ("GET", "POST"), "stream/": ("GET",), "page": ("GET", "HEAD")}


class RoomShut(Refusal):
    """The room gives no tickets yet."""

    code = "waiting_room_shut"
    title = "The waiting room is not open yet"
    status = 409


class TicketNotYours(Refusal):
    """The ticket is forged, spoilt, for another room or another person."""

    code = "ticket_not_yours"
    title = "This ticket is not yours"
    status = 403


class TooManyStreams(Refusal):
    """The person follows the line from enough places, or the gateway has no room for more."""

    code = "too_many_streams"
    title = "Too many streams are open"
    status = 429


class WaitingRoomPages:
    """An ASGI application for `Gateway(pages=…)`."""

    def __init__(
        self,
        *,
        directory: RoomDirectory,
        lines: WaitingLines,
        authenticator: Authenticator,
        has_secure_cookies: bool = False,
    ) -> None:
        self._directory = directory
        self._lines = lines
        self._authenticator = authenticator
        self._cookie_end = "; Path=/; HttpOnly; SameSite=Lax" + (
            "; Secure" if has_secure_cookies else ""
        )
        self._streams: Counter[int] = Counter()
        self._buckets = Buckets()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        match = _ADDRESS.match(scope["path"])
        if match is None:
            raise NotFound
        what = "page" if match[3] else match[2] or ""
        if scope["method"] not in _METHODS[what]:
            raise MethodNotAllowed(allow=list(_METHODS[what]))
        headers = dict(scope["headers"])
        if what == "page":
            await self._page(match[3], headers, send)
            return
        room = self._directory.find(match[1])
        if what == "":
            await respond_json(send, msgspec.json.encode(room_answer(room)))
            return
        ticket = self._ticket(room, headers)
        if what == "stream/":
            await self._stream(room, ticket, receive, send)
        else:
            self._check_rate(ticket.user_id)
            standing = await self._standing(room, ticket)
            answer = standing_answer(room, ticket.user_id, standing)
            await respond_json(send, msgspec.json.encode(answer))

    # -- who asks --------------------------------------------------------------------------

    def _ticket(self, room: Room, headers: Mapping[bytes, bytes]) -> Ticket:
        """The asker's ticket; a key without one gets a fresh one. Refuses another's."""
        if room.phase(time.time()) is Phase.SHUT:
            raise RoomShut(starts_at=moment(room.starts_at), opens_at=moment(room.opens_at))
        authorization = headers.get(b"authorization")
        if authorization is None and (shown := _cookie_ticket(room, headers)):
            return shown
        who = self._authenticator.grant_for((authorization or b"").decode("latin-1"))
        text = headers.get(TICKET_HEADER)
        if text is None:
            return Ticket(room.id, who.user_id, UNPLACED)
        ticket = read_ticket(text.decode("latin-1"))
        if ticket is None or (ticket.room_id, ticket.user_id) != (room.id, who.user_id):
            raise TicketNotYours
        return ticket

    async def _standing(self, room: Room, ticket: Ticket) -> Standing:
        return await self._lines.standing(room, ticket.user_id, claimed=ticket.score)

    def _check_rate(self, user_id: int) -> None:
        """Refuse who asks far more often than they are told to."""
        wait_s = self._buckets.take(user_id, ASKING, count=1, now=time.monotonic())
        if wait_s:
            raise RateLimited("Ask every few seconds.", retry_after_s=wait_s + random.uniform(0, 3))

    async def _streamed(self, room: Room, ticket: Ticket) -> StreamedStanding:
        return streamed_standing(room, ticket.user_id, await self._standing(room, ticket))

    # -- the stream ------------------------------------------------------------------------

    async def _stream(self, room: Room, ticket: Ticket, receive: Receive, send: Send) -> None:
        """Tell where a person stands whenever that changes; ends with their pass."""
        who = ticket.user_id
        if self._streams.total() >= MOST_STREAMS or self._streams[who] >= STREAMS_A_PERSON:
            raise TooManyStreams(retry_after_s=random.uniform(5, 15))
        self._streams[who] += 1
        gone = asyncio.create_task(_gone(receive))
        try:
            headers = [
                (b"content-type", b"text/event-stream"),
                (b"cache-control", b"no-store"),
                (b"x-accel-buffering", b"no"),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._tell(room, ticket, gone, send)
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            self._streams[who] -= 1
            if not self._streams[who]:
                del self._streams[who]

    async def _tell(self, room: Room, ticket: Ticket, gone: asyncio.Task[None], send: Send) -> None:
        until = time.monotonic() + LONGEST_STREAM_S * random.uniform(0.8, 1)
        told, told_at = b"", 0.0
        while not gone.done() and time.monotonic() < until:
            try:
                room = self._directory.find(room.name)
                said = await self._streamed(room, ticket)
                ticket = ticket._replace(score=_score(said.ticket))
            except UnknownRoom:
                return
            except Unavailable:
                said = None
            line = b"event: standing\ndata: " + msgspec.json.encode(said) + b"\n\n"
            if said is None or line == told:
                line = b": still here\n\n" if time.monotonic() - told_at > HEARTBEAT_S else b""
            else:
                told = line
            if line:
                told_at = time.monotonic()
                await send({"type": "http.response.body", "body": line, "more_body": True})
            if said is not None and said.held_pass:
                return
            await asyncio.wait({gone}, timeout=STREAM_S * random.uniform(0.8, 1.2))

    # -- the page --------------------------------------------------------------------------

    async def _page(self, name: str, headers: Mapping[bytes, bytes], send: Send) -> None:
        cookies: list[str] = []
        status = 200
        try:
            room = self._directory.find(name)
            ticket = _cookie_ticket(room, headers)
            held = read_pass(shown_pass(headers, name)) if ticket else None
            if held and is_good(
                held, room_id=room.id, user_id=ticket.user_id if ticket else 0, now=time.time()
            ):
                body = page.page_for_passed(room, held.until)
            elif ticket is None or room.phase(time.time()) is Phase.SHUT:
                body = page.page_for_newcomer(room, now=time.time())
            else:
                body, cookies = await self._page_of(room, ticket)
        except UnknownRoom:
            body, status = page.page_for_nothing(), 404
        except (Unavailable, RateLimited) as refusal:
            body, status = page.page_for_trouble(), refusal.status
        sent = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"content-security-policy", page.POLICY.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
            (b"content-length", b"%d" % len(body)),
            *((b"set-cookie", each.encode()) for each in cookies),
        ]
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": body})

    async def _page_of(self, room: Room, ticket: Ticket) -> tuple[bytes, list[str]]:
        """The page of somebody who has a ticket, and the cookies that keep place and pass."""
        self._check_rate(ticket.user_id)
        said = await self._streamed(room, ticket)
        cookies = [f"scrip_ticket_{room.name}={said.ticket}{self._cookie_end}"]
        until = said.pass_until
        if until is None:
            return page.page_for_waiting(room, said.big, said.said, state=said.state), cookies
        name = pass_cookie(room.name).decode()
        age = max(1, until - int(time.time()))
        cookies.append(f"{name}={said.held_pass}; Max-Age={age}{self._cookie_end}")
        return page.page_for_passed(room, until), cookies


async def _gone(receive: Receive) -> None:
    """End when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def ticket_cookie(name: str) -> bytes:
    """Name the cookie that holds a room's ticket."""
    return b"scrip_ticket_" + name.encode()


def _cookie_ticket(room: Room, headers: Mapping[bytes, bytes]) -> Ticket | None:
    ticket = read_ticket(cookie(headers, ticket_cookie(room.name)).decode("latin-1"))
    return ticket if ticket is not None and ticket.room_id == room.id else None


def _score(ticket: str) -> float:
    read = read_ticket(ticket)
    assert read is not None
    return read.score
