"""Brings the test database back to how the migrations left it, after a test that commits.

Django's own flush empties every table with TRUNCATE. Ours cannot use it: append-only
tables refuse, and the rows that migrations lay down (roles, account kinds) would be lost.
So the first rows are copied aside once, and each flush deletes what there is and puts the
copy back. Only tables with rows are touched, so it takes milliseconds.
"""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.test import TransactionTestCase

PRISTINE = "pristine"
_TABLES = """
    SELECT c.relname, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      AND NOT c.relispartition AND c.relname <> 'django_migrations'
      AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    GROUP BY c.relname
"""


def remember_first_rows() -> None:
    """Copy aside the rows of the migrations, and make Django's transactional tests use them."""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {PRISTINE} CASCADE; CREATE SCHEMA {PRISTINE}")
        cursor.execute(_TABLES)
        columns = dict(cursor.fetchall())
        first = _filled(cursor, list(columns))
        for table in first:
            cursor.execute(f'CREATE TABLE {PRISTINE}."{table}" AS TABLE public."{table}"')

    def flush(case: Any) -> None:
        _flush(columns, first)

    TransactionTestCase._fixture_teardown = flush  # type: ignore[attr-defined]


def _flush(columns: dict[str, str], first: list[str]) -> None:
    # A new connection: the test may have left the old one broken, or inside a transaction.
    connection.close()
    with connection.cursor() as cursor:
        # As a replica PostgreSQL runs no trigger: the one way to delete append-only rows.
        cursor.execute("BEGIN; SET LOCAL session_replication_role = replica")
        for table in _filled(cursor, list(columns)):
            cursor.execute(f'DELETE FROM "{table}"')
        for table in first:
            cursor.execute(
                f'INSERT INTO "{table}" ({columns[table]}) OVERRIDING SYSTEM VALUE'
                f' SELECT {columns[table]} FROM {PRISTINE}."{table}"'
            )
        cursor.execute("COMMIT")
    connection.close()


def _filled(cursor: CursorWrapper, tables: list[str]) -> list[str]:
    cursor.execute(
        " UNION ALL ".join(
            f"SELECT '{table}' WHERE EXISTS (SELECT FROM \"{table}\")" for table in tables
        )
    )
    return [table for (table,) in cursor.fetchall()]
