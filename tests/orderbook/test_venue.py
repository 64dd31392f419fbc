"""The venue through the engine and the real ledger: halts, closing, bands, switches, moves."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from accounts.models import ApiKey
from edge.models import AuditEvent
from edge.problems import Refusal
from orderbook.actions import arm_switch, instruct, reschedule, set_limit
from orderbook.models import (
    DeadMansSwitch,
    Instruction,
    Market,
    Order,
    VenueTime,
)
from sequencer.commands import Answer
from sequencer.models import Shard
from tests.orderbook.traders import assert_sound, opened
from tests.orderbook.venue import SteppedEngine, Venue
from wallet.models import Hold

pytestmark = pytest.mark.django_db


@pytest.fixture
def venue() -> Venue:
    return opened()


# -- states ------------------------------------------------------------------------------------


def test_a_scheduled_market_takes_no_orders() -> None:
    venue = opened(state="scheduled")
    [answer] = venue.run(venue.place("sam", "sell", 100, 1))
    assert (answer["http"], answer["code"]) == (422, "market_not_open")


def test_a_market_opens_and_closes_by_its_times() -> None:
    now = timezone.now()
    venue = opened(
        state="scheduled", auction_s=60, opens_at=now + timedelta(hours=1),
        closes_at=now + timedelta(hours=2),
    )  # fmt: skip
    states = [venue.state]
    for seconds in (3590, 11, 58, 3, 3600):
        venue.engine.pass_s(seconds)
        venue.keep_up()
        states.append(venue.state)
    assert states == ["scheduled", "scheduled", "auction", "auction", "open", "closed"]
    events = AuditEvent.objects.filter(object_id=venue.market.code).order_by("id")
    assert [event.action for event in events] == [
        "market.auction", "market.open", "market.closing", "market.closed",
    ]  # fmt: skip


def test_a_halted_market_resumes_through_an_auction(venue: Venue) -> None:
    reschedule(venue.market.pk, auction_s=30, reason="longer", actor=None)
    assert venue.ask("halt").outcome == "halted"
    assert venue.ask("resume").outcome == "auction"
    venue.engine.pass_s(31)
    venue.keep_up()
    assert venue.state == "open"


def test_what_a_state_does_not_permit_is_refused_and_changes_nothing(venue: Venue) -> None:
    asked = venue.ask("resume")
    assert (asked.state, asked.outcome) == (Instruction.State.REFUSED, "the market is open")
    assert venue.ask("uncross").state == Instruction.State.REFUSED
    assert venue.state == "open"


def test_a_closed_market_takes_no_instruction(venue: Venue) -> None:
    venue.ask("close")
    assert venue.state == "closed"
    with pytest.raises(Refusal, match="closed for good"):
        instruct(venue.market.pk, Instruction.Deed.HALT, reason="late", actor=None)


def test_closing_cancels_every_order_and_gives_back_every_hold(venue: Venue) -> None:
    venue.run(*(venue.place("sam", "sell", 200 + n, 1) for n in range(9)))
    venue.run(*(venue.place("bea", "buy", 90 - n, 2) for n in range(9)))
    venue.engine.agenda._most_removals = 5
    venue.ask("close")
    assert venue.state == "closed"
    assert not Order.objects.resting().exists()
    assert not Hold.objects.filter(remaining__gt=0).exists()
    assert venue.units_of("sam") == (100, 0)
    assert venue.points_of("bea") == (100_000, 0)


# -- bands -------------------------------------------------------------------------------------


def test_an_order_beyond_the_static_band_is_refused() -> None:
    venue = opened(reference_ticks=100, static_band_bps=1000)
    high, low, fine = venue.run(
        venue.place("bea", "buy", 111, 1),
        venue.place("sam", "sell", 89, 1),
        venue.place("bea", "buy", 50, 1),
    )
    assert (high["code"], low["code"], fine["status"]) == (
        "price_beyond_band", "price_beyond_band", "open",
    )  # fmt: skip
    assert venue.units_of("sam") == (100, 0)


def test_a_trade_beyond_the_dynamic_band_halts_then_an_auction_opens_again() -> None:
    venue = opened(dynamic_band_bps=500, halt_s=20, auction_s=30)
    venue.run(venue.place("sam", "sell", 100, 1), venue.place("bea", "buy", 100, 1))
    venue.run(venue.place("sam", "sell", 104, 2), venue.place("sam", "sell", 120, 5))
    taken, later = venue.run(
        venue.place("bea", "buy", 130, 6), venue.place("ben", "buy", 104, 1)
    )  # fmt: skip
    assert (taken["status"], taken["filled_quantity"]) == ("cancelled", 2)
    assert later["code"] == "market_halted"
    assert venue.state == "halted"
    venue.engine.pass_s(21)
    venue.keep_up()
    assert venue.state == "auction"
    venue.run(venue.place("ben", "buy", 125, 5))
    venue.engine.pass_s(31)
    venue.keep_up()
    assert venue.state == "open"
    assert venue.units_of("ben") == (5, 0)
    assert_sound(venue)
    assert AuditEvent.objects.filter(action="market.halted").count() == 1


def test_an_amendment_or_a_pair_beyond_the_dynamic_band_halts_as_an_order_does() -> None:
    for name in ("amended", "paired"):
        venue = opened(dynamic_band_bps=500)
        venue.run(venue.place("sam", "sell", 100, 1), venue.place("bea", "buy", 100, 1))
        venue.run(venue.place("sam", "sell", 104, 2), venue.place("sam", "sell", 120, 5))
        if name == "amended":
            venue.run(venue.place("ben", "buy", 90, 6, cid="b"))
            beyond = venue.amend("ben", cid="b", price=130)
        else:
            beyond = venue.pair("ben", "buy", 130, 6, stop=140, worst=150)
        taken, later = venue.run(beyond, venue.place("bea", "buy", 104, 1))
        assert (taken["status"], taken["filled_quantity"]) == ("cancelled", 2), name
        assert (later["code"], venue.state) == ("market_halted", "halted"), name
        assert venue.points_of("ben") == (100_000 - 208 - 2, 0)
        assert not venue.book.stops.commands
        assert_sound(venue)


def test_an_amendment_that_cannot_be_paid_halts_nothing() -> None:
    venue = opened(dynamic_band_bps=500)
    venue.run(venue.place("sam", "sell", 100, 1), venue.place("bea", "buy", 100, 1))
    venue.join("poor", points=600)
    venue.run(venue.place("sam", "sell", 104, 9), venue.place("sam", "sell", 120, 5))
    venue.run(venue.place("poor", "buy", 90, 6, cid="p"))
    refused, bought = venue.run(
        venue.amend("poor", cid="p", price=130, remaining_quantity=12),
        venue.place("ben", "buy", 104, 1),
    )
    assert (refused["code"], bought["status"]) == ("insufficient_funds", "filled")
    assert venue.state == "open"
    assert venue.points_of("poor") == (600, 545)
    assert_sound(venue)


def test_who_cannot_pay_halts_nothing() -> None:
    venue = opened(dynamic_band_bps=500)
    venue.run(venue.place("sam", "sell", 100, 1), venue.place("bea", "buy", 100, 1))
    venue.join("poor", points=10)
    venue.run(venue.place("sam", "sell", 104, 2), venue.place("sam", "sell", 120, 5))
    refused, bought = venue.run(
        venue.place("poor", "buy", 130, 6), venue.place("ben", "buy", 104, 1)
    )  # fmt: skip
    assert (refused["code"], bought["status"]) == ("insufficient_funds", "filled")
    assert venue.state == "open"


# -- limits ------------------------------------------------------------------------------------


def test_a_person_may_have_only_so_many_orders_waiting(venue: Venue) -> None:
    sam = venue.people["sam"]
    set_limit(sam.pk, most_open_orders=2, most_open_notional=None, reason="r", actor=sam)
    venue.engine.pass_s(2)
    answers = venue.run(*(venue.place("sam", "sell", 100, 1, cid=f"c{n}") for n in range(3)))
    assert [answer.get("code", "") for answer in answers] == ["", "", "too_many_open_orders"]
    assert venue.units_of("sam") == (100, 2)
    venue.run(venue.cancel("sam", cid="c0"))
    [again] = venue.run(venue.place("sam", "sell", 100, 1))
    assert again["status"] == "open"


def test_a_person_may_have_only_so_much_money_waiting(venue: Venue) -> None:
    set_limit(None, most_open_orders=None, most_open_notional=500, reason="r", actor=None)
    venue.engine.pass_s(2)
    one, two, other = venue.run(
        venue.place("bea", "buy", 100, 4),
        venue.place("bea", "buy", 100, 2),
        venue.place("ben", "buy", 99, 5),
    )
    assert (one["status"], two["code"], other["status"]) == (
        "open", "open_notional_exceeded", "open",
    )  # fmt: skip
    [taken] = venue.run(venue.place("sam", "sell", 99, 4))
    assert taken["status"] == "filled"
    assert not venue.engine.memory.exposure.notional[venue.people["bea"].pk, venue.points.pk]


# -- operators ---------------------------------------------------------------------------------


def test_an_operator_cancels_for_a_person_a_side_or_one_order(venue: Venue) -> None:
    placed = venue.run(
        venue.place("sam", "sell", 200, 1), venue.place("tim", "sell", 201, 1),
        venue.place("bea", "buy", 50, 1), venue.place("ben", "buy", 51, 1),
    )  # fmt: skip
    sam = venue.people["sam"].pk
    first = placed[0]["order_id"]
    assert venue.ask("cancel", order_id=int(first)).outcome == "1 cancelled"
    assert venue.ask("cancel", user_id=sam).outcome == "0 cancelled"
    assert venue.ask("cancel", side=1).outcome == "2 cancelled"
    assert venue.ask("cancel").outcome == "1 cancelled"
    assert not venue.book.orders
    assert venue.units_of("tim") == (100, 0)


def test_instructions_that_make_no_sense_are_refused(venue: Venue) -> None:
    deed = Instruction.Deed
    for wrong, arguments in (
        (deed.HALT, {"shard": 3}),
        (deed.HALT, {"seconds": -1}),
        (deed.CANCEL, {"side": 3}),
        (deed.MOVE, {}),
        (deed.MOVE, {"shard": venue.market.shard}),
        (deed.MOVE, {"shard": 4095}),
    ):
        with pytest.raises(Refusal):
            instruct(venue.market.pk, wrong, reason="r", actor=None, **arguments)
    assert not Instruction.objects.exists()


# -- dead man's switches -----------------------------------------------------------------------


def keyed(venue: Venue, who: str) -> ApiKey:
    return ApiKey.objects.create(
        owner=venue.people[who], prefix=f"{who}0000000"[:8], digest=who.encode().ljust(32, b"."),
        name=who, scopes=["orders:write"],
    )  # fmt: skip


def test_a_key_that_falls_silent_loses_its_orders_and_no_others(venue: Venue) -> None:
    key = keyed(venue, "sam")
    venue.run(venue.place("sam", "sell", 200, 1, key_id=key.pk), venue.place("sam", "sell", 201, 1))
    arm_switch(key.pk, 30)
    venue.keep_up()
    venue.run(venue.place("sam", "sell", 202, 1, key_id=key.pk))
    for _ in range(3):
        venue.engine.pass_s(20)
        arm_switch(key.pk, 30)
        venue.keep_up()
    assert venue.units_of("sam") == (100, 3)
    venue.engine.pass_s(31)
    venue.keep_up()
    assert [order.price_ticks for order in Order.objects.resting()] == [201]
    assert venue.units_of("sam") == (100, 1)
    switch = DeadMansSwitch.objects.get(key=key, shard=venue.market.shard)
    assert not switch.is_armed
    assert switch.fired_at is not None


def test_a_disarmed_switch_never_fires(venue: Venue) -> None:
    key = keyed(venue, "sam")
    venue.run(venue.place("sam", "sell", 200, 1, key_id=key.pk))
    arm_switch(key.pk, 5)
    venue.keep_up()
    arm_switch(key.pk, 0)
    venue.engine.pass_s(60)
    venue.keep_up()
    assert venue.units_of("sam") == (100, 1)


# -- the clock ---------------------------------------------------------------------------------


def test_a_clock_stepped_back_undoes_nothing_and_stops_nothing() -> None:
    venue = opened(state="scheduled", auction_s=60)
    venue.ask("open")
    venue.engine.pass_s(61)
    venue.keep_up()
    assert venue.state == "open"
    before = Order.objects.count()
    venue.engine.step_s(-600)
    venue.ask("halt", seconds=40)
    venue.engine.pass_s(45)
    venue.keep_up()
    assert venue.state == "halted", "behind, the clock runs at half its speed"
    venue.engine.pass_s(40)
    venue.keep_up()
    assert venue.state == "auction"
    [answer] = venue.run(venue.place("sam", "sell", 100, 1))
    assert answer["status"] == "open"
    assert Order.objects.count() == before + 1


def test_a_new_writer_whose_clock_is_behind_goes_on_where_the_old_one_stood(venue: Venue) -> None:
    venue.ask("halt", seconds=10)
    venue.engine.pass_s(11)
    venue.keep_up()
    stood_us = VenueTime.objects.get(shard=venue.market.shard).now_us
    again = SteppedEngine(venue.market.shard)
    again.step_s(-600)
    again.load()
    assert again.clock.now_us >= stood_us


# -- moving ------------------------------------------------------------------------------------


def test_a_market_moves_to_another_shard_with_its_orders(venue: Venue) -> None:
    target = venue.market.shard + 1
    Shard.objects.create(id=target, state="running")
    other = SteppedEngine(target)
    other.load()
    venue.run(venue.place("sam", "sell", 100, 5, cid="mine"), venue.place("bea", "buy", 90, 5))
    before = venue.book.state_hash()
    assert venue.ask("move", shard=target).outcome == f"on shard {target}"
    [refused] = venue.run(venue.place("ben", "buy", 100, 5, cid="late"))
    assert (refused["http"], refused["code"]) == (503, "wrong_shard")
    assert not Order.objects.filter(client_order_id="late").exists()
    assert not venue.engine.memory.hold_of
    assert not venue.engine.memory.exposure.orders
    venue.engine = other
    again, bought = venue.run(
        venue.place("sam", "sell", 100, 5, cid="mine"),
        venue.place("ben", "buy", 100, 3, cid="late"),
    )
    assert (again["replayed"], bought["status"]) == (True, "filled")
    assert venue.book.state_hash() != before
    assert venue.units_of("ben") == (3, 0)
    assert_sound(venue)


def test_a_market_is_not_moved_to_a_shard_without_a_writer(venue: Venue) -> None:
    with pytest.raises(Refusal, match="no writer"):
        instruct(venue.market.pk, Instruction.Deed.MOVE, reason="r", actor=None, shard=4001)
    assert Market.objects.get(pk=venue.market.pk).shard == venue.market.shard


def test_a_switch_fires_once_and_keeps_nobody_waiting(venue: Venue) -> None:
    key = keyed(venue, "sam")
    venue.run(venue.place("sam", "sell", 200, 1, key_id=key.pk))
    arm_switch(key.pk, 30)
    venue.engine.pass_s(1)
    venue.keep_up()
    venue.engine.pass_s(31)
    batches, answered = 0, list[Answer]()
    while not answered:
        with transaction.atomic():
            answered = venue.engine.execute([venue.place("bea", "buy", 100, 1)])
        venue.engine.committed()
        batches += 1
    assert batches <= 2, "the firing, and the order"


def test_a_switch_covers_orders_of_a_market_that_moves_to_its_shard(venue: Venue) -> None:
    key, other = keyed(venue, "sam"), opened()
    other.people["sam"] = venue.people["sam"]
    other._issue(other.units, venue.people["sam"], 100)
    venue.run(venue.place("sam", "sell", 200, 1, key_id=key.pk))
    other.run(other.place("sam", "sell", 210, 1, key_id=key.pk))
    arm_switch(key.pk, 30)
    for each in (venue, other):
        each.engine.pass_s(1)
        each.keep_up()
    Market.objects.filter(pk=venue.market.pk).update(shard=other.market.shard)
    other.keep_up()
    venue.keep_up()
    other.engine.pass_s(20)
    arm_switch(key.pk, 30)
    other.keep_up()
    assert Order.objects.resting().count() == 2, "it was renewed"
    other.engine.pass_s(31)
    other.keep_up()
    assert not Order.objects.resting().exists()
