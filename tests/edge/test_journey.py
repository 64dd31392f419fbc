"""Many statements in one journey: all of them, in order, or none after the first that fails."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from django.db import ProgrammingError, connection, transaction
from psycopg import errors

from edge.database import database_conninfo
from edge.journey import Journey, Rows, Unexpected, bytea_array, int8, raw_connection, row, text

pytestmark = pytest.mark.django_db(transaction=True)

TABLE = """
CREATE TABLE journey_test (id bigint PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, name text);
CREATE TYPE journey_test_row AS (id bigint, name text);
"""
PUT = "INSERT INTO journey_test SELECT * FROM unnest($1::journey_test_row[])"
NAMES = "SELECT name FROM journey_test ORDER BY id"


@pytest.fixture(autouse=True)
def table(transactional_db: None) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(TABLE)
        yield
        cursor.execute("DROP TYPE journey_test_row; DROP TABLE journey_test")


@pytest.fixture
def raw() -> Iterator[psycopg.Connection]:
    """A connection of the test's own, without transactions of its own."""
    with psycopg.connect(database_conninfo(), autocommit=True) as raw:
        yield raw


def packed(*rows: tuple[int | None, str]) -> Rows:
    head = (2).to_bytes(4, "big")
    return Rows("journey_test_row", [row(head + int8(id) + text(name)) for id, name in rows])


def put(*rows: tuple[int | None, str]) -> Journey:
    journey = Journey()
    journey.add(PUT, packed(*rows))
    return journey


def names(raw: psycopg.Connection) -> list[str | None]:
    return [name for (name,) in raw.execute(NAMES)]


def test_answers_come_in_the_order_of_the_statements() -> None:
    journey = Journey()
    journey.add("SELECT $1::int + 1, $2::text, $3::bigint", 41, 'it\'s "ö"', None)
    journey.add(PUT, packed((2, ""), (1, "zwölf\t\\ “x”")))
    journey.add(NAMES)
    journey.add("SELECT unnest($1::bytea[])", bytea_array([b"\0a", b""]))
    sums, written, read, raw_bytes = journey.run()
    assert sums.fetchone() == (42, 'it\'s "ö"', None)
    assert written.count == 2
    assert read.fetchall() == [("zwölf\t\\ “x”",), ("",)]
    assert raw_bytes.fetchall() == [(b"\0a",), (b"",)]


def test_the_first_failure_ends_it_and_undoes_what_came_before(raw: psycopg.Connection) -> None:
    journey = put((1, "a"))
    journey.add("SELECT 1 / $1::int", 0)
    journey.then(put((2, "b")))
    with pytest.raises(errors.DivisionByZero):
        journey.send(raw).finish()
    assert names(raw) == []
    assert put((3, "c")).send(raw).finish()
    assert names(raw) == ["c"]


def test_a_commit_that_fails_at_the_very_end_is_told(raw: psycopg.Connection) -> None:
    with pytest.raises(errors.UniqueViolation):
        put((1, "a"), (1, "b")).send(raw).finish()
    assert names(raw) == []


def test_what_psycopg_has_not_begun_yet_is_begun(raw: psycopg.Connection) -> None:
    """Django leaves it to psycopg to send BEGIN before its first statement; this is ours."""
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        put((1, "a")).run()
        raise ZeroDivisionError
    assert names(raw) == []
    with transaction.atomic():
        put((1, "a")).run()
        assert names(raw) == []
    assert names(raw) == ["a"]


def test_a_statement_that_cannot_be_prepared_spoils_no_other(raw: psycopg.Connection) -> None:
    journey = put((1, "a"))
    journey.add("SELECT nonsense")
    journey.add(NAMES)
    for _ in range(2):
        with pytest.raises(errors.UndefinedColumn):
            journey.send(raw).finish()
    good = put((1, "a"))
    good.add(NAMES)
    assert good.send(raw).finish()[1].fetchall() == [("a",)]


def test_writes_that_follow_each_other_are_one_statement(raw: psycopg.Connection) -> None:
    journey = Journey()
    journey.write(PUT, packed((1, "a")))
    journey.write("UPDATE edge_auditevent SET reason = $1 WHERE id < $2 RETURNING 1", "x", 0,
                  changes=(0, "audit"))  # fmt: skip
    journey.write(PUT, packed((2, "b")))
    journey.add(NAMES)
    assert len(answers := journey.send(raw).finish()) == 2
    assert answers[1].fetchall() == [("a",), ("b",)]


def test_a_write_that_changes_too_few_rows_is_named_and_undone(raw: psycopg.Connection) -> None:
    put((1, "a")).send(raw).finish()
    journey = Journey()
    journey.write(PUT, packed((2, "b")))
    rename = "UPDATE journey_test SET name = $1 WHERE id = ANY($2::bigint[]) RETURNING 1"
    journey.write(rename, "c", "{1,7}", changes=(2, "names"))
    with pytest.raises(Unexpected) as caught:
        journey.send(raw).finish()
    assert caught.value.what == "names"
    assert names(raw) == ["a"]


def test_more_than_a_socket_takes_at_once_arrives(raw: psycopg.Connection) -> None:
    long = "x" * 3_000_000
    trip = put((1, long), (2, long)).send(raw)
    trip.push()
    trip.finish()
    assert [len(name or "") for name in names(raw)] == [3_000_000] * 2


def test_a_connection_that_is_cut_on_the_way_is_told(raw: psycopg.Connection) -> None:
    journey = Journey()
    journey.add("SELECT pg_sleep(30)")
    trip = journey.send(raw)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [raw.info.backend_pid])
    with pytest.raises(psycopg.OperationalError):
        trip.finish()
    assert raw.closed


def test_django_may_use_its_connection_again_after_a_failure() -> None:
    journey = Journey()
    journey.add("SELECT nonsense")
    with pytest.raises(ProgrammingError) as caught, transaction.atomic():
        journey.run()
    assert isinstance(caught.value.__cause__, errors.UndefinedColumn)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
    assert raw_connection().info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_what_is_sent_lazily_changes_nothing_of_what_comes_after() -> None:
    journey = put((1, "a"))
    journey.run_lazily()
    asked = Journey()
    asked.add("SELECT current_setting('synchronous_commit'), count(*) FROM journey_test")
    assert asked.run()[0].fetchone() == ("on", 1)


def test_inside_a_transaction_nothing_is_lazy() -> None:
    with transaction.atomic():
        put((1, "a")).run_lazily()
        asked = Journey()
        asked.add("SELECT current_setting('synchronous_commit')")
        assert asked.run()[0].fetchone() == ("on",)
