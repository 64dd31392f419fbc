"""A command that waited longer than its client is not carried out late: it is answered."""

from __future__ import annotations

import signal
import time

import httpx
import msgspec
import redis
from django.conf import settings

from edge.problems import PROBLEM_JSON
from sequencer.commands import Command, encode_command, join
from sequencer.models import Shard
from sequencer.stream import FIELD, stream_key
from tests.sequencer.conftest import ServeGateway, StartWriter
from tests.sequencer.crowd import command
from tests.sequencer.servers import Restartable, wait_for
from tests.sequencer.tally import Tally, rows
from tests.sequencer.test_writer import listening, serve


def due_in(shard: int, client_id: str, seconds: float) -> Command:
    deadline_us = int((time.time() + seconds) * 1_000_000)
    return msgspec.structs.replace(command(client_id, shard=shard), deadline_us=deadline_us)


def put(shard: int, *commands: Command) -> None:
    entry = join([encode_command(each) for each in commands])
    redis.Redis.from_url(settings.REDIS_URL).xadd(stream_key(shard), {FIELD: entry})


def test_what_is_past_its_deadline_is_answered_and_not_done(shard: int) -> None:
    put(shard, due_in(shard, "a", 60), due_in(shard, "late", -0.001), due_in(shard, "b", 60))
    put(shard, due_in(shard, "late too", -3600))
    put(shard, due_in(shard, "c", 60), due_in(shard, "last", -1))
    with listening() as answers:
        serve(shard, Tally(shard))
        told = sorted((answer.status, answer.body[:1]) for answer in answers())
    assert told == [(200, b"1"), (200, b"2"), (200, b"3"), *[(503, b"{")] * 3]
    assert rows(shard) == {"a": 1, "b": 2, "c": 3}
    assert Shard.objects.get(id=shard).commands == 3
    assert redis.Redis.from_url(settings.REDIS_URL).xlen(stream_key(shard)) == 0


def test_control_without_a_deadline_it_is_done_however_late(shard: int) -> None:
    put(shard, command("late", shard=shard))
    serve(shard, Tally(shard))
    assert rows(shard) == {"late": 1}


def test_what_expires_while_it_is_held_in_hand_is_not_done_either(shard: int) -> None:
    """The writer has read both; the first takes longer than the second may wait."""

    class Slow(Tally):
        def committed(self) -> None:
            super().committed()
            time.sleep(0.6)

    put(shard, due_in(shard, "a", 60), due_in(shard, "impatient", 0.5), due_in(shard, "b", 60))
    with listening() as answers:
        serve(shard, Slow(shard, at_most=1))
        statuses = {answer.body[:1]: answer.status for answer in answers()}
    assert statuses == {b"1": 200, b"{": 503, b"2": 200}
    assert rows(shard) == {"a": 1, "b": 2}


def test_a_writer_that_was_paused_does_not_do_late_what_nobody_waits_for(
    shard: int, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    writer = start_writer()
    with serve_gateway(TALLY_TIMEOUT_S="0.5").client() as client:
        wait_for(lambda: client.delete("/api/v1/tally/first").status_code == 200)
        writer.send_signal(signal.SIGSTOP)
        unknown = client.delete("/api/v1/tally/a")
        assert (unknown.status_code, unknown.json()["code"]) == (503, "outcome_unknown")
        writer.send_signal(signal.SIGCONT)
        assert client.delete("/api/v1/tally/b").json() == 2
        assert rows(shard) == {"first": 1, "b": 2}
        assert client.delete("/api/v1/tally/a").json() == 3


def test_without_postgres_the_outcome_is_unknown_in_time_and_nothing_is_done_late(
    shard: int,
    own_postgres: Restartable,
    serve_gateway: ServeGateway,
    start_writer: StartWriter,
) -> None:
    start_writer()
    with serve_gateway(TALLY_TIMEOUT_S="1").client() as client:
        wait_for(lambda: client.delete("/api/v1/tally/first").status_code == 200)
        own_postgres.kill()
        started = time.monotonic()
        response: httpx.Response = client.delete("/api/v1/tally/a")
        assert time.monotonic() - started < 4
        assert (response.status_code, response.json()["code"]) == (503, "outcome_unknown")
        assert response.headers["content-type"] == PROBLEM_JSON
        assert int(response.headers["retry-after"]) >= 1
        own_postgres.start()
        wait_for(lambda: client.delete("/api/v1/tally/b").status_code == 200)
        # "b" may be done by an earlier try that was not heard; "a" was not asked for again.
        assert client.delete("/api/v1/tally/b").json() == 2
        assert client.delete("/api/v1/tally/a").json() == 3
