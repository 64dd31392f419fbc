"""One client's connection: uvicorn's HTTP protocol with a short way for commands, and limits.

A command takes the short way: parsed by the same parser, it goes to the gateway and its answer
goes out without a task, an event or an ASGI message between. That is most of what uvicorn
costs, and what makes a refusal cheap enough for a crowd. All else is uvicorn's as ever.

uvicorn has no limit on how slow or how large a request may be, or how slowly an answer is
read. Here every state of a connection has a time limit, looked after by one sweep for all.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from edge.problems import Refusal
from sequencer.exchange import Exchange, whole
from sequencer.gateway import Gateway, split_target, too_large

logger = logging.getLogger(__name__)

HEAD_TIMEOUT_S = 10.0
"""From the first byte of a head to its last, and from a connection's start to its first byte."""
BODY_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 10.0
"""How long a client may leave answers unread once our buffer is full."""
KEEP_ALIVE_S = 75.0
LINGER_S = 2.0
"""How long we go on reading from a client that was refused, so that it can read why."""
LARGEST_HEAD_BYTES = 16 * 1024
MOST_CONNECTIONS = 10_000
MOST_PIPELINED = 64
"""Commands of one connection whose answers are open, before we stop reading from it."""
MOST_BUFFERED_BYTES = 64 * 1024 * 1024
"""Bodies that are arriving, of all connections together."""
SWEEP_S = 0.25
NEVER = float("inf")


class JoinedWrites:
    """A transport that sends what is written in one turn of the event loop as one packet.

    uvicorn writes head and body apart: two system calls for us and two for the client.
    """

    __slots__ = ("_loop", "_parts", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def write(self, part: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(part)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def flush(self) -> None:
        """Send what was written so far now: something else goes out on the same socket."""
        if self._parts:
            self._transport.write(b"".join(self._parts))
            self._parts.clear()


class GatewayHttp(HttpToolsProtocol):
    """One client's connection."""

    _sweeper: ClassVar[asyncio.TimerHandle | None] = None
    _buffered_bytes: ClassVar[int] = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._door: Gateway | None = self.app if isinstance(self.app, Gateway) else None
        self._turnstile = None if self._door is None else self._door.turnstile
        self._exchanges: deque[Exchange] = deque()  # not yet answered, oldest first
        self._current: Exchange | None = None  # its body is arriving
        self._parts: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._is_in_head = False
        self._is_ending = False  # nothing that still comes is looked at
        self._has_left = False
        self._is_paused = False
        self._deadline = NEVER

    # -- asyncio calls these ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._socket = transport
        self._pages = JoinedWrites(transport, self.loop)
        self.transport = self._pages  # type: ignore[assignment]
        self._deadline = self.loop.time() + HEAD_TIMEOUT_S
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        if GatewayHttp._sweeper is None:
            GatewayHttp._sweeper = self.loop.call_later(
                SWEEP_S, _sweep, self.loop, self.connections
            )

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_body()
        if self._door is not None:
            for exchange in self._exchanges:
                self._door.abandon(exchange)
        self._exchanges.clear()
        self._is_ending = True
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """The client sends no more. It may still read what it asked for."""
        self._is_ending = self._has_left = True
        is_cut_short = self._is_in_head or self._current is not None
        return bool(self._exchanges) and not is_cut_short

    def data_received(self, data: bytes) -> None:
        if self._is_ending:
            return
        if self._turnstile is not None and self._is_idle():
            refusal = self._turnstile.refusal_for(data)
            if refusal is not None:
                self._socket.write(refusal)
                self._rest()
                return
        super().data_received(data)
        if self._is_in_head and not self._is_ending:
            # What a callback has not seen yet counts as well: a header without an end.
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD_BYTES:
                self._end_with(headers_too_large())

    def pause_writing(self) -> None:
        super().pause_writing()
        self._deadline = self.loop.time() + READ_TIMEOUT_S
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._deadline = NEVER
        self.flow.resume_reading()
        self._rest()

    # -- the parser calls these ------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._is_in_head = True
        self._head_bytes = 0
        self._deadline = self.loop.time() + HEAD_TIMEOUT_S
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if self._is_ending:
            return
        if self._head_bytes > LARGEST_HEAD_BYTES:
            self._end_with(headers_too_large())
            return
        path, query = split_target(self.url)
        found = None
        if self._door is not None:
            found = self._door.find(self.parser.get_method().decode("latin-1"), path)
        if found is None:
            self._take_the_long_way()
            return
        if self._is_serving():
            # A command behind a page on one connection: it is not looked at, and the
            # connection ends after the page, so that its sender knows.
            self.cycle.keep_alive = False
            self._is_ending = True
            return
        route, path_values = found
        self._open(
            Exchange(
                self,
                route,
                path=path,
                path_values=path_values,
                headers=dict(self.headers),
                query=query,
                keep_alive=self.parser.should_keep_alive() and not self.parser.should_upgrade(),
            )
        )

    def on_body(self, body: bytes) -> None:
        exchange = self._current
        if exchange is None:
            if not self._is_ending:
                super().on_body(body)
            return
        self._body_bytes += len(body)
        if self._body_bytes > exchange.route.body_limit_bytes:
            exchange.refuse(too_large(exchange.route.body_limit_bytes))
            self._linger()
        elif not exchange.is_answered:
            self._parts.append(body)
            GatewayHttp._buffered_bytes += len(body)

    def on_message_complete(self) -> None:
        exchange = self._current
        if exchange is None:
            if not self._is_ending:
                super().on_message_complete()
            return
        self._current = None
        exchange.is_complete = True
        self._deadline = NEVER
        if exchange.is_answered:
            self._forget_body()
            self._rest()
            return
        exchange.body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._forget_body()
        assert self._door is not None
        self._door.begin(exchange)

    def send_400_response(self, msg: str) -> None:
        if self._exchanges:
            # The requests before this one get their answers; then the connection ends.
            self._exchanges[-1].keep_alive = False
            self._is_ending = True
        else:
            title = "The request is not valid HTTP"
            self._end_with(Refusal(msg, code="bad_request", title=title, status=400))

    # -- the short way -----------------------------------------------------------------------

    def _open(self, exchange: Exchange) -> None:
        self._exchanges.append(exchange)
        self._current = exchange
        self._deadline = self.loop.time() + BODY_TIMEOUT_S
        if len(self._exchanges) >= MOST_PIPELINED and not self._is_paused:
            self._is_paused = True
            self.flow.pause_reading()
        assert self._door is not None
        if GatewayHttp._buffered_bytes > MOST_BUFFERED_BYTES:
            exchange.turn_away()
            return
        self._door.open(exchange)
        if b"expect" not in exchange.headers:
            return
        if exchange.is_answered:
            # Whether the body still comes is the client's to say: nothing after it is sure.
            self._linger()
        else:
            self._socket.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def answered(self, exchange: Exchange) -> None:
        """Send the answers that are ready and have none open before them."""
        if self._socket.is_closing():
            return
        out = []
        is_last = False
        while self._exchanges and not is_last and self._exchanges[0].response is not None:
            first = self._exchanges.popleft()
            assert first.response is not None
            out.append(first.response)
            is_last = not first.keep_alive
        if not out:
            return
        self._pages.flush()
        self._socket.write(out[0] if len(out) == 1 else b"".join(out))
        if is_last or (self._is_ending and not self._exchanges):
            self._linger()
            return
        if self._is_paused and len(self._exchanges) < MOST_PIPELINED // 2:
            self._is_paused = False
            self.flow.resume_reading()
        self._rest()

    def _is_idle(self) -> bool:
        """Nothing is under way, and what comes next begins a request."""
        return not (
            self._is_in_head
            or self._exchanges
            or self._current is not None
            or self.timeout_keep_alive_task is not None
            or self._is_serving()
        )

    def _is_serving(self) -> bool:
        """A page is being served, the long way."""
        return self.cycle is not None and not self.cycle.response_complete

    def _rest(self) -> None:
        """With nothing under way, wait for the next request for a while."""
        if not self._exchanges and self._current is None and not self._is_in_head:
            self._deadline = self.loop.time() + KEEP_ALIVE_S

    def _forget_body(self) -> None:
        if self._parts:
            GatewayHttp._buffered_bytes -= sum(map(len, self._parts))
            self._parts = []
        self._body_bytes = 0

    # -- the end -----------------------------------------------------------------------------

    def _end_with(self, refusal: Refusal) -> None:
        # Behind open commands nothing is said: the client would take it for the first one's answer.
        if not self._exchanges:
            self._pages.flush()
            self._socket.write(whole(refusal, keep_alive=False))
        self._linger()

    def _linger(self) -> None:
        """Say that nothing more comes, and read on for a moment.

        Closing at once while the client still sends would reset the connection, and the
        client would never read its answer.
        """
        self._is_ending = True
        self._current = None
        self._forget_body()
        if self._exchanges:
            # Commands are still open: they are answered first, and the last comes back here.
            self._exchanges[-1].keep_alive = False
            self._deadline = NEVER
            return
        if self._socket.is_closing():
            return
        self._deadline = self.loop.time() + LINGER_S
        if self._has_left or not self._socket.can_write_eof():
            self._socket.close()
        else:
            self._socket.write_eof()

    def is_overdue(self, now: float) -> bool:
        """Say whether a time limit has passed; a page that is being served has none."""
        if now < self._deadline:
            return False
        return not self._is_serving() or self._is_ending or self.flow.write_paused

    def expire(self) -> None:
        """End a connection that took too long."""
        if self._current is not None and not self._current.is_answered and not self._is_ending:
            detail = f"The body did not arrive within {BODY_TIMEOUT_S:.0f} s."
            title = "The request took too long to arrive"
            self._current.refuse(Refusal(detail, code="request_timeout", title=title, status=408))
        elif self.flow.write_paused:
            self._socket.abort()
        else:
            self._socket.close()

    def shutdown(self) -> None:
        """The server stops: answer what is open, take nothing more."""
        if self._exchanges:
            self._exchanges[-1].keep_alive = False
            return
        super().shutdown()
        if self.cycle is not None and self.cycle.response_started:
            # A stream would never end by itself; who follows it connects to another gateway.
            self._socket.close()

    # -- the long way ------------------------------------------------------------------------

    def _take_the_long_way(self) -> None:
        """Give the request to uvicorn; behind open commands it is not looked at."""
        if self._exchanges:
            self._exchanges[-1].keep_alive = False
            self._is_ending = True
            return
        self._deadline = NEVER
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url, self.headers = url, headers
        self.scope["headers"] = headers
        self.expect_100_continue = (b"expect", b"100-continue") in headers
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._rest()


def _sweep(loop: asyncio.AbstractEventLoop, connections: set[Any]) -> None:
    """End the connections whose time has run out."""
    now = loop.time()
    for connection in cast("list[GatewayHttp]", list(connections)):
        if connection.is_overdue(now):
            connection.expire()
    GatewayHttp._sweeper = loop.call_later(SWEEP_S, _sweep, loop, connections)


def headers_too_large() -> Refusal:
    """The refusal of a head beyond all measure."""
    return Refusal(code="headers_too_large", title="The headers are too large", status=431)


def serve(application: str, **options: Any) -> None:
    """Serve a gateway ("config.asgi:application") until told to stop."""
    import uvicorn

    uvicorn.run(
        application,
        http=GatewayHttp,
        loop="uvloop",
        ws="none",
        lifespan="on",
        interface="asgi3",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=int(KEEP_ALIVE_S),
        timeout_graceful_shutdown=8,
        backlog=4096,
        **options,
    )
