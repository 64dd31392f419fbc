"""Writes what all processes say to one terminal, each line with the name of who said it."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import time
from typing import TextIO

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
OWN_COLOUR = 1
NAME_WIDTH = 13
LONGEST_LINE = 8_000
MOST_WAITING = 20_000
"""Lines that may wait for a terminal that stands still; further ones are dropped."""
FLUSH_S = 2.0


class Console:
    """Takes lines from the supervisor and prints them in a thread of its own.

    A terminal that is stopped with Ctrl-S, or a pipe that nobody reads, so never holds up
    the processes. `NO_COLOR` and output that is no terminal mean no colour.
    """

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._has_colour = out.isatty() and not os.environ.get("NO_COLOR")
        self._lines: queue.Queue[str | None] = queue.Queue(MOST_WAITING)
        self._colours: dict[str, int] = {}
        self._thread = threading.Thread(target=self._print_all, daemon=True)
        self._thread.start()

    def line(self, name: str, text: str) -> None:
        """Print one line of a process."""
        colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        self._put(f"{self._paint(f'{name:<{NAME_WIDTH}}|', colour)} {text[:LONGEST_LINE]}")

    def say(self, text: str) -> None:
        """Print what the supervisor itself has to say."""
        for line in text.split("\n"):
            self._put(self._paint(line, OWN_COLOUR) if line else line)

    def close(self) -> None:
        """Print what is left, for a moment at most."""
        deadline = time.monotonic() + FLUSH_S
        self._put(None)
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _paint(self, text: str, colour: int) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._has_colour else text

    def _put(self, line: str | None) -> None:
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(line)

    def _print_all(self) -> None:
        while (line := self._lines.get()) is not None:
            # The terminal may be gone: the processes go on until we are told to stop.
            with contextlib.suppress(OSError, ValueError):
                self._out.write(line + "\n")
                self._out.flush()
