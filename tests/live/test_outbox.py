"""Events belong to their transaction and are read in order, none skipped."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pytest
from django.db import connection, transaction

from live.events import EVENTS_PER_RECORD, LARGEST_PAYLOAD_BYTES, Event
from live.models import OutboxEvent
from live.outbox import NotInTransaction, record
from live.reader import EVENTS_A_READ, Connection, OutboxReader
from tests.live.conftest import other_transaction, record_by, take


def event(key: str, payload: bytes = b"{}") -> Event:
    return Event("test", key, payload)


def test_events_are_read_in_the_order_they_were_recorded(reader: OutboxReader) -> None:
    with transaction.atomic():
        record([event("c"), event("a")])
        record([event("b", b'{"price": 3}')])
    rows = reader.read()
    assert [(row.topic, row.key, row.payload) for row in rows] == [
        ("test", "c", b"{}"),
        ("test", "a", b"{}"),
        ("test", "b", b'{"price": 3}'),
    ]
    assert rows == reader.read()
    reader.settle()
    assert reader.read() == []


def test_events_of_a_transaction_that_failed_were_never_there(reader: OutboxReader) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        record([event("never")])
        _ = 1 // 0
    assert take(reader) == []
    assert reader.lag_events == 0


def test_outside_a_transaction_it_is_refused(reader: OutboxReader) -> None:
    with pytest.raises(NotInTransaction):
        record([event("a")])
    assert take(reader) == []


@pytest.mark.parametrize(
    "events",
    [
        [event("a")] * (EVENTS_PER_RECORD + 1),
        [event("a"), event("b", b"")],
        [event("a"), event("b", b"x" * (LARGEST_PAYLOAD_BYTES + 1))],
    ],
    ids=["too many", "no payload", "too large a payload"],
)
def test_beyond_the_limits_nothing_is_recorded(reader: OutboxReader, events: list[Event]) -> None:
    with transaction.atomic(), pytest.raises(ValueError, match=r"events at once|payload"):
        record(events)
    assert take(reader) == []


def test_more_than_one_read_holds_is_read_in_order(reader: OutboxReader) -> None:
    keys = [str(number) for number in range(EVENTS_A_READ * 2 + 7)]
    with transaction.atomic():
        record([event(key) for key in keys])
    assert take(reader) == keys


# -- a transaction that takes its ids early and commits late -------------------------------


def read_by_position(session: Connection, seen: list[str], position: int) -> int:
    """The control: a relay that asks for ids above its position, and nothing else."""
    found = session.execute(
        "SELECT id, key FROM live_outboxevent WHERE id > %s ORDER BY id", [position]
    ).fetchall()
    seen += [key for _, key in found]
    return found[-1][0] if found else position


def test_a_late_commit_is_waited_for_and_told_in_order(reader: OutboxReader) -> None:
    with other_transaction() as late:
        record_by(late, "early id")
        with transaction.atomic():
            record([event("late id")])
        assert take(reader) == []
        assert reader.lag_events == 2
        assert reader.stuck_s > 0
    assert take(reader) == ["early id", "late id"]
    assert reader.stuck_s == 0


def test_control_a_relay_by_position_alone_loses_the_late_commit(
    reader: OutboxReader, session: Connection
) -> None:
    seen: list[str] = []
    with other_transaction() as late:
        record_by(late, "early id")
        with transaction.atomic():
            record([event("late id")])
        position = read_by_position(session, seen, reader.settled)
    read_by_position(session, seen, position)
    assert seen == ["late id"]


def test_a_late_rollback_is_passed_over(reader: OutboxReader) -> None:
    with other_transaction() as late:
        record_by(late, "never")
        with transaction.atomic():
            record([event("a")])
        assert take(reader) == []
        late.connection.rollback()
    assert take(reader) == ["a"]


def test_a_long_transaction_that_records_nothing_holds_nobody_back(reader: OutboxReader) -> None:
    """Which a horizon of transaction ids would: its oldest is this one."""
    with other_transaction() as long:
        long.execute("SELECT pg_current_xact_id()")
        with transaction.atomic():
            record([event("a")])
        assert take(reader) == ["a"]


def test_cause_comes_before_effect(reader: OutboxReader, session: Connection) -> None:
    """The effect's transaction is the older one, and a still older one is open."""
    session.execute("CREATE TABLE live_cause (n int); INSERT INTO live_cause VALUES (0)")
    try:
        with other_transaction() as effect, other_transaction() as oldest:
            effect.execute("SELECT pg_current_xact_id()")
            oldest.execute("SELECT pg_current_xact_id()")
            with other_transaction() as cause:
                cause.execute("UPDATE live_cause SET n = 1")
                record_by(cause, "cause")
            effect.execute("UPDATE live_cause SET n = 2 WHERE n = 1")
            record_by(effect, "effect")
            assert effect.rowcount == 1
            assert take(reader) == ["cause"]
        assert take(reader) == ["effect"]
    finally:
        session.execute("DROP TABLE live_cause")


def crowd(stopped: threading.Event, recorded: list[str], name: str) -> None:
    """Transactions of random length, one in five of which rolls back."""
    randoms = random.Random(name)
    for number in range(60):
        keys = [f"{name}-{number}-{index}" for index in range(randoms.randint(1, 5))]
        with other_transaction() as cursor:
            record_by(cursor, *keys)
            time.sleep(randoms.choice([0, 0, 0.001, 0.01]))
            if randoms.random() < 0.2:
                cursor.connection.rollback()
            else:
                recorded += keys
    stopped.set()


def follow_crowd(step: Callable[[], None]) -> list[str]:
    """Run `step` over and over while six threads record; all that they committed."""
    recorded: list[str] = []
    ends = [threading.Event() for _ in range(6)]
    threads = [
        threading.Thread(target=crowd, args=(end, recorded, f"t{index}"))
        for index, end in enumerate(ends)
    ]
    for thread in threads:
        thread.start()
    while not all(end.is_set() for end in ends):
        step()
    for thread in threads:
        thread.join()
    step()
    return recorded


def test_among_many_writers_every_event_is_read_once_and_in_order(reader: OutboxReader) -> None:
    read: list[str] = []
    recorded = follow_crowd(lambda: read.extend(take(reader)))
    assert sorted(read) == sorted(recorded)
    in_order = OutboxEvent.objects.filter(topic="test").order_by("id")
    assert read == list(in_order.values_list("key", flat=True))


def test_control_among_many_writers_a_relay_by_position_alone_loses_some(
    reader: OutboxReader, session: Connection
) -> None:
    read: list[str] = []
    position = [reader.settled]

    def step() -> None:
        position[0] = read_by_position(session, read, position[0])

    recorded = follow_crowd(step)
    assert len(read) < len(recorded)


def test_a_mark_survives_the_wrap_of_its_31_bits(reader: OutboxReader, session: Connection) -> None:
    newest = (7 << 31) - 2
    session.execute("SELECT setval('live_outbox_id', %s)", [newest])
    take(reader)
    with other_transaction() as late:
        record_by(late, "a", "b", "c")
        with transaction.atomic():
            record([event("d")])
        assert take(reader) == []
    assert take(reader) == ["a", "b", "c", "d"]
    assert reader.settled == newest + 4


def test_rows_go_where_the_model_reads_them(reader: OutboxReader) -> None:
    with transaction.atomic():
        record([event("a", b"[1]")])
    assert take(reader) == ["a"]
    row = OutboxEvent.objects.get(key="a")
    assert (row.topic, bytes(row.payload)) == ("test", b"[1]")
    assert not connection.in_atomic_block
