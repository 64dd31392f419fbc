"""What measurements share: servers and a database of their own, clients, medians, the table.

Everything runs on embedded servers in `var/bench`, with PostgreSQL's own durability: each
commit is on disk before it is answered. Each module starts on an empty, migrated database.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing as mp
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg

from config.embedded import POSTGRES_USER, Embedded, var_dir
from config.guard import Guard

FOLDER = Path(__file__).resolve().parent
RESULTS = var_dir() / "bench.json"
START_TIMEOUT_S = 60

Figures = dict[str, float]


def modules() -> list[str]:
    """The modules here that measure something, by name."""
    paths = sorted(FOLDER.glob("*.py"))
    return [path.stem for path in paths if "\ndef measure(" in path.read_text()]


@contextmanager
def servers(folder: Path) -> Iterator[Embedded]:
    """Start PostgreSQL and Valkey in this folder; they end with the block, or with us."""
    embedded, guard = Embedded(folder), Guard()
    try:
        embedded.start_postgres(guard)
        embedded.start_valkey(guard)
        yield embedded
    finally:
        guard.close()


def empty_database(embedded: Embedded) -> None:
    """Drop and make the database anew: no run measures another run's rows."""
    url = f"postgresql://{POSTGRES_USER}@/postgres?host={embedded.socket_dir}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS scrip WITH (FORCE)")
        connection.execute("CREATE DATABASE scrip")


def run_module(name: str, answer: Connection) -> None:
    """Measure one module, in a process of its own, and send its figures."""
    django_ready()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    module = importlib.import_module(f"bench.{name}")
    answer.send((module.measure(), dict(getattr(module, "BESIDE", {}))))


def measured(name: str, embedded: Embedded) -> tuple[Figures, dict[str, str]]:
    """Run a module's `measure()` on an empty database: its figures, and what stands beside them."""
    empty_database(embedded)
    ours, theirs = mp.Pipe()
    process = mp.get_context("spawn").Process(target=run_module, args=(name, theirs))
    process.start()
    theirs.close()
    try:
        figures, beside = ours.recv()
    except EOFError:
        process.join()
        sys.exit(f"bench.{name} failed")
    process.join()
    return figures, beside


def merge(figures: Mapping[str, float]) -> None:
    """Write figures into var/bench.json, keeping those of other modules."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    rounded = {name: float(f"{value:.4g}") for name, value in figures.items()}
    fresh = RESULTS.with_suffix(".new")
    fresh.write_text(json.dumps(known | rounded, indent=2, sort_keys=True) + "\n")
    fresh.replace(RESULTS)


def table(figures: Mapping[str, float], beside: Mapping[str, str]) -> str:
    """Lay figures out in lines, each with its baseline and how often it contains it."""
    width = max(map(len, figures), default=0)
    lines = []
    for name, value in figures.items():
        line = f"{name:<{width}}  {_number(value):>12}"
        baseline = beside.get(name)
        if baseline is not None and baseline in figures:
            ratio = value / figures[baseline]
            line += f"  {ratio:>7.2f} x {_number(figures[baseline])} ({baseline})"
        lines.append(line)
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


# -- within a module ---------------------------------------------------------------------------


def django_ready() -> None:
    """Load Django in this process, once."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()


def timed(work: Callable[[], Any]) -> float:
    """The seconds that a piece of work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many percent of the values do not exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


class Clients:
    """Processes that do the same work side by side, each on a connection of its own.

    `ready` names a function `module:name` that a client calls once with its number; it
    gives back the works by name, each doing one thing.
    """

    def __init__(self, count: int, ready: str, argument: object) -> None:
        context = mp.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for number in range(count):
            ours, theirs = context.Pipe()
            arguments = (theirs, ready, argument, number)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        for pipe in self._pipes:
            assert pipe.poll(START_TIMEOUT_S) and pipe.recv() == "ready"

    def rate(self, work: str, seconds: float) -> float:
        """Let all do the work for so long, and say how many were done a second in all."""
        for pipe in self._pipes:
            pipe.send((work, seconds))
        return float(sum(pipe.recv() for pipe in self._pipes))

    def close(self) -> None:
        """Send everybody home."""
        for pipe in self._pipes:
            pipe.send(None)
        for process in self._processes:
            process.join()


def _serve(pipe: Connection, ready: str, argument: object, number: int) -> None:
    django_ready()
    module, _, name = ready.partition(":")
    works: dict[str, Callable[[], object]] = getattr(importlib.import_module(module), name)(
        argument, number
    )
    pipe.send("ready")
    while (order := pipe.recv()) is not None:
        work, seconds = order
        done, started = 0, time.perf_counter()
        while (passed := time.perf_counter() - started) < seconds:
            works[work]()
            done += 1
        pipe.send(done / passed)
