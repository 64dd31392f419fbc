"""A gateway over the tally, as `config/asgi.py` builds the real one.

Keys are "Bearer key-1" (may add), "Bearer reader" (may not); all else is unknown.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import msgspec
from django.conf import settings

from edge.problems import Refusal
from sequencer.admission import Admission
from sequencer.gateway import Gateway
from sequencer.routes import Draft, Request, Route, read_json
from sequencer.sender import RedisCommandSender

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


class TwoKeys:
    """Knows two keys."""

    def grant_for(self, authorization: str, /) -> Holder:
        if authorization == "Bearer key-1":
            return Holder()
        if authorization == "Bearer reader":
            return Holder(scopes=frozenset())
        raise Refusal(code="unauthenticated", status=401)


def add(request: Request) -> Draft:
    addition = read_json(request.body, ADDITION)
    return Draft("tally.add", SHARD, addition.client_id.encode())


def add_named(request: Request) -> Draft:
    return Draft("tally.add", SHARD, request.path_values["client_id"].encode())


def broken(request: Request) -> Draft:
    raise KeyError("a bug in a route")


application = Gateway(
    routes=[
        Route("POST", "/api/v1/tally", scope="tally:write", draft=add),
        Route("DELETE", "/api/v1/tally/{client_id}", scope="tally:write", draft=add_named),
        Route("POST", "/api/v1/broken", scope="tally:write", draft=broken),
    ],
    authenticator=TwoKeys(),
    sender=RedisCommandSender(
        settings.REDIS_URL, answer_timeout_s=float(os.environ.get("TALLY_TIMEOUT_S", "5"))
    ),
    admission=Admission(int(os.environ.get("TALLY_LIMIT", "2000"))),
)
