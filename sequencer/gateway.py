"""The gateway: a raw ASGI application that turns requests into commands and answers.

A request is checked from cheap to dear: address, key, scope, room for it, size, content.
Only then does it become a command on its shard's stream. The gateway has no database
connection and keeps no state that matters: any number of them may run.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from itertools import count
from typing import Any

import msgspec

from edge import problems
from edge.problems import Refusal
from sequencer.admission import Admission
from sequencer.commands import Answer, Command
from sequencer.routes import (
    Authenticator,
    Draft,
    MethodNotAllowed,
    Principal,
    Request,
    Route,
    RouteTable,
    malformed,
)
from sequencer.sender import CommandSender

logger = logging.getLogger(__name__)

BODY_TIMEOUT_S = 10.0

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

NO_STORE = (b"cache-control", b"no-store")
JSON: Headers = [(b"content-type", b"application/json"), NO_STORE]
PROBLEM: Headers = [(b"content-type", problems.PROBLEM_JSON.encode()), NO_STORE]
REPLAYED = (b"idempotent-replayed", b"true")
HEALTH_PATH = "/healthz"


class ScopeMissing(Refusal):
    """The key was not made for this."""

    code = "scope_missing"
    title = "The API key lacks a scope"
    status = 403


class Disconnected(Exception):
    """The client left before its request was whole: nobody is there to answer."""


class Gateway:
    """The ASGI application. `services` live as long as it does."""

    def __init__(
        self,
        *,
        routes: Iterable[Route],
        authenticator: Authenticator,
        sender: CommandSender,
        admission: Admission,
        services: Iterable[AbstractAsyncContextManager[object]] = (),
    ) -> None:
        self._routes = RouteTable(routes)
        self._authenticator = authenticator
        self._sender = sender
        self._admission = admission
        self._services = (*services, sender)
        self._numbers = count()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    # -- one request ---------------------------------------------------------------------

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            if scope["path"] == HEALTH_PATH:
                await _respond(send, 200, JSON, self._health())
                return
            answer = await self._answer(scope, receive)
        except Disconnected:
            return
        except Refusal as refusal:
            await _refuse(send, refusal)
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            await _refuse(send, Refusal(code="server_error", title="Something failed", status=500))
        else:
            await _respond(send, answer.status, _headers(answer), answer.body)

    async def _answer(self, scope: Message, receive: Receive) -> Answer:
        """Check the request, make it a command, and wait for what becomes of it."""
        route, path_values = self._routes.find(method=scope["method"], path=scope["path"])
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        principal = self._identify(headers, route)
        self._admission.enter()
        try:
            body = await _read_body(receive, headers, route.body_limit_bytes)
            request = Request(
                id=f"{self._sender.gateway}{next(self._numbers):016x}",
                principal=principal,
                path_values=path_values,
                headers=headers,
                query=scope["query_string"],
                body=body,
            )
            return await self._sender.send(self._command(request, route.draft(request)))
        finally:
            self._admission.leave()

    def _identify(self, headers: Mapping[bytes, bytes], route: Route) -> Principal:
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        principal = self._authenticator.grant_for(authorization)
        if route.scope not in principal.scopes:
            raise ScopeMissing(f"This needs the scope {route.scope}.", scope=route.scope)
        return principal

    def _command(self, request: Request, draft: Draft) -> Command:
        return Command(
            id=request.id,
            kind=draft.kind,
            user_id=request.principal.user_id,
            key_id=request.principal.key_id,
            shard=draft.shard,
            gateway=self._sender.gateway,
            sent_at_us=time.time_ns() // 1000,
            body=draft.body,
        )

    def _health(self) -> bytes:
        """Alive is alive: whether Redis answers is said, but is not the gateway's health."""
        return msgspec.json.encode(
            {
                "status": "ok",
                "redis": self._sender.is_connected,
                "in_flight": self._admission.in_flight,
            }
        )

    # -- the process -----------------------------------------------------------------------

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with AsyncExitStack() as stack:
            for service in self._services:
                await stack.enter_async_context(service)
            # What is here now stays: keep the collector from walking it again and again.
            gc.collect()
            gc.freeze()
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


# -- reading ---------------------------------------------------------------------------------


async def _read_body(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """Read the body, refusing what is too large, too slow or of another content type."""
    declared = headers.get(b"content-length", b"0")
    if not declared.isdigit() or len(declared) > 18:
        raise malformed("Content-Length is not a number.")
    if int(declared) > limit:
        raise _too_large(limit)
    message = await receive()
    body = _part(message)
    if message.get("more_body"):
        body = await _read_rest(receive, body, limit)
    if len(body) > limit:
        raise _too_large(limit)
    if body:
        _check_content_type(headers)
    return body


async def _read_rest(receive: Receive, first: bytes, limit: int) -> bytes:
    parts, size = [first], len(first)
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while size <= limit:
                message = await receive()
                parts.append(_part(message))
                size += len(parts[-1])
                if not message.get("more_body"):
                    break
    except TimeoutError:
        detail = f"The body did not arrive within {BODY_TIMEOUT_S:.0f} s."
        title = "The request took too long to arrive"
        raise Refusal(detail, code="request_timeout", title=title, status=408) from None
    return b"".join(parts)


def _part(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise Disconnected
    body: bytes = message.get("body", b"")
    return body


def _check_content_type(headers: Mapping[bytes, bytes]) -> None:
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    coding = headers.get(b"content-encoding", b"identity").strip().lower()
    if media_type != b"application/json" or coding != b"identity":
        raise Refusal(
            "Send `Content-Type: application/json`, not compressed.",
            code="unsupported_media_type",
            title="The body is of a kind that is not accepted",
            status=415,
        )


def _too_large(limit: int) -> Refusal:
    title = "The request body is too large"
    return Refusal(code="body_too_large", title=title, status=413, limit_bytes=limit)


# -- writing ---------------------------------------------------------------------------------


def _headers(answer: Answer) -> Headers:
    if answer.status < 400:
        return [*JSON, REPLAYED] if answer.replayed else JSON
    if answer.status in {429, 503}:
        return [*PROBLEM, (b"retry-after", b"%d" % random.randint(1, 3))]
    return [*PROBLEM, REPLAYED] if answer.replayed else PROBLEM


async def _refuse(send: Send, refusal: Refusal) -> None:
    status, named, body = problems.answer(refusal)
    headers = [(name.lower().encode(), value.encode()) for name, value in named.items()]
    if isinstance(refusal, MethodNotAllowed):
        headers.append((b"allow", ", ".join(refusal.members["allow"]).encode()))
    if status in {408, 413}:
        # What is left of the body is not worth reading.
        headers.append((b"connection", b"close"))
    await _respond(send, status, headers, body)


async def _respond(send: Send, status: int, headers: Headers, body: bytes) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
