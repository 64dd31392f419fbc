"""A flood of commands through faults of all kinds: nothing is made, lost, doubled or left over.

All the while people move money between their wallets, beside the writer. After each fault, while
commands flow on, one look at the database must balance: each asset sums to what was issued, the
books are not crossed, every live order has its hold and every hold its order. In the end each
order is in the tables once and says what its owner was told. The long form, a million commands,
runs with `make chaos`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from config.embedded import ROOT, Embedded
from config.guard import Guard
from tests.orderbook.faults import (
    Fault,
    flush_valkey,
    freeze_writer,
    freeze_writer_for_half_a_minute,
    kill_postgres,
    kill_postgres_in_commit,
    kill_valkey,
    kill_writer,
    restart_postgres,
    writer_whose_clock_is_behind,
)
from tests.orderbook.flood import Flood
from tests.support.processes import Scrip

pytestmark = pytest.mark.timeout(900)

FAULTS: tuple[Fault, ...] = (
    kill_writer, flush_valkey, kill_postgres_in_commit, freeze_writer, restart_postgres,
    writer_whose_clock_is_behind, kill_valkey,
)  # fmt: skip
LONG = (kill_postgres, freeze_writer_for_half_a_minute)
REST_S = 0.3
WEALTH = """
SELECT asset_id, sum(balance) FILTER (WHERE balance > 0), sum(balance)
  FROM wallet_account GROUP BY 1 ORDER BY 1
"""
STRAYS = """
SELECT coalesce(o.hold_id, h.id)
  FROM (SELECT DISTINCT hold_id FROM orderbook_live) AS o
  FULL JOIN (SELECT id FROM wallet_hold WHERE state = 0) AS h ON h.id = o.hold_id
 WHERE o.hold_id IS NULL OR h.id IS NULL
"""
CROSSED = """
SELECT market_id FROM orderbook_live WHERE stop_ticks = 0 GROUP BY 1
HAVING max(price_ticks) FILTER (WHERE side = 1) >= min(price_ticks) FILTER (WHERE side = 2)
"""


@pytest.fixture(scope="module")
def scrip(guard: Guard, embedded_servers: Embedded) -> Iterator[Scrip]:
    with Scrip(guard, embedded_servers, own_postgres=True) as scrip:
        scrip.manage("seed_demo")
        scrip.start("writer")
        command = [sys.executable, "-m", "tests.orderbook.spender"]
        spender = subprocess.Popen(command, cwd=ROOT, env=scrip.environment)
        # It must be at work before anything is killed: its first look at the wallets has to come
        # through, whatever comes later.
        while not scrip.query("SELECT 1 FROM wallet_transfer WHERE code = 4 LIMIT 1"):
            assert spender.poll() is None
            time.sleep(0.05)
        yield scrip
        assert spender.poll() is None, "nobody moved their money meanwhile"
        spender.kill()
        spender.wait()


def wealth(scrip: Scrip) -> list[tuple[Any, ...]]:
    """What all people and the house have of each asset; and the sum with what was issued: 0."""
    return scrip.query(WEALTH)


def flood_through(scrip: Scrip, faults: Sequence[Fault], *, between: int, seed: int) -> Flood:
    """Send `between` commands and more around each fault; check what must hold at any moment."""
    flood = Flood(scrip, seed=seed)
    before = wealth(scrip)
    assert all(total == 0 for *_, total in before)

    def befall(fault: Fault) -> None:
        fault(scrip)
        assert wealth(scrip) == before
        assert scrip.query(STRAYS) == scrip.query(CROSSED) == []

    async def run() -> None:
        for fault in faults:
            is_over = asyncio.Event()
            flowing = asyncio.create_task(flood.run(between, is_over))
            await asyncio.sleep(REST_S)
            try:
                await asyncio.to_thread(befall, fault)
            finally:
                is_over.set()
            await flowing

    asyncio.run(run())
    assert flood.failed == []
    assert flood.answered == flood.sent >= between * len(faults)
    assert wealth(scrip) == before
    scrip.manage("market", "verify")
    scrip.manage("ledger", "verify")
    assert_told_the_truth(scrip, flood)
    return flood


def assert_told_the_truth(scrip: Scrip, flood: Flood) -> None:
    """Each order is there once, and asked for again it brings what was told first."""
    like = f"{flood.name}-%"
    names = "SELECT client_order_id FROM orderbook_order WHERE client_order_id LIKE %s"
    stored = [name for (name,) in scrip.query(names, like)]
    assert len(stored) == len(set(stored)), "an order is there twice"
    assert set(stored) == flood.told.keys()
    told = dict(flood.told)
    asyncio.run(flood.ask_again(list(told)[:: max(1, len(told) // 2_000)]))
    assert flood.told == told


def test_a_flood_through_every_fault_conserves_everything(scrip: Scrip) -> None:
    flood = flood_through(scrip, FAULTS, between=2_000, seed=1)
    assert flood.asked_again > 0
    assert scrip.query("SELECT count(*) > 1000 FROM orderbook_fill") == [(True,)]
    assert scrip.query("SELECT count(*) > 100 FROM wallet_transfer WHERE code = 4") == [(True,)]


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_million_commands_with_fifty_faults(
    scrip: Scrip, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = [(*FAULTS, *LONG)[number % 9] if number % 2 else kill_writer for number in range(50)]
    flood = flood_through(scrip, faults, between=20_000, seed=2)
    fills = scrip.query("SELECT count(*) FROM orderbook_fill")
    with capsys.disabled():
        print(
            f"\n{flood.answered:,} commands, {len(faults)} faults, {fills[0][0]:,} trades,"
            f" {flood.asked_again:,} asked again"
        )
