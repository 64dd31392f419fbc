"""Talking to PostgreSQL in bulk: prepared statements, arrays and binary COPY.

COPY is for what comes by the hundred thousand (voucher codes); the hot paths send their rows
with `edge.journey`. A row packed by a compiled struct costs about a microsecond; generic
adapters cost several. The layout is PostgreSQL's, documented under COPY, "Binary Format":
a 16-bit field count, then each field's 32-bit length and its bytes, big-endian; length -1
is NULL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import psycopg
from django.db import connection

_HEADER = b"PGCOPY\n\xff\r\n\0" + b"\0" * 8
_TRAILER = b"\xff\xff"
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@contextmanager
def raw_cursor() -> Iterator[psycopg.Cursor[Any]]:
    """A psycopg cursor on Django's own connection and transaction, able to prepare.

    Database errors come out as Django's. Must run inside `transaction.atomic()`.
    """
    assert connection.in_atomic_block, "bulk writes happen inside a transaction"
    connection.ensure_connection()
    raw = cast("psycopg.Connection[Any]", connection.connection)
    with connection.wrap_database_errors, psycopg.Cursor(raw) as cursor:
        yield cursor


def array(values: Iterable[int]) -> str:
    """Spell a PostgreSQL array of integers: one string is far cheaper than a list to bind."""
    return "{" + ",".join(map(str, values)) + "}"


def uuid_array(digests: Iterable[bytes]) -> str:
    """Spell a PostgreSQL array of UUIDs from their 16 bytes each."""
    return "{" + ",".join(digest.hex() for digest in digests) + "}"


def text_array(values: Iterable[str]) -> str:
    """Spell a PostgreSQL array of texts."""
    return "{" + ",".join([_quoted(value) for value in values]) + "}"


def repeated_texts(values: Sequence[str]) -> str:
    """Spell an array of texts, quoting each different one once: a batch names few of them."""
    spelt = {value: text_array([value])[1:-1] for value in set(values)}
    return "{" + ",".join([spelt[value] for value in values]) + "}"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@contextmanager
def copying(cursor: psycopg.Cursor[Any]) -> Iterator[Copying]:
    """COPY into several tables in turn, packing rows while the server takes in those before.

    The data of a COPY is on its way when `add` returns; its end is waited for by the next
    `add`, or at the end of the block. So what is done in between costs no time.
    """
    with ExitStack() as running:
        yield Copying(cursor, running)


class Copying:
    """The COPYs of one `copying` block."""

    def __init__(self, cursor: psycopg.Cursor[Any], running: ExitStack) -> None:
        self._cursor = cursor
        self._running = running

    def add(self, statement: str, rows: Iterable[bytes]) -> None:
        """Write packed rows by one `COPY … FROM STDIN WITH (FORMAT binary)`."""
        packed = _HEADER + b"".join(rows) + _TRAILER
        self._running.close()
        copy = self._running.enter_context(self._cursor.copy(statement))
        copy.write(packed)


def timestamp_microseconds(moment: datetime) -> int:
    """A timestamptz as PostgreSQL counts it: microseconds since 2000."""
    return (moment - _POSTGRES_EPOCH) // _MICROSECOND
