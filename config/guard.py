"""Ends the processes we started, whatever becomes of us.

A guard is a small process of its own that holds the reading end of a pipe. Every process
started through it writes its number into that pipe before it becomes what it is to be.
When the pipe closes, because we closed it or because we died, even by kill -9, the guard
stops every process group that it was told of and that we did not take back.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

GRACE_S = 10.0
"""How long processes may take to stop by themselves before they are killed."""

ANNOUNCE = 'echo "+$$ $1" >&0; shift; exec "$@" </dev/null'
"""Tell the guard our number and how to stop us, then become the command. The pipe is
standard input, so that it needs no permission to open and is gone once we are ready."""


class Guard:
    """Starts processes that cannot outlive us. Use from one thread.

    The guard keeps a file open that it is given: a lock so lasts until all have ended.
    """

    def __init__(self, keep_open: IO[str] | None = None, grace_s: float = GRACE_S) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).resolve()), str(grace_s)],
            stdin=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
            pass_fds=(keep_open.fileno(),) if keep_open else (),
        )

    def start(
        self,
        command: Sequence[str],
        *,
        output: int | IO[bytes],
        stop_signal: signal.Signals = signal.SIGTERM,
        user: str | None = None,
        folder: Path | str = "/",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command as the leader of a process group of its own."""
        return subprocess.Popen(
            ["/bin/sh", "-c", ANNOUNCE, "sh", str(int(stop_signal)), *command],
            stdin=self._pipe,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=user,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )

    def forget(self, process: subprocess.Popen[bytes]) -> None:
        """Take back a process that has ended, and end what it left in its group."""
        kill_group(process.pid)
        self._pipe.write(f"-{process.pid}\n".encode())
        self._pipe.flush()

    def close(self) -> None:
        """Stop whatever still runs; returns when it is gone."""
        with contextlib.suppress(BrokenPipeError):
            self._pipe.close()
        self._process.wait()

    @property
    def _pipe(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin


def kill_group(group: int) -> None:
    """Kill every process of a group; an empty or unknown group is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _watch(lines: IO[str]) -> dict[int, int]:
    """Read until the pipe closes; returns the groups that are left, with their signals."""
    groups: dict[int, int] = {}
    for line in lines:
        number, *stop_signal = line[1:].split()
        if line.startswith("+"):
            groups[int(number)] = int(stop_signal[0])
        else:
            groups.pop(int(number), None)
    return groups


def _end(groups: dict[int, int], grace_s: float) -> None:
    for leader, stop_signal in groups.items():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(leader, stop_signal)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline and any(map(is_running, groups)):
        time.sleep(0.02)
    for leader in groups:
        kill_group(leader)


def is_running(leader: int) -> bool:
    """Say whether a process runs; one that has ended and waits to be buried does not."""
    try:
        os.kill(leader, 0)
        stat = Path(f"/proc/{leader}/stat").read_text()
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    except OSError:  # A system without /proc.
        return True
    return stat.rpartition(")")[2].split()[0] != "Z"


if __name__ == "__main__":
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    _end(_watch(sys.stdin), float(sys.argv[1]))
