"""The hash chain: it covers everything once, and whatever is changed later shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import Sum

from edge.database import database_conninfo
from tests.wallet.books import Books, created
from wallet import seal, tasks
from wallet.actions import post
from wallet.models import Batch, Entry, Seal, Transfer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def books() -> Books:
    books = Books()
    books.open("ann", balance=100)
    books.open("bob")
    return books


def pay(books: Books, amount: int = 1, **more: Any) -> int:
    [transfer_id] = created(post([books.transfer("ann", "bob", amount, **more)]))
    return transfer_id


def corrupt(sql: str) -> None:
    """Change rows with the database's own rights and no trigger running."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql)


def bad_seals() -> list[int]:
    return sorted({number for number, *_ in seal.faults()})


@contextmanager
def another_session() -> Iterator[psycopg.Cursor[Any]]:
    with psycopg.connect(database_conninfo()) as other:
        yield other.cursor()


# -- what is sealed ------------------------------------------------------------------------


def test_seal_covers_what_was_committed_and_the_next_one_goes_on(books: Books) -> None:
    [first] = seal.seal()
    pay(books, 7)
    [second] = seal.seal()

    assert (first.number, first.from_xid, first.batch_count) == (1, 0, 1)
    assert (second.number, second.from_xid) == (2, first.horizon)
    assert (second.batch_count, second.transfer_count, second.entry_count) == (1, 1, 2)
    assert bad_seals() == []


def test_nothing_new_makes_no_seal(books: Books) -> None:
    assert len(seal.seal()) == 1
    assert seal.seal() == []
    assert Seal.objects.count() == 1


def test_digest_is_what_plain_rows_hash_to(books: Books) -> None:
    """An auditor repeats it with SQL's text and SHA-256 alone."""
    seal.seal()
    at = datetime(2026, 2, 1, 12, tzinfo=UTC)
    transfer_id = pay(books, 7, memo="a\tb", effective_at=at)
    [made] = seal.seal()
    previous = Seal.objects.get(number=1)
    batch = Batch.objects.get(id=transfer_id)
    transfer = Transfer.objects.get(pk=transfer_id)
    us = int(at.timestamp()) * 1_000_000
    ann, bob = books.ids["ann"], books.ids["bob"]
    text = (
        f"seal 2 {previous.horizon} {made.horizon}\n"
        f"batches\n{batch.xid}\t{transfer_id}\t1\n"
        f"transfers\n{transfer_id}\t1\t1\t{books.asset.pk}\t{ann}\t{bob}\t7\t\\N\t\\N\t{us}\t\\N"
        f"\t{transfer.reference}\ta\\tb\t\\N\n"
        f"entries\n{transfer_id}\t{ann}\t-7\t93\t{us}\n{transfer_id}\t{bob}\t7\t7\t{us}\n"
    )

    digest = hashlib.sha256(bytes(previous.digest) + text.encode()).digest()
    assert bytes(made.digest) == digest


def test_session_settings_do_not_change_a_digest(books: Books) -> None:
    pay(books, 7, effective_at=datetime(2026, 2, 1, tzinfo=UTC))
    seal.seal()
    with connection.cursor() as cursor:
        cursor.execute("SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'ISO, DMY'")
    assert bad_seals() == []


def test_running_transaction_keeps_its_place(books: Books) -> None:
    """A batch that commits late lies in a later window, never behind the horizon."""
    seal.seal()
    with another_session() as slow:
        slow.execute("SELECT pg_current_xact_id()")
        pay(books)
        assert seal.seal() == []
    [made] = seal.seal()
    assert made.batch_count == 1
    assert bad_seals() == []


def test_control_a_horizon_past_running_transactions_loses_a_batch(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With xmax in place of xmin a slow batch falls behind the horizon, and verify shows it."""
    monkeypatch.setattr(seal, "OLDEST_RUNNING", seal.OLDEST_RUNNING.replace("xmin", "xmax"))
    seal.seal()
    with another_session() as slow:
        slow.execute("INSERT INTO wallet_batch (id, transfer_count) VALUES (4096, 0)")
        pay(books)
        seal.seal()
    assert seal.seal() == []
    assert bad_seals() == [2]


def test_windows_are_bounded_and_transactions_are_not_cut(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal.seal()
    for _ in range(5):
        pay(books)
    with transaction.atomic():
        for _ in range(4):
            pay(books)
    monkeypatch.setattr(seal, "MOST_BATCHES", 2)

    made = seal.seal()

    assert [each.batch_count for each in made] == [2, 2, 1, 4]
    assert bad_seals() == []


def test_a_run_makes_so_many_seals_and_the_next_goes_on(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        pay(books)
    monkeypatch.setattr(seal, "MOST_BATCHES", 1)
    assert [each.number for each in seal.seal(most=2)] == [1, 2]
    assert [each.number for each in seal.seal()] == [3, 4, 5]


@pytest.mark.parametrize(
    ("batches", "horizon"),
    [
        ([], None),
        ([(5, 1)], 90),
        ([(5, 1), (6, 1), (7, 1)], 90),
        ([(5, 1), (6, 1), (7, 1), (8, 1)], 8),
        ([(5, 1), (6, 1), (7, 1), (7, 1)], 7),
        ([(5, 1), (5, 1), (5, 1), (5, 1)], 6),
        ([(5, 60), (6, 41)], 6),
        ([(5, 101), (6, 1)], 6),
    ],
)
def test_window_ends_before_it_grows_too_large(
    batches: list[tuple[int, int]], horizon: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "MOST_BATCHES", 3)
    monkeypatch.setattr(seal, "MOST_TRANSFERS", 100)
    assert seal.cut(batches, 90) == horizon


def test_second_sealer_steps_aside(books: Books) -> None:
    with another_session() as other:
        other.execute("SELECT pg_advisory_xact_lock(%s, %s)", seal.LOCK_KEYS)
        assert seal.seal() == []
    assert len(seal.seal()) == 1


def test_cluster_filled_from_a_dump_is_noticed(books: Books) -> None:
    seal.seal()
    corrupt("UPDATE wallet_seal SET horizon = horizon + 1000000000")
    with pytest.raises(seal.TransactionIdsWentBack):
        seal.seal()


def test_task_seals(books: Books) -> None:
    assert tasks.seal() == 1
    assert Seal.objects.count() == 1


# -- what tampering shows ------------------------------------------------------------------


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE wallet_transfer SET amount = 8 WHERE id = {second}",
        "UPDATE wallet_transfer SET memo = 'x' WHERE id = {second}",
        "UPDATE wallet_transfer SET released = 1, kind = 3, hold_id = 1 WHERE id = {second}",
        "UPDATE wallet_entry SET balance_after = 0 WHERE transfer_id = {second}",
        "DELETE FROM wallet_transfer WHERE id = {second}",
        "DELETE FROM wallet_entry WHERE transfer_id = {second} AND amount > 0",
        "DELETE FROM wallet_batch WHERE id = {second}",
        "UPDATE wallet_batch SET transfer_count = 2 WHERE id = {second}",
        "INSERT INTO wallet_entry VALUES (77, {second}, 5, 5)",
        (
            "INSERT INTO wallet_transfer SELECT id + 1, kind, code, asset_id, debit_account_id,"
            " credit_account_id, 5, NULL, NULL, NULL, NULL, '', ''"
            " FROM wallet_transfer WHERE id = {second}"
        ),
        "INSERT INTO wallet_batch SELECT xid, id + 4096, 0 FROM wallet_batch WHERE id = {second}",
    ],
)
def test_change_of_any_sealed_row_names_its_seal(books: Books, tampering: str) -> None:
    ids = []
    for _ in range(3):
        ids.append(pay(books))
        seal.seal()
    assert bad_seals() == []

    corrupt(tampering.format(second=ids[1]))

    assert bad_seals() == [2]


def test_change_of_a_seal_is_named(books: Books) -> None:
    for _ in range(3):
        pay(books)
        seal.seal()
    corrupt("UPDATE wallet_seal SET digest = sha256('') WHERE number = 2")
    assert bad_seals() == [2, 3]


def test_missing_seal_is_named(books: Books) -> None:
    for _ in range(3):
        pay(books)
        seal.seal()
    corrupt("DELETE FROM wallet_seal WHERE number = 2")
    assert bad_seals() == [3]


def test_first_bad_seal_comes_first_and_says_what_it_found(books: Books) -> None:
    transfer_id = pay(books)
    [made] = seal.seal()
    corrupt(f"DELETE FROM wallet_entry WHERE transfer_id = {transfer_id} AND amount > 0")

    first, second = seal.faults()

    assert first == (1, "entry_count", 4, 3)
    assert second[:3] == (1, "sha256", bytes(made.digest).hex())


# -- the head, kept elsewhere --------------------------------------------------------------


def ledger(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("ledger", *arguments, stdout=out)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_head_is_the_newest_seal(books: Books) -> None:
    pay(books)
    seal.seal()
    pay(books)
    [made] = seal.seal()

    code, out = ledger("head")

    words = json.loads(out)
    assert code == 0
    assert words == {
        "seal": 2,
        "horizon": made.horizon,
        "sha256": bytes(made.digest).hex(),
        "sealed_at": words["sealed_at"],
        "transfer_count": 3,
    }
    sealed_at = datetime.fromisoformat(words["sealed_at"])
    assert abs(sealed_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_saved_head_is_found_on_the_chain_later(books: Books, tmp_path: Path) -> None:
    seal.seal()
    saved = tmp_path / "head.json"
    saved.write_text(ledger("head")[1])
    pay(books)
    seal.seal()

    assert ledger("head", "--check", str(saved)) == (0, "seal 1 is on the chain\n")


def test_head_is_whole_while_the_next_seal_is_made(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next seal comes after the newest was read, before its transfers are counted."""
    seal.seal()
    pay(books)

    def sum_later(field: str) -> Sum:
        assert seal.seal()
        return Sum(field)

    with monkeypatch.context() as patch:
        patch.setattr(seal, "Sum", sum_later)
        saved = seal.head()
    assert saved is not None
    assert seal.is_on_chain(saved)


def test_history_rewritten_with_all_its_seals_is_found_by_the_saved_head(
    books: Books, tmp_path: Path
) -> None:
    """Whoever may write everything can seal anew; only what was kept elsewhere tells."""
    transfer_id = pay(books)
    seal.seal()
    saved = tmp_path / "head.json"
    saved.write_text(ledger("head")[1])
    corrupt(f"UPDATE wallet_transfer SET memo = 'forged' WHERE id = {transfer_id}")
    corrupt("DELETE FROM wallet_seal")
    seal.seal()

    assert bad_seals() == []
    code, out = ledger("head", "--check", str(saved))
    assert (code, out) == (1, "seal 1 is not on the chain: it was sealed differently\n")


@pytest.mark.parametrize(
    "words", ["", "[]", "{}", '{"seal": "one"}', "not json", '{"seal": 1, "horizon": null}']
)
def test_file_that_is_no_head_is_refused(words: str, tmp_path: Path) -> None:
    path = tmp_path / "head.json"
    path.write_text(words)
    with pytest.raises(CommandError, match="is not a saved head"):
        call_command("ledger", "head", "--check", str(path))


def test_head_of_nothing_is_refused() -> None:
    with pytest.raises(CommandError, match="nothing is sealed yet"):
        call_command("ledger", "head")
    with pytest.raises(CommandError, match="cannot read"):
        call_command("ledger", "head", "--check", "/no/such/file")


def test_command_seals_and_says_so(books: Books) -> None:
    code, out = ledger("seal")
    made = Seal.objects.get()
    assert (code, out) == (0, f"seal 1: 1 transfers, {bytes(made.digest).hex()}\n")
    assert Entry.objects.count() == made.entry_count
