"""The one door: batches and their limits, all or nothing, and ids that only grow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, transaction

from edge.ids import ROWS_PER_BATCH, batch_of, first_id_at, time_of
from tests.wallet.books import Books, created, new_reference, pay, release
from wallet import door
from wallet.actions import BatchTooLarge, post
from wallet.door import opened
from wallet.items import HoldState, Item, Post, Refusal, Result
from wallet.models import Account, Batch, Code, Entry, Hold, Reference, Transfer

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
TEN_MINUTES = timedelta(minutes=10)


@pytest.fixture
def books() -> Books:
    books = Books()
    books.open("ann")
    books.open("bob")
    created(post([books.transfer("issuer", "ann", 100)], now=NOW - timedelta(days=1)))
    return books


def counts() -> list[int]:
    tables = (Transfer, Entry, Hold, Batch, Reference)
    return [table.objects.count() for table in tables]


# -- batches -------------------------------------------------------------------------------


def test_no_items_no_batch(books: Books) -> None:
    before = counts()
    assert post([]) == []
    assert counts() == before


def test_largest_batch_is_4096_items(books: Books) -> None:
    items: list[Item] = [books.transfer("issuer", "ann", 1) for _ in range(ROWS_PER_BATCH)]

    ids = created(post(items))

    assert ids == list(range(ids[0], ids[0] + 4096))
    assert books.state("ann") == (4196, 0, 0)
    assert Batch.objects.get(id=ids[0]).transfer_count == 4096


def test_batch_of_4097_items_is_refused_whole(books: Books) -> None:
    before = counts()
    with pytest.raises(BatchTooLarge):
        post([books.transfer("issuer", "ann", 1)] * 4097)
    assert counts() == before


def test_each_item_has_its_own_answer_in_order(books: Books) -> None:
    results = post(
        [
            books.transfer("ann", "bob", 60),
            books.transfer("ann", "bob", 60),
            books.transfer("bob", "ann", 60),
            books.transfer("ann", "bob", 0),
            books.transfer("ann", "bob", 100),
        ]
    )

    assert [result.refusal.name for result in results] == [
        "CREATED",
        "INSUFFICIENT_FUNDS",
        "CREATED",
        "AMOUNT_NOT_POSITIVE",
        "CREATED",
    ]
    first = results[0].transfer_id
    assert [result.transfer_id for result in results] == [first, 0, first + 1, 0, first + 2]
    assert (books.state("ann"), books.state("bob")) == ((0, 0, 0), (100, 0, 0))


def test_entries_carry_the_balance_after_them(books: Books) -> None:
    created(post([books.transfer("ann", "bob", 30), books.transfer("ann", "bob", 20)]))

    entries = Entry.objects.filter(account_id=books.ids["ann"]).order_by("transfer_id")
    assert list(entries.values_list("amount", "balance_after")) == [
        (100, 100),
        (-30, 70),
        (-20, 50),
    ]


def test_batch_of_malformed_items_touches_nothing(books: Books) -> None:
    before = counts()
    assert post([books.transfer("ann", "bob", 0)]) == [Result(Refusal.AMOUNT_NOT_POSITIVE, 0)]
    assert counts() == before


# -- all or nothing ------------------------------------------------------------------------


def test_door_stays_shut_outside_a_transaction(books: Books) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transaction.get_connection(), "in_atomic_block", False)
        with pytest.raises(AssertionError, match="inside a transaction"):
            with opened([books.ids["ann"]]):
                pass


def test_exception_in_the_block_writes_nothing(books: Books) -> None:
    before = counts()
    with pytest.raises(ZeroDivisionError):
        with transaction.atomic(), opened([books.ids["ann"], books.ids["bob"]]) as posting:
            created(posting.apply([books.transfer("ann", "bob", 5)]))
            raise ZeroDivisionError
    assert counts() == before
    assert books.state("ann") == (100, 0, 0)


@pytest.mark.parametrize(
    "statement",
    [
        "WRITE_REFERENCES", "WRITE_ACCOUNTS", "WRITE_TRANSFERS", "WRITE_ENTRIES", "OPEN_HOLDS",
        "WRITE_BATCH",
    ],
)  # fmt: skip
def test_write_that_fails_halfway_leaves_nothing(
    books: Books, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = counts()
    broken = getattr(door, statement).replace("wallet_", "no_such_")
    monkeypatch.setattr(door, statement, broken)
    transfers = [books.transfer("ann", "bob", 1) for _ in range(3)]

    with pytest.raises(DatabaseError):
        post([*transfers, books.hold("ann", "bob", 5)])

    assert counts() == before
    assert (books.state("ann"), books.state("bob")) == ((100, 0, 0), (0, 0, 0))


def test_callers_rollback_takes_the_reference_back_too(books: Books) -> None:
    item = books.transfer("ann", "bob", 5, "taken back")
    with transaction.atomic():
        created(post([item]))
        transaction.set_rollback(True)

    [result] = post([item])
    assert result.is_created and not result.is_replay
    assert books.state("bob") == (5, 0, 0)


# -- the order engine's way in -------------------------------------------------------------


def test_hold_and_its_post_fit_in_one_pass(books: Books) -> None:
    with transaction.atomic(), opened(books.ids.values()) as posting:
        [hold_id] = created(posting.apply([books.hold("ann", None, 50)]))
        payment = pay(hold_id, 20, credit_account_id=books.ids["bob"], rest_is_kept=True)
        created(posting.apply([payment]))

    assert books.state("ann") == (80, 30, 0)
    hold = Hold.objects.get(pk=hold_id)
    assert (hold.amount, hold.remaining, hold.state) == (50, 30, HoldState.OPEN)


def test_refused_chain_in_a_pass_leaves_what_came_before(books: Books) -> None:
    with transaction.atomic(), opened(books.ids.values()) as posting:
        created(posting.apply([books.transfer("ann", "bob", 10)]))
        next_id = posting.ledger.next_id
        hold = books.hold("ann", None, 90, linked=True)
        refused = posting.apply([hold, pay(next_id, 91, credit_account_id=books.ids["bob"])])
        created(posting.apply([books.transfer("bob", "ann", 3)]))

    assert [result.refusal.name for result in refused] == ["CHAIN_REFUSED", "AMOUNT_EXCEEDS_HOLD"]
    assert (books.state("ann"), books.state("bob")) == ((93, 0, 0), (7, 0, 0))
    assert not Hold.objects.exists()


def test_account_not_asked_for_is_not_there(books: Books) -> None:
    with transaction.atomic(), opened([books.ids["ann"]]) as posting:
        results = posting.apply([books.transfer("ann", "bob", 10)])
    assert results == [Result(Refusal.CREDIT_ACCOUNT_UNKNOWN, 0)]


def test_receiver_zero_is_an_unknown_account_and_not_a_missing_one(books: Books) -> None:
    [hold_id] = created(post([books.hold("ann", "bob", 10)]))
    [result] = post([pay(hold_id, credit_account_id=0)])
    assert result == Result(Refusal.CREDIT_ACCOUNT_UNKNOWN, 0)


def test_hold_that_came_after_the_first_look_is_not_there_yet(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    [hold_id] = created(post([books.hold("ann", "bob", 10)]))
    monkeypatch.setattr(door, "HOLD_ACCOUNTS", door.HOLD_ACCOUNTS + " AND id < 0")

    [result] = post([pay(hold_id)])

    assert result == Result(Refusal.HOLD_UNKNOWN, 0)
    assert books.state("ann") == (100, 10, 0)


@pytest.mark.parametrize("size", [5, 50])
def test_rows_of_every_kind_are_written_as_they_were_decided(books: Books, size: int) -> None:
    """One item of each kind, dated and plain, then as many plain ones as make the size."""
    at, memo = NOW - timedelta(hours=1), "zwölf\t\\ “x”"
    [kept, freed] = created(post([books.hold("ann", None, 20), books.hold("ann", "bob", 20)]))
    items: list[Item] = [
        books.transfer("ann", "bob", 1, "odd", effective_at=at, memo=memo, reverses_id=7),
        books.transfer("ann", "bob", 2, expires_at=datetime(2036, 1, 1, tzinfo=UTC)),
        books.hold("ann", "bob", 3, expires_at=datetime(2036, 1, 1, tzinfo=UTC)),
        pay(kept, 4, credit_account_id=books.ids["bob"], rest_is_kept=True),
        pay(freed, 5),
    ]
    plain = [books.transfer("ann", "bob", 1) for _ in range(size - len(items))]

    ids = created(post([*items, *plain]))

    rows = Transfer.objects.filter(pk__in=ids[:5]).order_by("pk")
    fields = ("kind", "amount", "hold_id", "reverses_id", "released")
    assert list(rows.values_list(*fields)) == [
        (1, 1, None, 7, None),
        (1, 2, None, None, None),
        (2, 3, None, None, None),
        (3, 4, kept, None, None),
        (3, 5, freed, None, 15),
    ]
    assert (rows[0].effective_at, rows[0].memo, rows[0].reference) == (at, memo, "odd")
    assert [row.expires_at and row.expires_at.year for row in rows[:3]] == [None, 2036, 2036]
    entry = Entry.objects.get(account_id=books.ids["bob"], transfer_id=ids[0])
    assert (entry.amount, entry.balance_after, entry.effective_at) == (1, 1, at)
    assert Batch.objects.get(id=ids[0]).transfer_count == size
    assert books.state("bob") == (12 + len(plain), 0, 3)


# -- time ----------------------------------------------------------------------------------


def test_id_says_when_it_was_written(books: Books) -> None:
    [transfer_id] = created(post([books.transfer("ann", "bob", 1)], now=NOW))
    assert time_of(transfer_id) == NOW


def test_clock_stepped_back_keeps_ids_growing_and_balances_right(books: Books) -> None:
    [before] = created(post([books.transfer("ann", "bob", 10)], now=NOW))
    [after] = created(post([books.transfer("ann", "bob", 20)], now=NOW - TEN_MINUTES))

    assert batch_of(after) > batch_of(before)
    assert time_of(after) - NOW < timedelta(milliseconds=1)
    entries = Entry.objects.filter(account_id=books.ids["ann"]).order_by("transfer_id")
    assert list(entries.values_list("balance_after", flat=True)) == [100, 90, 70]
    assert books.state("bob") == (30, 0, 0)


def test_post_sorts_after_its_hold_though_the_clock_stepped_back(books: Books) -> None:
    [hold_id] = created(post([books.hold("ann", "bob", 10)], now=NOW))
    [part] = created(post([pay(hold_id, 4, rest_is_kept=True)], now=NOW - TEN_MINUTES))
    [rest] = created(post([release(hold_id)], now=NOW - 2 * TEN_MINUTES))

    assert hold_id < part < rest
    assert Hold.objects.get(pk=hold_id).state == HoldState.VOIDED
    assert (books.state("ann"), books.state("bob")) == ((96, 0, 0), (4, 0, 0))


def test_hold_lapses_by_the_clock_and_not_by_the_newest_id(books: Books) -> None:
    created(post([books.transfer("ann", "bob", 1)], now=NOW + TEN_MINUTES))
    asked = books.hold("ann", "bob", 10, expires_at=NOW + timedelta(minutes=5))
    [hold_id] = created(post([asked], now=NOW))

    created(post([pay(hold_id)], now=NOW + timedelta(minutes=4)))

    assert books.state("bob") == (11, 0, 0)


def test_as_of_reads_one_entry(books: Books) -> None:
    for minute in range(3):
        moment = NOW + timedelta(minutes=minute)
        created(post([books.transfer("ann", "bob", 10)], now=moment))

    def balance_before(moment: datetime) -> int:
        entries = Entry.objects.filter(account_id=books.ids["bob"]).before(moment)
        newest = entries.order_by("-transfer_id").first()
        return newest.balance_after if newest else 0

    assert balance_before(NOW) == 0
    assert balance_before(NOW + timedelta(microseconds=64)) == 10
    assert balance_before(NOW + timedelta(minutes=1)) == 10
    assert balance_before(NOW + timedelta(minutes=2, seconds=1)) == 30
    assert first_id_at(NOW) <= Transfer.objects.order_by("-id")[2].id


def test_two_batches_of_one_tick_have_different_ids(books: Books) -> None:
    books.open("cat", balance=5)
    books.open("dan")
    [one] = created(post([books.transfer("ann", "bob", 1)], now=NOW))
    [other] = created(post([books.transfer("cat", "dan", 1)], now=NOW))
    assert batch_of(one) != batch_of(other)


def test_account_counts_its_entries_and_knows_its_newest_transfer(books: Books) -> None:
    [hold_id] = created(post([books.hold("ann", "bob", 10)]))
    account = Account.objects.get(pk=books.ids["bob"])
    assert (account.entry_count, account.last_transfer_id) == (0, hold_id)

    item = Post(reference=new_reference(), hold_id=hold_id, code=Code.PAYMENT)
    [post_id] = created(post([item]))
    account.refresh_from_db()
    assert (account.entry_count, account.last_transfer_id) == (1, post_id)
