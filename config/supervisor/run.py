"""From nothing to a running installation, in numbered stages, and back."""

from __future__ import annotations

import time
from typing import IO

from config.embedded import EmbeddedServerFailed, var_dir
from config.guard import Guard
from config.supervisor.console import Console
from config.supervisor.installation import (
    BadSetting,
    Installation,
    answering,
    own_environment,
)
from config.supervisor.instance import write_down
from config.supervisor.ports import NoFreePort
from config.supervisor.supervise import GivenUp, StopAsked, Supervisor

READY_S = 60.0
FIRST = ("web",)
"""What loads while the tables are made."""


def run(turn: IO[str], *, has_to_reset: bool, without: frozenset[str]) -> int:
    """Run until told to stop. Returns 0 after a clean stop, 1 when it had to give up."""
    console = Console()
    guard = Guard(keep_open=turn)
    supervisor = Supervisor(console, guard)
    supervisor.listen()
    try:
        installation = Installation(var_dir(), own_environment(), without)
        write_down(turn, installation.place.origin)
        if has_to_reset:
            installation.start_over()
        _start(installation, supervisor, guard, console)
        supervisor.watch()
    except StopAsked as asked:
        console.say(f"\nStopping everything ({asked})")
        code = 0
    except (GivenUp, BadSetting, EmbeddedServerFailed, NoFreePort) as error:
        console.say(f"\n{error}\nStopping everything.")
        code = 1
    finally:
        supervisor.stop_all()
        guard.close()
        console.say("Stopped; nothing is left running.")
        console.close()
    return code


def _start(
    installation: Installation, supervisor: Supervisor, guard: Guard, console: Console
) -> None:
    """Start everything in order, and say when it is ready and where to look."""
    started = time.monotonic()
    for remark in installation.remarks():
        console.say(remark)

    # 1. PostgreSQL and Valkey, and beside them what needs no database.
    beside = installation.steps_beside(guard)
    servers = installation.servers(guard)
    processes = installation.processes(guard)
    first = [processes.pop(name) for name in FIRST if name in processes]
    for child in (*beside, *servers):
        supervisor.start(child)
    supervisor.wait_for(servers)
    if installation.has_own_postgres:
        installation.embedded.create_database()

    # 2. The tables and the demo, while the web loads: nobody reaches it before the front.
    steps = installation.steps_in_turn(guard)
    for child in (*steps, *first):
        supervisor.start(child)
    for child in (*steps, *beside):
        supervisor.finish(child)
        installation.note_done(child.name)

    # 3. The front, so that somebody can look already.
    installation.write_caddyfile()
    supervisor.wait_for(first)
    if front := processes.pop("caddy", None):
        supervisor.start(front)
        supervisor.wait_for([front])
    took_s = time.monotonic() - started
    console.say(f"The site answers at {installation.place.origin} after {took_s:.1f} s")

    # 4. Everything else.
    for child in processes.values():
        supervisor.start(child)
    supervisor.wait_for(processes.values())
    is_ready = supervisor.wait_until(answering(f"{installation.place.origin}/readyz"), READY_S)
    console.say(installation.welcome(is_ready=is_ready))
