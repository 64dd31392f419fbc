"""The market's engine: what the shard's writer drives, batch after batch."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django.db import connection

from edge.ids import batch_at, us_of
from edge.journey import Answered, Journey
from orderbook.agenda import Agenda, Work
from orderbook.batch import Batch
from orderbook.memory import Memory
from orderbook.venue_clock import VenueClock
from orderbook.venue_models import VenueTime
from sequencer.commands import Answer, Command
from sequencer.engine import NOTHING, Meanwhile
from wallet.door import lock_unchanged

MICROSECONDS = 1_000_000
KEEP_TIME = """
INSERT INTO orderbook_venuetime (shard, now_us) VALUES (%s, %s)
ON CONFLICT (shard) DO UPDATE SET now_us = excluded.now_us
"""
LOOK_EVERY_S = 0.2
"""How often an idle writer looks whether an operator asked for something."""


class Ahead:
    """A batch that was decided ahead; see `sequencer.engine.Decided`."""

    def __init__(self, engine: MarketEngine, batch: Batch, journey: Journey) -> None:
        self.batch = batch
        self.count = batch.count
        self.journey = journey
        self._engine = engine

    def lock_on(self, journey: Journey) -> None:
        """Lock what the batch was decided on, if it is unchanged."""
        lock_unchanged(journey, self.batch.foreseen)

    def left(self, answered: Answered) -> None:
        """The batch is written: note in which transaction, for the one that builds on it."""
        [[_, xid]] = answered.fetchall()
        self.batch.foreseen.left(xid)

    def answers(self) -> list[Answer]:
        """Put the answers into words."""
        return self.batch.answers()

    def committed(self) -> None:
        """The batch is durable."""
        self.batch.outcome.keep()
        self._engine.ended(self)

    def rolled_back(self) -> None:
        """The batch never happened, nor any after it."""
        self.batch.outcome.take_back()
        self._engine.memory.seen.failed()
        self._engine.ended(self)


class MarketEngine:
    """All markets of one shard: their orders by command, their lives by the clock.

    See `sequencer.engine.Engine`. Time is the shard's own (`orderbook.venue_clock`), read
    once a batch.
    """

    prefixes = ("order.",)

    def __init__(self, shard: int) -> None:
        self.memory = Memory(shard)
        self.agenda = Agenda(self.memory)
        self._batch: Batch | None = None
        self._ahead: Ahead | None = None
        self._work: Work | None = None
        self.clock = VenueClock(wall_us=0, counter_us=0)
        self._looked_s = 0.0
        self._is_stale = False

    def load(self) -> None:
        """Rebuild the books, holds, accounts and the clock from the database."""
        self._batch = self._ahead = self._work = None
        self.memory.load()
        self.agenda.clear()
        stored = VenueTime.objects.filter(shard=self.memory.shard).first()
        newest_us = us_of(self.memory.newest_order_id)
        self.clock = VenueClock(
            wall_us=self.wall_us(),
            counter_us=self.counter_us(),
            not_before_us=max(newest_us, stored.now_us if stored else 0),
        )

    def execute(self, commands: Sequence[Command], /) -> list[Answer]:
        """Decide and write a batch, what is due before it; see `orderbook.batch`."""
        self.memory.seen.clear()
        self.memory.refresh()
        self._is_stale = False
        now_us = self._now_us()
        self.agenda.look(now_us)
        work = self._work = self.agenda.work(now_us)
        if work is not None and work.is_alone:
            commands = []
        deeds = work.deeds if work else []
        batch_id = self._batch_id(now_us)
        batch = self._batch = Batch(self.memory, commands, batch_id, deeds=deeds, now_us=now_us)
        answers = batch.run()
        if work is not None:
            with connection.cursor() as cursor:
                cursor.execute(KEEP_TIME, [self.memory.shard, now_us])
        return answers

    def committed(self) -> None:
        """The batch is durable."""
        if self._batch is not None:
            self._batch.outcome.keep()
            self._batch = None
        if self._work is not None:
            self.agenda.succeeded()

    def rolled_back(self) -> None:
        """The batch never happened."""
        self.memory.forget_markets()
        if self._batch is not None:
            self._batch.outcome.take_back()
            self._batch = None
        if self._work is not None:
            self.agenda.failed(self._work, self.clock.now_us)

    def did_upkeep(self) -> bool:
        """Say whether the last batch did more than its commands."""
        return self._work is not None

    # -- ahead -----------------------------------------------------------------------------------

    def decide(
        self, commands: Sequence[Command], /, meanwhile: Meanwhile = NOTHING
    ) -> Ahead | None:
        """Decide a batch while the one before may be under way still; see `orderbook.batch`."""
        now_us = self._now_us()
        if self._ahead is None:
            self.agenda.look(now_us)
        elif self.agenda.is_look_due(now_us):
            return None
        due_us = self.agenda.next_us()
        if due_us and due_us <= now_us:
            return None
        earlier = self._ahead.batch if self._ahead else None
        self.memory.seen.begin(earlier.foreseen.ledger if earlier else None)
        batch_id = self._batch_id(now_us)
        batch = Batch(self.memory, commands, batch_id, now_us=now_us, earlier=earlier)
        try:
            journey = batch.decide(meanwhile)
        except BaseException:
            self._forget(batch)
            raise
        if journey is None:
            self._forget(batch)
            return None
        self._ahead = Ahead(self, batch, journey)
        return self._ahead

    def _forget(self, batch: Batch) -> None:
        """The batch was not decided to its end."""
        batch.outcome.take_back()
        self.memory.seen.clear()

    def ended(self, ahead: Ahead) -> None:
        """A batch that was decided ahead is durable, or taken back."""
        if self._ahead is ahead:
            self._ahead = None

    def _batch_id(self, now_us: int) -> int:
        newest = self.memory.newest_order_id
        return batch_at(now_us, sequence=self.memory.sequence, after_id=newest)

    # -- the clock -----------------------------------------------------------------------------

    def is_due(self) -> bool:
        """Say whether a batch without commands would do something."""
        now_us = self._now_us()
        self.agenda.look(now_us)
        due_us = self.agenda.next_us()
        if due_us and due_us <= now_us:
            return True
        if time.monotonic() - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = time.monotonic()
            self._is_stale = self.memory.is_stale()
        return self._is_stale

    def wait_s(self, longest_s: float, /) -> float:
        """How long to wait for commands, at most."""
        due_us = self.agenda.next_us()
        if not due_us:
            return longest_s
        return min(longest_s, max(0.001, (due_us - self._now_us()) / MICROSECONDS))

    def wall_us(self) -> int:
        """The computer's clock; a test may step it."""
        return time.time_ns() // 1000

    def counter_us(self) -> int:
        """The computer's clock that only grows."""
        return time.monotonic_ns() // 1000

    def _now_us(self) -> int:
        return self.clock.read(wall_us=self.wall_us(), counter_us=self.counter_us())
