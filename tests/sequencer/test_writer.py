"""One writer in this process, over real servers: batches, poison, fences, replays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import OperationalError, connection, transaction

from edge.database import database_conninfo
from sequencer.commands import Answer, Command, decode_answers, encode_command, join
from sequencer.engine import Engine
from sequencer.models import DeadLetter, Shard
from sequencer.session import FencedOff, Session
from sequencer.stream import FIELD, RedisCommandStream, answers_channel, stream_key
from sequencer.writer import Writer
from tests.sequencer.crowd import command
from tests.sequencer.tally import Tally, row_count, rows


def put(shard: int, *client_ids: str, entry_id: str = "*") -> list[Command]:
    """Append one entry that carries these commands, as a gateway does."""
    commands = [command(client_id, shard=shard) for client_id in client_ids]
    entry = join([encode_command(each) for each in commands])
    redis.Redis.from_url(settings.REDIS_URL).xadd(stream_key(shard), {FIELD: entry}, id=entry_id)
    return commands


class Quitting(RedisCommandStream):
    """Stops its writer when the stream has nothing more to give."""

    writer: Writer

    def read(self, limit: int, *, wait_s: float, after: int = 0) -> list[Command]:
        commands = super().read(limit, wait_s=0.05, after=after)
        if not commands and not after:
            self.writer.stop()
        return commands


def serve(shard: int, engine: Engine, session: Session | None = None) -> None:
    """Run a writer until everything that has arrived is done."""
    stream = Quitting(settings.REDIS_URL, shard)
    stream.writer = Writer(stream=stream, engine=engine, session=session or Session(shard))
    stream.writer.run()


@contextmanager
def listening() -> Iterator[Callable[[], list[Answer]]]:
    """Hear what is answered to the gateway called "test"."""
    heard: Any = redis.client.PubSub(redis.ConnectionPool.from_url(settings.REDIS_URL))
    heard.subscribe(answers_channel("test"))
    heard.get_message(timeout=1)

    def answers() -> list[Answer]:
        messages = iter(lambda: heard.get_message(timeout=0.2), None)
        return [answer for each in messages for answer in decode_answers(each["data"])]

    yield answers
    heard.close()


def test_commands_are_applied_in_order_and_answered(shard: int) -> None:
    put(shard, "a", "b")
    put(shard, "c")
    with listening() as answers:
        serve(shard, Tally(shard))
        assert [(a.status, a.body) for a in answers()] == [(200, b"1"), (200, b"2"), (200, b"3")]
    assert rows(shard) == {"a": 1, "b": 2, "c": 3}
    assert redis.Redis.from_url(settings.REDIS_URL).xlen(stream_key(shard)) == 0


def test_what_has_arrived_is_one_commit_and_the_row_counts_it(shard: int) -> None:
    for number in range(20):
        put(shard, *(f"{number}-{index}" for index in range(10)))
    serve(shard, Tally(shard))
    row = Shard.objects.get(id=shard)
    assert (row.batches, row.commands, row.last_batch_size) == (1, 200, 200)
    assert row.state == "stopped"


def test_an_engine_may_answer_only_the_first_commands(shard: int) -> None:
    put(shard, "a", "b", "c", "d", "e")
    serve(shard, Tally(shard, at_most=2))
    assert rows(shard) == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
    assert Shard.objects.get(id=shard).batches == 3


def test_a_command_seen_before_gets_its_first_answer(shard: int) -> None:
    put(shard, "a", "b")
    serve(shard, Tally(shard))
    put(shard, "b", "a", "b")
    with listening() as answers:
        serve(shard, Tally(shard))
        assert [(a.body, a.replayed) for a in answers()] == [
            (b"2", True),
            (b"1", True),
            (b"2", True),
        ]
    assert row_count(shard) == 2


def test_a_poisonous_command_is_set_aside_and_the_others_go_on(shard: int) -> None:
    names = [f"c{number}" for number in range(9)]
    commands = put(shard, *names[:5], "poison", *names[5:])
    with listening() as answers:
        serve(shard, Tally(shard))
        statuses = [a.status for a in answers()]
    assert statuses == [200] * 5 + [500] + [200] * 4
    assert rows(shard) == {name: number for number, name in enumerate(names, start=1)}
    letter = DeadLetter.objects.get()
    assert (letter.command_id, bytes(letter.body)) == (commands[5].id, b"poison")
    assert "ValueError: poison cannot be decided" in letter.error


def test_a_poisonous_command_that_comes_again_leaves_one_dead_letter(shard: int) -> None:
    [poison] = put(shard, "poison")
    serve(shard, Tally(shard))
    entry = join([encode_command(poison)])
    redis.Redis.from_url(settings.REDIS_URL).xadd(stream_key(shard), {FIELD: entry})
    serve(shard, Tally(shard))
    assert DeadLetter.objects.count() == 1


def test_bytes_that_are_no_command_do_not_stop_the_shard(shard: int) -> None:
    client = redis.Redis.from_url(settings.REDIS_URL)
    client.xadd(stream_key(shard), {FIELD: b"\xc1 nonsense"})
    client.xadd(stream_key(shard), {b"other": b"field"})
    client.xadd(stream_key(shard), {FIELD: b"\x90"})
    put(shard, "a")
    serve(shard, Tally(shard))
    assert rows(shard) == {"a": 1}
    assert client.xlen(stream_key(shard)) == 0


def test_a_stream_whose_ids_went_back_is_read_from_its_start(shard: int) -> None:
    """A new Redis whose clock is behind: the stored position lies in its future."""
    put(shard, "a", entry_id="9999999999999-0")
    serve(shard, Tally(shard))
    assert Shard.objects.get(id=shard).position == "9999999999999-0:0"
    redis.Redis.from_url(settings.REDIS_URL).delete(stream_key(shard))
    put(shard, "b", entry_id="5-0")
    serve(shard, Tally(shard))
    assert rows(shard) == {"a": 1, "b": 2}


def test_a_wipe_while_commands_are_held_loses_only_what_it_wiped(shard: int) -> None:
    put(shard, "a", "b", "c", entry_id="9999999999999-0")
    client = redis.Redis.from_url(settings.REDIS_URL)

    class Wiping(Tally):
        def committed(self) -> None:
            super().committed()
            if len(self.numbers) == 1:
                client.delete(stream_key(self.shard))
                put(self.shard, "d", entry_id="5-0")

    serve(shard, Wiping(shard, at_most=1))
    assert rows(shard) == {"a": 1, "b": 2, "c": 3, "d": 4}


class Usurped(Tally):
    """While it decides its second batch, another writer raises the epoch."""

    def execute(self, commands: Any, /) -> list[Answer]:
        if self.numbers:
            with psycopg.connect(database_conninfo()) as other:
                other.execute(
                    "UPDATE sequencer_shard SET epoch = epoch + 1 WHERE id = %s", [self.shard]
                )
        return super().execute(commands)


def test_a_writer_that_was_replaced_cannot_commit(shard: int) -> None:
    put(shard, "a", "b")
    with pytest.raises(FencedOff):
        serve(shard, Usurped(shard, at_most=1))
    assert rows(shard) == {"a": 1}
    assert Shard.objects.get(id=shard).commands == 1


def test_control_without_the_fence_a_replaced_writer_does_commit(shard: int) -> None:
    class Unfenced(Session):
        def _hit(self, sql: str, parameters: tuple[Any, ...]) -> int:
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters)
            return 0

    put(shard, "a", "b")
    serve(shard, Usurped(shard, at_most=1), Unfenced(shard))
    assert rows(shard) == {"a": 1, "b": 2}


@pytest.mark.parametrize("is_durable", [True, False])
def test_a_commit_of_unknown_outcome_is_looked_up_and_not_repeated(
    shard: int, is_durable: bool
) -> None:
    """The connection dies in COMMIT, once just after it took effect and once just before."""

    class Torn(Session):
        is_torn = False

        @contextmanager
        def transaction(self) -> Iterator[None]:
            with super().transaction():
                yield
                if not self.is_torn and not is_durable:
                    self._tear()
            if not self.is_torn:
                self._tear()
                raise OperationalError("server closed the connection unexpectedly")

        def _tear(self) -> None:
            self.is_torn = True
            pid = self._ask("SELECT pg_backend_pid()")
            with psycopg.connect(database_conninfo()) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
            self._connection.close() if is_durable else None

    put(shard, "a", "b", "c")
    engine = Tally(shard)
    with listening() as answers:
        serve(shard, engine, Torn(shard))
        heard = answers()
    assert [(a.body, a.replayed) for a in heard] == [
        (b"1", is_durable),
        (b"2", is_durable),
        (b"3", is_durable),
    ]
    assert rows(shard) == {"a": 1, "b": 2, "c": 3}
    assert row_count(shard) == 3
    assert engine.loads == 2


def test_a_fault_after_the_commit_undoes_nothing(shard: int) -> None:
    class Hooked(Tally):
        def execute(self, commands: Any, /) -> list[Answer]:
            transaction.on_commit(lambda: connection.cursor().execute("SELECT 1 / 0"))
            return super().execute(commands)

    put(shard, "a", "b")
    engine = Hooked(shard)
    with listening() as answers:
        serve(shard, engine)
        assert [(a.body, a.replayed) for a in answers()] == [(b"1", False), (b"2", False)]
    assert engine.numbers == rows(shard) == {"a": 1, "b": 2}
    assert Shard.objects.get(id=shard).batches == 1


def test_a_commit_that_is_refused_undoes_the_batch(shard: int) -> None:
    """A constraint that is checked at COMMIT: the culprit is found all the same."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION sequencer_no_odd() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'odd'; END $$;"
            " CREATE CONSTRAINT TRIGGER no_odd AFTER INSERT ON sequencer_tally"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.client_id = 'odd')"
            " EXECUTE FUNCTION sequencer_no_odd()"
        )
    try:
        put(shard, "a", "odd", "b")
        with listening() as answers:
            serve(shard, Tally(shard))
            assert [a.status for a in answers()] == [200, 500, 200]
        assert rows(shard) == {"a": 1, "b": 2}
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION sequencer_no_odd CASCADE")


def test_a_batch_that_meets_a_deadlock_is_tried_again(shard: int) -> None:
    class Deadlocked(Tally):
        times = 0

        def execute(self, commands: Any, /) -> list[Answer]:
            self.times += 1
            if self.times <= 3:
                with connection.cursor() as cursor:
                    cursor.execute("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$")
            return super().execute(commands)

    put(shard, "a", "b")
    serve(shard, Deadlocked(shard))
    assert rows(shard) == {"a": 1, "b": 2}
    assert DeadLetter.objects.count() == 0


def test_a_command_whose_rows_are_held_is_turned_away_and_the_others_go_on(
    shard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Waiting(Tally):
        def _decide(self, command: Command) -> Answer:
            if command.body == b"held":
                with connection.cursor() as cursor:
                    cursor.execute("SELECT id FROM live_relay FOR UPDATE")
            return super()._decide(command)

    monkeypatch.setattr("sequencer.session.LOCK_TIMEOUT_S", 0.05)
    put(shard, "a", "b", "held", "c")
    with psycopg.connect(database_conninfo()) as other, listening() as answers:
        other.execute("SELECT id FROM live_relay FOR UPDATE")
        serve(shard, Waiting(shard))
        assert [a.status for a in answers()] == [200, 200, 503, 200]
    assert rows(shard) == {"a": 1, "b": 2, "c": 3}
    assert DeadLetter.objects.count() == 0
    put(shard, "held")
    serve(shard, Waiting(shard))
    assert rows(shard) == {"a": 1, "b": 2, "c": 3, "held": 4}


def test_a_standby_takes_over_when_the_writer_stops(shard: int) -> None:
    first = Session(shard)
    stopping = threading.Event()
    assert first.take(stopping)
    taken: list[int] = []

    def stand_by() -> None:
        second = Session(shard)
        if second.take(stopping):
            taken.append(second.epoch)
            second.release()

    standby = threading.Thread(target=stand_by)
    standby.start()
    standby.join(0.6)
    assert taken == []
    first.release()
    standby.join(5)
    assert taken == [2]
