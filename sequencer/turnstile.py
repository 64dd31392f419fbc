"""Turns a crowd away at the door, without parsing each request: a microsecond or two each.

When a line is full, what matters about a request is where it goes and where it ends. A crowd
asks the same again and again, so the parser reads a head once, and what it says is remembered
for a while. Answered here is a chunk that is exactly one request with such a head; any other
takes the usual way to the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from sequencer.admission import Admission
from sequencer.exchange import TURNED_AWAY
from sequencer.routes import Route

HEADS_REMEMBERED = 4_000
LONGEST_HEAD_BYTES = 1_000
"""Longer ones take the usual way, so that what is remembered has a limit."""

FindRoute = Callable[[bytes, bytes], Route | None]


class _Head(NamedTuple):
    """What a head says: where its request goes, and how long it is with its body."""

    lane: Admission
    route: Route
    request_bytes: int


class Turnstile:
    """Answers whoever can be told at once that there is no room.

    `find` names the route of a method and a target, None if commands have nothing there.
    """

    def __init__(
        self, lanes: Sequence[Admission], lane_of: Callable[[Route], Admission], find: FindRoute
    ) -> None:
        self._lanes = tuple(lanes)
        self._lane_of = lane_of
        self._find = find
        self._heads: dict[bytes, _Head | None] = {}

    def refusal_for(self, chunk: bytes) -> bytes | None:
        """The whole response to a whole request that finds no place; None if it may find one."""
        for lane in self._lanes:
            if lane.waiting:
                break
        else:
            return None
        head_end = chunk.find(b"\r\n\r\n", 0, LONGEST_HEAD_BYTES)
        if head_end < 0:
            return None
        head = chunk[: head_end + 4]
        known = self._heads.get(head) or self._learn(head)
        if known is None:
            return None
        lane, route, request_bytes = known
        if len(chunk) != request_bytes or not lane.is_full(route.priority):
            return None
        lane.refuse()
        # In turn, so that the crowd comes back spread evenly.
        return TURNED_AWAY[lane.refused % len(TURNED_AWAY)]

    def _learn(self, head: bytes) -> _Head | None:
        if head in self._heads:
            return None
        if len(self._heads) >= HEADS_REMEMBERED:
            self._heads.clear()
        reading = _Reading(head)
        route = self._find(reading.method, reading.target) if reading.is_plain else None
        known = None
        if route is not None:
            known = _Head(self._lane_of(route), route, len(head) + reading.body_bytes)
        self._heads[head] = known
        return known


class _Reading:
    """A head as the parser reads it."""

    def __init__(self, head: bytes) -> None:
        self.method = self.target = b""
        self.body_bytes = 0
        self.is_plain = False
        """It is one head, and asks for neither a farewell nor anything beyond an answer."""
        self._heads = 0
        self._is_expecting = False
        self._parser = HttpRequestParser(self)
        try:
            self._parser.feed_data(head)
        except (HttpParserError, HttpParserUpgrade):
            self.is_plain = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        lowered = name.lower()
        if lowered == b"content-length":
            self.body_bytes = int(value)
        elif lowered in {b"expect", b"transfer-encoding"}:
            self._is_expecting = True

    def on_headers_complete(self) -> None:
        self._heads += 1
        self.method = self._parser.get_method()
        self.is_plain = (
            self._heads == 1
            and not self._is_expecting
            and self._parser.should_keep_alive()
            and not self._parser.should_upgrade()
        )
