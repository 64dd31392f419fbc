"""A trade is undone while somebody else decides, or spends. Every race has its control."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from accounts.models import User
from edge.problems import Refusal
from orderbook import busts
from orderbook.models import Bust, Fill
from tests.orderbook.venue import Venue
from wallet import door, people
from wallet.accounts import Purpose, open_accounts
from wallet.models import Account, Entry

pytestmark = pytest.mark.django_db(transaction=True)
Deed = Callable[[], Any]


@pytest.fixture
def venue(transactional_db: None) -> Venue:
    venue = Venue()
    venue.join("sam", units=10)
    venue.join("bea", points=10_000)
    for handle in ("olga", "otto", "oleg"):
        venue.join(handle)
    venue.run(venue.place("sam", "sell", 1000, 2), venue.place("bea", "buy", 1000, 2))
    return venue


def asked(venue: Venue) -> Bust:
    fill = Fill.objects.latest("pk")
    return busts.request_bust(fill.pk, actor=venue.people["olga"], reason="a wrong price")


def outcome(deed: Deed) -> str:
    try:
        return str(deed())
    except Refusal as refusal:
        return refusal.code
    except Exception as error:
        return type(error).__name__
    finally:
        connection.close()


def at_once(*deeds: Deed) -> list[str]:
    start = threading.Barrier(len(deeds))

    def one(deed: Deed) -> str:
        start.wait()
        return outcome(deed)

    with ThreadPoolExecutor(len(deeds)) as pool:
        return list(pool.map(one, deeds))


def approving(bust: Bust, actor: User) -> Deed:
    def approve() -> str:
        _, shortfall = busts.approve(bust.pk, actor=actor)
        return shortfall.refusal if shortfall else "done"

    return approve


def paying(venue: Venue, amount: int) -> Deed:
    def pay() -> str:
        handle = venue.people["oleg"].handle
        result = people.pay(
            sender=venue.people["sam"], to=handle, asset=venue.points.code, amount=amount,
            memo="", key="spend",
        )  # fmt: skip
        return "done" if result.is_created else result.refusal.name.lower()

    return pay


def meet_after_locking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two passages through the door wait for each other where both have locked, if they can."""
    meeting, real = threading.Barrier(2), door.locked

    def lock(*args: Any, **more: Any) -> Any:
        posting = real(*args, **more)
        try:
            meeting.wait(0.5)
        except threading.BrokenBarrierError:
            meeting.reset()
        return posting

    monkeypatch.setattr(door, "locked", lock)


def adds_up(venue: Venue) -> bool:
    """Say whether each wallet's balance is the sum of its entries."""
    accounts = Account.objects.filter(asset__in=[venue.points, venue.units])
    return all(
        account.balance == sum(Entry.objects.filter(account_id=account.pk).values_list(
            "amount", flat=True))
        for account in accounts
    )  # fmt: skip


def test_a_bust_is_approved_once(venue: Venue) -> None:
    bust = asked(venue)
    seen = at_once(*(approving(bust, venue.people[who]) for who in ("otto", "oleg")))
    assert sorted(seen) == ["bust_decided", "done"]
    assert venue.points_of("bea") == (10_000, 0)
    assert venue.units_of("sam") == (10, 0)


def test_control_without_the_lock_the_second_runs_into_the_trigger(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    bust, meeting = asked(venue), threading.Barrier(2)

    def unlocked(bust_id: int, actor: Any) -> Bust:
        found = Bust.objects.get(pk=bust_id)
        meeting.wait(5)
        return found

    monkeypatch.setattr(busts, "_locked_open", unlocked)
    seen = at_once(*(approving(bust, venue.people[who]) for who in ("otto", "oleg")))
    assert seen.count("done") == 1
    assert "bust_decided" not in seen
    assert venue.points_of("bea") == (10_000, 0)


def test_money_is_spent_or_goes_back_and_never_both(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    bust = asked(venue)
    meet_after_locking(monkeypatch)
    seen = at_once(approving(bust, venue.people["otto"]), paying(venue, 2_000))
    assert sorted(seen) == ["done", "insufficient_funds"]
    assert adds_up(venue)


def test_control_without_the_doors_lock_money_is_spent_and_goes_back(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    bust = asked(venue)
    open_accounts([Purpose(venue.people["oleg"].pk, venue.points.pk)])
    monkeypatch.setattr(door, "LOCK_ACCOUNTS", door.LOCK_ACCOUNTS.replace("FOR NO KEY UPDATE", ""))
    meet_after_locking(monkeypatch)

    seen = at_once(approving(bust, venue.people["otto"]), paying(venue, 2_000))
    assert seen == ["done", "done"] or not adds_up(venue)
