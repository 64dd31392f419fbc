"""The gateway: turns requests into commands and answers, and keeps the door.

A request is checked from cheap to dear: address, room for it, key, scope, size, content,
rate. Only then does it become a command on its shard's stream. The gateway has no database
connection of its own and keeps no state that matters: any number of them may run.

Commands come in through `sequencer.http`, which calls `find`, `open`, `begin` and `abandon`
without a task or a message between. All else (health, pages, streams) is ordinary ASGI.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from itertools import count
from typing import Any, Protocol, cast
from urllib.parse import unquote

import msgspec

from edge import problems
from edge.problems import RateLimited, Refusal, ScopeMissing
from edge.rates import Buckets, Rate
from sequencer.admission import Admission, Priority
from sequencer.batches import lay_out, read_batch
from sequencer.commands import Answer, Command
from sequencer.exchange import JSON, Exchange
from sequencer.limits import AimdLimit
from sequencer.routes import (
    Authenticator,
    Draft,
    MethodNotAllowed,
    NotFound,
    Principal,
    Request,
    Route,
    RouteTable,
)
from sequencer.sender import CommandSender, OutcomeUnknown
from sequencer.turnstile import Turnstile

logger = logging.getLogger(__name__)

LINE_SWEEP_S = 0.02
EVERYBODY = Rate(per_s=200, burst=1_000)
"""What one key may ask of one gateway, unless the key has a rate of its own."""
HEALTH_PATH = "/healthz"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Pages = Callable[[Message, Receive, Send], Awaitable[None]]


class BatchExceedsBurst(Refusal):
    """The key's bucket never holds so many tokens at once."""

    code = "batch_exceeds_burst"
    title = "The batch is larger than the key may ever send at once"
    status = 422


class Guard(Protocol):
    """Who stands before some addresses beside the keys, as a waiting room does."""

    def check(self, exchange: Exchange, /) -> None:
        """Refuse whoever may not pass yet. Waits for nothing."""


def bulk_admission() -> Admission:
    """The door for batches, counted in commands: a few at a time, half a second of work."""
    limit = AimdLimit(initial=2_000, least=500, most=4_000, slow_s=0.5, step=100)
    return Admission(limit, shares={Priority.ORDER: 1.0}, most_within=8_000, longest_wait_s=1)


class Gateway:
    """What the HTTP server serves. `services` live as long as it does.

    `pages` are ASGI applications by the prefix of their addresses.
    """

    def __init__(
        self,
        *,
        routes: Iterable[Route],
        authenticator: Authenticator,
        sender: CommandSender,
        admission: Admission,
        bulk: Admission | None = None,
        rate: Rate = EVERYBODY,
        guard: Guard | None = None,
        pages: Mapping[str, Pages] | None = None,
        services: Iterable[AbstractAsyncContextManager[object]] = (),
    ) -> None:
        self._routes = RouteTable(routes)
        self._authenticator = authenticator
        self._sender = sender
        sender.on_answers = self._turn
        self._admission = admission
        self._bulk = bulk or bulk_admission()
        self._lanes = (self._admission, self._bulk)
        self._rate = rate
        self._buckets = Buckets()
        self._guard = guard
        self._pages = tuple((pages or {}).items())
        self._services = (*services, sender)
        self.turnstile = Turnstile(self._lanes, self._lane_of, self._find_target)
        self._numbers = count()
        self._turn_is_due = False
        self._sweep_is_due = False

    # -- a request for a command: what `sequencer.http` calls ------------------------------

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
        """Say which command a request asks for; None if it is one for the ASGI side."""
        try:
            return self._routes.find(method, path)
        except Refusal:
            return None

    def _find_target(self, method: bytes, target: bytes) -> Route | None:
        found = self.find(method.decode("latin-1"), split_target(target)[0])
        return found and found[0]

    def _lane_of(self, route: Route) -> Admission:
        return self._bulk if route.verbs else self._admission

    def open(self, exchange: Exchange) -> None:
        """The head has arrived: turn away at once whom nothing can help."""
        route = exchange.route
        exchange.lane = self._lane_of(route)
        if exchange.lane.is_full(route.priority):
            exchange.lane.refuse()
            exchange.turn_away()
            return
        try:
            exchange.principal = self._identify(exchange.headers, route)
            if int(exchange.headers.get(b"content-length", b"0")) > route.body_limit_bytes:
                raise too_large(route.body_limit_bytes)
        except Refusal as refusal:
            exchange.refuse(refusal)

    def begin(self, exchange: Exchange) -> None:
        """The whole request has arrived: make commands of it, and let it go or wait."""
        try:
            self._prepare(exchange)
            if not exchange.weight:
                self._answer_batch(exchange)
            elif exchange.lane.enter(exchange, now=time.monotonic()):
                self._start(exchange)
            elif not self._sweep_is_due:
                self._sweep_is_due = True
                asyncio.get_running_loop().call_later(LINE_SWEEP_S, self._sweep)
        except RateLimited as refusal:
            if refusal.retry_after_s is None:
                exchange.turn_away()
            else:
                exchange.refuse(refusal)
        except Refusal as refusal:
            exchange.refuse(refusal)
        except Exception:
            logger.exception("%s %s failed", exchange.route.method, exchange.path)
            exchange.refuse(server_error())

    def abandon(self, exchange: Exchange) -> None:
        """The client has left: what waits is dropped; what is on its way is done all the same."""
        if not exchange.is_answered and exchange.is_complete:
            exchange.lane.give_up(exchange)

    def _identify(self, headers: Mapping[bytes, bytes], route: Route) -> Principal:
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        principal = self._authenticator.grant_for(authorization)
        if route.scope not in principal.scopes:
            raise ScopeMissing(route.scope)
        return principal

    def _prepare(self, exchange: Exchange) -> None:
        """Make drafts of the request, one for each command. Raises a `Refusal`."""
        route = exchange.route
        if exchange.body:
            _check_content_type(exchange.headers)
        if self._guard is not None:
            self._guard.check(exchange)
        request = Request(
            id=f"{self._sender.gateway}{next(self._numbers) << 12:016x}",
            principal=exchange.principal,
            path_values=exchange.path_values,
            headers=exchange.headers,
            query=exchange.query,
            body=exchange.body,
        )
        if route.verbs is not None:
            exchange.drafts = read_batch(request, route.verbs)
            exchange.weight = sum(isinstance(draft, Draft) for draft in exchange.drafts)
        elif route.spread is not None:
            exchange.drafts = route.spread(request)
            exchange.weight = len(exchange.drafts)
        else:
            assert route.draft is not None
            exchange.drafts = (route.draft(request),)
        exchange.request_id = request.id
        exchange.body = b""
        self._check_rate(exchange)

    def _check_rate(self, exchange: Exchange) -> None:
        """Take the commands from the caller's bucket; cancellations have one of their own."""
        who = exchange.principal
        rate = who.rate or self._rate
        caller = (exchange.priority == Priority.CANCEL, who.key_id, who.user_id)
        now = time.monotonic()
        wait_s = self._buckets.take(caller, rate, count=exchange.weight, now=now)
        if wait_s == float("inf"):
            raise BatchExceedsBurst(burst=rate.burst)
        if wait_s:
            wait_s += random.uniform(0, max(1, wait_s))
            detail = f"This key may send {rate.per_s:g} commands a second, {rate.burst} at once."
            raise RateLimited(detail, retry_after_s=wait_s)

    # -- on its way ------------------------------------------------------------------------

    def _start(self, exchange: Exchange) -> None:
        """Send the commands of a request that has been let in."""
        drafts = exchange.drafts
        try:
            for shard in {draft.shard for draft in drafts if isinstance(draft, Draft)}:
                self._sender.check(shard)
        except Refusal as refusal:
            self._leave(exchange)
            exchange.refuse(refusal)
            return
        exchange.started_at = time.perf_counter()
        now_us = time.time_ns() // 1000
        deadline_us = now_us + int(self._sender.answer_timeout_s * 1_000_000)
        request_id = exchange.request_id
        if exchange.route.draft is not None:
            [draft] = drafts
            assert isinstance(draft, Draft)
            command = self._command(exchange, draft, request_id, now_us, deadline_us)
            heard = partial(self._heard, exchange)
            self._sender.submit(command, heard, is_repeatable=draft.is_repeatable)
            return
        exchange.missing = exchange.weight
        exchange.answers = cast("list[Answer | Refusal]", list(drafts))
        for index, draft in enumerate(drafts):
            if isinstance(draft, Draft):
                item_id = f"{request_id[:-3]}{index:03x}"
                command = self._command(exchange, draft, item_id, now_us, deadline_us)
                heard = partial(self._heard_one, exchange, index)
                self._sender.submit(command, heard, is_repeatable=draft.is_repeatable)

    def _command(
        self,
        exchange: Exchange,
        draft: Draft,
        command_id: str,
        now_us: int,
        deadline_us: int,
    ) -> Command:
        who = exchange.principal
        return Command(
            id=command_id,
            kind=draft.kind,
            user_id=who.user_id,
            key_id=who.key_id,
            shard=draft.shard,
            gateway=self._sender.gateway,
            sent_at_us=now_us,
            body=draft.body,
            deadline_us=deadline_us,
        )

    def _heard(self, exchange: Exchange, outcome: Answer | Refusal) -> None:
        """What became of the one command of a request."""
        self._note(exchange, outcome)
        exchange.tell(outcome)

    def _heard_one(self, exchange: Exchange, index: int, outcome: Answer | Refusal) -> None:
        """What became of one command of a batch; the last one answers the request."""
        exchange.answers[index] = outcome
        exchange.missing -= 1
        if not exchange.missing:
            self._note(exchange, outcome)
            self._answer_batch(exchange)

    def _answer_batch(self, exchange: Exchange) -> None:
        answers = exchange.answers or cast("list[Answer | Refusal]", exchange.drafts)
        if exchange.route.gather is not None:
            exchange.tell(exchange.route.gather(answers))
        else:
            exchange.answer(200, JSON, lay_out(answers))

    def _note(self, exchange: Exchange, outcome: Answer | Refusal) -> None:
        """Let the limit learn from how long it took, and give the room back."""
        if isinstance(outcome, Answer):
            exchange.lane.answered(time.perf_counter() - exchange.started_at)
        elif isinstance(outcome, OutcomeUnknown):
            exchange.lane.dropped()
        self._leave(exchange)

    def _leave(self, exchange: Exchange) -> None:
        exchange.lane.leave(exchange)
        if not self._turn_is_due:
            self._turn_is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """When answers came, or room was given back else: learn, and let the next ones go."""
        if not self._turn_is_due:
            return  # done already, when the answers had been passed on
        self._turn_is_due = False
        for lane in self._lanes:
            lane.learn()
            for place in lane.ready():
                self._start(cast(Exchange, place))

    def _sweep(self) -> None:
        """Turn away those who have waited too long in a line."""
        now = time.monotonic()
        self._sweep_is_due = False
        for lane in self._lanes:
            for place in lane.overdue(now):
                cast(Exchange, place).turn_away()
        if self._admission.waiting or self._bulk.waiting:
            self._sweep_is_due = True
            asyncio.get_running_loop().call_later(LINE_SWEEP_S, self._sweep)

    # -- all else ----------------------------------------------------------------------------

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        try:
            if path == HEALTH_PATH:
                await respond_json(send, self._health())
                return
            for prefix, pages in self._pages:
                if path.startswith(prefix):
                    await pages(scope, receive, send)
                    return
            self._routes.find(scope["method"], path)
            raise NotFound("Commands are served by sequencer.http.")
        except Refusal as refusal:
            await refuse(send, refusal)
        except Exception:
            logger.exception("%s %s failed", scope["method"], path)
            await refuse(send, server_error())

    def _health(self) -> bytes:
        """Alive is alive: whether Redis answers is said, but is not the gateway's health."""
        lane = self._admission
        return msgspec.json.encode(
            {
                "status": "ok",
                "redis": self._sender.is_connected,
                "in_flight": lane.in_flight + self._bulk.in_flight,
                "waiting": lane.waiting + self._bulk.waiting,
                "limit": lane.limit,
                "refused": lane.refused + self._bulk.refused,
            }
        )

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


def split_target(target: bytes) -> tuple[str, bytes]:
    """Split what a request asks for into the path that it names and its query."""
    path, _, query = target.partition(b"?")
    text = path.decode("latin-1")
    return (unquote(text) if "%" in text else text), query


def _check_content_type(headers: Mapping[bytes, bytes]) -> None:
    if headers.get(b"content-type") == b"application/json" and b"content-encoding" not in headers:
        return
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    coding = headers.get(b"content-encoding", b"identity").strip().lower()
    if media_type != b"application/json" or coding != b"identity":
        raise Refusal(
            "Send `Content-Type: application/json`, not compressed.",
            code="unsupported_media_type",
            title="The body is of a kind that is not accepted",
            status=415,
        )


def too_large(limit_bytes: int) -> Refusal:
    """The refusal of a body larger than its route takes."""
    title = "The request body is too large"
    return Refusal(code="body_too_large", title=title, status=413, limit_bytes=limit_bytes)


def server_error() -> Refusal:
    """The refusal that hides a fault of ours; the log has it."""
    return Refusal(code="server_error", title="Something failed", status=500)


async def refuse(send: Send, refusal: Refusal) -> None:
    """Answer an ASGI request with a problem."""
    start, body = problems.asgi_answer(refusal)
    if isinstance(refusal, MethodNotAllowed):
        start["headers"].append((b"allow", ", ".join(refusal.members["allow"]).encode()))
    await send(start)
    await send(body)


async def respond_json(send: Send, body: bytes, *, status: int = 200) -> None:
    """Answer an ASGI request with JSON."""
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
