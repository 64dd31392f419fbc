"""A whole Scrip for end-to-end tests: the real processes, which may be killed.

    def test_order_survives_its_writer(start_scrip: StartScrip) -> None:
        scrip = start_scrip("web", "gateway", "writer", "relay")
        httpx.post(f"{scrip.gateway_url}/api/v1/markets/X/orders/", ...)
        scrip.kill("writer")            # kill -9, with everything it started
        scrip.start("writer")           # returns once it writes
        assert scrip.query("SELECT count(*) FROM orderbook_order") == [(1,)]

The commands are the supervisor's own (config/supervisor/table.py). Each Scrip has a fresh,
migrated database and a Valkey of its own. PostgreSQL itself is shared with the other tests
of this session, unless `own_postgres=True`: then `kill_postgres` and `start_postgres` work
too (it costs some seconds more). `with_pages=True` collects static files, which HTML pages
need and the API does not (a few seconds, once a session). `shard_count=2` has a "writer-0"
and a "writer-1" in place of the "writer".

For one Scrip in many tests of a file, make a module fixture:

    @pytest.fixture(scope="module")
    def scrip(guard, embedded_servers):
        with Scrip(guard, embedded_servers) as scrip:
            scrip.start("web", "gateway", "writer", "relay")
            yield scrip
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from config.embedded import ROOT, Embedded, EmbeddedServerFailed, stop
from config.guard import Guard, is_running, kill_group
from config.supervisor.installation import answering
from config.supervisor.ports import free_ports
from config.supervisor.table import LOOPBACK, Place, Process, processes

__all__ = ["Scrip", "StartScrip", "is_running"]

READY_S = 120.0
STOP_S = 15.0
TEMPLATE = "scrip_template"
FIRST_PORT = 20_000
LAST_PORT = 30_000

StartScrip = Callable[..., "Scrip"]
_migrated: set[Path] = set()
_collected: dict[Path, Path] = {}


class Scrip:
    """A running Scrip. Leave it as a context manager to stop all of it."""

    def __init__(
        self,
        guard: Guard,
        shared: Embedded,
        *,
        own_postgres: bool = False,
        with_pages: bool = False,
        shard_count: int = 1,
        environment: dict[str, str] | None = None,
    ) -> None:
        # Not in pytest's own folder: PostgreSQL, another user, may not reach into that.
        self.folder = shared.var / "scrips" / secrets.token_hex(6)
        self.folder.mkdir(parents=True)
        self._guard = guard
        self._shared = shared
        self._own = Embedded(self.folder)
        self._postgres = self._own.start_postgres(guard) if own_postgres else None
        self._valkey = self._own.start_valkey(guard)
        self.database_url = self._make_database()
        self._place = _free_place(shard_count)
        self._table = {process.name: process for process in processes(self._place)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._others: list[subprocess.Popen[bytes]] = []
        self.environment = self._environment() | (environment or {})
        if with_pages:
            self._collect_static()
        if own_postgres:
            self.manage("migrate", "--noinput", "--verbosity", "0")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- addresses -----------------------------------------------------------------------

    @property
    def web_url(self) -> str:
        """The API and the pages, without Caddy between."""
        return f"http://{LOOPBACK}:{self._place.web_port}"

    @property
    def gateway_url(self) -> str:
        """The hot path, without Caddy between."""
        return f"http://{LOOPBACK}:{self._place.gateway_port}"

    @property
    def redis_url(self) -> str:
        return self._own.redis_url

    # -- processes -----------------------------------------------------------------------

    def start(self, *names: str) -> None:
        """Start processes by the names of the supervisor's table; returns once all serve."""
        for name in names:
            self._spawn(name)
        deadline = time.monotonic() + READY_S
        for name in names:
            self._wait_until_serving(name, deadline)

    def start_another(self, name: str) -> subprocess.Popen[bytes]:
        """Start one more process of a kind that runs already, and do not wait for it.

        Its log is `log("writer-2")`, then -3 and so on.
        """
        process = self._run(self._table[name], f"{name}-{len(self._others) + 2}")
        self._others.append(process)
        return process

    def kill(self, name: str) -> None:
        """Kill a process and all it started, at once, as a power cut would."""
        process = self._processes.pop(name)
        kill_group(process.pid)
        process.wait()
        self._guard.forget(process)

    def stop(self, name: str) -> int:
        """Ask a process to stop, wait for it, and give the code it ended with."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_S)
        finally:
            self._guard.forget(process)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process: SIGSTOP and SIGCONT make it stand still for a while."""
        os.kill(self._processes[name].pid, number)

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def log(self, name: str) -> str:
        """All that processes of this name have said so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    # -- servers -------------------------------------------------------------------------

    def kill_postgres(self) -> None:
        """Kill PostgreSQL at once. Needs `own_postgres=True`."""
        assert self._postgres is not None, "this Scrip shares its PostgreSQL"
        kill_group(self._postgres.pid)
        self._postgres.wait()
        self._guard.forget(self._postgres)

    def stop_postgres(self) -> None:
        """Shut PostgreSQL down cleanly: it ends its sessions and keeps what is committed."""
        assert self._postgres is not None, "this Scrip shares its PostgreSQL"
        stop(self._postgres)
        self._guard.forget(self._postgres)

    def start_postgres(self) -> None:
        """Start PostgreSQL again, over the same data; returns once it answers.

        A session that was at work outlives its killed server for a moment: until it is gone,
        none can be started.
        """
        deadline = time.monotonic() + READY_S
        while True:
            try:
                self._postgres = self._own.start_postgres(self._guard)
            except EmbeddedServerFailed as failed:
                if "still in use" not in str(failed) or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def kill_valkey(self) -> None:
        """Kill Valkey at once: everything in it is lost."""
        kill_group(self._valkey.pid)
        self._valkey.wait()
        self._guard.forget(self._valkey)

    @property
    def valkey_pid(self) -> int:
        return self._valkey.pid

    def start_valkey(self) -> None:
        """Start an empty Valkey; returns once it answers."""
        self._valkey = self._own.start_valkey(self._guard)

    # -- looking inside ------------------------------------------------------------------

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement in this Scrip's database and give its rows."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(sql.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def manage(self, *arguments: str) -> str:
        """Run `manage.py` for this Scrip and give what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"manage.py {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def close(self) -> None:
        """Stop everything, and remove the database and all files."""
        running = [self._processes.pop(name) for name in list(self._processes)]
        for process in (*running, *self._others):
            process.send_signal(signal.SIGTERM)
        for process in (*running, *self._others):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            self._guard.forget(process)
        for server in filter(None, (self._valkey, self._postgres)):
            stop(server)
            self._guard.forget(server)
        if self._postgres is None:
            _ask(self._shared, f'DROP DATABASE "{self._name}" WITH (FORCE)')
        shutil.rmtree(self.folder)

    # -- inside --------------------------------------------------------------------------

    def _make_database(self) -> str:
        if self._postgres is not None:
            return self._own.database_url
        self._name = f"scrip_{secrets.token_hex(6)}"
        _make_template(self._shared)
        _ask(self._shared, f'CREATE DATABASE "{self._name}" TEMPLATE {TEMPLATE}')
        return self._shared.database_url.replace("/scrip?", f"/{self._name}?")

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "SCRIP_VAR": str(self.folder),
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "SECRET_KEY": secrets.token_urlsafe(32),
            "CODE_KEYS": secrets.token_urlsafe(32),
            "CODE_LOOKUP_KEY": secrets.token_urlsafe(32),
            "TRUSTED_PROXY_COUNT": "0",
            "SHARD_COUNT": str(self._place.shard_count),
            "PYTHONUNBUFFERED": "1",
        }

    def _collect_static(self) -> None:
        collected = _collected.get(self._shared.var)
        if collected is None:
            collected = _collected[self._shared.var] = self._shared.var / "static-collected"
            self.manage("collectstatic", "--noinput", "--verbosity", "0")
            shutil.rmtree(collected, ignore_errors=True)
            (self.folder / "static").rename(collected)
        (self.folder / "static").symlink_to(collected)

    def _spawn(self, name: str) -> None:
        assert name not in self._processes, f"{name} runs already"
        self._processes[name] = self._run(self._table[name], name)

    def _run(self, process: Process, log_name: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{log_name}.log").open("ab") as log:
            return self._guard.start(
                process.command,
                output=log,
                folder=ROOT,
                environment=self.environment | dict(process.environment),
            )

    def _wait_until_serving(self, name: str, deadline: float) -> None:
        serves = self._serving(name)
        while not serves():
            died = self._processes[name].poll() is not None
            if died or time.monotonic() > deadline:
                what = "ended" if died else "does not serve"
                raise AssertionError(f"{name} {what}:\n{self.log(name)[-4000:]}")
            time.sleep(0.05)

    def _serving(self, name: str) -> Callable[[], bool]:
        """How each process shows that it serves."""
        if url := self._table[name].health_url:
            return answering(url)
        since = self.query("SELECT clock_timestamp()")[0][0]
        if name.startswith("writer"):
            shard = int(name.partition("-")[2] or 0)
            sql = (
                "SELECT 1 FROM sequencer_shard"
                " WHERE id = %s AND state = 'running' AND heartbeat_at > %s"
            )
            return lambda: bool(self.query(sql, shard, since))
        if name == "relay":
            sql = "SELECT 1 FROM live_relay WHERE heartbeat_at > %s"
            return lambda: bool(self.query(sql, since))
        if name == "market-data":
            sql = "SELECT 1 FROM orderbook_projector WHERE heartbeat_at > %s"
            return lambda: bool(self.query(sql, since))
        return lambda: True


def _free_place(shard_count: int) -> Place:
    first = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT)
    web, gateway = free_ports((LOOPBACK, first), (LOOPBACK, first + 1))
    origin = f"http://{LOOPBACK}:{web}"
    return Place(web_port=web, gateway_port=gateway, origin=origin, shard_count=shard_count)


def _make_template(shared: Embedded) -> None:
    """Make the database that every fresh one is a copy of, once a session."""
    if shared.var in _migrated:
        return
    _ask(shared, f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")
    _ask(shared, f"CREATE DATABASE {TEMPLATE}")
    url = shared.database_url.replace("/scrip?", f"/{TEMPLATE}?")
    keys = dict.fromkeys(("SECRET_KEY", "CODE_KEYS", "CODE_LOOKUP_KEY"), "only-for-migrating")
    settings = {"DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE_URL": url}
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--noinput", "--verbosity", "0"],
        cwd=ROOT,
        env={**os.environ, **keys, **settings},
        check=True,
    )
    _migrated.add(shared.var)


def _ask(shared: Embedded, sql: str) -> None:
    url = shared.database_url.replace("/scrip?", "/postgres?")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.encode())
