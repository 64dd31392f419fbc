"""One unchanging view of the ledger, read in a stream.

An export opens a connection of its own and reads in one REPEATABLE READ READ ONLY
transaction: all its parts see the same ledger however long it takes, it blocks nobody, and
nobody else's transaction is in its way. Rows come through server-side cursors, so neither
side ever holds them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection

LONGEST_EXPORT = "2h"
"""A snapshot kept open holds back PostgreSQL's vacuum: a reader slower than this is cut off."""
FETCHED_AT_ONCE = 2_000
STREAMING = ("enable_hashjoin", "enable_mergejoin", "enable_sort")
DJANGO_ONLY = frozenset({"context", "cursor_factory", "prepare_threshold"})

Row = Sequence[Any]
Parameters = Sequence[object] | Mapping[str, object]
Progress = Callable[[int], None]


class Snapshot:
    """A view of the ledger as it was at one moment; see `taken`."""

    def __init__(self, raw: psycopg.Connection[Any], on_rows: Progress | None) -> None:
        self._raw = raw
        self._on_rows = on_rows
        self._cursors = 0
        self.row_count = 0

    def rows(self, sql: str, parameters: Parameters = ()) -> Iterator[Row]:
        """Read a query's rows, some thousands at a time."""
        self._cursors += 1
        with psycopg.ServerCursor(self._raw, f"export_{self._cursors}") as cursor:
            cursor.execute(sql, parameters, binary=True)
            yield from self._fetched(cursor)

    def ordered_rows(self, sql: str, parameters: Parameters = ()) -> Iterator[Row]:
        """Read rows in the order of an index: the first comes at once, nothing is sorted.

        For queries over many transfers. PostgreSQL would rather hash and sort millions of
        rows on its disk; walking the index costs about a third more and no space.
        """
        self._cursors += 1
        with psycopg.ServerCursor(self._raw, f"export_{self._cursors}") as cursor:
            self._plan_for_streaming(True)
            cursor.execute(sql, parameters, binary=True)
            self._plan_for_streaming(False)
            yield from self._fetched(cursor)

    def _fetched(self, cursor: psycopg.ServerCursor[Any]) -> Iterator[Row]:
        while rows := cursor.fetchmany(FETCHED_AT_ONCE):
            yield from rows
            self.row_count += len(rows)
            if self._on_rows is not None:
                self._on_rows(self.row_count)

    def _plan_for_streaming(self, is_streaming: bool) -> None:
        value = "off" if is_streaming else "on"
        self._raw.execute("; ".join(f"SET LOCAL {name} = {value}" for name in STREAMING))


@contextmanager
def taken(on_rows: Progress | None = None) -> Iterator[Snapshot]:
    """Take a snapshot of the ledger, on a connection of its own, until the block is left.

    `on_rows` hears how many rows have been read. A snapshot older than two hours is ended
    by PostgreSQL with an error.
    """
    with connection.wrap_database_errors, psycopg.connect(**_connection_parameters()) as raw:
        raw.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        raw.read_only = True
        raw.execute(f"SET LOCAL transaction_timeout = '{LONGEST_EXPORT}'")
        yield Snapshot(raw, on_rows)


def _connection_parameters() -> dict[str, Any]:
    parameters: dict[str, Any] = connection.get_connection_params()
    # Django's own type adapters and cursors are for its own connection.
    return {key: value for key, value in parameters.items() if key not in DJANGO_ONLY}
