"""uvicorn's HTTP protocol with what it leaves out: limits on how slow and how large a head is.

Without them a client that sends one byte of a header now and then holds a connection for
ever, and one that never ends its headers fills the memory.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from edge.problems import Refusal, answer

HEAD_TIMEOUT_S = 10.0
LARGEST_HEAD_BYTES = 16 * 1024
MOST_CONNECTIONS = 10_000


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
            self._loop.call_soon(self._flush)
        self._parts.append(part)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        if self._parts:
            self._transport.write(b"".join(self._parts))
            self._parts.clear()


class StrictHttp(HttpToolsProtocol):
    """One client's connection."""

    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _is_in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = JoinedWrites(transport, self.loop)  # type: ignore[assignment]
        self._arm()
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._is_in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > LARGEST_HEAD_BYTES:
            self._refuse(
                Refusal(code="headers_too_large", title="The headers are too large", status=431)
            )
        elif self._deadline is None:
            self._arm()

    def on_message_begin(self) -> None:
        self._is_in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._disarm()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(
            Refusal(msg, code="bad_request", title="The request is not valid HTTP", status=400)
        )

    def _refuse(self, refusal: Refusal) -> None:
        status, headers, body = answer(refusal)
        headers |= {"Content-Length": str(len(body)), "Connection": "close"}
        lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[status] + lines.encode() + b"\r\n" + body)
        self.transport.close()

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def serve(application: str, **options: Any) -> None:
    """Serve an ASGI application ("config.asgi:application") until told to stop."""
    import uvicorn

    uvicorn.run(
        application,
        http=StrictHttp,
        loop="uvloop",
        ws="none",
        lifespan="on",
        interface="asgi3",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=8,
        backlog=4096,
        **options,
    )
