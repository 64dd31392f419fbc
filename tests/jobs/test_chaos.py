"""Every effect exactly once: workers killed, Valkey flushed, rings dropped, PostgreSQL killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from config.embedded import Embedded
from config.guard import Guard
from tests.jobs.storm import Storm, flush
from tests.support.processes import Scrip

SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.jobs.site", "DROPPED_SHARE": "0.2"}
Make = Callable[..., Scrip]


@contextmanager
def running(guard: Guard, servers: Embedded, *, own_postgres: bool = False) -> Iterator[Scrip]:
    with Scrip(guard, servers, own_postgres=own_postgres, environment=SETTINGS) as scrip:
        scrip.start("worker", "beat")
        yield scrip


@pytest.mark.timeout(900)
def test_each_effect_once_through_kills_a_flush_and_dropped_rings(
    guard: Guard, embedded_servers: Embedded
) -> None:
    with running(guard, embedded_servers) as scrip:
        storm = Storm(scrip, "rows", jobs=400, kills=2, at={1: partial(flush, scrip)})
        storm.blow()
        assert (storm.lost, storm.doubled) == (0, 0)


@pytest.mark.timeout(900)
def test_plain_messages_are_lost_in_the_same_storm(
    guard: Guard, embedded_servers: Embedded
) -> None:
    """The control of the test above."""
    with running(guard, embedded_servers) as scrip:
        faults = {1: partial(flush, scrip)}
        storm = Storm(scrip, "messages", jobs=400, kills=2, at=faults, patience_s=5)
        storm.blow()
        assert storm.lost + storm.doubled > 0


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("how", ["rows", "messages"])
def test_twenty_thousand_through_fifty_kills(
    guard: Guard, embedded_servers: Embedded, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fifty kills of the worker group, two flushes, a fifth of all rings dropped, PostgreSQL
    killed once. With rows each effect comes once; the control shows what else happens."""
    with running(guard, embedded_servers, own_postgres=True) as scrip:

        def restart_postgres() -> None:
            scrip.kill_postgres()
            scrip.start_postgres()

        faults: dict[int, Callable[[], object]] = {
            12: partial(flush, scrip),
            25: restart_postgres,
            37: partial(flush, scrip),
        }
        storm = Storm(scrip, how, jobs=20_000, kills=50, at=faults, pause_s=0.12)
        storm.blow()
        with capsys.disabled():
            print(f"\n{how}: {storm.jobs} jobs, {storm.kills} kills in {storm.seconds:.0f} s:"
                  f" {storm.lost} lost, {storm.doubled} doubled")  # fmt: skip
        if how == "rows":
            assert (storm.lost, storm.doubled, storm.effects) == (0, 0, 20_000)
        else:
            assert storm.lost + storm.doubled > 0
