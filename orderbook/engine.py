"""The market's engine: what the shard's writer drives, batch after batch."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django.db import connection

from edge.ids import batch_at, us_of
from live.outbox import record
from orderbook.agenda import Agenda, Work
from orderbook.batch import Batch
from orderbook.events import events_of
from orderbook.memory import Memory
from orderbook.outcome import Outcome
from orderbook.venue_clock import VenueClock
from orderbook.venue_models import VenueTime
from sequencer.commands import Answer, Command

MICROSECONDS = 1_000_000
KEEP_TIME = """
INSERT INTO orderbook_venuetime (shard, now_us) VALUES (%s, %s)
ON CONFLICT (shard) DO UPDATE SET now_us = excluded.now_us
"""
LOOK_EVERY_S = 0.2
"""How often an idle writer looks whether an operator asked for something."""


class MarketEngine:
    """All markets of one shard: their orders by command, their lives by the clock.

    See `sequencer.engine.Engine`. Time is the shard's own (`orderbook.venue_clock`), read
    once a batch.
    """

    prefixes = ("order.",)

    def __init__(self, shard: int) -> None:
        self.memory = Memory(shard)
        self.agenda = Agenda(self.memory)
        self._outcome: Outcome | None = None
        self._work: Work | None = None
        self.clock = VenueClock(wall_us=0, counter_us=0)
        self._looked_s = 0.0

    def load(self) -> None:
        """Rebuild the books, holds, accounts and the clock from the database."""
        self._outcome = self._work = None
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
        sequence = self.memory.refresh()
        now_us = self._now_us()
        self.agenda.look(now_us)
        work = self._work = self.agenda.work(now_us)
        if work is not None and work.is_alone:
            commands = []
        newest = self.memory.newest_order_id
        batch_id = batch_at(now_us, sequence=sequence, after_id=newest)
        deeds = work.deeds if work else []
        batch = Batch(self.memory, commands, batch_id, deeds=deeds, now_us=now_us)
        self._outcome = batch.outcome
        answers = batch.run()
        if work is not None:
            with connection.cursor() as cursor:
                cursor.execute(KEEP_TIME, [self.memory.shard, now_us])
        record(events_of(batch.outcome, self.memory))
        return answers

    def committed(self) -> None:
        """The batch is durable."""
        if self._outcome is not None:
            self._outcome.keep()
            self._outcome = None
        if self._work is not None:
            self.agenda.succeeded()

    def rolled_back(self) -> None:
        """The batch never happened."""
        if self._outcome is not None:
            self._outcome.take_back()
            self._outcome = None
        if self._work is not None:
            self.agenda.failed(self._work, self.clock.now_us)

    # -- the clock -----------------------------------------------------------------------------

    def is_due(self) -> bool:
        """Say whether a batch without commands would do something."""
        now_us = self._now_us()
        self.agenda.look(now_us)
        due_us = self.agenda.next_us()
        if due_us and due_us <= now_us:
            return True
        if time.monotonic() - self._looked_s < LOOK_EVERY_S:
            return False
        self._looked_s = time.monotonic()
        return self.memory.is_stale()

    def wait_s(self, longest_s: float, /) -> float:
        """How long to wait for commands, at most."""
        due_us = self.agenda.next_us()
        if not due_us:
            return longest_s
        return min(longest_s, max(0.001, (due_us - self._now_us()) / MICROSECONDS))

    def did_upkeep(self) -> bool:
        """Say whether the last batch did more than its commands."""
        return self._work is not None

    def wall_us(self) -> int:
        """The computer's clock; a test may step it."""
        return time.time_ns() // 1000

    def counter_us(self) -> int:
        """The computer's clock that only grows."""
        return time.monotonic_ns() // 1000

    def _now_us(self) -> int:
        return self.clock.read(wall_us=self.wall_us(), counter_us=self.counter_us())
