"""The orders of one market that wait unseen for a trade at their price. Pure.

A stop waits on a ladder until a trade prints at its price or beyond. Then it is *elected*:
it joins a queue, and runs when its turn comes, even if the price has gone back by then.
Those that one print elects run in this order: buys from the lowest stop price up, then
sells from the highest down, and at one price the smallest order id first.

The book keeps this under its journal; nobody else changes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from operator import itemgetter

from sortedcontainers import SortedList

from orderbook.instructions import NO_CONDITIONS, Place, Side

_id_of = itemgetter(1)


def stop_ticks_of(command: Place) -> int:
    """The price that a stop waits for."""
    return (command.conditions or NO_CONDITIONS).stop_ticks


def is_reached(command: Place, last_ticks: int) -> bool:
    """Say whether a trade at this price (0: there was none) would elect the stop."""
    if not last_ticks:
        return False
    stop_ticks = stop_ticks_of(command)
    return last_ticks >= stop_ticks if command.side is Side.BUY else last_ticks <= stop_ticks


class Stops:
    """Waiting and elected stops. `turns` gives an elected one its place in the queue."""

    __slots__ = ("_buys", "_queue", "_sells", "commands", "newest_turn", "turns")

    def __init__(self) -> None:
        self.commands: dict[int, Place] = {}
        self.turns: dict[int, int] = {}
        self.newest_turn = 0
        self._buys: SortedList[tuple[int, int]] = SortedList()
        self._sells: SortedList[tuple[int, int]] = SortedList()
        self._queue: SortedList[tuple[int, int]] = SortedList()

    def put(self, command: Place, turn: int = 0) -> None:
        """Let a stop wait for its price; with a turn, it waits for that only."""
        order_id = command.order_id
        assert order_id not in self.commands
        self.commands[order_id] = command
        if turn:
            self.turns[order_id] = turn
            self._queue.add((turn, order_id))
            self.newest_turn = max(self.newest_turn, turn)
        else:
            self._ladder(command).add((self._key(command), order_id))

    def take(self, order_id: int) -> tuple[Place, int]:
        """Take a stop away, wherever it is; answer it and its turn (0: it still waited)."""
        command = self.commands.pop(order_id)
        turn = self.turns.pop(order_id, 0)
        if turn:
            self._queue.remove((turn, order_id))
        else:
            self._ladder(command).remove((self._key(command), order_id))
        return command, turn

    def reached_by(self, low_ticks: int, high_ticks: int) -> list[int]:
        """The waiting stops that trades between two prices elect, in the order they shall run."""
        buys = takewhile(lambda entry: entry[0] <= high_ticks, self._buys)
        sells = takewhile(lambda entry: -entry[0] >= low_ticks, self._sells)
        return [*map(_id_of, buys), *map(_id_of, sells)]

    def next_id(self) -> int:
        """The elected stop whose turn it is; 0 if there is none."""
        return self._queue[0][1] if self._queue else 0

    def in_order(self) -> Iterator[tuple[Place, int]]:
        """All stops: those waiting, nearest first, each with turn 0, then the queue as 1, 2, …"""
        for ladder in (self._buys, self._sells):
            for _, order_id in ladder:
                yield self.commands[order_id], 0
        for turn, (_, order_id) in enumerate(self._queue, 1):
            yield self.commands[order_id], turn

    def check(self, last_ticks: int) -> None:
        """Assert all that must hold of the stops; none waits for what was traded already."""
        waiting = [command for command, turn in self.in_order() if not turn]
        assert len(waiting) + len(self.turns) == len(self.commands)
        assert list(self._queue) == sorted((turn, id) for id, turn in self.turns.items())
        for side, ladder in ((Side.BUY, self._buys), (Side.SELL, self._sells)):
            ours = [command for command in waiting if command.side is side]
            assert list(ladder) == sorted((self._key(c), c.order_id) for c in ours)
        for command in waiting:
            assert stop_ticks_of(command) > 0
            assert not is_reached(command, last_ticks), "a stop slept through its price"

    def _ladder(self, command: Place) -> SortedList[tuple[int, int]]:
        return self._buys if command.side is Side.BUY else self._sells

    def _key(self, command: Place) -> int:
        """Smaller for the price that is met first."""
        ticks = stop_ticks_of(command)
        return ticks if command.side is Side.BUY else -ticks
