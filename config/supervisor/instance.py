"""Lets one supervisor run in a data folder at a time, and says who it is."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import IO, Any

from config.guard import is_running

STOPPING_S = 20.0
"""How long the guard of a supervisor that was killed may take to end its processes."""


class RunsAlready(RuntimeError):
    """Another supervisor runs in the same folder."""


class FolderNotOurs(RuntimeError):
    """The data folder cannot be written by this user."""


def take_turn(var: Path) -> IO[str]:
    """Become the one supervisor of a folder, until the file that is returned is closed.

    The guard inherits the file: while it still ends the processes of a supervisor that
    was killed, the next one waits here. `RunsAlready` if a supervisor lives.
    """
    try:
        var.mkdir(parents=True, exist_ok=True)
        turn = (var / "supervisor.lock").open("a+")
    except PermissionError:
        raise FolderNotOurs(
            f"{var} belongs to another user. Remove it as that user, or set SCRIP_VAR to a"
            " folder of yours."
        ) from None
    deadline = time.monotonic() + STOPPING_S
    while True:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return turn
        except BlockingIOError:
            other = _read(turn)
            if _is_alive(other.get("pid")) or time.monotonic() > deadline:
                turn.close()
                raise RunsAlready(_tell(var, other)) from None
            time.sleep(0.1)


def write_down(turn: IO[str], url: str) -> None:
    """Leave word of who runs here and where it is reached."""
    turn.seek(0)
    turn.truncate()
    turn.write(json.dumps({"pid": os.getpid(), "url": url}))
    turn.flush()


def _read(turn: IO[str]) -> dict[str, Any]:
    turn.seek(0)
    try:
        found = json.loads(turn.read())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_alive(pid: object) -> bool:
    # Whoever holds the lock and has not said its name yet is just starting.
    return is_running(pid) if isinstance(pid, int) else True


def _tell(var: Path, other: dict[str, Any]) -> str:
    where = f" at {other['url']}" if other.get("url") else ""
    who = f" (process {other['pid']})" if other.get("pid") else ""
    return (
        f"Scrip runs already from {var}{where}{who}.\n"
        "Stop it first with Ctrl-C in its terminal, or set SCRIP_VAR to run a second one beside it."
    )
