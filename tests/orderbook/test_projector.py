"""The projector as a process: killed under load it counts everything once, and never stops it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from config.embedded import Embedded
from config.guard import Guard
from tests.orderbook.storm import Storm
from tests.support.processes import Scrip

pytestmark = pytest.mark.timeout(900)

CAUGHT_UP_S = 120.0
CANDLES = """
SELECT market_id, interval_s, start_s, open, high, low, close, volume, turnover, trades
  FROM orderbook_candle ORDER BY 1, 2, 3
"""
LEVELS = "SELECT market_id, side, price, quantity FROM orderbook_pricelevel"
WAITING = """
SELECT o.market_id, o.side, o.price_ticks * m.tick_minor, sum(o.remaining_lots) * m.lot_units
  FROM orderbook_order AS o JOIN orderbook_market AS m ON m.id = o.market_id
 WHERE o.state = 0 GROUP BY o.market_id, o.side, o.price_ticks, m.tick_minor, m.lot_units
"""
FILLS = "SELECT market_id, count(*), sum(amount_minor) FROM orderbook_fill GROUP BY 1 ORDER BY 1"
COUNTED = """
SELECT market_id, sum(trades), sum(turnover) FROM orderbook_candle
 WHERE interval_s = %s GROUP BY 1 ORDER BY 1
"""
OWN_GAPS = """
SELECT user_id FROM orderbook_ownfeed AS f
 WHERE sequence <> (SELECT count(*) FROM orderbook_ownevent AS e WHERE e.user_id = f.user_id)
"""
ENTRIES = "SELECT order_id FROM orderbook_ownevent WHERE is_new"
BEHIND = """
SELECT 1 FROM orderbook_feed AS f LEFT JOIN orderbook_projection AS p USING (market_id)
 WHERE p.sequence IS DISTINCT FROM f.sequence
"""


@pytest.fixture(scope="module")
def scrip(guard: Guard, embedded_servers: Embedded) -> Iterator[Scrip]:
    with Scrip(guard, embedded_servers) as scrip:
        scrip.manage("seed_demo")
        scrip.start("gateway", "writer", "market-data")
        yield scrip


def trade_while(scrip: Scrip, kills: int) -> None:
    """Trade while the projector is killed again and again, and candles are made anew."""
    storm = Storm(scrip)
    today = str(datetime.now(UTC).date())

    async def run() -> None:
        trading = asyncio.create_task(storm.blow())
        for _ in range(kills):
            await asyncio.sleep(0.5)
            scrip.kill("market-data")
            await asyncio.to_thread(scrip.start, "market-data")
        if kills:
            await asyncio.to_thread(scrip.manage, "backfill_candles", "--from", today)
        await asyncio.sleep(0.5)
        storm.asked_to_stop = True
        await trading

    asyncio.run(run())


def wait_until_caught_up(scrip: Scrip) -> None:
    deadline = time.monotonic() + CAUGHT_UP_S
    while scrip.query(BEHIND):
        assert time.monotonic() < deadline, scrip.log("market-data")
        time.sleep(0.05)


def assert_all_is_counted_once(scrip: Scrip) -> None:
    assert sorted(scrip.query(LEVELS)) == sorted(scrip.query(WAITING))
    fills = scrip.query(FILLS)
    assert fills
    for interval_s in (1, 60, 300, 900, 3600, 86_400):
        assert scrip.query(COUNTED, interval_s) == fills
    assert scrip.query(OWN_GAPS) == []
    entered = sorted(scrip.query(ENTRIES))
    assert entered == sorted(scrip.query("SELECT id FROM orderbook_order"))


def test_a_projector_killed_under_load_counts_everything_once(scrip: Scrip) -> None:
    trade_while(scrip, kills=2)
    wait_until_caught_up(scrip)
    assert_all_is_counted_once(scrip)


def test_backfilled_candles_are_those_that_were_counted(scrip: Scrip) -> None:
    wait_until_caught_up(scrip)
    before = scrip.query(CANDLES)
    today = str(datetime.now(UTC).date())
    scrip.query("UPDATE orderbook_candle SET high = high + 1, trades = trades + 7")
    told = scrip.manage("backfill_candles", "--from", today)
    assert "1 days made anew" in told
    assert scrip.query(CANDLES) == before


def test_a_standby_takes_over(scrip: Scrip) -> None:
    standby = scrip.start_another("market-data")
    time.sleep(1.0)
    scrip.kill("market-data")
    trade_a_little(scrip)
    wait_until_caught_up(scrip)
    assert_all_is_counted_once(scrip)
    standby.send_signal(signal.SIGTERM)
    assert standby.wait(10) == 0
    scrip.start("market-data")


def trade_a_little(scrip: Scrip) -> None:
    trade_while(scrip, kills=0)
