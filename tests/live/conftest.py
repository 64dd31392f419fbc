"""An outbox as empty as the migrations left it, and ways to look at it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from edge.database import database_conninfo
from live.management.commands.relay import connect
from live.outbox import RECORD
from live.reader import Connection, OutboxReader, Row
from tests.sequencer.servers import environment, own_valkey

__all__ = ["environment", "own_valkey"]


class Heard:
    """A publisher that only remembers what it told."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def publish(self, rows: Sequence[Row], /) -> None:
        self.rows.extend(rows)

    @property
    def keys(self) -> list[str]:
        return [row.key for row in self.rows]


@pytest.fixture
def session(transactional_db: None) -> Iterator[Connection]:
    """A session of its own, without transactions, as the relay has."""
    with connect() as own:
        yield own


@pytest.fixture
def reader(session: Connection) -> OutboxReader:
    """A reader that has read all there was."""
    reader = OutboxReader(session, position=0)
    take(reader)
    return reader


def take(reader: OutboxReader) -> list[str]:
    """Read and settle what is settled now; the keys of the events."""
    keys = []
    while rows := reader.read():
        keys += [row.key for row in rows]
        reader.settle()
    return keys


Cursor = psycopg.RawCursor[tuple[Any, ...]]


@contextmanager
def other_transaction() -> Iterator[Cursor]:
    """A transaction beside the test's own; it commits when the block ends."""
    with psycopg.connect(database_conninfo()) as other, psycopg.RawCursor(other) as cursor:
        yield cursor


def record_by(cursor: Cursor, *keys: str) -> None:
    """Record events in another transaction, by the very statement of `record`."""
    cursor.execute(RECORD, [["test"] * len(keys), list(keys), [b"1"] * len(keys)])
