"""Makes this checkout an installation: its folder, its addresses, its servers and processes."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import signal
import sysconfig
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from config.embedded import ROOT, Embedded
from config.guard import Guard
from config.supervisor.children import Child, Spawn
from config.supervisor.front import caddyfile
from config.supervisor.ports import free_ports
from config.supervisor.supervise import spawner
from config.supervisor.table import LOOPBACK, STEPS, Place, Process, cores, processes
from config.supervisor.welcome import welcome

DEFAULT_PORT = 8000
PROBE_TIMEOUT_S = 2.0
MADE_BY_US = (
    *("postgres", "postgres.new", "valkey", "static", "mail", "caddy", "Caddyfile"),
    *("secret_key", "code_key", "code_lookup_key", "demo.json", "postgres.log", "valkey.log"),
)
"""What starting over removes from the data folder."""


EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 (we ask, we do not listen)


class BadSetting(RuntimeError):
    """A variable says something that cannot be."""


class Installation:
    """One data folder, and what runs over it. `without` names what is left out."""

    def __init__(
        self, var: Path, environment: Mapping[str, str], without: frozenset[str] = frozenset()
    ) -> None:
        self.var = var
        self._without = without
        self.embedded = Embedded(var)
        self.has_own_postgres = not environment.get("DATABASE_URL")
        self.has_own_valkey = not environment.get("REDIS_URL")
        self.host = environment.get("HOST") or LOOPBACK
        self._claims = ExitStack()
        self.place = self._place(environment)
        known = {step.name for step in STEPS} | {each.name for each in processes(self.place)}
        if unknown := without - known:
            raise BadSetting(
                f"WITHOUT names {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}."
            )
        self.environment = {
            **self._own_host(),
            **environment,
            "SCRIP_VAR": str(var),
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "SHARD_COUNT": str(self.place.shard_count),
            "PYTHONUNBUFFERED": "1",
        }

    def _place(self, environment: Mapping[str, str]) -> Place:
        self._wanted_port = _number(environment, "PORT", DEFAULT_PORT)
        gateway_host = environment.get("GATEWAY_HOST") or LOOPBACK
        gateway_port = _number(environment, "GATEWAY_PORT", self._wanted_port + 1)
        front_port, gateway_port, web_port = free_ports(
            (self.host, self._wanted_port),
            (gateway_host, gateway_port),
            (LOOPBACK, self._wanted_port + 2),
            claims=self._claims,
        )
        workers = max(1, cores() // 2)
        self.front_port = front_port
        return Place(
            web_port=web_port,
            gateway_port=gateway_port,
            gateway_host=gateway_host,
            origin=f"http://{_in_url(self.host)}:{front_port}",
            web_workers=_number(environment, "WEB_WORKERS", workers),
            celery_workers=_number(environment, "CELERY_WORKERS", workers),
            shard_count=_number(environment, "SHARD_COUNT", 1),
            caddy=str(Path(sysconfig.get_path("scripts")) / "caddy"),
            caddyfile=str(self.var / "Caddyfile"),
        )

    def _own_host(self) -> dict[str, str]:
        """An address we were told to listen on is one people may ask for."""
        if self.host in {LOOPBACK, *EVERYWHERE}:
            return {}
        return {"ALLOWED_HOSTS": f"localhost,{LOOPBACK},{_in_url(self.host)}"}

    def let_go(self) -> None:
        """Let other Scrips of this machine have the ports; otherwise the process's end does."""
        self._claims.close()

    def remarks(self) -> list[str]:
        """What a person should know before it starts."""
        said = []
        if self.front_port != self._wanted_port:
            said.append(f"Port {self._wanted_port} is taken: using {self.front_port}")
        if self.host in EVERYWHERE and "ALLOWED_HOSTS" not in self.environment:
            said.append("Set ALLOWED_HOSTS to the names and addresses that people will use")
        return said

    @property
    def gateway_url(self) -> str:
        """Where programs reach the gateway without Caddy between."""
        return f"http://{_in_url(self.place.gateway_host)}:{self.place.gateway_port}"

    # -- children ------------------------------------------------------------------------

    def servers(self, guard: Guard) -> list[Child]:
        """The embedded servers, unless other ones were given."""
        embedded = self.embedded
        postgres = Child(
            "postgres",
            lambda: embedded.spawn_postgres(guard),
            answers=embedded.postgres_answers,
            stop_signal=signal.SIGINT,
        )
        valkey = Child(
            "valkey",
            lambda: embedded.spawn_valkey(guard),
            answers=embedded.valkey_answers,
            stop_signal=signal.SIGINT,
        )
        wanted = ((postgres, self.has_own_postgres), (valkey, self.has_own_valkey))
        return [child for child, is_wanted in wanted if is_wanted]

    def steps_beside(self, guard: Guard) -> list[Child]:
        """What has to be done, needs no database, and is not done already."""
        without = self._without | ({"collectstatic"} if self._has_collected() else set())
        return [
            Child(step.name, self._spawner(guard, step.command(self.place), {}), is_kept=False)
            for step in STEPS
            if not step.needs_database and step.name not in without
        ]

    def steps_in_turn(self, guard: Guard) -> list[Child]:
        """What has to be done in the database, all of it in one process."""
        names = [each.name for each in STEPS if each.needs_database]
        wanted = [name for name in names if name not in self._without]
        command = (self.place.python, "-m", "config.supervisor.steps", *wanted)
        child = Child("prepare", self._spawner(guard, command, {}), is_kept=False)
        return [child] if wanted else []

    def processes(self, guard: Guard) -> dict[str, Child]:
        """Everything that serves, by name."""
        wanted = [each for each in processes(self.place) if each.name not in self._without]
        return {each.name: self._child(guard, each) for each in wanted}

    def _child(self, guard: Guard, process: Process) -> Child:
        answers = answering(process.health_url) if process.health_url else None
        spawn = self._spawner(guard, process.command, process.environment)
        return Child(process.name, spawn, answers=answers)

    def _spawner(self, guard: Guard, command: tuple[str, ...], extra: Mapping[str, str]) -> Spawn:
        return spawner(guard, command, environment={**self.environment, **extra}, folder=ROOT)

    # -- files ---------------------------------------------------------------------------

    def write_caddyfile(self) -> None:
        """Tell Caddy which address goes where."""
        text = caddyfile(
            site=f"http://:{self.front_port}",
            bind=self.host,
            web_upstream=f"{LOOPBACK}:{self.place.web_port}",
            gateway_upstream=f"{self.place.gateway_host}:{self.place.gateway_port}",
        )
        (self.var / "Caddyfile").write_text(text)

    def _has_collected(self) -> bool:
        """Say whether static files were collected from just what is there now."""
        stamp = self._static_stamp()
        return stamp.exists() and stamp.read_text() == self._static_digest()

    def note_done(self, step: str) -> None:
        """Remember from what the static files were collected, so that it is done once."""
        if step == "collectstatic":
            self._static_stamp().write_text(self._static_digest())

    def _static_stamp(self) -> Path:
        return self.var / "static" / ".collected"

    def _static_digest(self) -> str:
        found = hashlib.sha256((ROOT / "requirements" / "base.txt").read_bytes())
        for path in sorted(ROOT.glob("*/static/**/*")):
            if path.is_file():
                found.update(f"{path}:{path.stat().st_size}:{path.stat().st_mtime_ns}".encode())
        return found.hexdigest()

    def start_over(self) -> None:
        """Remove all data. `BadSetting` if the database is not the embedded one."""
        if not self.has_own_postgres:
            raise BadSetting("RESET empties the embedded database only; yours is left to you.")
        for name in MADE_BY_US:
            path = self.var / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def welcome(self, *, is_ready: bool) -> str:
        """The table that is printed once everything runs."""
        return welcome(
            url=self.place.origin,
            gateway_url=self.gateway_url,
            demo=self._demo(),
            is_ready=is_ready,
        )

    def _demo(self) -> dict[str, Any]:
        """Who can sign in to the demo, as `seed_demo` wrote it down."""
        try:
            found = json.loads((self.var / "demo.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _in_url(host: str) -> str:
    """Write a listening address as one that can be called from this machine."""
    host = LOOPBACK if host in EVERYWHERE else host
    return f"[{host}]" if ":" in host else host


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise BadSetting(f"{name} must be a number from 1 to 65535, not {text!r}.")
    return int(text)


def answering(url: str) -> Callable[[], bool]:
    """Give what asks whether an address answers 200."""
    address, _, path = url.removeprefix("http://").partition("/")

    def asks() -> bool:
        connection = http.client.HTTPConnection(address, timeout=PROBE_TIMEOUT_S)
        try:
            connection.request("GET", f"/{path}")
            response = connection.getresponse()
            response.read()
            return response.status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return asks


def own_environment() -> dict[str, str]:
    """The environment of this process, where an empty value means that nothing was said."""
    return {name: value for name, value in os.environ.items() if value}
