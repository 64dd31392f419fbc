"""Servers that a test may kill, and the environment of the processes it starts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from django.conf import settings
from django.db import connection

from config.embedded import Embedded
from config.guard import Guard
from tests.sequencer.tally import TABLE


@pytest.fixture
def environment(embedded_servers: Embedded) -> dict[str, str]:
    """What a process needs to work on the test database."""
    name = connection.settings_dict["NAME"]
    url = embedded_servers.database_url.replace("/scrip?", f"/{name}?")
    own = {"DATABASE_URL": url, "SECRET_KEY": settings.SECRET_KEY}
    return os.environ | own | {"DJANGO_SETTINGS_MODULE": "tests.sequencer.bare"}


@pytest.fixture
def own_valkey(environment: dict[str, str], guard: Guard) -> Iterator[Restartable]:
    """A Valkey that only this test uses, so that it may be wiped and killed."""
    with tempfile.TemporaryDirectory(prefix="scrip-own-") as folder:
        embedded = Embedded(Path(folder))
        server = Restartable(embedded.redis_url, embedded.start_valkey, guard)
        environment["REDIS_URL"] = embedded.redis_url
        yield server
        server.kill()


@pytest.fixture
def own_postgres(environment: dict[str, str], guard: Guard) -> Iterator[Restartable]:
    """A PostgreSQL that only this test uses, with the sequencer's tables."""
    with tempfile.TemporaryDirectory(prefix="scrip-own-") as folder:
        Path(folder).chmod(0o755)
        embedded = Embedded(Path(folder))
        server = Restartable(embedded.database_url, embedded.start_postgres, guard)
        environment["DATABASE_URL"] = embedded.database_url
        migrate = [sys.executable, "manage.py", "migrate", "-v0", "--skip-checks", "sequencer"]
        subprocess.run(migrate, env=environment, check=True)
        with psycopg.connect(embedded.database_url) as own:
            own.execute(TABLE)
        yield server
        server.kill()


class Restartable:
    """A server that can be killed outright and started again with what it kept on disk."""

    def __init__(
        self, url: str, start: Callable[[Guard], subprocess.Popen[bytes]], guard: Guard
    ) -> None:
        self.url = url
        self._start = start
        self._guard = guard
        self._process = start(guard)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._guard.forget(self._process)

    def start(self) -> None:
        self._process = self._start(self._guard)

    def restart(self) -> None:
        self.kill()
        self.start()


def wait_for(is_so: Callable[[], bool], timeout_s: float = 60) -> None:
    """Wait until something is so; a connection refused means not yet."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if is_so():
                return
        time.sleep(0.05)
    raise TimeoutError
