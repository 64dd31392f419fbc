"""Many statements in one journey to PostgreSQL: sent together, answered together.

A statement alone costs the wait for its answer, whatever it does. A journey sends all of
its statements at once (libpq's pipeline mode) and reads all answers at the end. It may also
be sent without waiting: then Python goes on while PostgreSQL works, and asks later.

    journey = Journey()
    journey.add("UPDATE … WHERE id = ANY($1::bigint[])", array(ids))
    journey.add("INSERT INTO t SELECT * FROM unnest($1::t_row[])", Rows("t_row", packed))
    answers = journey.run()                     # or trip = journey.send(raw); trip.finish()

A connection in autocommit takes a journey as one transaction, which ends with it. Parameters
are `$1`, `$2` …: an int or a str goes as text, bytes go as they are, in
PostgreSQL's binary format. The first statement that fails ends the journey: those after it
are not carried out, and its error is raised at the end.

**Rows.** Thousands of rows go as one parameter: an array of a composite type, binary. That
is cheaper to take in than COPY, and needs no journey of its own. A row is packed by a
compiled struct as PostgreSQL's `record_recv` wants it: its length, the number of fields,
and for each field the oid of its type, its length and its bytes, big-endian; length -1 is
NULL. `docs/decisions/0020-journeys.md` has the measurements.
"""

from __future__ import annotations

import os
import re
import select
import socket
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from struct import Struct
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

import psycopg
from django.db import connection
from psycopg import errors, pq
from psycopg.adapt import Transformer

from edge.postgres import timestamp_microseconds

ANSWER, BEGUN = "", "\0"
"""What a result belongs to: a statement, a transaction that begins, else what is prepared."""
UNEXPECTED = "SC001"
"""The SQLSTATE of `edge_expect` (`edge/migrations/0002_expect.py`)."""

SENT_AT_ONCE_BYTES = 2 * 1024 * 1024
"""What the socket takes without waiting: a whole journey. With less PostgreSQL waits for the rest
of it while Python is busy elsewhere. The system may set a lower limit."""
BEGIN = b"BEGIN"
LAZILY = "SELECT set_config('synchronous_commit', 'off', true)"
_PARAMETER = re.compile(r"\$(\d+)")
_HEAD = Struct("!iiIii").pack
_LENGTH = Struct("!i").pack
_INT8 = Struct("!iiq").pack
_TEXT_HEAD = Struct("!ii").pack
NULL_INT8 = _TEXT_HEAD(20, -1)
NULL_TIMESTAMP = _TEXT_HEAD(1184, -1)
NO_TEXT = _TEXT_HEAD(25, 0)

_BAD = frozenset({pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE})
_ABORTED = pq.ExecStatus.PIPELINE_ABORTED
_SYNC = pq.ExecStatus.PIPELINE_SYNC


class Unexpected(psycopg.DatabaseError):
    """A statement did not do what it must; `what` names it, and nothing was done."""

    sqlstate = UNEXPECTED

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class _Known:
    """What one connection has prepared, and the oids of row types it has looked up."""

    __slots__ = ("names", "oids")

    def __init__(self) -> None:
        self.names: dict[str, bytes] = {}
        self.oids: dict[str, int] = {}


_KNOWN: WeakKeyDictionary[psycopg.Connection[Any], _Known] = WeakKeyDictionary()


def _known_of(raw: psycopg.Connection[Any]) -> _Known:
    known = _KNOWN.get(raw)
    if known is None:
        known = _KNOWN[raw] = _Known()
        with socket.socket(fileno=os.dup(raw.pgconn.socket)) as shared:
            shared.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_AT_ONCE_BYTES)
    return known


def raw_connection() -> psycopg.Connection[Any]:
    """Django's own connection, as psycopg knows it."""
    connection.ensure_connection()
    return cast("psycopg.Connection[Any]", connection.connection)


class Rows(NamedTuple):
    """Many packed rows of a composite type, as one parameter."""

    type_name: str
    packed: Sequence[bytes]


Parameter = int | str | bytes | Rows | None


class _Write(NamedTuple):
    sql: str
    parameters: Sequence[Parameter]
    changes: tuple[int, str] | None

    @property
    def what(self) -> str:
        return self.changes[1] if self.changes else ""


class _Statement(NamedTuple):
    sql: str
    parameters: Sequence[Parameter]


def _together(writes: Sequence[_Write]) -> _Statement:
    """Make one statement of several writes: their parameters, then the numbers of rows expected."""
    sql = _joined(tuple((each.sql, len(each.parameters), each.what) for each in writes))
    parameters = [parameter for each in writes for parameter in each.parameters]
    return _Statement(sql, parameters + [each.changes[0] for each in writes if each.changes])


@lru_cache(maxsize=256)
def _joined(writes: tuple[tuple[str, int, str], ...]) -> str:
    parts: list[str] = []
    checks: list[str] = []
    used, last = 0, sum(count for _, count, _ in writes)
    for place, (sql, count, what) in enumerate(writes):
        parts.append(f"w{place} AS ({_renumbered(sql, used)})")
        used += count
        if what:
            last += 1
            checks.append(f"edge_expect((SELECT count(*) FROM w{place}), ${last}, '{what}')")
    return f"WITH {', '.join(parts)} SELECT {', '.join(checks) or '1'}"


def _renumbered(sql: str, by: int) -> str:
    return _PARAMETER.sub(lambda found: f"${by + int(found[1])}", sql)


class Journey:
    """Statements that will go to PostgreSQL together, in the order in which they are added."""

    def __init__(self) -> None:
        self._list: list[_Statement | _Write] = []

    def add(self, statement: str, *parameters: Parameter) -> None:
        """Put a statement on the list."""
        self._list.append(_Statement(statement, parameters))

    def write(
        self, statement: str, *parameters: Parameter, changes: tuple[int, str] | None = None
    ) -> None:
        """Put an INSERT or UPDATE on the list that needs nothing of its neighbours.

        Those that follow each other become one statement, in no order: each alone would
        cost PostgreSQL 50 µs more. `changes` says how many rows it must return, and what
        `Unexpected` names if it does not.
        """
        self._list.append(_Write(statement, parameters, changes))

    def then(self, other: Journey) -> None:
        """Put all of another journey behind what is here."""
        self._list += other._list

    def run(self, meanwhile: Callable[[], object] = bool) -> list[Answered]:
        """Send everything over Django's connection and wait for the answers; see `Trip.finish`.

        `meanwhile` is called while PostgreSQL works; it may not use the connection. Errors come
        out as Django's, with psycopg's as their cause.
        """
        with connection.wrap_database_errors:
            trip = self.send(raw_connection())
            try:
                meanwhile()
            finally:
                answers = trip.finish()
        return answers

    def run_lazily(self) -> None:
        """Send what may be lost if the server dies a moment later: nobody waits for the disk.

        Inside a transaction it is as durable as that is.
        """
        if not connection.in_atomic_block:
            self._list.insert(0, _Statement(LAZILY, ()))
        self.run()

    def send(self, raw: psycopg.Connection[Any]) -> Trip:
        """Send everything over a connection, and do not wait.

        Nothing else may use the connection until the trip is finished.
        """
        statements: list[_Statement] = []
        for is_write, group in groupby(self._list, lambda each: isinstance(each, _Write)):
            those = list(group)
            statements += [_together(those)] if is_write else those  # type: ignore[arg-type]
        return Trip(raw, statements)


def ask(statement: str, *parameters: Parameter) -> Answered:
    """Send one statement alone over Django's connection, prepared, and wait for its answer."""
    journey = Journey()
    journey.add(statement, *parameters)
    [answered] = journey.run()
    return answered


class Trip:
    """A journey under way: sent, and not answered yet. One thread."""

    def __init__(self, raw: psycopg.Connection[Any], statements: Sequence[_Statement]) -> None:
        self._raw = raw
        self._known = _known_of(raw)
        self._asked: list[str] = []
        self._new: dict[str, bytes] = {}
        spelt = [(sql, [self._spelt(value) for value in values]) for sql, values in statements]
        begins = self._begins()
        raw.pgconn.enter_pipeline_mode()
        if begins:
            raw.pgconn.send_query_params(BEGIN, None)
            self._asked.append(BEGUN)
        for sql, parameters in spelt:
            self._send(sql, parameters)
        raw.pgconn.pipeline_sync()
        self.push()

    def push(self) -> None:
        """Hand over what the server takes now: a long journey does not fit in at once."""
        self._raw.pgconn.flush()

    def finish(self) -> list[Answered]:
        """Wait for the answers to all statements, in their order.

        Raises psycopg's error of the first statement that failed (`Unexpected` if what
        failed is what `edge_expect` asked). A connection that breaks raises OperationalError.
        """
        answers: list[Answered] = []
        error: psycopg.Error | None = None
        for asked in self._asked:
            result = self._next()
            if result is None or self._raw.pgconn.status != pq.ConnStatus.OK:
                raise errors.OperationalError("the connection was lost on the way")
            assert self._next() is None
            if result.status in _BAD:
                error = error or _error_of(result)
            elif result.status == _ABORTED or asked == BEGUN:
                continue
            elif asked:
                self._known.names[asked] = self._new[asked]
            else:
                answers.append(Answered(self._raw, result))
        synced = self._next()
        while synced is None or synced.status != _SYNC:
            # Without a BEGIN all of it is one transaction, committed here: that may fail too.
            if self._raw.pgconn.status != pq.ConnStatus.OK:
                raise errors.OperationalError("the connection was lost on the way")
            if synced is not None and synced.status in _BAD:
                error = error or _error_of(synced)
            synced = self._next()
        self._raw.pgconn.exit_pipeline_mode()
        if error is not None:
            raise error
        return answers

    # -- there ---------------------------------------------------------------------------------

    def _begins(self) -> bool:
        """Say whether psycopg, which knows nothing of trips, would begin a transaction here."""
        is_idle = self._raw.pgconn.transaction_status == pq.TransactionStatus.IDLE
        return is_idle and not self._raw.autocommit

    def _send(self, sql: str, parameters: list[bytes | str | None]) -> None:
        pgconn, names = self._raw.pgconn, self._known.names
        name = names.get(sql) or self._new.get(sql)
        if name is None:
            name = self._new[sql] = f"j{len(names) + len(self._new)}".encode()
            pgconn.send_prepare(name, sql.encode())
            self._asked.append(sql)
        pgconn.send_query_prepared(
            name,
            [value.encode() if isinstance(value, str) else value for value in parameters],
            [int(isinstance(value, bytes)) for value in parameters],
            result_format=pq.Format.BINARY,
        )
        self._asked.append(ANSWER)

    def _spelt(self, value: Parameter) -> bytes | str | None:
        if isinstance(value, Rows):
            head = _HEAD(1, 0, self._oid(value.type_name), len(value.packed), 1)
            return head + b"".join(value.packed)
        return str(value) if isinstance(value, int) else value

    def _oid(self, type_name: str) -> int:
        oid = self._known.oids.get(type_name)
        if oid is None:
            with psycopg.Cursor(self._raw) as cursor:
                cursor.execute("SELECT %s::regtype::oid::bigint", [type_name])
                row = cursor.fetchone()
            assert row is not None
            oid = self._known.oids[type_name] = int(row[0])
        return oid

    # -- and back ------------------------------------------------------------------------------

    def _next(self) -> pq.abc.PGresult | None:
        """The next result, as soon as it is here."""
        pgconn = self._raw.pgconn
        while pgconn.is_busy():
            self._wait()
            pgconn.consume_input()
        return pgconn.get_result()

    def _wait(self) -> None:
        pgconn = self._raw.pgconn
        wanted = select.POLLIN | (select.POLLOUT if pgconn.flush() else 0)
        poll = select.poll()
        poll.register(pgconn.socket, wanted)
        poll.poll()


class Answered:
    """What one statement answered."""

    __slots__ = ("_raw", "_result")

    def __init__(self, raw: psycopg.Connection[Any], result: pq.abc.PGresult) -> None:
        self._raw = raw
        self._result = result

    @property
    def count(self) -> int:
        """How many rows it changed or found."""
        return int(self._result.command_tuples or 0)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Its rows, as Python values."""
        transformer = Transformer(self._raw)
        transformer.set_pgresult(self._result)
        return cast("list[tuple[Any, ...]]", transformer.load_rows(0, self._result.ntuples, tuple))

    def fetchone(self) -> tuple[Any, ...] | None:
        """Its first row."""
        rows = self.fetchall()
        return rows[0] if rows else None


def _error_of(result: pq.abc.PGresult) -> psycopg.Error:
    sqlstate = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    primary = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message
    message = primary.decode(errors="replace")
    if sqlstate == UNEXPECTED:
        return Unexpected(message)
    try:
        return errors.lookup(sqlstate)(message)
    except KeyError:
        return psycopg.DatabaseError(message)


# -- packing fields and rows -------------------------------------------------------------------


def row(body: bytes) -> bytes:
    """A packed row, from its field count and fields."""
    return _LENGTH(len(body)) + body


def int8(value: int | None) -> bytes:
    """Pack a bigint field that may be NULL."""
    return NULL_INT8 if value is None else _INT8(20, 8, value)


def text(value: str) -> bytes:
    """Pack a text field."""
    if not value:
        return NO_TEXT
    encoded = value.encode()
    return _TEXT_HEAD(25, len(encoded)) + encoded


def jsonb(encoded: bytes) -> bytes:
    """Pack a jsonb field from encoded JSON."""
    return _TEXT_HEAD(3802, len(encoded) + 1) + b"\x01" + encoded


def timestamp(moment: datetime | None) -> bytes:
    """Pack a timestamptz field that may be NULL."""
    return NULL_TIMESTAMP if moment is None else _INT8(1184, 8, timestamp_microseconds(moment))


def bytea_array(values: Sequence[bytes]) -> bytes:
    """Pack a parameter that is an array of bytea."""
    body = b"".join([_LENGTH(len(value)) + value for value in values])
    return _HEAD(1, 0, 17, len(values), 1) + body
