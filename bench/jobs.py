"""How soon a job starts after its commit, when its effect is durable, and how many a second.

Two real workers, started as the supervisor starts them. One clock for all: PostgreSQL runs
on this machine. The commit is the moment at which the enqueuing transaction has returned;
the start is when the job's own code begins; the effect is there when a reader that polls
each half millisecond sees its row. Plain Celery does the same effect from the same broker
in the same run: nothing stands in rows, and what dies with a worker is lost or doubled.

Latencies are medians of three rounds: this measures the code, not the neighbours.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from django.db import connection, transaction

from bench import tasks
from config.embedded import ROOT
from config.guard import Guard
from config.supervisor.table import Place, processes
from edge.database import database_conninfo
from jobs import enqueue, enqueue_many

RATES_PER_S = (50, 200)
SECONDS = 6.0
ROUNDS = 3
JOBS = 6_000
WORKERS = 2
PATIENCE_S = 60.0
POLL_S = 0.0005

TABLE = """
CREATE TABLE IF NOT EXISTS bench_effect (
    number bigint PRIMARY KEY, started_at timestamptz NOT NULL
)
"""
BESIDE = {
    "jobs.throughput_per_s": "jobs.plain_celery_per_s",
    "jobs.commit_to_start_p99_ms_at_50_per_s": "jobs.plain_publish_to_start_p99_ms_at_50_per_s",
    "jobs.commit_to_start_p99_ms_at_200_per_s": "jobs.plain_publish_to_start_p99_ms_at_200_per_s",
}
Put = Callable[[int], None]


def measure() -> dict[str, float]:
    """All figures. Needs a migrated database and a Valkey."""
    with connection.cursor() as cursor:
        cursor.execute(TABLE)
    with workers():
        drained(put_jobs, 200)
        drained(put_messages, 200)
        figures: dict[str, float] = {}
        for per_s in RATES_PER_S:
            figures |= latencies(per_s)
        rates = [drained(put_jobs, JOBS) for _ in range(ROUNDS)]
        figures["jobs.throughput_per_s"] = statistics.median(rates)
        figures["jobs.single_rings_per_s"] = drained(put_one_by_one, JOBS // 3)
        figures["jobs.plain_celery_per_s"] = drained(put_messages, JOBS // 3)
    return figures


# -- latency -----------------------------------------------------------------------------


def latencies(per_s: int) -> dict[str, float]:
    """Commit to start and commit to effect at a fixed rate, beside plain Celery."""
    ours = [steady(put_job, per_s) for _ in range(ROUNDS)]
    plain = [steady(put_message, per_s) for _ in range(ROUNDS)]
    at = f"ms_at_{per_s}_per_s"
    return {
        f"jobs.commit_to_start_p99_{at}": _median(ours, "start_p99"),
        f"jobs.commit_to_effect_p50_{at}": _median(ours, "effect_p50"),
        f"jobs.commit_to_effect_p99_{at}": _median(ours, "effect_p99"),
        f"jobs.plain_publish_to_start_p99_{at}": _median(plain, "start_p99"),
        f"jobs.plain_publish_to_effect_p99_{at}": _median(plain, "effect_p99"),
    }


def steady(put: Put, per_s: int) -> dict[str, float]:
    """Put work down at a steady rate and watch each effect appear. Milliseconds."""
    count = round(per_s * SECONDS)
    committed: list[float] = []
    watch = Watch(count)
    begun = time.perf_counter()
    for number in range(count):
        time.sleep(max(0.0, begun + number / per_s - time.perf_counter()))
        put(number)
        committed.append(time.time())
    seen, started = watch.wait()
    starts = sorted((started[n] - committed[n]) * 1000 for n in range(count))
    effects = sorted((seen[n] - committed[n]) * 1000 for n in range(count))
    return {
        "start_p99": starts[int(count * 0.99)],
        "effect_p50": effects[count // 2],
        "effect_p99": effects[int(count * 0.99)],
    }


class Watch:
    """Sees each effect as soon as it is committed, on a session and a thread of its own."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._seen: dict[int, float] = {}
        self._started: dict[int, float] = {}
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE bench_effect")
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def wait(self) -> tuple[dict[int, float], dict[int, float]]:
        """When each was seen and when each began, once all are there."""
        self._thread.join(PATIENCE_S)
        assert len(self._seen) == self._count, f"{len(self._seen)} of {self._count} were done"
        return self._seen, self._started

    def _look(self) -> None:
        until = time.monotonic() + PATIENCE_S
        new = (
            "SELECT number, extract(epoch FROM started_at)::float"
            "  FROM bench_effect WHERE number >= %s"
        )
        first = 0
        with psycopg.connect(database_conninfo(), autocommit=True) as session:
            while len(self._seen) < self._count and time.monotonic() < until:
                rows = session.execute(new, [first]).fetchall()
                now = time.time()
                for number, began in rows:
                    self._seen.setdefault(number, now)
                    self._started.setdefault(number, began)
                while first in self._seen:
                    first += 1
                time.sleep(POLL_S)


def put_job(number: int) -> None:
    with transaction.atomic():
        enqueue("bench.leave", {"number": number})


def put_message(number: int) -> None:
    tasks.plain.delay(number)


# -- throughput --------------------------------------------------------------------------


def drained(put: Put, count: int) -> float:
    """Put so many down at once, and say how many a second were done, from the first ring."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE bench_effect")
        started = time.perf_counter()
        put(count)
        until = time.monotonic() + PATIENCE_S
        done = 0
        while done < count:
            assert time.monotonic() < until, f"{done} of {count} were done"
            time.sleep(0.01)
            cursor.execute("SELECT count(*) FROM bench_effect")
            (done,) = cursor.fetchone()
    return count / (time.perf_counter() - started)


def put_jobs(count: int) -> None:
    with transaction.atomic():
        enqueue_many("bench.leave", [{"number": number} for number in range(count)])


def put_one_by_one(count: int) -> None:
    for number in range(count):
        put_job(number)


def put_messages(count: int) -> None:
    for number in range(count):
        put_message(number)


# -- workers -----------------------------------------------------------------------------


@contextmanager
def workers() -> Iterator[None]:
    """Two worker processes, as the supervisor's table has them, until the block ends."""
    guard = Guard()
    worker = next(each for each in processes(Place()) if each.name == "worker")
    environment = {
        **os.environ,
        **worker.environment,
        "DJANGO_SETTINGS_MODULE": "bench.jobs_settings",
    }
    try:
        for number in range(WORKERS):
            command = (*worker.command, "--hostname", f"bench{number}@%h")
            guard.start(command, output=subprocess.DEVNULL, folder=ROOT, environment=environment)
        yield
    finally:
        guard.close()


def _median(rounds: list[dict[str, float]], name: str) -> float:
    return statistics.median(each[name] for each in rounds)
