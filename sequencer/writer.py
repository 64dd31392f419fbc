"""The one writer of a shard: what has arrived becomes one batch, one commit, many answers.

A batch also carries what the clock asks for (an order that expires, an auction that ends):
the writer asks its engine each round, with or without commands.

The order of a batch, and what a crash between two steps leaves behind:
1. read: the commands stay in the stream, so they come again;
2. decide, write, fence, commit: one transaction, all or nothing;
3. answer and delete from the stream: if it is missed, the commands come again, and the
   engine repeats its answers, because every command is idempotent.

While PostgreSQL writes one batch, the next is decided (`Engine.decide`): one batch is under
way at most, and they commit in order. If one fails, the one decided after it falls with it,
and both come again, executed inside their transactions until one of them is through.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg
from django.db import InterfaceError, OperationalError

from edge.problems import Refusal, Unavailable
from sequencer.commands import Answer, Command
from sequencer.engine import NOTHING, Decided, Engine, failure
from sequencer.garbage import Garbage
from sequencer.models import DeadLetter, Shard
from sequencer.session import (
    FencedOff,
    Flight,
    Session,
    SessionLost,
    blames_server,
    is_taken_key,
    is_transient,
)
from sequencer.stream import CommandStream

logger = logging.getLogger(__name__)

BATCH_COMMANDS = 512
"""The most commands one commit carries. More raises the throughput little and the wait much."""
WORTH_AHEAD = 32
"""A smaller batch is waited for before the next is read: its answers go out at once, and the
next one gathers meanwhile. Both cost nearly the same whatever is in them."""
HEARTBEAT_S = 0.5
BACKOFF_FIRST_S = 0.05
BACKOFF_MOST_S = 2.0
TRANSIENT_TRIES = 3
"""How often a batch may meet a passing fault before we look for the command at fault."""

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CommandFailed(Refusal):
    """The command met a fault of ours. Nothing of it happened; it is kept for inspection."""

    code = "command_failed"
    title = "The command failed inside"
    status = 500


class Writer:
    """Applies one shard's commands, batch after batch, until told to stop.

    Its parts come from outside, so that a test can put a kill between any two steps.
    """

    def __init__(self, *, stream: CommandStream, engine: Engine, session: Session) -> None:
        self._stream = stream
        self._engine = engine
        self._session = session
        self._garbage = Garbage()
        self._stopping = threading.Event()
        self._batch_limit = BATCH_COMMANDS
        self._tries = 0
        self._flight: Flight | None = None
        self._is_wary = False

    def stop(self) -> None:
        """Ask the writer to finish its batch, send the answers and let go of the shard."""
        self._stopping.set()

    def run(self) -> None:
        """Take the shard when it is free and serve it until `stop`.

        A lost database session is survived: take the lock anew, rebuild memory, go on.
        Raises `FencedOff` if another writer has taken the shard over.
        """
        lost_count = 0
        while not self._stopping.is_set():
            try:
                if self._session.take(self._stopping):
                    self._load()
                    lost_count = 0
                    self._serve()
            except (SessionLost, OperationalError, InterfaceError) as error:
                logger.warning("shard %s: the database is gone: %s", self._session.shard, error)
                self._session.reset()
                lost_count += 1
                self._pause(lost_count)
        self._stream.flush()
        self._session.release()

    def _load(self) -> None:
        started = time.monotonic()
        self._flight, self._is_wary = None, False
        self._engine.load()
        self._garbage.freeze()
        self._session.loaded()
        seconds = time.monotonic() - started
        logger.info("shard %s: memory rebuilt in %.2f s", self._session.shard, seconds)

    def _serve(self) -> None:
        while not self._stopping.is_set():
            commands = self._read()
            if commands and self._has_taken_off(commands):
                continue
            if self._flight is not None:
                self._land()
            elif self._engine.is_due() or commands:
                self._run_batch(commands)
            else:
                self._session.beat(Shard.State.RUNNING)
        self._land()

    def _read(self) -> list[Command]:
        if self._flight is not None and self._flight.decided.count < WORTH_AHEAD:
            self._land()
        if self._flight is None:
            return self._stream.read(self._batch_limit, wait_s=self._engine.wait_s(HEARTBEAT_S))
        return self._stream.read(self._batch_limit, wait_s=0, after=self._flight.decided.count)

    # -- a batch that is decided ahead -------------------------------------------------

    def _has_taken_off(self, commands: Sequence[Command]) -> bool:
        """Decide a batch ahead and send it on its way, once the one before it is durable.

        False if it takes a transaction, or at least that nothing is under way.
        """
        if self._is_wary:
            return False
        decided = self._decided(commands)
        if decided is None:
            return False
        earlier = self._flight
        if self._has_landed(decided):
            try:
                count = decided.count + (earlier.decided.count if earlier else 0)
                self._flight = self._session.take_off(decided, self._stream.position(count))
            finally:
                self._tell(earlier)
        return True

    def _decided(self, commands: Sequence[Command]) -> Decided | None:
        try:
            return self._engine.decide(commands, self._flight or NOTHING)
        except Exception:
            if self._session.is_lost():
                raise
            logger.exception("shard %s: could not decide ahead", self._session.shard)
            self._is_wary = True
            return None

    def _land(self) -> None:
        """Wait until the batch under way is durable, if there is one, and answer it."""
        flight = self._flight
        if self._has_landed():
            self._tell(flight)

    def _tell(self, flight: Flight | None) -> None:
        if flight is not None:
            self._done(flight.answers())

    def _has_landed(self, following: Decided | None = None) -> bool:
        """Wait until the batch under way is durable, if there is one.

        False if it failed: then it never happened, nor what was decided after it.
        """
        flight, self._flight = self._flight, None
        if flight is None:
            return True
        try:
            self._session.land(flight)
        except (FencedOff, SessionLost):
            raise
        except psycopg.Error as error:
            for fallen in (following, flight.decided):
                if fallen is not None:
                    fallen.rolled_back()
            self._is_wary = True
            logger.warning("shard %s: to be decided anew: %s", self._session.shard, error)
            return False
        flight.decided.committed()
        return True

    # -- one that takes a transaction --------------------------------------------------

    def _run_batch(self, commands: Sequence[Command]) -> None:
        try:
            with self._session.transaction():
                answers = self._engine.execute(commands)
                _check(commands, answers)
                position = self._stream.position(len(answers)) if answers else None
                self._session.fence(position, len(answers))
        except FencedOff:
            raise
        except Exception as error:
            if self._session.is_lost():
                raise SessionLost(str(error)) from error
            if not self._session.is_durable():
                self._engine.rolled_back()
                self._recover(commands, error)
                return
            logger.exception("shard %s: after the commit", self._session.shard)
        self._engine.committed()
        self._batch_limit = min(BATCH_COMMANDS, self._batch_limit * 2)
        self._is_wary = self._batch_limit < BATCH_COMMANDS
        self._tries = 0
        self._done(answers)

    def _done(self, answers: Sequence[Answer]) -> None:
        self._stream.acknowledge(answers)
        self._garbage.after_batch()

    def _recover(self, commands: Sequence[Command], error: Exception) -> None:
        """Prepare the next try: later, or with half the commands, or without the one at fault."""
        self._tries += 1
        if self._engine.did_upkeep():
            logger.error("shard %s: upkeep failed", self._session.shard, exc_info=error)
            self._session.beat(Shard.State.RUNNING)
            self._pause(self._tries)
            return
        if is_taken_key(error) and self._tries < TRANSIENT_TRIES:
            return  # another shard took a client id meanwhile: the next look-up finds it
        is_passing = is_transient(error) and (blames_server(error) or self._tries < TRANSIENT_TRIES)
        if is_passing:
            logger.warning("shard %s: trying the batch again: %s", self._session.shard, error)
            self._session.beat(Shard.State.RUNNING)
            self._pause(self._tries)
        elif len(commands) > 1:
            self._batch_limit = len(commands) // 2
        elif is_transient(error):
            self._turn_away(commands[0], error)
        else:
            self._set_aside(commands[0], error)

    def _turn_away(self, command: Command, error: Exception) -> None:
        """Answer that the command could not be done now: rows it needs are held by others."""
        logger.warning("shard %s: turned away %s: %s", self._session.shard, command.id, error)
        busy = Unavailable("Nothing was done; try again.", code="busy")
        self._stream.acknowledge([failure(command, busy)])
        self._tries = 0

    def _set_aside(self, command: Command, error: Exception) -> None:
        """Keep the command with its error in the database, and answer that it failed."""
        logger.error("shard %s: set aside %s", self._session.shard, command.id, exc_info=error)
        with self._session.transaction():
            DeadLetter.objects.get_or_create(
                command_id=command.id,
                defaults={
                    "shard": command.shard,
                    "kind": command.kind,
                    "user_id": command.user_id,
                    "key_id": command.key_id,
                    "sent_at": UNIX_EPOCH + timedelta(microseconds=command.sent_at_us),
                    "body": command.body,
                    "error": "".join(traceback.format_exception(error)),
                },
            )
            self._session.fence(self._stream.position(1), 1)
        self._stream.acknowledge([failure(command, CommandFailed(command_id=command.id))])
        self._tries = 0

    def _pause(self, count: int) -> None:
        """Wait before try `count` + 1: doubling, with jitter, capped, cut short by `stop`."""
        longest_s = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(count, 10))
        self._stopping.wait(longest_s * random.uniform(0.5, 1.0))


def _check(commands: Sequence[Command], answers: Sequence[Answer]) -> None:
    """An engine answers a prefix of its batch, in order: anything else is a bug in it."""
    assert len(answers) <= len(commands)
    assert all(a.command_id == c.id for a, c in zip(answers, commands, strict=False))
