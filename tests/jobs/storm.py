"""Jobs that are enqueued while workers and servers die; or plain messages, as the control."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import psycopg
import redis

from config.embedded import ROOT
from tests.jobs.work import TABLE
from tests.support.processes import Scrip

CAUSES = "CREATE TABLE IF NOT EXISTS causes (number bigint PRIMARY KEY)"
COUNTS = """
SELECT (SELECT count(*) FROM effects), (SELECT count(DISTINCT number) FROM effects)
"""
UNFINISHED = "SELECT count(*) FROM jobs_job WHERE state <> 5 AND name = 'tests.dawdle'"
PATIENCE_S = 60.0
"""Without any progress for so long, what is missing is lost."""


@dataclass
class Storm:
    """What becomes of `jobs` jobs while the worker group is killed `kills` times.

    `how` is "rows" (ours) or "messages" (plain Celery). The faults come at kills chosen by
    their number: `at[3]` runs just before the fourth kill.
    """

    scrip: Scrip
    how: str
    jobs: int
    kills: int
    at: Mapping[int, Callable[[], object]] = field(default_factory=dict)
    pause_s: float = 0.05
    patience_s: float = PATIENCE_S
    seconds: float = 0.0

    def blow(self) -> None:
        """Enqueue and kill; returns when all is done, or nothing moves any more."""
        started = time.monotonic()
        chance = random.Random(3)
        for statement in (TABLE, CAUSES, "TRUNCATE effects, causes"):
            self.scrip.query(statement)
        arguments = (self.how, "0", str(self.jobs), str(self.pause_s))
        command = [sys.executable, "-m", "tests.jobs.enqueuer", *arguments]
        putting = subprocess.Popen(command, cwd=ROOT, env=self.scrip.environment)
        try:
            for number in range(self.kills):
                self._until_it_works()
                time.sleep(chance.uniform(0.05, 0.6))
                self.at.get(number, lambda: None)()
                self.scrip.kill("worker")
                self.scrip.start("worker")
            assert putting.wait(600) == 0
        finally:
            putting.kill()
        self._until_nothing_moves()
        self.seconds = time.monotonic() - started

    @property
    def effects(self) -> int:
        return int(self.scrip.query(COUNTS)[0][0])

    @property
    def lost(self) -> int:
        return self.jobs - int(self.scrip.query(COUNTS)[0][1])

    @property
    def doubled(self) -> int:
        return self.effects - (self.jobs - self.lost)

    def _until_it_works(self) -> None:
        """Wait until the new worker has done something."""
        before, until = self._count(), time.monotonic() + self.patience_s
        while self._count() <= before and time.monotonic() < until:
            if before >= self.jobs:
                return
            time.sleep(0.05)

    def _until_nothing_moves(self) -> None:
        moved_at, before = time.monotonic(), -1
        while time.monotonic() - moved_at < self.patience_s:
            now = self._count()
            if now != before:
                moved_at, before = time.monotonic(), now
            if self.how == "rows" and not self.scrip.query(UNFINISHED)[0][0]:
                return
            if self.how == "messages" and self.lost == 0:
                return
            time.sleep(0.2)

    def _count(self) -> int:
        try:
            return self.effects
        except psycopg.OperationalError:
            return 0


def flush(scrip: Scrip) -> None:
    """Everything in Valkey is gone, while it runs."""
    redis.Redis.from_url(scrip.redis_url).flushall()
