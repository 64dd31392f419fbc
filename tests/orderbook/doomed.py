"""Market engines that kill their own process while an auction is settled, one trade a commit."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from orderbook.deeds import Uncrossing
from orderbook.engine import MarketEngine
from sequencer.commands import Answer, Command


class Doomed(MarketEngine):
    """Counts the commits of auctions; `deadly` is the one at which it dies."""

    deadly = 1
    parts = 0

    def __init__(self, shard: int) -> None:
        super().__init__(shard)
        self.agenda.most_crosses = 1

    def is_uncrossing(self) -> bool:
        deeds = self._work.deeds if self._work else []
        return any(isinstance(deed, Uncrossing) and deed.crosses for deed in deeds)

    def die(self) -> None:
        self.parts += 1
        if self.parts == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)


class BeforeFirstPart(Doomed):
    """Dies when the auction's first trade is written and not committed."""

    def execute(self, commands: Sequence[Command], /) -> list[Answer]:
        answers = super().execute(commands)
        if self.is_uncrossing():
            self.die()
        return answers


class AfterFirstPart(Doomed):
    """Dies when the auction's first trade is committed, and others are left."""

    def committed(self) -> None:
        if self.is_uncrossing():
            self.die()
        super().committed()


class BeforeSecondPart(BeforeFirstPart):
    """Dies when the second trade of an auction is written and not committed."""

    deadly = 2
