"""What may befall a running market: kills, outages, pauses and a clock that steps back."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import redis

from config.embedded import ROOT
from tests.support.processes import Scrip

Fault = Callable[[Scrip], None]

PATIENCE_S = 8.0
"""After so long a silence PostgreSQL ends a writer's session (`sequencer.session`)."""
COMMITTING = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event = 'PgSleep'
"""
"""Only a constraint that is checked at the commit sleeps. A batch that was decided ahead has no
COMMIT of its own to look for: it is one journey, which commits as it ends."""
SLOW_COMMIT = """
CREATE OR REPLACE FUNCTION slow_commit() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON orderbook_order
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.id % 8 = 2) EXECUTE FUNCTION slow_commit()
"""


def kill_writer(scrip: Scrip) -> None:
    scrip.kill("writer")
    scrip.start("writer")


def kill_gateway(scrip: Scrip) -> None:
    scrip.kill("gateway")
    scrip.start("gateway")


def kill_valkey(scrip: Scrip) -> None:
    scrip.kill_valkey()
    scrip.start_valkey()


def flush_valkey(scrip: Scrip) -> None:
    redis.Redis.from_url(scrip.redis_url).flushall()


def kill_postgres(scrip: Scrip) -> None:
    scrip.kill_postgres()
    scrip.start_postgres()


def restart_postgres(scrip: Scrip) -> None:
    """As for an upgrade: sessions are ended, what is open is rolled back."""
    scrip.stop_postgres()
    scrip.start_postgres()


def kill_postgres_in_commit(scrip: Scrip) -> None:
    """While a batch's COMMIT runs, which a constraint that is checked then holds up."""
    with _slow_commits(scrip):
        deadline = time.monotonic() + 20
        while scrip.query(COMMITTING) == [(0,)]:
            assert time.monotonic() < deadline, "no commit was seen"
        scrip.kill_postgres()
        scrip.start_postgres()


@contextlib.contextmanager
def _slow_commits(scrip: Scrip) -> Iterator[None]:
    scrip.query(SLOW_COMMIT)
    try:
        yield
    finally:
        scrip.query("DROP TRIGGER slow_commit ON orderbook_order")


def freeze_writer(scrip: Scrip, seconds: float = PATIENCE_S + 1) -> None:
    """The writer stands still for longer than PostgreSQL waits for it, and wakes as if never."""
    scrip.signal("writer", signal.SIGSTOP)
    time.sleep(seconds)
    scrip.signal("writer", signal.SIGCONT)


def freeze_writer_for_half_a_minute(scrip: Scrip) -> None:
    freeze_writer(scrip, 30)


def writer_whose_clock_is_behind(scrip: Scrip) -> None:
    """The next writer's clock is ten minutes behind; the one after that has the right time."""
    scrip.stop("writer")
    behind = "tests.orderbook.clocks.TenMinutesBehind"
    command = [sys.executable, "-m", "tests.sequencer.boundaries", "0", "", "0", behind]
    writer = subprocess.Popen(command, cwd=ROOT, env=scrip.environment)
    try:
        before = scrip.query("SELECT batches FROM sequencer_shard WHERE id = 0")
        deadline = time.monotonic() + 20
        while scrip.query("SELECT batches - 20 FROM sequencer_shard WHERE id = 0") < before:
            assert time.monotonic() < deadline, "it does not write"
            time.sleep(0.1)
        writer.terminate()
        assert writer.wait(20) == 0
    finally:
        writer.kill()
    scrip.start("writer")
