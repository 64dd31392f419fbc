"""What an installation consists of: every step and every process, in one table.

The supervisor runs this table on one machine; docker/compose.yaml runs the same commands
in containers, and a test holds the two equal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jobs.rules import QUEUE, SLOW_QUEUE

LOOPBACK = "127.0.0.1"
STATEMENT_LIMITS = "-c statement_timeout=30s -c lock_timeout=10s"
"""What one web request may take of PostgreSQL: after it the caller hears 503, not silence."""


@dataclass(frozen=True)
class Place:
    """Where an installation runs: its Python, addresses and counts.

    `host` and `gateway_host` are what the web and the gateway listen on; `origin` is the
    site's address, as people see it.
    """

    python: str = sys.executable
    host: str = LOOPBACK
    web_port: int = 8002
    gateway_port: int = 8001
    gateway_host: str = LOOPBACK
    origin: str = f"http://{LOOPBACK}:8000"
    web_workers: int = 1
    celery_workers: int = 1
    shard_count: int = 1
    caddy: str = "caddy"
    caddyfile: str = "Caddyfile"


@dataclass(frozen=True)
class Step:
    """Something that is done once, before anything serves: a command of `manage.py`."""

    name: str
    options: tuple[str, ...] = ()
    needs_database: bool = True

    def command(self, place: Place) -> tuple[str, ...]:
        """The step as a process of its own."""
        return (place.python, "manage.py", self.name, *self.options)


STEPS = (
    Step("migrate", ("--noinput", "--verbosity", "0")),
    Step("collectstatic", ("--noinput", "--verbosity", "0"), needs_database=False),
    Step("seed_demo"),
)
"""What happens before anything serves, in this order."""


@dataclass(frozen=True)
class Process:
    """Something that runs until it is told to stop. `health_url` answers 200 once it serves."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    health_url: str = ""


def processes(place: Place) -> tuple[Process, ...]:
    """Everything that runs beside PostgreSQL and Redis; what people wait for comes first."""
    return (
        _web(place),
        _front(place),
        _gateway(place),
        *(_writer(place, shard) for shard in range(place.shard_count)),
        Process("relay", (place.python, "manage.py", "relay")),
        Process("market-data", (place.python, "manage.py", "market_data")),
        _worker(place, "worker", QUEUE, place.celery_workers),
        _worker(place, "worker-slow", SLOW_QUEUE, 1),
        Process("beat", (*_celery(place), "beat", "--loglevel", "WARNING")),
        Process("simulator", (place.python, "manage.py", "simulate", "--origin", place.origin)),
    )


def _web(place: Place) -> Process:
    command = (
        *(place.python, "-m", "granian", "config.wsgi:application", "--interface", "wsgi"),
        *("--host", place.host, "--port", str(place.web_port)),
        *("--workers", str(place.web_workers), "--blocking-threads", "1"),
        *("--http", "1", "--no-ws", "--backlog", "1024", "--backpressure", "256"),
        *("--respawn-failed-workers", "--workers-kill-timeout", "3", "--log-level", "warning"),
    )
    url = f"http://{LOOPBACK}:{place.web_port}/healthz"
    return Process("web", command, {"PGOPTIONS": STATEMENT_LIMITS}, health_url=url)


def _gateway(place: Place) -> Process:
    address = ("--host", place.gateway_host, "--port", str(place.gateway_port))
    url = f"http://{LOOPBACK}:{place.gateway_port}/healthz"
    return Process("gateway", (place.python, "manage.py", "gateway", *address), health_url=url)


def _writer(place: Place, shard: int) -> Process:
    name = "writer" if place.shard_count == 1 else f"writer-{shard}"
    return Process(name, (place.python, "manage.py", "writer", "--shard", str(shard)))


def _celery(place: Place) -> tuple[str, ...]:
    return (place.python, "-m", "celery", "-A", "config", "-q")


def _worker(place: Place, name: str, queue: str, count: int) -> Process:
    command = (
        *(*_celery(place), "worker", "--loglevel", "WARNING", "--optimization", "fair"),
        *("--hostname", f"{name}@%h", "--queues", queue, "--concurrency", str(count)),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    )
    # Root is an ordinary user of a bare machine, and our messages are JSON, which runs nothing.
    return Process(name, command, {"PYTHONWARNINGS": "ignore:You're running the worker"})


def _front(place: Place) -> Process:
    command = (place.caddy, "run", "--config", place.caddyfile, "--adapter", "caddyfile")
    folder = str(Path(place.caddyfile).parent / "caddy")
    environment = {"XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
    return Process("caddy", command, environment, health_url=f"{place.origin}/healthz")


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
