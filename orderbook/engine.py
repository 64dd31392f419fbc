"""The market's engine: what the shard's writer drives, batch after batch."""

from __future__ import annotations

import time
from collections.abc import Sequence

from edge.ids import batch_at
from live.outbox import record
from orderbook.batch import Batch
from orderbook.events import events_of
from orderbook.memory import Memory
from orderbook.outcome import Outcome
from sequencer.commands import Answer, Command


class MarketEngine:
    """Places and cancels orders for all markets of one shard; see `sequencer.engine.Engine`."""

    prefixes = ("order.",)

    def __init__(self, shard: int) -> None:
        self.memory = Memory(shard)
        self._outcome: Outcome | None = None

    def load(self) -> None:
        """Rebuild the books, holds and accounts from the database."""
        self._outcome = None
        self.memory.load()

    def execute(self, commands: Sequence[Command], /) -> list[Answer]:
        """Decide and write a batch; see `orderbook.batch`."""
        sequence = self.memory.refresh()
        now_us = time.time_ns() // 1000
        batch_id = batch_at(now_us, sequence=sequence, after_id=self.memory.newest_order_id)
        batch = Batch(self.memory, commands, batch_id)
        self._outcome = batch.outcome
        answers = batch.run()
        record(events_of(batch.outcome, self.memory))
        return answers

    def committed(self) -> None:
        """The batch is durable."""
        if self._outcome is not None:
            self._outcome.keep()
            self._outcome = None

    def rolled_back(self) -> None:
        """The batch never happened."""
        if self._outcome is not None:
            self._outcome.take_back()
            self._outcome = None
