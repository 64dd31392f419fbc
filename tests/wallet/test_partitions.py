"""Months ahead: made once, for every table that a room declared, and what lies in none is said."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection

from edge.ids import first_id_at
from edge.partitions import MONTHS_AHEAD
from wallet import partitions, tasks
from wallet.partitions import maintain, monthly_tables

pytestmark = pytest.mark.django_db
LATER = datetime(2031, 11, 20, tzinfo=UTC)


def months(table: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass"
            " ORDER BY 1",
            [table],
        )
        return [name for (name,) in cursor.fetchall()]


def run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def test_ledger_declares_the_tables_that_grow_for_ever() -> None:
    ledger = {"wallet_transfer", "wallet_entry", "wallet_hold", "wallet_batch"}
    assert ledger <= set(monthly_tables())


def test_every_declared_table_is_cut_by_range() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT partrelid::regclass::text FROM pg_partitioned_table")
        cut = {name for (name,) in cursor.fetchall()}
    assert set(monthly_tables()) <= cut


def test_the_months_ahead_are_made_once() -> None:
    before = set(months("wallet_entry"))

    [entry] = [report for report in maintain(LATER) if report.table == "wallet_entry"]

    assert (entry.made[0], entry.made[-1]) == ("wallet_entry_2031_11", "wallet_entry_2032_04")
    assert len(entry.made) == MONTHS_AHEAD + 1
    assert set(months("wallet_entry")) - before == set(entry.made)
    assert all(not report.made for report in maintain(LATER))


def test_a_new_month_takes_the_rows_of_its_ids() -> None:
    maintain(LATER)
    run(f"INSERT INTO wallet_entry VALUES (1, {first_id_at(LATER)}, 5, 5)")
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM wallet_entry")
        assert cursor.fetchall() == [("wallet_entry_2031_11",)]


def test_a_new_month_refuses_truncate_where_its_table_does() -> None:
    maintain(LATER)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgrelid::regclass::text FROM pg_trigger"
            " WHERE tgname = 'append_only_truncate' AND tgrelid::regclass::text LIKE '%%2031_11'"
            " ORDER BY 1"
        )
        guarded = [name for (name,) in cursor.fetchall()]
    assert guarded == ["wallet_batch_2031_11", "wallet_entry_2031_11", "wallet_transfer_2031_11"]


def test_rows_that_no_month_covers_are_said_and_stop_no_other_table() -> None:
    run(f"INSERT INTO wallet_entry VALUES (1, {first_id_at(LATER)}, 5, 5)")

    reports = {report.table: report for report in maintain(LATER)}

    entry = reports["wallet_entry"]
    assert (entry.made, entry.default_rows) == ([], 1)
    assert "would be violated" in entry.error
    assert len(reports["wallet_transfer"].made) == MONTHS_AHEAD + 1


def test_command_fails_when_rows_lie_in_no_month() -> None:
    run("INSERT INTO wallet_entry VALUES (1, 1, 5, 5)")
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("maintain_partitions", stdout=out)
    assert (
        "wallet_entry: 0 made; 1 rows in wallet_entry_default, which no month covers\n"
        in out.getvalue()
    )


def test_command_says_what_it_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "MONTHS_AHEAD", 60)
    out = StringIO()
    call_command("maintain_partitions", stdout=out)
    assert "wallet_batch: " in out.getvalue()
    assert tasks.maintain_partitions() == 0
