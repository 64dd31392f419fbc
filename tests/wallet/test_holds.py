"""Sweeping lapsed holds: what they set aside comes back, once, whatever happens to the sweep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.wallet.books import Books, created, pay
from tests.wallet.threads import at_once
from wallet import holds, tasks
from wallet.actions import post
from wallet.holds import expire_holds
from wallet.items import HoldState, Kind
from wallet.models import Code, Entry, Hold, Transfer

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def books() -> Books:
    books = Books()
    books.open("ann", balance=100)
    books.open("bob")
    return books


def hold(books: Books, amount: int, expires_at: datetime | None = NOW) -> int:
    item = books.hold("ann", "bob", amount, expires_at=expires_at)
    [hold_id] = created(post([item], now=NOW - HOUR))
    return hold_id


def test_lapsed_hold_is_released_and_ends_as_expired(books: Books) -> None:
    hold_id = hold(books, 30)

    assert expire_holds(NOW) == 1

    assert Hold.objects.get(pk=hold_id).state == HoldState.EXPIRED
    assert (books.state("ann"), books.state("bob")) == ((100, 0, 0), (0, 0, 0))
    release = Transfer.objects.get(kind=Kind.VOID)
    assert (release.reference, release.amount, release.code) == (
        f"hold-expiry:{hold_id}",
        30,
        Code.RELEASE,
    )
    assert not Entry.objects.filter(transfer_id=release.pk).exists()


def test_hold_that_has_not_lapsed_stays(books: Books) -> None:
    hold(books, 30, NOW + timedelta(microseconds=1))
    hold(books, 20, None)

    assert expire_holds(NOW) == 0
    assert books.state("ann") == (100, 50, 0)


def test_rest_of_a_partly_posted_hold_is_released(books: Books) -> None:
    hold_id = hold(books, 30)
    created(post([pay(hold_id, 10, rest_is_kept=True)], now=NOW - HOUR))

    assert expire_holds(NOW) == 1
    assert (books.state("ann"), books.state("bob")) == ((90, 0, 0), (10, 0, 0))


def test_sweeping_again_finds_nothing(books: Books) -> None:
    hold(books, 30)
    assert [expire_holds(NOW), expire_holds(NOW)] == [1, 0]


def test_oldest_expiry_is_released_first_and_the_limit_is_kept(books: Books) -> None:
    late = hold(books, 1, NOW)
    early = hold(books, 1, NOW - HOUR / 2)

    assert expire_holds(NOW, limit=1) == 1

    states = dict(Hold.objects.values_list("pk", "state"))
    assert states == {early: HoldState.EXPIRED, late: HoldState.OPEN}


def test_sweep_goes_on_over_many_batches(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "BATCH_HOLDS", 2)
    for _ in range(5):
        hold(books, 1)
    assert expire_holds(NOW) == 5
    assert books.state("ann") == (100, 0, 0)


def test_sweep_that_dies_is_taken_up_by_the_next(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "BATCH_HOLDS", 2)
    for _ in range(5):
        hold(books, 1)
    calls: list[int] = []

    def dying(items: Any, **more: Any) -> Any:
        calls.append(len(items))
        if len(calls) == 2:
            raise ConnectionError("the worker is gone")
        return post(items, **more)

    monkeypatch.setattr(holds, "post", dying)
    with pytest.raises(ConnectionError):
        expire_holds(NOW)
    assert books.state("ann") == (100, 3, 0)

    assert expire_holds(NOW) == 3
    assert books.state("ann") == (100, 0, 0)


def test_hold_that_cannot_be_released_does_not_stop_the_others(
    books: Books, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(holds, "BATCH_HOLDS", 1)
    stuck, free = hold(books, 1), hold(books, 2)
    created(post([books.transfer("ann", "bob", 5, f"hold-expiry:{stuck}")]))

    assert expire_holds(NOW) == 1

    assert Hold.objects.get(pk=free).state == HoldState.EXPIRED
    assert f"lapsed hold {stuck} stays: REFERENCE_REUSED" in caplog.text


def test_task_sweeps_by_the_clock(books: Books) -> None:
    soon = datetime.now(UTC) + timedelta(milliseconds=50)
    item = books.hold("ann", "bob", 30, expires_at=soon)
    created(post([item]))
    while datetime.now(UTC) <= soon:
        pass
    assert tasks.expire_holds() == 1
    assert books.state("ann") == (100, 0, 0)


@pytest.mark.django_db(transaction=True)
def test_two_sweeps_at_once_release_each_hold_once(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "BATCH_HOLDS", 3)
    for _ in range(20):
        hold(books, 2)

    swept = at_once([lambda: expire_holds(NOW)] * 3)

    assert sum(n for n in swept if isinstance(n, int)) == 20, swept
    assert Transfer.objects.filter(kind=Kind.VOID).count() == 20
    assert (books.state("ann"), books.state("bob")) == ((100, 0, 0), (0, 0, 0))
