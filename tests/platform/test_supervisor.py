"""`python -m config.supervisor`, from a checkout whose path has spaces, as a person uses it.

The tests of this file follow each other over one data folder, which is made by the first.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from config.embedded import Embedded
from tests.support.checkout import copy_of_the_code

FEW = "seed_demo,simulator,collectstatic,worker,worker-slow,beat,gateway,writer,relay"
NO_DEMO = "seed_demo,simulator,collectstatic"
START_S = 180.0

pytestmark = pytest.mark.timeout(900)


class Checkout:
    """A checkout with a data folder, and the supervisors started in it."""

    def __init__(self, folder: Path, var: Path) -> None:
        self.folder = folder
        self.var = var
        self.port = 24_000 + os.getpid() % 1000 * 4
        self._count = 0

    @contextlib.contextmanager
    def run(self, *arguments: str, **environment: str) -> Iterator[Run]:
        """Start a supervisor; whatever happens in the block, it runs no longer after it."""
        run = self.start(*arguments, **environment)
        try:
            yield run
        finally:
            run.process.kill()
            run.process.wait()
            wait_until(lambda: not self.processes())

    def start(self, *arguments: str, **environment: str) -> Run:
        log = self.var.parent / f"supervisor-{self._count}.log"
        values = {"SCRIP_VAR": str(self.var), "PORT": str(self.port)}
        with log.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "config.supervisor", *arguments],
                cwd=self.folder,
                env={**os.environ, **values, **environment},
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self._count += 1
        return Run(process, log)

    def processes(self) -> set[int]:
        """Everything that runs for this data folder, whoever its parent is."""
        mark = f"SCRIP_VAR={self.var}".encode()
        found = set()
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes().split(b"\0"):
                    found.add(int(path.parent.name))
            except OSError:
                continue
        return found


class Run:
    """One supervisor and what it printed."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log

    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + START_S
        while text not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def stop(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(40)

    def url(self) -> str:
        found = re.search(r"site +(http://\S+)/", self.said())
        assert found
        return found[1]


@pytest.fixture(scope="module")
def checkout(embedded_servers: Embedded) -> Checkout:
    base = embedded_servers.var / "a path with spaces"
    shutil.rmtree(base, ignore_errors=True)
    folder = copy_of_the_code(base / "scrip")
    return Checkout(folder, base / "its data")


def wait_until(is_so: Callable[[], object], timeout_s: float = 60.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.1)
    return False


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def test_everything_starts_and_ctrl_c_leaves_nothing_running(checkout: Checkout) -> None:
    with (
        socket.create_server(("127.0.0.1", checkout.port)),
        checkout.run("--without", NO_DEMO) as run,
    ):
        run.wait_for("Scrip is ready.")
        assert f"Port {checkout.port} is taken: using {checkout.port + 1}" in run.said()
        assert is_ready(run.url())
        assert httpx.get(f"{run.url()}/api/schema/").status_code == 200
        order = httpx.post(f"{run.url()}/api/v1/markets/X/orders/", json={})
        assert (order.status_code, order.json()["code"]) == (401, "unauthenticated")
        assert "server" not in order.headers, "the gateway answered, not the web"
        assert len(checkout.processes()) >= 10
        assert run.stop(signal.SIGINT) == 0
        assert run.said().endswith("Stopped; nothing is left running.\n")
        assert checkout.processes() == set()
        assert "\033[" not in run.said(), "no colour where there is no terminal"


def test_second_start_keeps_the_data(checkout: Checkout) -> None:
    with checkout.run("--without", FEW) as run:
        run.wait_for("The site answers")
        with psycopg.connect(Embedded(checkout.var).database_url, autocommit=True) as connection:
            connection.execute("CREATE TABLE keepsake AS SELECT 7 AS number")
        assert run.stop(signal.SIGTERM) == 0
        assert checkout.processes() == set()
    with checkout.run("--without", FEW) as run:
        run.wait_for("The site answers")
        with psycopg.connect(Embedded(checkout.var).database_url) as connection:
            assert connection.execute("SELECT number FROM keepsake").fetchall() == [(7,)]
        assert run.stop(signal.SIGHUP) == 0
        assert checkout.processes() == set()


def test_killed_servers_come_back_and_a_second_instance_is_refused(checkout: Checkout) -> None:
    with checkout.run("--without", FEW) as run:
        run.wait_for("The site answers")
        url = json.loads((checkout.var / "supervisor.lock").read_text())["url"]

        second = checkout.start("--without", FEW)
        assert second.process.wait(20) == 1
        assert f"Scrip runs already from {checkout.var} at {url}" in second.said()

        postmaster = (checkout.var / "postgres" / "postmaster.pid").read_text().split()[0]
        os.kill(int(postmaster), signal.SIGKILL)
        run.wait_for("postgres was ended by SIGKILL; starting it again in 0.25 s")
        assert wait_until(lambda: part(url, "database")["is_ready"])

        run.process.kill()
        run.process.wait()
        assert wait_until(lambda: not checkout.processes()), "the guard ends what is left"


def part(url: str, name: str) -> Any:
    return httpx.get(f"{url}/readyz").json()["parts"][name]


def test_reset_starts_over(checkout: Checkout) -> None:
    without = f"{FEW},web,caddy"
    with checkout.run("--reset", "--without", without) as run:
        run.wait_for("prepare      | ended well")
        with psycopg.connect(Embedded(checkout.var).database_url) as connection:
            [gone] = connection.execute("SELECT to_regclass('keepsake') IS NULL").fetchall()
        assert gone == (True,)
        assert run.stop(signal.SIGINT) == 0
