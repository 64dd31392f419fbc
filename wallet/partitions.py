"""Keeping months ahead: every room's tables that are cut by month get their next partitions.

A room declares its tables as `monthly_tables` of its AppConfig. A table's DEFAULT partition
takes what no month covers, so nothing is refused when this runs late; but rows in it keep
their month from being made, so they are counted and said.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.apps import apps
from django.db import DatabaseError, connection, transaction
from django.db.backends.utils import CursorWrapper

from edge.partitions import MONTHS_AHEAD, ensure_months

LOCK_TIMEOUT = "2s"
"""A new month waits so long for the table's lock, then gives up until the next run."""

EXISTING = """
SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
 WHERE i.inhparent = %s::regclass
"""
# Statement triggers do not come down from the parent as row triggers do.
UNGUARDED = """
SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
 WHERE i.inhparent = %s::regclass
   AND EXISTS (SELECT FROM pg_trigger AS t
                WHERE t.tgrelid = i.inhparent AND t.tgname = 'append_only_truncate')
   AND NOT EXISTS (SELECT FROM pg_trigger AS t
                    WHERE t.tgrelid = c.oid AND t.tgname = 'append_only_truncate')
"""
GUARD = """
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON {partition}
    FOR EACH STATEMENT EXECUTE FUNCTION wallet_refuse_change()
"""


@dataclass(frozen=True, slots=True)
class TableReport:
    """What was done to one table: months made, rows in DEFAULT, and what went wrong."""

    table: str
    made: list[str]
    default_rows: int
    error: str = ""

    @property
    def is_well(self) -> bool:
        return not self.error and not self.default_rows


def monthly_tables() -> list[str]:
    """The tables that rooms declared to be cut by month of their id."""
    declared = (getattr(config, "monthly_tables", ()) for config in apps.get_app_configs())
    return [table for tables in declared for table in tables]


def maintain(now: datetime | None = None) -> list[TableReport]:
    """Make the months from this one to five ahead on every declared table.

    Each table is a transaction of its own; one that fails does not stop the others. Locks
    the table's DEFAULT partition for a moment for each new month. Safe to run at any time.
    """
    return [_maintain(table, now or datetime.now(UTC)) for table in monthly_tables()]


def _maintain(table: str, now: datetime) -> TableReport:
    made: list[str] = []
    error = ""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            before = _names(cursor, EXISTING, table)
            ensure_months(cursor, table, start=now, months=MONTHS_AHEAD + 1)
            for partition in sorted(_names(cursor, UNGUARDED, table)):
                cursor.execute(GUARD.format(partition=partition))
            made = sorted(_names(cursor, EXISTING, table) - before)
    except DatabaseError as refused:
        error, made = str(refused).strip(), []
    return TableReport(table, made, _default_rows(table), error)


def _names(cursor: CursorWrapper, sql: str, table: str) -> set[str]:
    cursor.execute(sql, [table])
    return {name for (name,) in cursor.fetchall()}


def _default_rows(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}_default")
        return int(cursor.fetchone()[0])
