"""A gateway over the tally, as `config/asgi.py` builds the real one.

Keys are "Bearer key-1" (may add), "Bearer reader" (may not); all else is unknown.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import msgspec
from django.conf import settings

from edge.database import database_conninfo
from edge.problems import Refusal
from edge.rates import Rate
from sequencer.admission import Admission, Priority
from sequencer.batches import BATCH_LIMIT_BYTES
from sequencer.gateway import Gateway
from sequencer.limits import AimdLimit, GradientLimit
from sequencer.routes import Draft, Request, Route, read_json
from sequencer.sender import RedisCommandSender
from sequencer.waiting_room.api import API, PAGE, WaitingRoomPages
from sequencer.waiting_room.directory import RoomDirectory
from sequencer.waiting_room.guard import RoomGuard
from sequencer.waiting_room.line import WaitingLines

SHARD = int(os.environ.get("TALLY_SHARD", "0"))


class Addition(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request: one client id."""

    client_id: str


ADDITION = msgspec.json.Decoder(Addition)


@dataclass(frozen=True)
class Holder:
    """Who holds a key."""

    user_id: int = 7
    key_id: int | None = 1
    scopes: frozenset[str] = field(default_factory=lambda: frozenset({"tally:write"}))
    rate: Rate | None = None


class TwoKeys:
    """Knows two keys."""

    def grant_for(self, authorization: str, /) -> Holder:
        if authorization == "Bearer key-1":
            return Holder()
        if authorization == "Bearer slow":
            return Holder(key_id=2, rate=Rate(0.1, 3))
        if authorization.startswith("Bearer person-"):
            number = int(authorization.removeprefix("Bearer person-"))
            return Holder(user_id=number, key_id=number)
        if authorization == "Bearer reader":
            return Holder(scopes=frozenset())
        raise Refusal(code="unauthenticated", status=401)


def add(request: Request) -> Draft:
    addition = read_json(request.body, ADDITION)
    return Draft("tally.add", SHARD, addition.client_id.encode())


def add_named(request: Request) -> Draft:
    return Draft("tally.add", SHARD, request.path_values["client_id"].encode())


def refuse(request: Request) -> Draft:
    raise Refusal(code="refused_here", status=422)


def broken(request: Request) -> Draft:
    raise KeyError("a bug in a route")


def limit() -> GradientLimit | AimdLimit:
    """A fixed limit if the test names one, else the one that learns."""
    fixed = int(os.environ.get("TALLY_LIMIT", "0"))
    return AimdLimit(initial=fixed, least=fixed, most=fixed) if fixed else GradientLimit()


directory = RoomDirectory(database_conninfo())
lines = WaitingLines(
    settings.REDIS_URL, grace_s=float(os.environ.get("TALLY_GRACE_S", "10")), presence_s=3
)
waiting = WaitingRoomPages(directory=directory, lines=lines, authenticator=TwoKeys())
application = Gateway(
    guard=RoomGuard(directory),
    pages={API: waiting, PAGE: waiting},
    services=[directory, lines],
    routes=[
        Route("POST", "/api/v1/tally", scope="tally:write", draft=add),
        Route(
            "DELETE",
            "/api/v1/tally/{client_id}",
            scope="tally:write",
            draft=add_named,
            priority=Priority.CANCEL,
        ),
        Route(
            "POST",
            "/api/v1/tally/batch",
            scope="tally:write",
            verbs={"add": add, "break": refuse},
            body_limit_bytes=BATCH_LIMIT_BYTES,
        ),
        Route("POST", "/api/v1/broken", scope="tally:write", draft=broken),
    ],
    authenticator=TwoKeys(),
    sender=RedisCommandSender(
        settings.REDIS_URL, answer_timeout_s=float(os.environ.get("TALLY_TIMEOUT_S", "5"))
    ),
    admission=Admission(
        limit(),
        shares={Priority.CANCEL: 0.25, Priority.ORDER: 0.5},
        most_within=int(os.environ.get("TALLY_WITHIN", "208")),
    ),
    rate=Rate(10_000, 10_000),
)
