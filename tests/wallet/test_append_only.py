"""What PostgreSQL itself refuses: changing what was written, and rows that break a law."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from edge.ids import EPOCH, time_of
from tests.wallet.books import Books, created
from wallet.actions import post
from wallet.models import Seal

pytestmark = pytest.mark.django_db
TABLES = ("transfer", "entry", "batch", "reference", "seal")
MONTHLY = ("transfer", "entry", "batch")


@pytest.fixture
def books() -> Books:
    books = Books()
    books.open("ann", balance=100)
    books.open("bob")
    Seal.objects.create(
        number=1,
        from_xid=0,
        horizon=1,
        batch_count=0,
        transfer_count=0,
        entry_count=0,
        digest=bytes(32),
        sealed_at=EPOCH,
    )
    return books


def refused(sql: str) -> str:
    """Run what must be refused, and say why it was."""
    with pytest.raises(DatabaseError) as error, transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(sql)
    return str(error.value).splitlines()[0]


def month_of(books: Books) -> str:
    [transfer_id] = created(post([books.transfer("ann", "bob", 1)]))
    return f"{time_of(transfer_id):%Y_%m}"


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "deed",
    [
        "UPDATE wallet_{table} SET {column} = {column}",
        "DELETE FROM wallet_{table}",
        "TRUNCATE wallet_{table}",
    ],
    ids=["update", "delete", "truncate"],
)
def test_what_was_written_stays(books: Books, table: str, deed: str) -> None:
    columns = {"reference": "refusal", "seal": "horizon", "batch": "transfer_count"}
    sql = deed.format(table=table, column=columns.get(table, "amount"))
    assert "is append-only" in refused(sql)


@pytest.mark.parametrize("table", MONTHLY)
@pytest.mark.parametrize("deed", ["DELETE FROM", "TRUNCATE"])
def test_a_single_month_stays_too(books: Books, table: str, deed: str) -> None:
    assert "is append-only" in refused(f"{deed} wallet_{table}_{month_of(books)}")


@pytest.mark.parametrize("table", MONTHLY)
def test_what_no_month_covers_stays_too(books: Books, table: str) -> None:
    assert "is append-only" in refused(f"TRUNCATE wallet_{table}_default")


# -- laws that PostgreSQL keeps by itself ----------------------------------------------------


def transfer(row: str) -> str:
    """Insert a transfer: id, kind, code, asset, debit, credit, amount, hold, released."""
    columns = "id, kind, code, asset_id, debit_account_id, credit_account_id, amount, hold_id"
    return (
        f"INSERT INTO wallet_transfer ({columns}, released, reference, memo) VALUES ({row}, '', '')"
    )


@pytest.mark.parametrize(
    ("law", "sql"),
    [
        ("wallet_account_floor", "UPDATE wallet_account SET held = balance + 1 WHERE id = {ann}"),
        ("wallet_account_floor", "UPDATE wallet_account SET balance = -1 WHERE id = {bob}"),
        ("wallet_account_holds", "UPDATE wallet_account SET held = -1 WHERE id = {ann}"),
        ("wallet_account_holds", "UPDATE wallet_account SET incoming = -1 WHERE id = {ann}"),
        ("wallet_account_ceiling", "UPDATE wallet_account SET ceiling = 99 WHERE id = {ann}"),
        ("wallet_account_closed", "UPDATE wallet_account SET status = 2 WHERE id = {ann}"),
        ("wallet_transfer_amount", transfer("1, 1, 1, 1, 1, 2, 0, NULL, NULL")),
        ("wallet_transfer_sides", transfer("1, 1, 1, 1, 1, 1, 5, NULL, NULL")),
        ("wallet_transfer_kind", transfer("1, 1, 1, 1, 1, NULL, 5, NULL, NULL")),
        ("wallet_transfer_kind", transfer("1, 3, 1, 1, 1, 2, 5, NULL, NULL")),
        ("wallet_transfer_kind", transfer("1, 5, 1, 1, 1, 2, 5, NULL, NULL")),
        ("wallet_transfer_released", transfer("1, 1, 1, 1, 1, 2, 5, NULL, 1")),
        ("wallet_entry_amount", "INSERT INTO wallet_entry VALUES (1, 1, 0, 0)"),
        ("wallet_hold_amounts", "INSERT INTO wallet_hold VALUES (1, 1, 2, 1, 5, 6, 0)"),
        ("wallet_hold_amounts", "INSERT INTO wallet_hold VALUES (1, 1, 2, 1, 5, -1, 0)"),
        ("wallet_hold_state", "INSERT INTO wallet_hold VALUES (1, 1, 2, 1, 5, 0, 0)"),
        ("wallet_hold_state", "INSERT INTO wallet_hold VALUES (1, 1, 2, 1, 5, 5, 1)"),
        (
            "wallet_seal_window",
            "INSERT INTO wallet_seal VALUES (2, 5, 5, 0, 0, 0, sha256(''), now())",
        ),
        ("wallet_seal_digest", "INSERT INTO wallet_seal VALUES (2, 1, 5, 0, 0, 0, '', now())"),
    ],
)
def test_row_that_breaks_a_law_is_refused(books: Books, law: str, sql: str) -> None:
    assert f'"{law}"' in refused(sql.format(**books.ids))


def test_id_is_used_once(books: Books) -> None:
    [transfer_id] = created(post([books.transfer("ann", "bob", 1)]))
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO wallet_entry VALUES (%s, %s, 1, 1)", [books.ids["bob"], transfer_id]
        )
