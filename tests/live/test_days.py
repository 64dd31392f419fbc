"""The outbox's days are made ahead, filled from the default, and dropped once told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from live import days
from live.reader import Connection

INSERT = """
INSERT INTO live_outboxevent (topic, key, payload, created_at)
VALUES ('t', 'k', '1', %s) RETURNING id, tableoid::regclass::text
"""


@pytest.fixture
def outbox(session: Connection) -> Iterator[Connection]:
    """An outbox with its default partition alone, before and after."""
    drop_days(session)
    yield session
    drop_days(session)


def drop_days(session: Connection) -> None:
    for day in days._known(session):
        session.execute(f"DROP TABLE live_outboxevent_{day:%Y_%m_%d}")
    session.execute("DELETE FROM live_outboxevent")


def insert(outbox: Connection, at: datetime) -> tuple[int, str]:
    """Put an event at a time; its id and the partition it went to."""
    row = outbox.execute(INSERT, [at]).fetchone()
    assert row is not None
    return row


def name(day: date) -> str:
    return f"live_outboxevent_{day:%Y_%m_%d}"


def test_today_and_the_days_ahead_are_made_and_take_over_what_waited(outbox: Connection) -> None:
    now = datetime.now(UTC)
    waiting_id, place = insert(outbox, now)
    assert place == "live_outboxevent_default"
    days.maintain(outbox, position=0)
    days.maintain(outbox, position=0)
    today = now.date()
    assert days._known(outbox) == [today + timedelta(days=ahead) for ahead in range(4)]
    moved = outbox.execute(f"SELECT id FROM {name(today)}").fetchall()
    assert moved == [(waiting_id,)]
    assert insert(outbox, now)[1] == name(today)


def test_an_old_day_is_dropped_once_all_its_events_are_told(outbox: Connection) -> None:
    today = datetime.now(UTC).date()
    old = datetime.combine(today - timedelta(days=8), datetime.min.time(), UTC)
    outbox.execute(days._making(old.date()))
    event_id, place = insert(outbox, old)
    assert place == name(old.date())
    days.maintain(outbox, position=event_id - 1)
    assert old.date() in days._known(outbox)
    days.maintain(outbox, position=event_id)
    assert old.date() not in days._known(outbox)


def test_what_is_young_or_not_told_is_kept(outbox: Connection) -> None:
    now = datetime.now(UTC)
    young, _ = insert(outbox, now - timedelta(days=6))
    old, _ = insert(outbox, now - timedelta(days=9))
    untold, _ = insert(outbox, now - timedelta(days=9))
    days.maintain(outbox, position=old)
    left = outbox.execute("SELECT id FROM live_outboxevent ORDER BY id").fetchall()
    assert left == [(young,), (untold,)]
