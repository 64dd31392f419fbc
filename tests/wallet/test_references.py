"""References: asked twice is done once, for ever, and other content is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tests.wallet.books import Books, created, pay, release
from wallet.actions import post
from wallet.items import Item, Refusal, Result
from wallet.models import Reference, Transfer

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def books() -> Books:
    books = Books()
    books.open("ann", balance=100)
    books.open("bob")
    return books


def test_asking_again_gets_the_first_answer_and_moves_nothing(books: Books) -> None:
    item = books.transfer("ann", "bob", 60, "once")
    [first] = post([item])

    assert post([item]) == [Result(Refusal.CREATED, first.transfer_id, is_replay=True)]
    assert (books.state("ann"), books.state("bob")) == ((40, 0, 0), (60, 0, 0))


def test_asking_twice_in_one_batch_is_done_once(books: Books) -> None:
    item = books.transfer("ann", "bob", 60, "once")

    first, second = post([item, item])

    assert first.is_created and not first.is_replay
    assert second == first._replace(is_replay=True)
    assert books.state("bob") == (60, 0, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 61},
        {"code": 2},
        {"memo": "other"},
        {"debit_account_id": 0},
        {"credit_account_id": 0},
        {"asset_id": 0},
        {"reverses_id": 1},
        {"effective_at": NOW - timedelta(days=1)},
        {"expires_at": NOW + timedelta(days=1)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_content_under_the_reference_is_refused(books: Books, change: Any) -> None:
    item = books.transfer("ann", "bob", 60, "once")
    post([item], now=NOW)

    assert post([msgspec.structs.replace(item, **change)], now=NOW) == [
        Result(Refusal.REFERENCE_REUSED, 0)
    ]
    assert books.state("bob") == (60, 0, 0)


@pytest.mark.parametrize(
    "other",
    [
        lambda hold_id: pay(hold_id, 9, "once"),
        lambda hold_id: pay(hold_id, None, "once"),
        lambda hold_id: pay(hold_id, 10, "once", rest_is_kept=True),
        lambda hold_id: pay(hold_id, 10, "once", credit_account_id=1),
        lambda hold_id: pay(hold_id + 1, 10, "once"),
        lambda hold_id: release(hold_id, 10, "once"),
    ],
)
def test_other_post_under_the_reference_is_refused(books: Books, other: Any) -> None:
    [hold_id] = created(post([books.hold("ann", "bob", 30)]))
    created(post([pay(hold_id, 10, "once")]))

    assert post([other(hold_id)]) == [Result(Refusal.REFERENCE_REUSED, 0)]
    assert books.state("bob") == (10, 0, 0)


def test_refusal_of_the_ledger_stays_even_when_funds_arrive(books: Books) -> None:
    item = books.transfer("ann", "bob", 101, "too much")
    refused = Result(Refusal.INSUFFICIENT_FUNDS, 0)
    assert post([item]) == [refused]
    created(post([books.transfer("issuer", "ann", 1)]))

    assert post([item]) == [refused._replace(is_replay=True)]
    assert books.state("bob") == (0, 0, 0)


def test_malformed_item_leaves_its_reference_free(books: Books) -> None:
    [refused] = post([books.transfer("ann", "bob", 0, "typo")])
    assert refused == Result(Refusal.AMOUNT_NOT_POSITIVE, 0)

    created(post([books.transfer("ann", "bob", 10, "typo")]))
    assert books.state("bob") == (10, 0, 0)


def test_item_that_was_too_late_leaves_its_reference_free(books: Books) -> None:
    late = books.hold("ann", "bob", 10, "late", expires_at=NOW)
    assert post([late], now=NOW) == [Result(Refusal.EXPIRY_IN_PAST, 0)]
    assert not Reference.objects.filter(refusal=Refusal.EXPIRY_IN_PAST).exists()

    created(post([books.hold("ann", "bob", 10, "late", expires_at=NOW)], now=NOW - SECOND))


def test_replay_after_the_expiry_gets_the_first_answer(books: Books) -> None:
    item = books.hold("ann", "bob", 10, "soon over", expires_at=NOW)
    [first] = post([item], now=NOW - SECOND)
    assert first.is_created

    assert post([item], now=NOW + SECOND) == [first._replace(is_replay=True)]


def test_replay_with_the_clock_stepped_back_gets_the_first_answer(books: Books) -> None:
    item = books.transfer("ann", "bob", 10, "dated", effective_at=NOW)
    [first] = post([item], now=NOW)
    assert first.is_created

    assert post([item], now=NOW - timedelta(minutes=10)) == [first._replace(is_replay=True)]


def test_chain_asked_again_is_a_replay_as_a_whole(books: Books) -> None:
    chain = [
        books.transfer("ann", "bob", 10, "first", linked=True),
        books.transfer("bob", "ann", 5, "second"),
    ]
    first = post(chain)
    created(first)

    assert post(chain) == [result._replace(is_replay=True) for result in first]
    assert books.state("bob") == (5, 0, 0)


def test_refused_chain_asked_again_says_the_same(books: Books) -> None:
    chain = [
        books.transfer("ann", "bob", 10, "first", linked=True),
        books.transfer("ann", "bob", 91, "second"),
    ]
    post(chain)
    created(post([books.transfer("issuer", "ann", 100)]))

    assert post(chain) == [
        Result(Refusal.CHAIN_REFUSED, 0),
        Result(Refusal.INSUFFICIENT_FUNDS, 0, is_replay=True),
    ]
    assert books.state("bob") == (0, 0, 0)


def test_chain_of_which_a_part_happened_is_refused_and_says_which(books: Books) -> None:
    created(post([books.transfer("ann", "bob", 10, "alone")]))

    results = post(
        [
            books.transfer("ann", "bob", 10, "alone", linked=True),
            books.transfer("ann", "bob", 20, "new"),
        ]
    )

    assert results == [Result(Refusal.REFERENCE_REUSED, 0), Result(Refusal.CHAIN_REFUSED, 0)]
    assert books.state("bob") == (10, 0, 0)


def test_chain_that_names_a_reference_twice_is_refused(books: Books) -> None:
    item = books.transfer("ann", "bob", 10, "twice")
    results = post([msgspec.structs.replace(item, linked=True), item])

    assert results == [Result(Refusal.CHAIN_REFUSED, 0), Result(Refusal.REFERENCE_REUSED, 0)]
    assert books.state("bob") == (0, 0, 0)
    created(post([item]))


def test_a_thousand_references_in_one_batch_replay_as_they_were(books: Books) -> None:
    items: list[Item] = [books.transfer("issuer", "bob", 1 + n, f"bulk {n}") for n in range(1000)]
    first = post(items)
    created(first)

    assert post(items) == [result._replace(is_replay=True) for result in first]
    assert Transfer.objects.filter(reference__startswith="bulk ").count() == 1000
    assert books.state("bob") == (500_500, 0, 0)


SECOND = timedelta(seconds=1)
