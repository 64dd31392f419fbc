"""Gives each test session a folder, and so servers, of its own."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent.parent
MOST_SESSIONS = 16
_held: list[IO[str]] = []


def take_own_folder() -> None:
    """Point `SCRIP_VAR` at a folder that no other session uses, before settings are read.

    That is `var/test`, or what SCRIP_VAR says, or `…-2` and so on while another session
    runs there. Each xdist worker takes a folder inside, with servers of its own: readers
    of the outbox wait for every older transaction of the whole server, so workers that
    shared one would wait for each other's tests.
    """
    # Tests never touch servers that somebody else looks after.
    os.environ.pop("DATABASE_URL", None)
    os.environ.pop("REDIS_URL", None)
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker:
        os.environ["SCRIP_VAR"] = os.environ["SCRIP_VAR"] + f"/{worker}"
    else:
        base = os.environ.get("SCRIP_VAR") or str(ROOT / "var" / "test")
        os.environ["SCRIP_VAR"] = _first_free(base)


def _first_free(base: str) -> str:
    for number in range(1, MOST_SESSIONS + 1):
        folder = Path(base if number == 1 else f"{base}-{number}")
        folder.mkdir(parents=True, exist_ok=True)
        turn = (folder / "session.lock").open("w")
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            turn.close()
            continue
        _held.append(turn)  # Held until this process ends.
        return str(folder)
    raise RuntimeError(f"{MOST_SESSIONS} test sessions are running in {base} already")
