"""One request for a command, from its head to its answer, and how the answer is written.

Commands take a short way through the gateway: no task, no ASGI messages, one write. What an
exchange needs of its connection is one call when its response is ready.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Protocol

from edge import problems
from edge.problems import Refusal
from sequencer.admission import Admission, Overloaded, Priority
from sequencer.commands import Answer
from sequencer.routes import Draft, Principal, Route

STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
NO_STORE = b"cache-control: no-store\r\n"
JSON = b"content-type: application/json\r\n" + NO_STORE
PROBLEM = b"content-type: application/problem+json\r\n" + NO_STORE
REPLAYED = b"idempotent-replayed: true\r\n"
CLOSE = b"connection: close\r\n"
CLOSING_STATUSES = frozenset({400, 408, 413, 431})
"""After these what is left of the body is not worth reading."""


class Connection(Protocol):
    """Whoever sends the response of an exchange, when those before it are sent."""

    def answered(self, exchange: Exchange, /) -> None: ...


class Exchange:
    """A request on the short way, with everything that is known of it so far."""

    __slots__ = (
        "answers", "body", "connection", "drafts", "headers", "is_complete", "keep_alive",
        "lane", "missing", "path", "path_values", "principal", "priority", "query",
        "request_id", "response", "route", "started_at", "weight",
    )  # fmt: skip

    principal: Principal
    lane: Admission

    def __init__(
        self,
        connection: Connection,
        route: Route,
        *,
        path: str,
        path_values: Mapping[str, str],
        headers: Mapping[bytes, bytes],
        query: bytes,
        keep_alive: bool,
    ) -> None:
        self.connection = connection
        self.route = route
        self.path = path
        self.path_values = path_values
        self.headers = headers
        self.query = query
        self.keep_alive = keep_alive
        self.priority: Priority = route.priority
        self.weight = 1
        self.request_id = ""
        self.body = b""
        self.is_complete = False  # the whole request has arrived
        self.response: bytes | None = None
        self.drafts: Sequence[Draft | Refusal] = ()
        self.answers: list[Answer | Refusal] = []
        self.missing = 0
        self.started_at = 0.0

    @property
    def is_answered(self) -> bool:
        return self.response is not None

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        """Write the response; nothing more may be said after it."""
        if self.response is not None:
            return
        if not self.keep_alive:
            headers += CLOSE
        self.response = b"%b%bcontent-length: %d\r\n\r\n%b" % (
            STATUS_LINES[status], headers, len(body), body,
        )  # fmt: skip
        self.connection.answered(self)

    def tell(self, outcome: Answer | Refusal) -> None:
        """Answer with what became of the one command."""
        if isinstance(outcome, Refusal):
            self.refuse(outcome)
        elif outcome.status < 400:
            self.answer(outcome.status, JSON + REPLAYED if outcome.replayed else JSON, outcome.body)
        else:
            headers = PROBLEM + REPLAYED if outcome.replayed else PROBLEM
            if outcome.status in {429, 503}:
                headers += b"retry-after: %d\r\n" % random.randint(1, 3)
            self.answer(outcome.status, headers, outcome.body)

    def refuse(self, refusal: Refusal) -> None:
        """Answer with a problem."""
        status, headers, body = written(refusal)
        if status in CLOSING_STATUSES and not self.is_complete:
            self.keep_alive = False
        self.answer(status, headers, body)

    def turn_away(self) -> None:
        """Answer 429, in the cheapest way there is: many of these may be due at once."""
        if self.keep_alive:
            self.response = random.choice(TURNED_AWAY)
            self.connection.answered(self)
        else:
            self.refuse(overloaded())


def written(refusal: Refusal) -> tuple[int, bytes, bytes]:
    """A refusal as status, header lines and body."""
    status, named, body = problems.answer(refusal)
    lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in named.items())
    return status, lines.encode(), body


def whole(refusal: Refusal, *, keep_alive: bool) -> bytes:
    """A refusal as a whole response."""
    status, headers, body = written(refusal)
    if not keep_alive:
        headers += CLOSE
    length = b"content-length: %d\r\n\r\n" % len(body)
    return STATUS_LINES[status] + headers + length + body


def overloaded(retry_after_s: float | None = None) -> Overloaded:
    """The refusal of whoever finds no place; without a time given, it is jittered."""
    wait_s = random.uniform(1, 4) if retry_after_s is None else retry_after_s
    return Overloaded("Nothing was done; try again.", retry_after_s=wait_s)


TURNED_AWAY = tuple(whole(overloaded(seconds), keep_alive=True) for seconds in (1, 2, 3, 4))
