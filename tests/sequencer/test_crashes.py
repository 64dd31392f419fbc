"""Writers as processes, killed, frozen and starved of their servers while commands flow."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import connection

from sequencer.models import Shard
from sequencer.stream import stream_key
from tests.sequencer.boundaries import BOUNDARIES
from tests.sequencer.conftest import StartWriter
from tests.sequencer.crowd import Crowd
from tests.sequencer.servers import Restartable
from tests.sequencer.tally import epochs, row_count, rows


def assert_exactly_once(crowd: Crowd, client_ids: list[str], *, using: Any = connection) -> None:
    """Every client was told its number, the table has it once, the numbers have no gap."""
    table = rows(crowd.shard, using=using)
    assert crowd.numbers() == table
    assert sorted(table) == sorted(client_ids)
    assert row_count(crowd.shard, using=using) == len(client_ids)
    assert sorted(table.values()) == list(range(1, len(client_ids) + 1))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_kill_between_two_steps_loses_and_doubles_nothing(
    shard: int, start_writer: StartWriter, boundary: str
) -> None:
    client_ids = [f"c{number}" for number in range(150)]
    crowd = Crowd(settings.REDIS_URL, shard)
    killed = start_writer(boundary, 4)

    async def run() -> None:
        asking = asyncio.create_task(crowd.ask(client_ids, at_once=8))
        await asyncio.to_thread(killed.wait, 20)
        start_writer()
        await asking

    asyncio.run(run())
    assert killed.returncode == -signal.SIGKILL
    assert_exactly_once(crowd, client_ids)


def test_of_two_writers_one_commits_and_the_other_stands_by(
    shard: int, start_writer: StartWriter
) -> None:
    start_writer(), start_writer()
    client_ids = [f"c{number}" for number in range(300)]
    crowd = Crowd(settings.REDIS_URL, shard)
    asyncio.run(crowd.ask(client_ids))
    assert_exactly_once(crowd, client_ids)
    assert epochs(shard) == [1]


def test_a_frozen_writer_is_cut_off_and_commits_nothing_when_it_wakes(
    shard: int, start_writer: StartWriter
) -> None:
    first = start_writer()
    crowd = Crowd(settings.REDIS_URL, shard, answer_timeout_s=20, resend_after_s=30)
    before, after = [f"b{n}" for n in range(50)], [f"a{n}" for n in range(200)]

    async def run() -> None:
        await crowd.ask(before)
        first.send_signal(signal.SIGSTOP)
        second = start_writer()
        await crowd.ask(after[:100])
        first.send_signal(signal.SIGCONT)
        await crowd.ask(after[100:])
        assert second.poll() is None

    asyncio.run(run())
    assert_exactly_once(crowd, before + after)
    assert epochs(shard) == [1, 2]


def test_redis_wiped_while_commands_flow(
    shard: int, start_writer: StartWriter, own_valkey: Restartable
) -> None:
    start_writer()
    client_ids = [f"c{number}" for number in range(300)]
    crowd = Crowd(own_valkey.url, shard, resend_after_s=0.3)

    async def run() -> None:
        asking = asyncio.create_task(crowd.ask(client_ids, at_once=8, pause_s=0.02))
        client = redis.Redis.from_url(own_valkey.url)
        for _ in range(5):
            await asyncio.sleep(0.1)
            client.flushall()
        await asking

    asyncio.run(run())
    assert_exactly_once(crowd, client_ids)


def test_redis_killed_and_replaced_by_an_empty_one_while_commands_flow(
    shard: int, start_writer: StartWriter, own_valkey: Restartable
) -> None:
    start_writer()
    client_ids = [f"c{number}" for number in range(300)]
    crowd = Crowd(own_valkey.url, shard)

    async def run() -> None:
        asking = asyncio.create_task(crowd.ask(client_ids, at_once=8, pause_s=0.02))
        for _ in range(3):
            await asyncio.sleep(0.2)
            await asyncio.to_thread(own_valkey.restart)
        await asking

    asyncio.run(run())
    assert_exactly_once(crowd, client_ids)


def test_postgres_killed_and_restarted_while_commands_flow(
    shard: int, own_postgres: Restartable, start_writer: StartWriter
) -> None:
    start_writer()
    client_ids = [f"c{number}" for number in range(300)]
    crowd = Crowd(settings.REDIS_URL, shard, answer_timeout_s=10)

    async def run() -> None:
        asking = asyncio.create_task(crowd.ask(client_ids, at_once=8, pause_s=0.02))
        for _ in range(2):
            await asyncio.sleep(0.4)
            await asyncio.to_thread(own_postgres.restart)
        await asking

    asyncio.run(run())
    with psycopg.connect(own_postgres.url) as own:
        assert_exactly_once(crowd, client_ids, using=own)


def test_sigterm_ends_the_batch_sends_the_answers_and_frees_the_shard(
    shard: int, start_writer: StartWriter
) -> None:
    writer = start_writer()
    crowd = Crowd(settings.REDIS_URL, shard)
    asyncio.run(crowd.ask(["a", "b"]))
    writer.terminate()
    assert writer.wait(5) == 0
    assert Shard.objects.get(id=shard).state == "stopped"
    assert redis.Redis.from_url(settings.REDIS_URL).xlen(stream_key(shard)) == 0


def test_no_writer_means_503_and_the_command_is_done_once_when_one_comes(
    shard: int, start_writer: StartWriter
) -> None:
    crowd = Crowd(settings.REDIS_URL, shard, answer_timeout_s=0.4, resend_after_s=0.2)

    async def run() -> None:
        asking = asyncio.create_task(crowd.ask(["a"]))
        await asyncio.sleep(1)
        start_writer()
        await asking

    asyncio.run(run())
    assert crowd.refusals
    assert {refusal.code for refusal in crowd.refusals} == {"outcome_unknown"}
    assert_exactly_once(crowd, ["a"])
