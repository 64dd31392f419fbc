"""The least that a gateway can serve: a command that becomes one row, and its row's number.

What it costs is what the transport costs: HTTP, the stream, one commit a batch, the answer.

    python -m bench.echo writer
    python -m bench.echo gateway PORT
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import django
import msgspec
from django.conf import settings
from django.db import connection

from edge.postgres import copy_rows, raw_cursor
from edge.rates import Rate
from sequencer import http
from sequencer.admission import Admission
from sequencer.commands import Answer, Command
from sequencer.engine import Timeless
from sequencer.gateway import Gateway
from sequencer.limits import GradientLimit
from sequencer.routes import Draft, Request, Route, read_json
from sequencer.sender import RedisCommandSender

TABLE = "CREATE TABLE IF NOT EXISTS bench_echo (number bigint NOT NULL, command_id text NOT NULL)"
COPY = "COPY bench_echo (number, command_id) FROM STDIN WITH (FORMAT binary)"
SHARD = 4000
UNLIMITED = Rate(1_000_000, 1_000_000)


class EchoEngine(Timeless):
    """Numbers the commands and keeps each as a row. Knows no replays: for measuring only."""

    prefixes: tuple[str, ...] = ("echo.",)

    def __init__(self, shard: int) -> None:
        self._number = 0
        self._before = 0

    def load(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(max(number), 0) FROM bench_echo")
            self._number = self._before = cursor.fetchone()[0]

    def execute(self, commands: Sequence[Command], /) -> list[Answer]:
        answers, rows = [], []
        for command in commands:
            self._number += 1
            rows.append(
                b"\x00\x02\x00\x00\x00\x08%b\x00\x00\x00\x20%b"
                % (self._number.to_bytes(8, "big"), command.id.encode())
            )
            answers.append(Answer(command.id, 201, b'{"order_id":"%d"}' % self._number))
        with raw_cursor() as cursor:
            copy_rows(cursor, COPY, rows)
        return answers

    def committed(self) -> None:
        self._before = self._number

    def rolled_back(self) -> None:
        self._number = self._before


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """A body of the size and shape of a small order."""

    client_order_id: str
    side: str
    price: int
    quantity: int


ORDER = msgspec.json.Decoder(Order)


@dataclass(frozen=True)
class Anybody:
    """Whoever asks may."""

    user_id: int = 1
    key_id: int | None = 1
    scopes: frozenset[str] = frozenset({"orders:write"})
    rate: Rate = UNLIMITED


ANYBODY = Anybody()


class OpenDoor:
    """Lets everyone in, at no cost: the keyring is measured by itself."""

    def grant_for(self, authorization: str, /) -> Anybody:
        return ANYBODY


def place(request: Request) -> Draft:
    order = read_json(request.body, ORDER)
    return Draft("echo.place", SHARD, msgspec.msgpack.encode(order))


def gateway() -> Gateway:
    """A gateway with one route and no keys."""
    pattern = "/api/v1/markets/{market}/orders"
    return Gateway(
        routes=[Route("POST", pattern, scope="orders:write", draft=place)],
        authenticator=OpenDoor(),
        sender=RedisCommandSender(settings.REDIS_URL),
        admission=Admission(GradientLimit()),
    )


def write() -> None:
    """Be the writer until told to stop."""
    django.setup()
    from sequencer.session import Session
    from sequencer.stream import RedisCommandStream
    from sequencer.writer import Writer

    writer = Writer(
        stream=RedisCommandStream(settings.REDIS_URL, SHARD),
        engine=EchoEngine(SHARD),
        session=Session(SHARD),
    )
    signal.signal(signal.SIGTERM, lambda *_: writer.stop())
    writer.run()


if __name__ == "__main__":
    if sys.argv[1] == "writer":
        write()
    else:
        port = int(sys.argv[2])
        http.serve("bench.echo:gateway", host="127.0.0.1", port=port, factory=True)
