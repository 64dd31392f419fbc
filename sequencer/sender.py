"""The gateway's side of the transport: commands go to their shard's stream, answers come back.

All commands of one turn of the event loop travel in one stream entry, and while an entry
is on its way the next ones gather, so the busier the gateway the fewer the entries. A
command that went out stays pending until its answer comes. When the connection is made
anew, and once more after a while without an answer, what is pending is sent again: every
command is idempotent, so sending twice is harmless and losing one is not.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, Self

import hiredis

from edge.problems import Refusal, Unavailable
from sequencer import wire
from sequencer.commands import (
    COMMANDS_PER_ENTRY,
    LARGEST_BODY_BYTES,
    Answer,
    Command,
    Garbled,
    decode_answers,
    encode_command,
    join,
)
from sequencer.stream import FIELD, answers_channel, stream_key

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 5.0
RESEND_AFTER_S = 2.0
"""Longer than any queue of a healthy writer, so that a resend means loss, not load."""
SWEEP_S = 0.1
BACKLOG_ENTRIES = 5_000
"""A stream longer than this has a writer that does not keep up: nothing more goes in."""
RECONNECT_FIRST_S = 0.05
RECONNECT_MOST_S = 1.0
CONNECT_POLLS = 20
CONNECT_POLL_S = 0.05
STOP_TIMEOUT_S = 6.0
STOP_POLL_S = 0.02
ENTRY_BYTES = LARGEST_BODY_BYTES


class OutcomeUnknown(Refusal):
    """No answer came in time. The command may still be done: ask again with the same client id."""

    code = "outcome_unknown"
    title = "The outcome is not known yet"
    status = 503


class BacklogFull(Refusal):
    """The shard's writer is behind: the command was not accepted and is not done."""

    code = "backlog_full"
    title = "Too many commands are waiting"
    status = 503


class CommandSender(AbstractAsyncContextManager["CommandSender"], Protocol):
    """What a gateway needs of a transport. Entering connects, leaving waits for open answers."""

    gateway: str
    """16 hex digits that no other gateway has ever had."""
    on_answers: Callable[[], None]
    """Called when answers have come and each was passed on; what it submits goes out at once."""

    @property
    def is_connected(self) -> bool: ...
    @property
    def answer_timeout_s(self) -> float:
        """How long a command is waited for: past it, nobody wants it done any more."""

    def check(self, shard: int, /) -> None:
        """Refuse if a command for this shard would be refused just now."""

    def submit(self, command: Command, on_end: OnEnd, /, *, is_repeatable: bool = True) -> None:
        """Put a command on its way. `on_end` is called once, with its answer or a `Refusal`.

        One that is not repeatable is sent once: where it may be lost, its outcome is unknown.
        """


OnEnd = Callable[[Answer | Refusal], None]


class _Pending:
    """A command without its answer yet."""

    __slots__ = ("encoded", "is_repeatable", "is_resent", "on_end", "sent_at", "shard")

    def __init__(
        self, shard: int, encoded: bytes, *, sent_at: float, on_end: OnEnd, is_repeatable: bool
    ) -> None:
        self.shard = shard
        self.encoded = encoded
        self.sent_at = sent_at
        self.on_end = on_end
        self.is_repeatable = is_repeatable
        self.is_resent = False


class RedisCommandSender:
    """A `CommandSender` over Redis Streams and one publish channel. Belongs to one event loop."""

    answer_timeout_s: float

    def __init__(
        self,
        url: str,
        *,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        resend_after_s: float = RESEND_AFTER_S,
        backlog_entries: int = BACKLOG_ENTRIES,
    ) -> None:
        self.gateway = secrets.token_hex(8)
        self.on_answers: Callable[[], None] = lambda: None
        self._url = url
        self.answer_timeout_s = answer_timeout_s
        self._resend_after_s = resend_after_s
        self._backlog_limit = backlog_entries
        self._wire: wire.Wire | None = None
        self._lost = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._pending: dict[str, _Pending] = {}  # oldest first: each enters at the end
        self._waiting: defaultdict[int, list[str]] = defaultdict(list)
        self._appending: dict[int, float] = {}  # shard → when its entry went out
        self._backlog: defaultdict[int, int] = defaultdict(int)
        self._measure_at: defaultdict[int, float] = defaultdict(float)
        self._flush_is_due = False

    @property
    def is_connected(self) -> bool:
        return self._wire is not None

    async def __aenter__(self) -> Self:
        """Connect in the background; returns when connected or after a moment without."""
        self._tasks = [asyncio.create_task(self._stay_connected())]
        self._tasks.append(asyncio.create_task(self._sweep()))
        for _ in range(CONNECT_POLLS):
            if self.is_connected or self._tasks[0].done():
                break
            await asyncio.sleep(CONNECT_POLL_S)
        if self._tasks[0].done():
            self._tasks[0].result()  # an address that cannot be read, for instance
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait for the open answers, then let go of Redis."""
        for _poll in range(round(STOP_TIMEOUT_S / STOP_POLL_S)):
            if not self._pending:
                break
            await asyncio.sleep(STOP_POLL_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._wire is not None:
            self._wire.close()

    def check(self, shard: int, /) -> None:
        """Refuse, with nothing sent, while Redis is away or the shard is far behind."""
        if self._wire is None:
            raise Unavailable("The message server does not answer.", code="redis_unavailable")
        if self._backlog[shard] >= self._backlog_limit:
            raise BacklogFull("Nothing was done; try again.", retry_after_s=random.uniform(1, 3))

    def send(self, command: Command, /) -> asyncio.Future[Answer]:
        """Put a command on its way; the future ends with its answer, or with a `Refusal`.

        Refuses at once as `check` does.
        """
        self.check(command.shard)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def end(outcome: Answer | Refusal) -> None:
            if future.done():
                return
            if isinstance(outcome, Refusal):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.submit(command, end)
        return future

    def submit(self, command: Command, on_end: OnEnd, /, *, is_repeatable: bool = True) -> None:
        """Put a command on its way; the caller has asked `check` whether it may.

        `on_end` is called once, on the event loop, never from within this call.
        """
        loop = asyncio.get_running_loop()
        encoded = encode_command(command)
        self._pending[command.id] = _Pending(
            command.shard,
            encoded,
            sent_at=loop.time(),
            on_end=on_end,
            is_repeatable=is_repeatable,
        )
        self._waiting[command.shard].append(command.id)
        if not self._flush_is_due:
            self._flush_is_due = True
            loop.call_soon(self._flush)

    # -- appending -----------------------------------------------------------------------

    def _flush(self) -> None:
        self._flush_is_due = False
        for shard in [shard for shard, ids in self._waiting.items() if ids]:
            if shard not in self._appending:
                self._append(shard)

    def _append(self, shard: int) -> None:
        """Send what waits for a shard as one entry; ask the stream's length now and then."""
        if self._wire is None:
            return
        ids = self._next_entry(shard)
        if not ids:
            return
        self._appending[shard] = asyncio.get_running_loop().time()
        entry = join([self._pending[command_id].encoded for command_id in ids])
        key = stream_key(shard)
        appended = self._wire.request("XADD", key, "*", FIELD, entry)
        appended.add_done_callback(lambda reply: self._appended(shard, ids, reply))
        if self._appending[shard] >= self._measure_at[shard]:
            self._measure_at[shard] = self._appending[shard] + SWEEP_S
            self._ask_backlog(shard)

    def _next_entry(self, shard: int) -> list[str]:
        """Take the oldest waiting commands, as many as fit into one entry."""
        waiting = self._waiting[shard]
        size, count = 0, 0
        for command_id in waiting[:COMMANDS_PER_ENTRY]:
            pending = self._pending.get(command_id)
            size += len(pending.encoded) if pending else 0
            if count and size > ENTRY_BYTES:
                break
            count += 1
        taken, self._waiting[shard] = waiting[:count], waiting[count:]
        return [command_id for command_id in taken if command_id in self._pending]

    def _appended(self, shard: int, ids: list[str], reply: asyncio.Future[object]) -> None:
        self._appending.pop(shard, None)
        error = reply.exception()
        if isinstance(error, hiredis.ReplyError):
            logger.error("Redis refused an entry for shard %s: %s", shard, error)
            for command_id in ids:
                self._fail(command_id, is_certain=True)
        if not isinstance(error, wire.WireLost):
            self._flush()

    def _measured(self, shard: int, reply: asyncio.Future[int]) -> None:
        if reply.exception() is None:
            self._backlog[shard] = reply.result()

    # -- answers -------------------------------------------------------------------------

    def _hear(self, channel: bytes, message: bytes) -> None:
        try:
            answers = decode_answers(message)
        except Garbled as error:
            logger.error("a message on %r is no answer: %s", channel, error)
            return
        for answer in answers:
            pending = self._pending.pop(answer.command_id, None)
            if pending is not None:
                _end(pending, answer)
        self.on_answers()
        self._flush()

    def _fail(self, command_id: str, *, is_certain: bool = False) -> None:
        """End a command without an answer. Certain: its only copy was never accepted."""
        pending = self._pending.pop(command_id, None)
        if pending is None:
            return
        wait_s = random.uniform(1, 3)
        if is_certain and not pending.is_resent:
            refusal: Refusal = Unavailable("Nothing was done; try again.", retry_after_s=wait_s)
        else:
            detail = "Ask again with the same client id to hear what became of it."
            refusal = OutcomeUnknown(detail, retry_after_s=wait_s)
        _end(pending, refusal)

    # -- watching over it ------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        backoff_s = RECONNECT_FIRST_S
        while True:
            try:
                self._lost.clear()
                self._wire = await wire.connect(
                    self._url,
                    channel=answers_channel(self.gateway),
                    on_message=self._hear,
                    on_lost=self._lost.set,
                )
            except (OSError, TimeoutError, hiredis.HiredisError) as error:
                logger.warning("Redis does not answer: %s", error)
                await asyncio.sleep(backoff_s * random.uniform(0.5, 1))
                backoff_s = min(backoff_s * 2, RECONNECT_MOST_S)
                continue
            backoff_s = RECONNECT_FIRST_S
            self._resend()
            await self._lost.wait()
            self._wire = None
            logger.warning("the connection to Redis is lost")

    def _resend(self) -> None:
        """Send everything pending again on a new connection, in its first order.

        What may not be sent twice and was sent has to be looked for by whoever asked.
        """
        unsent = {command_id for ids in self._waiting.values() for command_id in ids}
        self._appending.clear()
        self._waiting.clear()
        self._backlog.clear()
        for command_id, pending in list(self._pending.items()):
            if command_id not in unsent and not pending.is_repeatable:
                self._fail(command_id)
                continue
            pending.is_resent = True
            self._waiting[pending.shard].append(command_id)
        self._flush()

    async def _sweep(self) -> None:
        """Ten times a second: end what waited too long, send again what may be lost."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = asyncio.get_running_loop().time()
            self._expire(now)
            self._repeat(now)
            if self._wire is None:
                continue
            if any(now - since > self._resend_after_s for since in self._appending.values()):
                logger.warning("Redis is silent, connecting anew")
                self._wire.close()
            for shard, length in self._backlog.items():
                if length >= self._backlog_limit:
                    self._ask_backlog(shard)

    def _expire(self, now: float) -> None:
        for command_id, pending in list(self._pending.items()):
            if now - pending.sent_at < self.answer_timeout_s:
                break
            self._fail(command_id)

    def _repeat(self, now: float) -> None:
        for command_id, pending in self._pending.items():
            if now - pending.sent_at < self._resend_after_s:
                break
            if pending.is_repeatable and not pending.is_resent:
                pending.is_resent = True
                self._waiting[pending.shard].append(command_id)
        self._flush()

    def _ask_backlog(self, shard: int) -> None:
        assert self._wire is not None
        length = self._wire.request("XLEN", stream_key(shard))
        length.add_done_callback(lambda reply: self._measured(shard, reply))


def _end(pending: _Pending, outcome: Answer | Refusal) -> None:
    """Tell whoever sent a command. What goes wrong there must not reach the others' answers."""
    try:
        pending.on_end(outcome)
    except Exception:
        logger.exception("an answer could not be told")
