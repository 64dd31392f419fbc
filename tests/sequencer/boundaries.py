"""Parts of a writer that kill their own process at one step, and a process made of them.

`python -m tests.sequencer.boundaries SHARD [BOUNDARY COUNT [ENGINE]]` runs a writer that ends
by SIGKILL when it reaches the boundary for the COUNT-th time. The engine is the tally's unless
another is named by its dotted path.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sequencer.commands import Answer, Command
    from sequencer.engine import Decided, Engine, Meanwhile
    from sequencer.session import Flight, Session
    from sequencer.stream import CommandStream

BOUNDARIES = (
    "before_read",
    "before_execute",
    "after_execute",
    "before_commit",
    "under_way",
    "after_commit",
    "after_answer",
)


class Trap:
    """Kills the process when its boundary is reached often enough."""

    def __init__(self, boundary: str = "", count: int = 0) -> None:
        self._boundary = boundary
        self._left = count

    def reach(self, boundary: str) -> None:
        if boundary != self._boundary:
            return
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


TALLY = "tests.sequencer.tally.Tally"


def trapped_stream(trap: Trap, shard: int) -> CommandStream:
    from django.conf import settings

    from sequencer.stream import RedisCommandStream

    class TrappedStream(RedisCommandStream):
        def read(self, limit: int, *, wait_s: float, after: int = 0) -> list[Command]:
            has_answered = bool(self._finished)
            trap.reach("before_read")
            commands = super().read(limit, wait_s=wait_s, after=after)
            if has_answered:
                trap.reach("after_answer")
            return commands

    return TrappedStream(settings.REDIS_URL, shard)


def trapped_engine(trap: Trap, shard: int, engine: str) -> Engine:
    from django.utils.module_loading import import_string

    class TrappedEngine(import_string(engine)):  # type: ignore[misc]  # named at run time
        def execute(self, commands: Sequence[Command], /) -> list[Answer]:
            trap.reach("before_execute")
            answers: list[Answer] = super().execute(commands)
            trap.reach("after_execute")
            return answers

        def decide(self, commands: Sequence[Command], /, meanwhile: Meanwhile) -> Decided | None:
            trap.reach("before_execute")
            decided: Decided | None = super().decide(commands, meanwhile)
            if decided is not None:
                trap.reach("after_execute")
            return decided

        def committed(self) -> None:
            trap.reach("after_commit")
            super().committed()

    trapped: Engine = TrappedEngine(shard)
    return trapped


def trapped_session(trap: Trap, shard: int) -> Session:
    from sequencer.session import Session

    class TrappedSession(Session):
        def fence(self, position: str | None, command_count: int) -> None:
            super().fence(position, command_count)
            trap.reach("before_commit")
            trap.reach("under_way")

        def take_off(self, decided: Decided, position: str) -> Flight:
            trap.reach("before_commit")
            flight = super().take_off(decided, position)
            trap.reach("under_way")
            return flight

        def land(self, flight: Flight) -> None:
            super().land(flight)
            trap.reach("after_commit")

    return TrappedSession(shard, running_patience_s=2)


def main(shard: int, boundary: str = "", count: int = 0, engine: str = TALLY) -> None:
    import django

    django.setup()
    from sequencer.session import FencedOff
    from sequencer.writer import Writer

    trap = Trap(boundary, count)
    writer = Writer(
        stream=trapped_stream(trap, shard),
        engine=trapped_engine(trap, shard, engine),
        session=trapped_session(trap, shard),
    )
    signal.signal(signal.SIGTERM, lambda *_: writer.stop())
    try:
        writer.run()
    except FencedOff:
        sys.exit(3)


if __name__ == "__main__":
    _, shard, boundary, count, engine = [*sys.argv, *("", "0", TALLY)[len(sys.argv) - 2 :]]
    main(int(shard), boundary, int(count), engine)
