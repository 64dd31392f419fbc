"""How the jobs stand: figures for /readyz, for the admin, for a terminal and for metrics."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from django.db import connection

COUNT_MOST = 100_000
"""Counting stops here: a queue so deep is one figure, and must not take a second to count."""
RECENT_S = 60
SILENCE_S = 5.0

QUEUES = f"""
WITH waiting AS (SELECT queue, due_at FROM jobs_job WHERE state = 1 LIMIT {COUNT_MOST})
SELECT queue, count(*) FILTER (WHERE due_at <= now()), count(*) FILTER (WHERE due_at > now()),
       coalesce(extract(epoch FROM now() - min(due_at) FILTER (WHERE due_at <= now())), 0)::float
  FROM waiting GROUP BY queue ORDER BY queue
"""
STATES = """
SELECT (SELECT count(*) FROM jobs_job WHERE state = 2),
       (SELECT count(*) FROM jobs_job WHERE state = 3),
       (SELECT count(*) FROM jobs_job WHERE state = 4),
       (SELECT count(*) FROM jobs_job WHERE state = 6)
"""
RECENT = f"""
SELECT count(*) FROM (
    SELECT FROM jobs_job
     WHERE state >= 5 AND state = 5 AND ended_at >= now() - {RECENT_S} * interval '1 second'
     LIMIT {COUNT_MOST}) AS recent
"""
SWEEPER = """
SELECT extract(epoch FROM clock_timestamp() - heartbeat_at)::float, rung, returned
  FROM jobs_sweeper WHERE id = 1
"""


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue: jobs that are due, jobs for later, and the age of the oldest that is due."""

    name: str
    due: int
    later: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """All figures. `sweeper_silence_s` is None before the first sweep."""

    queues: list[Queue]
    running: int
    paused: int
    stranded: int
    dead: int
    done_per_s: float
    sweeper_silence_s: float | None
    rung_again: int
    taken_back: int

    @property
    def is_ready(self) -> bool:
        """Say whether the sweeper lives: then no job waits for ever."""
        return self.sweeper_silence_s is not None and self.sweeper_silence_s <= SILENCE_S

    def part(self) -> dict[str, Any]:
        """The report as a part of /readyz."""
        return asdict(self) | {"is_ready": self.is_ready}


def report() -> Report:
    """Read all figures: four queries over partial indexes, a few milliseconds, and tens of them
    when a hundred thousand jobs wait or have ended within a minute."""
    with connection.cursor() as cursor:
        cursor.execute(QUEUES)
        queues = [Queue(*row) for row in cursor.fetchall()]
        cursor.execute(STATES)
        running, paused, stranded, dead = cursor.fetchone()
        cursor.execute(RECENT)
        (done,) = cursor.fetchone()
        cursor.execute(SWEEPER)
        silence_s, rung, returned = cursor.fetchone() or (None, 0, 0)
    per_s = round(done / RECENT_S, 2)
    return Report(queues, running, paused, stranded, dead, per_s, silence_s, rung, returned)
