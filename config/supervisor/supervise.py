"""Runs an installation: servers, then steps, then processes; and ends all of it together.

One thread, one loop. Whatever waits (for PostgreSQL to answer, for a step to finish, for
processes to end) waits by turning the loop, so output flows, deaths are noticed and a
stop is obeyed at any moment.
"""

from __future__ import annotations

import contextlib
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from config.guard import Guard, kill_group
from config.supervisor.children import MOST_DEATHS, Child, Spawn, tell_end
from config.supervisor.console import Console

TURN_S = 0.05
ASK_EVERY_S = 0.1
ANSWER_S = 60.0
"""How long a server or process may take to answer for the first time."""
STOP_S = 10.0
"""How long processes may take to end by themselves."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopAsked(Exception):
    """Somebody pressed Ctrl-C or sent a signal; the message names it."""


class GivenUp(Exception):
    """It cannot run; the message says why."""


class Supervisor:
    """Starts children and keeps them running until it is told to stop."""

    def __init__(self, console: Console, guard: Guard) -> None:
        self._console = console
        self._guard = guard
        self._children: list[Child] = []
        self._selector = selectors.DefaultSelector()
        self._stop_signals = 0
        self._last_signal = ""

    def listen(self) -> None:
        """Take Ctrl-C, SIGTERM and SIGHUP as the wish to stop; a second one hurries."""
        for each in STOP_SIGNALS:
            signal.signal(each, self._note_stop)

    def _note_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop_signals += 1
        self._last_signal = signal.Signals(number).name

    # -- starting ------------------------------------------------------------------------

    def start(self, child: Child) -> None:
        """Start a child and keep it running from now on."""
        self._children.append(child)
        self._start(child)

    def _start(self, child: Child) -> None:
        child.start()
        if child.output:
            self._selector.register(child.output, selectors.EVENT_READ, child)

    def finish(self, step: Child) -> None:
        """Wait until a child that ends by itself has ended. `GivenUp` if it failed."""
        assert not step.is_kept
        while step.is_running:
            self._turn()
        self._children.remove(step)
        code = self._bury(step)
        if code:
            raise GivenUp(f"{step.name} {tell_end(code)}; its lines above say why.")
        self._console.line(step.name, f"ended well after {step.age_s:.1f} s")

    def wait_for(self, children: Iterable[Child]) -> None:
        """Wait until each child answers. `GivenUp` if one does not in time."""
        for child in children:
            if child.answers and not self.wait_until(child.serves, ANSWER_S):
                raise GivenUp(f"No answer from {child.name} within {ANSWER_S:.0f} seconds.")

    def wait_until(self, is_so: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until something is so, and say whether it came to be."""
        deadline = time.monotonic() + timeout_s
        ask_at = 0.0
        while (now := time.monotonic()) < deadline:
            if now >= ask_at:
                if is_so():
                    return True
                ask_at = time.monotonic() + ASK_EVERY_S
            self._turn()
        return False

    def watch(self) -> NoReturn:
        """Keep everything running until `StopAsked` or `GivenUp`."""
        while True:
            self._turn()

    # -- one turn ------------------------------------------------------------------------

    def _turn(self) -> None:
        """Pass on output, notice deaths, start again what is due. `StopAsked` when told."""
        self._read(TURN_S)
        if self._stop_signals:
            raise StopAsked(self._last_signal)
        for child in self._children:
            if child.is_kept and child.has_died:
                self._revive(child)
            elif child.restart_at is not None and time.monotonic() >= child.restart_at:
                self._start(child)

    def _read(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            self._pass_on(key.data)

    def _pass_on(self, child: Child) -> None:
        lines, is_last = child.read_lines()
        for line in lines:
            self._console.line(child.name, line)
        if is_last and child.output:
            self._forget_output(child.output)

    def _forget_output(self, output: IO[bytes]) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(output)

    def _bury(self, child: Child) -> int:
        if child.output:
            self._pass_on(child)
            self._forget_output(child.output)
        return child.bury(self._guard)

    def _revive(self, child: Child) -> None:
        end = tell_end(self._bury(child))
        wait_s = child.plan_restart()
        if wait_s is None:
            raise GivenUp(f"{child.name} {end}, {MOST_DEATHS + 1} times in a row.")
        self._console.say(f"{child.name} {end}; starting it again in {wait_s:.2g} s")

    # -- stopping ------------------------------------------------------------------------

    def stop_all(self) -> None:
        """End everything, what was started last first; PostgreSQL and Valkey at the end.

        Whoever does not end by itself in time is killed; a further signal kills at once.
        """
        servers = [child for child in self._children if child.output is None]
        self._end([child for child in self._children if child not in servers])
        self._end(servers)
        self._children.clear()

    def _end(self, children: list[Child]) -> None:
        running = [child for child in children if child.is_running]
        for child in reversed(running):
            assert child.process is not None
            child.process.send_signal(child.stop_signal)
        signals = self._stop_signals
        deadline = time.monotonic() + STOP_S
        while any(child.is_running for child in running):
            self._read(0.02)
            if time.monotonic() > deadline or self._stop_signals > signals:
                self._kill(running)
        for child in children:
            if child.process is not None:
                self._bury(child)

    def _kill(self, children: list[Child]) -> None:
        for child in children:
            if child.is_running and child.process is not None:
                self._console.say(f"{child.name} does not stop; killing it")
                kill_group(child.process.pid)
                child.process.wait()


def spawner(
    guard: Guard, command: Iterable[str], *, environment: Mapping[str, str], folder: Path
) -> Spawn:
    """Give what starts a command with its output in a pipe."""

    def spawn() -> subprocess.Popen[bytes]:
        return guard.start(
            list(command), output=subprocess.PIPE, folder=folder, environment=environment
        )

    return spawn
