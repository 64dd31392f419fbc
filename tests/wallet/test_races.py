"""Races on the ledger, each with its control: the same race with the guard taken away is lost.

The guards are the row lock of the door, its order, the unique key of references and the
CHECKs of the account. Writing is slowed down in every race, so that without the guard the
racers surely meet; with it the answers are exact whatever the timing.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection

from tests.wallet.books import Books, created, new_reference, pay, release
from tests.wallet.threads import at_once
from wallet import door, ledger
from wallet.actions import post
from wallet.items import Item, Refusal, Result
from wallet.models import Account, Entry, Hold, Reference
from wallet.models import Transfer as TransferRow
from wallet.reversals import reversal_of

pytestmark = pytest.mark.django_db(transaction=True)

FLOOR = "CHECK (floor IS NULL OR balance >= floor + held)"


@pytest.fixture(autouse=True)
def slow_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between deciding and writing every racer waits, so that the others catch up."""
    write = door.write_to

    def slow_write(*arguments: Any) -> None:
        time.sleep(0.004)
        write(*arguments)

    monkeypatch.setattr(door, "write_to", slow_write)


def without_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the row lock out of the door's statement."""
    unlocked = door.LOCK_ACCOUNTS.replace("FOR NO KEY UPDATE", "")
    assert unlocked != door.LOCK_ACCOUNTS
    monkeypatch.setattr(door, "LOCK_ACCOUNTS", unlocked)


@contextmanager
def without_constraint(table: str, name: str, again: str) -> Iterator[None]:
    """Drop a constraint of this test's database, and put it back on the emptied table."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            cursor.execute(f"DELETE FROM {table}")
            cursor.execute("SET session_replication_role = origin")
            cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {again}")


def race(batches: Sequence[list[Item]], *, may_deadlock: bool = False) -> list[list[Result]]:
    """Post each batch from a thread of its own; none may raise.

    Without the door's locks, which are in one order, some may wait for each other: those did
    nothing.
    """
    told = at_once([partial(post, batch) for batch in batches])
    if may_deadlock:
        told = [[] if "deadlock" in str(each) else each for each in told]
    results = [each for each in told if isinstance(each, list)]
    assert len(results) == len(batches), Counter(map(repr, told))
    return results


def winners(results: Sequence[Sequence[Result]]) -> int:
    return sum(result.is_created and not result.is_replay for batch in results for result in batch)


def entries_agree(books: Books, name: str) -> bool:
    """Say whether the account's balance is the sum of its entries."""
    amounts = Entry.objects.filter(account_id=books.ids[name]).values_list("amount", flat=True)
    return sum(amounts) == books.state(name)[0]


# -- a hundred spenders of one balance --------------------------------------------------------


def spend_a_hundred_times() -> tuple[Books, int]:
    books = Books()
    books.open("ann", balance=300)
    books.open("shop")
    results = race([[books.transfer("ann", "shop", 10)] for _ in range(100)])
    refusals = {result.refusal for [result] in results if not result.is_created}
    assert refusals <= {Refusal.INSUFFICIENT_FUNDS}
    return books, winners(results)


def test_of_a_hundred_spenders_exactly_those_the_balance_affords_win() -> None:
    books, won = spend_a_hundred_times()
    assert won == 30
    assert (books.state("ann"), books.state("shop")) == ((0, 0, 0), (300, 0, 0))
    assert entries_agree(books, "ann")


def test_control_without_the_lock_more_win_than_the_balance_affords(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_lock(monkeypatch)
    books, won = spend_a_hundred_times()
    assert won > 30
    assert not entries_agree(books, "ann")


def spend_with_no_rule() -> tuple[Books, list[list[Result] | BaseException]]:
    books = Books()
    books.open("ann", balance=30)
    books.open("shop")
    works = [partial(post, [books.transfer("ann", "shop", 10)]) for _ in range(10)]
    return books, at_once(works)


def test_check_of_the_floor_holds_when_the_rule_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_check_debit", lambda account, amount: Refusal.CREATED)
    books, told = spend_with_no_rule()
    assert Counter(type(each) for each in told) == {list: 3, IntegrityError: 7}
    assert (books.state("ann"), books.state("shop")) == ((0, 0, 0), (30, 0, 0))
    assert TransferRow.objects.count() == 4


def test_control_with_neither_rule_nor_check_the_account_is_overdrawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger, "_check_debit", lambda account, amount: Refusal.CREATED)
    with without_constraint("wallet_account", "wallet_account_floor", FLOOR):
        books, _ = spend_with_no_rule()
        assert books.state("ann") == (-70, 0, 0)


# -- holds against transfers ----------------------------------------------------------------


def hold_and_spend() -> tuple[Books, int, int]:
    books = Books()
    books.open("ann", balance=100)
    books.open("shop")
    holds: list[list[Item]] = [[books.hold("ann", "shop", 10)] for _ in range(15)]
    spends: list[list[Item]] = [[books.transfer("ann", "shop", 10)] for _ in range(15)]
    results = race([batch for pair in zip(holds, spends, strict=True) for batch in pair])
    return books, winners(results[::2]), winners(results[1::2])


def test_holds_and_transfers_share_what_is_available() -> None:
    books, held, spent = hold_and_spend()
    assert held + spent == 10
    assert books.state("ann") == (100 - 10 * spent, 10 * held, 0)
    assert books.state("shop") == (10 * spent, 0, 10 * held)


def test_control_without_the_lock_holds_and_transfers_take_the_same_money(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_lock(monkeypatch)
    _, held, spent = hold_and_spend()
    assert held + spent > 10


def end_a_hold_many_times() -> tuple[Books, Hold, int]:
    books = Books()
    books.open("ann", balance=100)
    books.open("shop")
    [hold_id] = created(post([books.hold("ann", "shop", 60)]))
    ends: list[list[Item]] = [
        [pay(hold_id, 60) if n % 2 else release(hold_id, 60)] for n in range(16)
    ]
    return books, Hold.objects.get(pk=hold_id), winners(race(ends))


def test_hold_ends_once_though_many_post_and_void_it() -> None:
    books, hold, ended = end_a_hold_many_times()
    assert ended == 1
    hold.refresh_from_db()
    received = books.state("shop")[0]
    assert (received, hold.state) in {(60, 1), (0, 2)}
    assert books.state("ann") == (100 - received, 0, 0)


def test_control_without_the_lock_a_hold_ends_more_than_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_lock(monkeypatch)
    _, _, ended = end_a_hold_many_times()
    assert ended > 1


# -- reversal against spend -------------------------------------------------------------------


def reverse_and_spend(*, may_deadlock: bool = False) -> tuple[Books, list[int]]:
    """Ten people get 50 each; each spends it while the grant is taken back."""
    books = Books()
    books.open("shop")
    names = [f"fan {n}" for n in range(10)]
    for name in names:
        books.open(name)
    grants = created(post([books.transfer("issuer", name, 50) for name in names]))
    batches: list[list[Item]] = []
    for name, grant in zip(names, grants, strict=True):
        batches.append([books.transfer(name, "shop", 50)])
        batches.append([reversal_of(TransferRow.objects.get(pk=grant))])
    results = race(batches, may_deadlock=may_deadlock)
    return books, [winners(results[n : n + 2]) for n in range(0, 20, 2)]


def test_money_is_either_spent_or_taken_back() -> None:
    books, won = reverse_and_spend()
    assert won == [1] * 10
    assert all(books.state(f"fan {n}") == (0, 0, 0) for n in range(10))
    assert books.state("issuer")[0] == -books.state("shop")[0]


def test_control_without_the_lock_money_is_spent_and_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_lock(monkeypatch)
    _, won = reverse_and_spend(may_deadlock=True)
    assert 2 in won


# -- one reference from many threads ----------------------------------------------------------


def ask_the_same_of_many() -> tuple[Books, list[list[Result]]]:
    books = Books()
    books.open("ann", balance=1000)
    books.open("shop")
    item = books.transfer("ann", "shop", 10)
    return books, race([[item] for _ in range(20)])


def test_same_reference_from_many_threads_is_one_transfer() -> None:
    books, results = ask_the_same_of_many()
    assert winners(results) == 1
    assert len({result.transfer_id for [result] in results}) == 1
    assert sum(result.is_replay for [result] in results) == 19
    assert books.state("shop") == (10, 0, 0)


def test_unique_key_alone_makes_it_one_transfer(monkeypatch: pytest.MonkeyPatch) -> None:
    without_lock(monkeypatch)
    books, results = ask_the_same_of_many()
    assert winners(results) == 1
    assert books.state("shop") == (10, 0, 0)


def test_control_without_lock_and_key_the_same_is_done_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_lock(monkeypatch)
    key = ("wallet_reference", "wallet_reference_pkey", "PRIMARY KEY (digest)")
    with without_constraint(*key):
        _, results = ask_the_same_of_many()
        assert winners(results) > 1


def use_one_reference_for_many_things() -> list[list[Result]]:
    """Different payments of different people under one name: no lock is shared."""
    books = Books()
    reference, batches = new_reference(), []
    for n in range(12):
        books.open(f"payer {n}", balance=100)
        books.open(f"shop {n}")
        batches.append([books.transfer(f"payer {n}", f"shop {n}", 10 + n, reference)])
    return race(batches)  # type: ignore[arg-type]


def test_one_reference_serves_one_of_many_things() -> None:
    results = use_one_reference_for_many_things()
    refusals = Counter(result.refusal for [result] in results)
    assert refusals == {Refusal.CREATED: 1, Refusal.REFERENCE_REUSED: 11}
    assert Reference.objects.filter(transfer_id__gt=0).count() == 13


def test_control_without_the_key_one_reference_serves_many_things() -> None:
    key = ("wallet_reference", "wallet_reference_pkey", "PRIMARY KEY (digest)")
    with without_constraint(*key):
        assert winners(use_one_reference_for_many_things()) > 1


# -- deadlocks ------------------------------------------------------------------------------


def cross(batches: Sequence[list[Item]]) -> list[list[Result] | BaseException]:
    """Post batches at once, on sessions that find deadlocks quickly and never retry."""

    def work(batch: list[Item]) -> list[Result]:
        with connection.cursor() as cursor:
            cursor.execute("SET deadlock_timeout = '20ms'")
        return post(batch)

    return at_once([partial(work, batch) for batch in batches])


def post_to_accounts_in_any_order() -> list[list[Result] | BaseException]:
    books, dice = Books(), random.Random(7)
    names = [f"account {n}" for n in range(12)]
    for name in names:
        books.open(name, floor=None)

    def some() -> list[Item]:
        pairs = [dice.sample(names, 2) for _ in range(12)]
        return [books.transfer(debit, credit, 1) for debit, credit in pairs]

    return cross([some() for _ in range(24)])


def test_batches_over_the_same_accounts_never_deadlock() -> None:
    told = post_to_accounts_in_any_order()
    assert all(isinstance(each, list) for each in told), told
    assert TransferRow.objects.count() == 24 * 12
    balances = Account.objects.values_list("balance", flat=True)
    assert sum(balances) == 0


def test_control_locking_in_any_order_deadlocks(monkeypatch: pytest.MonkeyPatch) -> None:
    shuffled = door.LOCK_ACCOUNTS.replace("ORDER BY id", "ORDER BY random()")
    assert shuffled != door.LOCK_ACCOUNTS
    monkeypatch.setattr(door, "LOCK_ACCOUNTS", shuffled)
    told = post_to_accounts_in_any_order()
    assert any(isinstance(each, OperationalError) for each in told)


def use_shared_references_in_any_order() -> list[list[Result] | BaseException]:
    """Every batch uses the same references on accounts of its own, in an order of its own."""
    books, dice = Books(), random.Random(7)
    references, batches = [new_reference() for _ in range(30)], []
    for n in range(8):
        books.open(f"payer {n}", balance=1000)
        books.open(f"shop {n}")
        dice.shuffle(references)
        asked: list[Item] = [
            books.transfer(f"payer {n}", f"shop {n}", 1, reference) for reference in references
        ]
        batches.append(asked)
    with slow_references():
        return cross(batches)


@contextmanager
def slow_references() -> Iterator[None]:
    """Let each reference take a millisecond to write, so that batches meet in the middle."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END'"
        )
        cursor.execute(
            "CREATE TRIGGER nap BEFORE INSERT ON wallet_reference"
            " FOR EACH ROW EXECUTE FUNCTION nap()"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION nap CASCADE")


def test_batches_that_share_references_never_deadlock() -> None:
    told = use_shared_references_in_any_order()
    results = [each for each in told if isinstance(each, list)]
    assert len(results) == 8, told
    assert winners(results) == 30


def test_control_references_written_in_any_order_deadlock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(door, "sorted", list, raising=False)
    told = use_shared_references_in_any_order()
    assert any(isinstance(each, OperationalError) for each in told)
