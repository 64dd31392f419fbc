"""Real writers: killed in the middle of auctions, and a market moved between two of them."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from config.embedded import ROOT, Embedded
from config.guard import Guard
from tests.orderbook.storm import Storm, assert_nothing_lost_or_doubled
from tests.support.processes import Scrip

pytestmark = pytest.mark.timeout(900)

TRIES = 20
WHY = ("--reason", "a test", "--by", "admin")
DOOMED = ("BeforeFirstPart", "AfterFirstPart", "BeforeSecondPart")


@pytest.fixture(scope="module")
def scrip(guard: Guard, embedded_servers: Embedded) -> Iterator[Scrip]:
    with Scrip(guard, embedded_servers, shard_count=2) as scrip:
        scrip.manage("seed_demo")
        scrip.start("gateway", "writer-0", "writer-1")
        yield scrip


def trade_while(scrip: Scrip, deeds: list[Callable[[], None]]) -> Storm:
    """Keep trading until one deed after the other is done, and a little longer."""
    storm = Storm(scrip)

    async def run() -> None:
        trading = asyncio.create_task(storm.blow())
        await asyncio.sleep(0.5)
        for deed in deeds:
            await asyncio.to_thread(deed)
        await asyncio.sleep(0.5)
        storm.asked_to_stop = True
        await trading

    asyncio.run(run())
    return storm


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def state_of(scrip: Scrip, market: str) -> str:
    [(state,)] = scrip.query("SELECT state FROM orderbook_market WHERE code = %s", market)
    return str(state)


def has_died(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None


def test_a_market_moves_between_two_writers_while_orders_flow(scrip: Scrip) -> None:
    market = next(iter(Storm(scrip).worth))

    def move(shard: int) -> Callable[[], None]:
        def do() -> None:
            scrip.manage("market", "move", market, "--to", str(shard), *WHY)
            time.sleep(1.2)

        return do

    storm = trade_while(scrip, [move(1), move(0), move(1)])
    assert_nothing_lost_or_doubled(scrip, storm)
    scrip.manage("market", "verify")
    shards = scrip.query(
        "SELECT shard, count(*) FROM orderbook_market AS m JOIN orderbook_order AS o"
        " ON o.market_id = m.id WHERE m.code = %s AND o.client_order_id LIKE %s GROUP BY 1",
        market, f"{storm.name}-%",
    )  # fmt: skip
    assert shards[0][0] == 1
    assert shards[0][1] > 20
    [(commands,)] = scrip.query("SELECT commands FROM sequencer_shard WHERE id = 1")
    assert commands > 5, "the second writer did its part"
    move(0)()


def test_one_id_sent_to_two_shards_at_once_names_one_order(scrip: Scrip) -> None:
    """Both writers find the id free, and one of them finds at its commit that it is not."""
    storm = Storm(scrip)
    here, there = list(storm.worth)[:2]
    scrip.manage("market", "move", there, "--to", "1", *WHY)
    time.sleep(1.2)

    async def run() -> None:
        url = f"{scrip.gateway_url}/api/v1"
        async with httpx.AsyncClient(base_url=url, timeout=8) as client:
            for number in range(50):
                cid = f"{storm.name}-{number}"
                body = {"side": "buy", "price": 10, "quantity": 1, "client_order_id": cid}
                for market in (here, there):
                    storm.bodies[f"{cid}-{market}"] = (market, storm.keys[0], body)
                await asyncio.gather(
                    *(storm.insist(client, f"{cid}-{market}") for market in (here, there))
                )
                answers = [storm.answers[f"{cid}-{market}"] for market in (here, there)]
                assert sorted(answer["http"] for answer in answers) == [201, 409]

    asyncio.run(run())
    assert scrip.query("SELECT error FROM sequencer_deadletter") == []
    scrip.manage("market", "move", there, "--to", "0", *WHY)
    time.sleep(1.2)


def test_a_writer_killed_while_it_settles_an_auction(scrip: Scrip) -> None:
    markets = list(Storm(scrip).worth)[:2]
    scrip.stop("writer-0")

    def die_in(engine: str, market: str) -> Callable[[], None]:
        def do() -> None:
            path = f"tests.orderbook.doomed.{engine}"
            doomed = subprocess.Popen(
                [sys.executable, "-m", "tests.sequencer.boundaries", "0", "", "0", path],
                cwd=ROOT,
                env=scrip.environment,
            )
            try:
                for _ in range(TRIES):
                    if has_died(doomed):
                        break
                    wait_until(lambda: state_of(scrip, market) == "open" or has_died(doomed))
                    scrip.manage("market", "call", market, "--seconds", "2", *WHY)
                    wait_until(lambda: state_of(scrip, market) == "open" or has_died(doomed))
                died = has_died(doomed)
            finally:
                doomed.kill()
            assert died, "no auction came so far"
            assert doomed.wait(10) == -signal.SIGKILL

        return do

    deaths = [die_in(engine, markets[n % len(markets)]) for n, engine in enumerate(DOOMED)]
    storm = trade_while(scrip, [*deaths, lambda: scrip.start("writer-0")])
    wait_until(lambda: all(state_of(scrip, market) == "open" for market in markets))
    assert_nothing_lost_or_doubled(scrip, storm)
    scrip.manage("market", "verify")
    auctions = scrip.query(
        "SELECT market_id, count(*), count(DISTINCT price_ticks) FROM orderbook_fill"
        " WHERE is_auction GROUP BY 1"
    )
    assert sum(row[1] for row in auctions) >= 3
    left = scrip.query("SELECT code FROM orderbook_market WHERE uncross_ticks <> 0")
    assert left == []
