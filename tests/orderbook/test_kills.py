"""Orders over HTTP while processes and servers are killed: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence

import httpx
import pytest

from config.embedded import ROOT, Embedded
from config.guard import Guard
from tests.orderbook.faults import (
    Fault,
    flush_valkey,
    kill_gateway,
    kill_postgres,
    kill_valkey,
    kill_writer,
)
from tests.orderbook.storm import Storm, assert_nothing_lost_or_doubled
from tests.sequencer.boundaries import BOUNDARIES
from tests.support.processes import Scrip

pytestmark = pytest.mark.timeout(900)

REST_S = 0.6
ENGINE = "orderbook.engine.MarketEngine"


KILLS: tuple[Fault, ...] = (
    kill_writer, kill_gateway, kill_valkey, flush_valkey, kill_postgres,
)  # fmt: skip


@pytest.fixture(scope="module")
def scrip(guard: Guard, embedded_servers: Embedded) -> Iterator[Scrip]:
    with Scrip(guard, embedded_servers, own_postgres=True) as scrip:
        scrip.manage("seed_demo")
        scrip.start("gateway", "writer")
        yield scrip


def storm_through(scrip: Scrip, kills: Sequence[Fault]) -> Storm:
    """Trade while one thing after another is killed, and a little longer."""
    storm = Storm(scrip)
    chance = random.Random(7)

    async def run() -> None:
        trading = asyncio.create_task(storm.blow())
        for kill in kills:
            await asyncio.sleep(REST_S * chance.uniform(0.5, 1.5))
            await asyncio.to_thread(kill, scrip)
        await asyncio.sleep(2 * REST_S)
        storm.asked_to_stop = True
        await trading

    asyncio.run(run())
    return storm


def assert_asking_again_brings_the_same(storm: Storm, scrip: Scrip) -> None:
    async def run() -> None:
        async with httpx.AsyncClient(base_url=f"{scrip.gateway_url}/api/v1") as client:
            for cid in list(storm.answers)[::7]:
                response = await storm.insist(client, cid)
                assert response.headers.get("idempotent-replayed") == "true"
                assert response.json() == {
                    key: value for key, value in storm.answers[cid].items() if key != "http"
                }

    asyncio.run(run())


def killed_at(boundary: str) -> Fault:
    """A writer with the market's engine that kills itself at this step of its fifth batch."""

    def run_until_killed(scrip: Scrip) -> None:
        doomed = subprocess.Popen(
            [sys.executable, "-m", "tests.sequencer.boundaries", "0", boundary, "5", ENGINE],
            cwd=ROOT,
            env=scrip.environment,
        )
        assert doomed.wait(60) == -signal.SIGKILL

    return run_until_killed


def test_a_writer_killed_between_any_two_steps_under_load(scrip: Scrip) -> None:
    scrip.stop("writer")
    deaths = [killed_at(boundary) for boundary in BOUNDARIES]
    storm = storm_through(scrip, [*deaths, lambda scrip: scrip.start("writer")])
    assert_nothing_lost_or_doubled(scrip, storm)
    assert_asking_again_brings_the_same(storm, scrip)


def test_each_thing_killed_once_under_load(scrip: Scrip) -> None:
    storm = storm_through(scrip, list(KILLS))
    assert len(storm.answers) > 50
    assert_nothing_lost_or_doubled(scrip, storm)
    assert_asking_again_brings_the_same(storm, scrip)


@pytest.mark.chaos
def test_forty_kills_under_load(scrip: Scrip, capsys: pytest.CaptureFixture[str]) -> None:
    kills = [KILLS[number % len(KILLS)] if number % 3 else kill_writer for number in range(40)]
    storm = storm_through(scrip, kills)
    assert_nothing_lost_or_doubled(scrip, storm)
    assert_asking_again_brings_the_same(storm, scrip)
    with capsys.disabled():
        print(f"\n40 kills: {len(storm.answers)} orders answered, {storm.retries} asked again")
