"""One process under supervision: started, read, found dead, started again after a while."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import IO

from config.guard import Guard

BACKOFF_FIRST_S = 0.25
BACKOFF_MOST_S = 10.0
STEADY_S = 30.0
"""A process that ran so long was well; counting its deaths begins anew."""
MOST_DEATHS = 8
"""Deaths in a row after which a process is given up, and everything with it."""
READ_BYTES = 65_536
LONGEST_LINE_BYTES = 65_536

Spawn = Callable[[], subprocess.Popen[bytes]]


class Child:
    """A process and what became of it.

    `spawn` starts it, `answers` says whether it serves yet, and one that is not `is_kept`
    may end: a step that is done once.
    """

    def __init__(
        self,
        name: str,
        spawn: Spawn,
        *,
        answers: Callable[[], bool] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        is_kept: bool = True,
    ) -> None:
        self.name = name
        self.answers = answers
        self.stop_signal = stop_signal
        self.is_kept = is_kept
        self.process: subprocess.Popen[bytes] | None = None
        self.restart_at: float | None = None
        self._spawn = spawn
        self._deaths = 0
        self._started_at = 0.0
        self._partial = b""

    def start(self) -> None:
        """Start the process; reading from it never waits."""
        self.restart_at = None
        self._started_at = time.monotonic()
        self.process = self._spawn()
        if self.output:
            os.set_blocking(self.output.fileno(), False)

    @property
    def output(self) -> IO[bytes] | None:
        """The pipe with what the process says, unless it writes to a file of its own."""
        return self.process.stdout if self.process else None

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def serves(self) -> bool:
        """Say whether it answers, and it is this process that does: others may at its address."""
        return self.is_running and (self.answers is None or self.answers())

    @property
    def has_died(self) -> bool:
        """Say whether the process ended and nobody has buried it yet."""
        return self.process is not None and self.process.poll() is not None

    @property
    def age_s(self) -> float:
        """Seconds since the process was started."""
        return time.monotonic() - self._started_at

    def read_lines(self) -> tuple[list[str], bool]:
        """What the process has said since, and whether that was its last word.

        An unfinished line waits for its end.
        """
        assert self.output is not None
        is_last = False
        try:
            while chunk := os.read(self.output.fileno(), READ_BYTES):
                self._partial += chunk
                if len(self._partial) > LONGEST_LINE_BYTES:
                    break
            is_last = not chunk
        except BlockingIOError:
            pass
        *lines, self._partial = self._partial.split(b"\n")
        if self._partial and (is_last or len(self._partial) > LONGEST_LINE_BYTES):
            lines, self._partial = [*lines, self._partial], b""
        return [line.decode(errors="replace").rstrip("\r") for line in lines], is_last

    def bury(self, guard: Guard) -> int:
        """The process has ended: end what it left behind, and give the code it ended with."""
        process, self.process = self.process, None
        assert process is not None
        guard.forget(process)
        if process.stdout:
            process.stdout.close()
        self._partial = b""
        return process.wait()

    def plan_restart(self) -> float | None:
        """Say in how many seconds to start again, or `None` when it has died too often."""
        self._deaths = 1 if self.age_s > STEADY_S else self._deaths + 1
        if self._deaths > MOST_DEATHS:
            return None
        wait_s = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2.0 ** (self._deaths - 1))
        self.restart_at = time.monotonic() + wait_s
        return wait_s


def tell_end(code: int) -> str:
    """Say how a process ended: by itself, or by which signal."""
    return f"ended with code {code}" if code >= 0 else f"was ended by {_signal_name(-code)}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
