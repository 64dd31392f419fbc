"""The writer's side of the transport: commands come out of a Redis Stream, answers go back.

Nothing is trusted to Redis. What is read stays in the stream until its batch is
committed and its answers are sent, and only then is deleted, by its exact id. So the
stream holds what is not known to be done, and reading always begins at its start: no
stored position can point past a wiped, replaced or clock-shifted Redis. After a crash the
same commands come again, get their first answers from the engine, and those are sent:
a client that waited through the crash still hears.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from edge.problems import Refusal
from sequencer.commands import Answer, Command, Garbled, decode_commands, encode_answers
from sequencer.engine import failure

logger = logging.getLogger(__name__)

FIELD = b"c"
RECONNECT_AFTER_S = 0.05
RECONNECT_AFTER_MOST_S = 1.0
SOCKET_TIMEOUT_S = 5.0
EXPIRED = "Ask again with the same client id to hear what became of it, or to have it done."


class Expired(Refusal):
    """The command waited longer than its client: it was not carried out, this time."""

    code = "expired"
    title = "The command waited too long and was not carried out"
    status = 503


def stream_key(shard: int) -> str:
    """Name the stream of a shard. The braces keep one shard's keys on one Redis node."""
    return f"scrip:{{shard-{shard}}}:commands"


def answers_channel(gateway: str) -> str:
    """Name the channel on which one gateway hears its answers."""
    return f"scrip:answers:{gateway}"


class CommandStream(Protocol):
    """What a writer needs of a transport. One shard, one thread."""

    def read(self, limit: int, *, wait_s: float, after: int = 0) -> list[Command]:
        """The oldest commands that are not acknowledged, at most `limit`.

        The first `after` of them are left out: they are under way. A command past its
        deadline is not among them: it is answered `Expired`, and gone. Waits up to `wait_s`
        for the first, never for more. Returns an empty list when there is none or the
        transport is down.
        """

    def position(self, count: int) -> str:
        """Name the place after the first `count` commands that are not acknowledged."""

    def acknowledge(self, answers: Sequence[Answer]) -> None:
        """The first commands are durable: send their answers, forget them."""

    def flush(self) -> None:
        """Send what `acknowledge` has put aside, without reading more."""


class RedisCommandStream:
    """A `CommandStream` over one Redis Stream, with one round trip a batch.

    `acknowledge` only notes what to send; the next `read` sends it and reads in one go.
    """

    def __init__(self, url: str, shard: int) -> None:
        self._key = stream_key(shard)
        self._redis: redis.Redis = redis.Redis.from_url(
            url,
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=SOCKET_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._commands: deque[_Taken] = deque()
        self._answers: dict[str, list[Answer]] = {}
        self._finished: list[bytes] = []
        self._backoff_s = 0.0

    # -- the interface -------------------------------------------------------------

    def read(self, limit: int, *, wait_s: float, after: int = 0) -> list[Command]:
        try:
            self._top_up(after + limit, wait_s=wait_s)
        except redis.RedisError as error:
            self._wait_out(error)
        self._turn_away_expired(after)
        return [taken.command for taken in islice(self._commands, after, after + limit)]

    def position(self, count: int) -> str:
        taken = self._commands[count - 1]
        return f"{taken.entry.id.decode()}:{taken.number}"

    def acknowledge(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            self._finish(self._commands.popleft(), answer)

    def flush(self) -> None:
        try:
            self._exchange(None)
        except redis.RedisError as error:
            logger.warning("answers not sent, the commands stay in the stream: %s", error)
        self._redis.close()

    def _finish(self, taken: _Taken, answer: Answer) -> None:
        assert answer.command_id == taken.command.id
        self._answers.setdefault(taken.command.gateway, []).append(answer)
        taken.entry.remaining -= 1
        if not taken.entry.remaining:
            self._finished.append(taken.entry.id)

    def _turn_away_expired(self, after: int) -> None:
        """Answer what nobody waits for any more; it goes out with the next round trip.

        The deadline is a gateway's clock and is held against this machine's. Machines
        whose clocks differ by more than some seconds refuse too much or too little, but a
        refusal is always safe: the client asks again with the same client id.
        """
        now_us = time.time_ns() // 1000
        if not any(0 < taken.command.deadline_us < now_us for taken in self._commands):
            return
        kept: deque[_Taken] = deque()
        for place, taken in enumerate(self._commands):
            if place >= after and 0 < taken.command.deadline_us < now_us:
                self._finish(taken, failure(taken.command, Expired(EXPIRED)))
            else:
                kept.append(taken)
        if len(kept) < len(self._commands):
            count = len(self._commands) - len(kept)
            logger.warning("%d commands of %s had expired", count, self._key)
        self._commands = kept

    # -- one round trip --------------------------------------------------------------

    def _top_up(self, limit: int, *, wait_s: float) -> None:
        missing = limit - len(self._commands)
        if missing <= 0:
            self._exchange(None)
        elif self._commands:
            self._exchange({"streams": {self._key: self._commands[-1].entry.id}, "count": missing})
        else:
            block_ms = max(1, int(wait_s * 1000))
            self._exchange({"streams": {self._key: "0-0"}, "count": missing, "block": block_ms})
        self._backoff_s = 0.0

    def _exchange(self, read: dict[str, Any] | None) -> None:
        """Send the answers, delete what is finished, read on: one pipeline, in this order.

        If it breaks, all of it is sent again later: an answer heard twice is ignored.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for gateway, answers in self._answers.items():
            pipeline.publish(answers_channel(gateway), encode_answers(answers))
        if self._finished:
            pipeline.xdel(self._key, *self._finished)
        if read is not None:
            pipeline.xread(**read)
        if not len(pipeline):
            return
        replies = pipeline.execute()
        self._answers.clear()
        self._finished.clear()
        if read is not None and replies[-1]:
            self._take_in(replies[-1])

    def _take_in(self, reply: Any) -> None:
        [(_, entries)] = reply.items() if isinstance(reply, dict) else reply
        for entry_id, fields in entries:
            try:
                commands = decode_commands(fields[FIELD])
            except (Garbled, KeyError) as error:
                logger.error("entry %r of %s is no command: %s", entry_id, self._key, error)
                commands = []
            if not commands:
                self._finished.append(entry_id)
                continue
            entry = _Entry(entry_id, len(commands))
            self._commands.extend(
                _Taken(command, entry, index) for index, command in enumerate(commands)
            )

    def _wait_out(self, error: redis.RedisError) -> None:
        """Wait before the next try: doubling, with jitter, capped."""
        if not self._backoff_s:
            logger.warning("the command stream does not answer: %s", error)
        doubled = max(RECONNECT_AFTER_S, self._backoff_s * 2)
        self._backoff_s = min(doubled, RECONNECT_AFTER_MOST_S)
        time.sleep(self._backoff_s * random.uniform(0.5, 1.0))


class _Entry:
    """A stream entry that is not finished, and how many of its commands are not."""

    __slots__ = ("id", "remaining")

    def __init__(self, entry_id: bytes, remaining: int) -> None:
        self.id = entry_id
        self.remaining = remaining


class _Taken(NamedTuple):
    """A command in hand, and its place in the stream."""

    command: Command
    entry: _Entry
    number: int
