"""The relay: in order, at least once, alone, awake when needed, and hard to kill."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
import redis
from django.conf import settings
from django.db import connection, transaction

from edge.database import database_conninfo
from live import relay as relay_module
from live.events import Event
from live.management.commands.relay import connect
from live.models import Relay as RelayRow
from live.outbox import record
from live.publisher import STREAM_KEY, RedisPublisher, topic_channel
from live.reader import Connection, Row
from live.relay import Relay
from tests.live.conftest import Heard
from tests.sequencer.servers import Restartable, wait_for

pytestmark = pytest.mark.usefixtures("session")


def tell(*keys: str, topic: str = "test") -> None:
    with transaction.atomic():
        record([Event(topic, key, b'{"n": 1}') for key in keys])


@contextmanager
def running(relay: Relay) -> Iterator[None]:
    """Run a relay beside the test."""
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        yield
    finally:
        relay.stop()
        thread.join(10)
        assert not thread.is_alive()


def connector() -> Callable[[], Connection]:
    """What connects a relay from another thread to the test's database."""
    conninfo = database_conninfo()
    return lambda: connect(conninfo)


def test_events_are_told_and_the_position_is_kept() -> None:
    heard = Heard()
    with running(Relay(connector(), heard)):
        tell("a", "b")
        tell("c")
        wait_for(lambda: heard.keys == ["a", "b", "c"])
    row = RelayRow.objects.get()
    assert row.position == heard.rows[-1].id
    assert (row.lag_events, row.heartbeat_at is not None) == (0, True)
    again = Heard()
    with running(Relay(connector(), again)):
        tell("d")
        wait_for(lambda: again.keys == ["d"])


def test_what_may_not_have_been_told_is_told_again() -> None:
    class Faltering(Heard):
        failures = 3

        def publish(self, rows: Sequence[Row], /) -> None:
            super().publish(rows)
            self.failures -= 1
            if self.failures >= 0:
                raise redis.ConnectionError("gone before the answer")

    heard = Faltering()
    with running(Relay(connector(), heard)):
        tell("a", "b")
        wait_for(lambda: heard.keys == ["a", "b"] * 4)


def test_a_sleeping_relay_is_woken_by_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "ACTIVE_S", 0.0)
    monkeypatch.setattr(relay_module, "SLEEP_S", 60.0)
    heard = Heard()
    relay = Relay(connector(), heard)
    with running(relay):
        for number in range(3):
            wait_for(lambda: RelayRow.objects.get().is_asleep)
            time.sleep(0.1)
            told_at = time.monotonic()
            tell(f"{number}")
            wait_for(lambda count=number + 1: len(heard.rows) == count)  # type: ignore[misc]
            assert time.monotonic() - told_at < 30
        wait_for(lambda: RelayRow.objects.get().is_asleep)
        relay.stop()
        tell("the last, to wake it")


def test_only_one_relay_tells_and_a_standby_takes_over() -> None:
    first, second = Heard(), Heard()
    leader = Relay(connector(), first)
    with running(leader):
        tell("a")
        wait_for(lambda: first.keys == ["a"])
        with running(Relay(connector(), second)):
            tell("b")
            wait_for(lambda: first.keys == ["a", "b"])
            assert second.keys == []
            leader.stop()
            wait_for(lambda: _told_to(second, "c"))


def _told_to(heard: Heard, key: str) -> bool:
    if not heard.rows:
        tell(key)
        time.sleep(0.3)
    return key in heard.keys


def test_a_lost_database_session_is_survived() -> None:
    heard = Heard()
    with running(Relay(connector(), heard)):
        tell("a")
        wait_for(lambda: heard.keys == ["a"])
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks"
                " WHERE locktype = 'advisory' AND classid = %s",
                [relay_module.LOCK_CLASS],
            )
        tell("b")
        wait_for(lambda: heard.keys[-1:] == ["b"])
        assert set(heard.keys) == {"a", "b"}


def test_redis_gets_one_entry_for_all_and_one_message_a_topic() -> None:
    client: Any = redis.Redis.from_url(settings.REDIS_URL)
    client.delete(STREAM_KEY)
    listener: Any = redis.client.PubSub(redis.ConnectionPool.from_url(settings.REDIS_URL))
    listener.subscribe(topic_channel("market.x"))
    assert listener.get_message(timeout=2)["type"] == "subscribe"
    with transaction.atomic():
        record([Event("market.x", "1", b'{"price":3}'), Event("wallet", "2", b"[]")])
        record([Event("market.x", "3", b"null")])
    with running(Relay(connector(), RedisPublisher(settings.REDIS_URL))):
        message = listener.get_message(timeout=10)
        wait_for(lambda: client.xlen(STREAM_KEY) > 0)
    told = msgspec.json.decode(message["data"])
    assert [(each["topic"], each["key"], each["payload"]) for each in told] == [
        ("market.x", "1", {"price": 3}),
        ("market.x", "3", None),
    ]
    assert told[0]["at"].endswith("Z")
    [(_, fields)] = client.xrange(STREAM_KEY)
    everything = msgspec.json.decode(fields[b"events"])
    assert [each["key"] for each in everything] == ["1", "2", "3"]
    assert [int(fields[b"first"]), int(fields[b"last"])] == [
        int(everything[0]["id"]),
        int(everything[2]["id"]),
    ]
    listener.close()


class Listener(threading.Thread):
    """A consumer that follows the stream and survives the loss of Redis."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.heard: list[int] = []
        self.done = threading.Event()
        self._url = url

    def run(self) -> None:
        while not self.done.is_set():
            with contextlib.suppress(redis.RedisError):
                self._follow(redis.Redis.from_url(self._url))
            time.sleep(0.02)

    def _follow(self, client: Any) -> None:
        last = "0-0"
        while not self.done.is_set():
            for _, entries in client.xread({STREAM_KEY: last}, block=100) or []:
                for entry_id, fields in entries:
                    last = entry_id
                    told = msgspec.json.decode(fields[b"events"])
                    self.heard.extend(int(each["key"]) for each in told)


def test_kills_of_the_relay_and_a_new_redis_lose_no_event(
    environment: dict[str, str], own_valkey: Restartable
) -> None:
    """Told at least once, in order, each event's first telling before the next one's."""

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "manage.py", "relay"], env=environment)

    listener = Listener(own_valkey.url)
    listener.start()
    relay = start()
    try:
        for number in range(200):
            tell(str(number))
            if number in {60, 120}:
                wait_for(lambda: len(listener.heard) > 20)
                relay.send_signal(signal.SIGKILL)
                relay.wait()
                relay = start()
            if number == 160:
                wait_for(lambda: listener.heard[-1] == 160)
                own_valkey.restart()
        wait_for(lambda: listener.heard[-1] == 199, timeout_s=30)
    finally:
        listener.done.set()
        listener.join()
        relay.kill()
        relay.wait()
    assert list(dict.fromkeys(listener.heard)) == list(range(200))
