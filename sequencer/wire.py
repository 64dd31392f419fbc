"""One asyncio connection to Redis: requests out, replies back in order, messages aside.

A general client costs about 100 µs a call on the event loop that serves the traders;
this one costs about 10, because it does only what the gateway needs. It speaks RESP3, so
one connection both appends commands and hears answers, and both end together.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis.asyncio.connection import SSLConnection, parse_url

CONNECT_TIMEOUT_S = 2.0

Argument = str | bytes | int


class WireLost(ConnectionError):
    """The connection ended before the reply came: the request may or may not have been done."""


class Wire(asyncio.Protocol):
    """A connection that is made once and not again: whoever owns it makes the next one.

    `on_message` gets each published (channel, message); `on_lost` is called once, after
    every open request has failed with `WireLost`.
    """

    def __init__(
        self, *, on_message: Callable[[bytes, bytes], None], on_lost: Callable[[], None]
    ) -> None:
        self._on_message = on_message
        self._on_lost = on_lost
        self._reader = hiredis.Reader()
        self._replies: deque[asyncio.Future[Any]] = deque()
        self._transport: asyncio.Transport | None = None

    def request(self, *arguments: Argument) -> asyncio.Future[Any]:
        """Send one request; the future ends with its reply.

        It fails with `hiredis.ReplyError` when Redis refuses, and with `WireLost`.
        """
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._transport is None or self._transport.is_closing():
            reply.set_exception(WireLost("not connected"))
            return reply
        self._transport.write(hiredis.pack_command(cast(Any, arguments)))
        self._replies.append(reply)
        return reply

    def close(self) -> None:
        """End the connection now; `on_lost` follows."""
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio calls these -----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, chunk: bytes) -> None:
        try:
            self._reader.feed(chunk)
            # `False` says that what has arrived holds no further whole reply.
            while (reply := self._reader.gets()) is not False:
                self._take(reply)
        except hiredis.ProtocolError:
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        while self._replies:
            reply = self._replies.popleft()
            if not reply.done():
                reply.set_exception(WireLost(str(error or "closed")))
        self._on_lost()

    def _take(self, reply: Any) -> None:
        if isinstance(reply, hiredis.PushNotification):
            if reply[0] == b"message":
                self._on_message(reply[1], reply[2])
            elif self._replies and reply[0] == b"subscribe":
                self._finish(reply)
            return
        self._finish(reply)

    def _finish(self, reply: Any) -> None:
        future = self._replies.popleft()
        if future.done():
            return
        if isinstance(reply, hiredis.ReplyError):
            future.set_exception(reply)
        else:
            future.set_result(reply)


async def connect(
    url: str,
    *,
    channel: str,
    on_message: Callable[[bytes, bytes], None],
    on_lost: Callable[[], None],
) -> Wire:
    """Connect, sign in, choose the database and subscribe to one channel.

    Raises OSError or TimeoutError when Redis does not answer, `hiredis.ReplyError` when it
    refuses. `on_lost` is called only for a connection that was fully made.
    """
    options = cast("dict[str, Any]", parse_url(url))
    is_ready = False
    wire = Wire(on_message=on_message, on_lost=lambda: on_lost() if is_ready else None)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await _open(wire, options)
            await _greet(wire, options, channel)
    except BaseException:
        wire.close()
        raise
    is_ready = True
    return wire


async def _open(wire: Wire, options: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    if path := options.get("path"):
        await loop.create_unix_connection(lambda: wire, path)
        return
    is_tls = options.get("connection_class") is SSLConnection
    host, port = options.get("host", "localhost"), options.get("port", 6379)
    context = ssl.create_default_context() if is_tls else None
    await loop.create_connection(lambda: wire, host, port, ssl=context)


async def _greet(wire: Wire, options: dict[str, Any], channel: str) -> None:
    hello: list[Argument] = ["HELLO", 3]
    if password := options.get("password"):
        hello += ["AUTH", options.get("username") or "default", password]
    await wire.request(*hello)
    await wire.request("SELECT", int(options.get("db", 0)))
    await wire.request("SUBSCRIBE", channel)
