"""Batches decided while the one before is still being written: as if they came one by one."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from edge.journey import Journey, Unexpected
from orderbook.actions import instruct
from orderbook.engine import Ahead
from orderbook.models import Instruction, Order
from sequencer.commands import Answer, Command
from sequencer.engine import NOTHING, Meanwhile
from sequencer.session import FencedOff, Flight, Session, SessionLost
from tests.orderbook.traders import four_traders, settled
from tests.orderbook.venue import Venue
from wallet import door
from wallet.accounts import Purpose, open_accounts
from wallet.actions import post
from wallet.items import Transfer
from wallet.models import Account, Code, Entry

pytestmark = pytest.mark.django_db(transaction=True)


class Sky:
    """A venue whose batches are decided ahead and written one after the other, by hand."""

    def __init__(self) -> None:
        self.venue = four_traders()
        self.session = Session(self.venue.market.shard)
        assert self.session.take(threading.Event())

    def decide(self, *commands: Command, meanwhile: Meanwhile = NOTHING) -> Ahead:
        decided = self.venue.engine.decide(commands, meanwhile)
        assert decided is not None
        return decided

    def take_off(self, decided: Ahead) -> Flight:
        return self.session.take_off(decided, "here")

    def land(self, flight: Flight) -> list[dict[str, Any]]:
        self.session.land(flight)
        flight.decided.committed()
        return bodies(flight.decided.answers())

    def fall(self, flight: Flight) -> None:
        """It does not land: what it was decided on has changed."""
        with pytest.raises(Unexpected):
            self.session.land(flight)
        flight.decided.rolled_back()

    def fly(self, *commands: Command) -> list[dict[str, Any]]:
        return self.land(self.take_off(self.decide(*commands)))


def bodies(answers: list[Answer]) -> list[dict[str, Any]]:
    return [msgspec.json.decode(answer.body) for answer in answers]


@pytest.fixture
def sky() -> Iterator[Sky]:
    sky = Sky()
    # Everybody's wallets are known, so that no batch opens one.
    people = [person.pk for person in sky.venue.people.values()]
    assets = (sky.venue.points.pk, sky.venue.units.pk)
    open_accounts(Purpose(person, asset) for person in people for asset in assets)
    yield sky
    sky.session.release()


def give(venue: Venue, giver: str, receiver: str, points: int) -> None:
    """Move points between two people, beside the market."""
    wallets = [Purpose(venue.people[who].pk, venue.points.pk) for who in (giver, receiver)]
    ids = open_accounts(wallets)
    item = Transfer(
        reference=f"gift {points}", asset_id=venue.points.pk, amount=points, code=Code.PAYMENT,
        debit_account_id=ids[wallets[0]], credit_account_id=ids[wallets[1]],
    )  # fmt: skip
    [result] = post([item])
    assert result.is_created


def adds_up(venue: Venue) -> bool:
    """Say whether each wallet's balance is the sum of its entries."""
    return all(
        account.balance
        == sum(Entry.objects.filter(account_id=account.pk).values_list("amount", flat=True))
        for account in Account.objects.filter(asset__in=[venue.points, venue.units])
    )


def test_a_batch_meets_what_the_one_under_way_left(sky: Sky) -> None:
    venue = sky.venue
    first = sky.take_off(sky.decide(venue.place("sam", "sell", 5, 4)))
    second = sky.decide(venue.place("bea", "buy", 5, 3))
    assert sky.land(first)[0]["status"] == "open"
    [bought] = sky.land(sky.take_off(second))
    assert (bought["status"], bought["filled_amount"]) == ("filled", 15)
    settled(venue)
    assert adds_up(venue)


def test_a_name_used_in_the_batch_under_way_means_that_order(sky: Sky) -> None:
    venue = sky.venue
    first = sky.take_off(sky.decide(venue.place("sam", "sell", 5, 4, cid="mine")))
    second = sky.decide(
        venue.place("sam", "sell", 5, 4, cid="mine"),
        venue.place("sam", "sell", 6, 4, cid="mine"),
        venue.cancel("sam", cid="mine"),
    )
    [placed] = sky.land(first)
    again, other, cancelled = sky.land(sky.take_off(second))
    assert again == placed
    assert other["code"] == "client_order_id_reused"
    assert cancelled["status"] == "cancelled"
    assert Order.objects.filter(market_id=venue.market.pk).count() == 1
    settled(venue)


def test_an_old_order_asked_for_again_takes_a_transaction(sky: Sky) -> None:
    venue = sky.venue
    [placed] = sky.fly(venue.place("sam", "sell", 5, 4, cid="mine"))
    before = venue.book.state_hash()
    again = venue.place("sam", "sell", 5, 4, cid="mine")
    assert venue.engine.decide([venue.place("sam", "sell", 6, 1), again]) is None
    assert venue.book.state_hash() == before
    assert venue.run(again) == [placed | {"http": 201, "replayed": True}]
    settled(venue)


def test_old_orders_are_changed_by_their_names(sky: Sky) -> None:
    venue = sky.venue
    sky.fly(
        venue.place("sam", "sell", 5, 4, cid="mine"), venue.place("sam", "sell", 6, 4, cid="too")
    )
    amended, cancelled = sky.fly(
        venue.amend("sam", cid="mine", price=7), venue.cancel("sam", cid="too")
    )
    assert (amended["price"], cancelled["status"]) == (7, "cancelled")
    settled(venue)


def test_batches_in_a_row_do_not_keep_each_other_alive(sky: Sky) -> None:
    venue = sky.venue
    decided = sky.decide(venue.place("sam", "sell", 5, 1))
    alive = []
    gc.disable()
    try:
        for price in (6, 7, 8):
            alive.append(weakref.ref(decided.batch))
            flight = sky.take_off(decided)
            following = sky.decide(venue.place("sam", "sell", price, 1), meanwhile=flight)
            sky.land(flight)
            decided = following
        del flight
        assert [each() is None for each in alive] == [True, True, True]
    finally:
        gc.enable()
    sky.land(sky.take_off(decided))
    settled(venue)


def test_an_order_that_the_batch_under_way_filled_is_not_cancelled(sky: Sky) -> None:
    venue = sky.venue
    [placed] = sky.fly(venue.place("sam", "sell", 5, 1))
    first = sky.take_off(sky.decide(venue.place("bea", "buy", 5, 1)))
    second = sky.decide(venue.cancel("sam", placed["order_id"]))
    sky.land(first)
    [refused] = sky.land(sky.take_off(second))
    assert refused["code"] == "order_already_filled"


def moved_meanwhile(sky: Sky) -> Flight:
    """Decide that Bea buys for all she has, and let her give it away before it is written."""
    venue = sky.venue
    sky.fly(venue.place("sam", "sell", 1000, 100))
    decided = sky.decide(venue.place("bea", "buy", 1000, 99))
    give(venue, "bea", "ben", 100_000)
    return sky.take_off(decided)


def test_a_wallet_that_changed_since_leaves_nothing_written(sky: Sky) -> None:
    venue, book = sky.venue, sky.venue.book.state_hash()
    flight = moved_meanwhile(sky)
    waiting = venue.book.state_hash()
    with pytest.raises(Unexpected) as caught:
        sky.session.land(flight)
    assert caught.value.what == door.MOVED
    flight.decided.rolled_back()
    assert venue.book.state_hash() not in (waiting, book)
    [refused] = venue.run(venue.place("bea", "buy", 1000, 99))
    assert refused["code"] == "insufficient_funds"
    settled(venue)
    assert adds_up(venue)


def seen_and_moved(sky: Sky) -> Flight:
    """Bea gives all she has away after her wallet was seen; then it is decided that she buys."""
    venue = sky.venue
    sky.fly(venue.place("sam", "sell", 1000, 100), venue.place("bea", "buy", 1, 1, cid="seen"))
    sky.fly(venue.cancel("bea", cid="seen"))
    give(venue, "bea", "ben", 100_000)
    return sky.take_off(sky.decide(venue.place("bea", "buy", 1000, 99)))


def test_a_wallet_that_changed_since_it_was_seen_leaves_nothing_written(sky: Sky) -> None:
    venue, flight = sky.venue, seen_and_moved(sky)
    sky.fall(flight)
    [refused] = sky.fly(venue.place("bea", "buy", 1000, 99))
    assert refused["code"] == "insufficient_funds"
    settled(venue)
    assert adds_up(venue)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the check that accounts are as they were foreseen."""
    statement = door.LOCK_UNCHANGED.replace("WHERE now = before", "")
    assert statement != door.LOCK_UNCHANGED
    monkeypatch.setattr(door, "LOCK_UNCHANGED", statement)


def test_control_without_the_check_what_was_seen_is_spent_twice(sky: Sky, unchecked: None) -> None:
    [bought] = sky.land(seen_and_moved(sky))
    assert bought["status"] == "filled"
    assert not adds_up(sky.venue)


def test_what_was_seen_is_not_read_again(sky: Sky, monkeypatch: pytest.MonkeyPatch) -> None:
    venue = sky.venue
    placed = [sky.fly(venue.place("sam", "sell", 5, 4))[0] for _ in range(3)]
    monkeypatch.setattr(door, "READ_ACCOUNTS", "SELECT 1 / 0")
    cancelled, again = sky.fly(
        venue.cancel("sam", placed[0]["order_id"]), venue.place("sam", "sell", 6, 1)
    )
    assert (cancelled["status"], again["status"]) == ("cancelled", "open")
    settled(venue)


def test_after_a_failure_all_is_read_again_for_a_while(
    sky: Sky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door.Seen, "FIRST_CAUTION", 3)
    venue, reads = sky.venue, count_reads(monkeypatch)
    flight = seen_and_moved(sky)
    following = sky.decide(venue.place("sam", "sell", 9, 1))
    with pytest.raises(Unexpected):
        sky.session.land(flight)
    following.rolled_back()
    flight.decided.rolled_back()
    before = reads()
    asked = []
    for price in (1, 2, 3, 4, 5):
        sky.fly(venue.place("sam", "sell", price, 1))
        asked.append(reads() - before)
    assert asked == [1, 2, 3, 3, 3]
    settled(venue)


def count_reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Count how often accounts are read to decide ahead."""
    times: list[int] = []
    ask = door.Foresight.ask

    def counted(self: door.Foresight, journey: Journey) -> None:
        times.append(1)
        ask(self, journey)

    monkeypatch.setattr(door.Foresight, "ask", counted)
    return lambda: len(times)


def test_of_too_much_that_was_seen_only_what_is_under_way_is_kept(
    sky: Sky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door.Seen, "MOST", 1)
    venue, seen = sky.venue, sky.venue.engine.memory.seen
    sky.fly(venue.place("ben", "buy", 1, 1))
    flight = sky.take_off(sky.decide(venue.place("sam", "sell", 5, 4)))
    assert len(seen.holds) == 1
    for lots in (1, 2, 1):
        following = sky.decide(venue.place("bea", "buy", 5, lots))
        sky.land(flight)
        flight = sky.take_off(following)
    [bought] = sky.land(flight)
    assert (bought["status"], bought["filled_quantity"]) == ("filled", 1)
    assert not seen.holds
    settled(venue)
    assert adds_up(venue)


def test_control_without_the_check_money_is_spent_twice(sky: Sky, unchecked: None) -> None:
    [bought] = sky.land(moved_meanwhile(sky))
    assert bought["status"] == "filled"
    assert not adds_up(sky.venue)


def test_what_builds_on_a_batch_that_fails_falls_with_it(sky: Sky) -> None:
    venue = sky.venue
    before = venue.book.state_hash()
    decided = sky.decide(venue.place("bea", "buy", 5, 4))
    give(venue, "bea", "ben", 1)
    first = sky.take_off(decided)
    second = sky.decide(venue.place("sam", "sell", 5, 4))
    with pytest.raises(Unexpected):
        sky.session.land(first)
    second.rolled_back()
    first.decided.rolled_back()
    assert venue.book.state_hash() == before
    settled(venue)
    [bought] = sky.fly(venue.place("bea", "buy", 5, 4))
    assert bought["status"] == "open"
    settled(venue)


def test_a_writer_that_was_replaced_writes_nothing(sky: Sky) -> None:
    venue = sky.venue
    decided = sky.decide(venue.place("sam", "sell", 5, 4))
    sky.session.epoch -= 1
    with pytest.raises(FencedOff):
        sky.session.land(sky.take_off(decided))
    sky.session.epoch += 1
    assert not Order.objects.filter(market_id=venue.market.pk).exists()


def cut(sky: Sky, what: Callable[[], object]) -> None:
    beside = sky.session._beside
    assert beside is not None
    beside.close()
    with pytest.raises(SessionLost):
        what()


def test_a_lost_connection_is_a_lost_session(sky: Sky) -> None:
    venue = sky.venue
    sky.fly(venue.place("sam", "sell", 5, 4))
    decided = sky.decide(venue.place("sam", "sell", 6, 4))
    cut(sky, lambda: sky.take_off(decided))


def test_what_takes_a_transaction_is_not_decided_ahead(sky: Sky) -> None:
    venue = sky.venue
    instruct(venue.market.pk, Instruction.Deed.HALT, reason="a test", actor=venue.people["sam"])
    before = venue.book.state_hash()
    assert venue.engine.decide([venue.place("sam", "sell", 5, 4)]) is None
    assert venue.book.state_hash() == before
