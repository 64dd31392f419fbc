"""An order that ended without being filled says why, in its answer and in its history."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import ApiKey
from orderbook.actions import arm_switch
from orderbook.api.own_serializers import OrderOut
from orderbook.commands import Side
from orderbook.models import Fill, Order
from orderbook.verifying import differences
from tests.orderbook.venue import Venue

pytestmark = pytest.mark.django_db


@pytest.fixture
def venue() -> Venue:
    venue = Venue()
    venue.join("sam", units=100)
    venue.join("bea", points=100_000)
    return venue


def shown(venue: Venue, order_id: str) -> dict[str, Any]:
    """An order as its owner reads it."""
    markets = {venue.market.pk: venue.market}
    order = Order.objects.get(pk=int(order_id))
    return dict(OrderOut(order, context={"markets": markets}).data)


def why(venue: Venue, answer: dict[str, Any]) -> str | None:
    """The reason in an order's history; all books and sums still agree."""
    assert list(differences(venue.market)) == []
    row = shown(venue, answer["order_id"])
    assert (row["status"] == "cancelled") == (row["cancel_reason"] is not None)
    reason: str | None = row["cancel_reason"]
    return reason


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"tif": "ioc"}, "immediate_or_cancel"),
        ({"type": "market", "tif": "ioc"}, "immediate_or_cancel"),
    ],
)
def test_what_may_not_wait_says_so_at_once(
    venue: Venue, terms: dict[str, Any], reason: str
) -> None:
    venue.run(venue.place("sam", "sell", 50, 3))
    asked = venue.place("bea", "buy", 50, 5, cid="mine", **terms)
    [first] = venue.run(asked)
    assert (first["filled_quantity"], first["cancel_reason"]) == (3, reason)
    assert why(venue, first) == reason
    [again] = venue.run(venue.place("bea", "buy", 50, 5, cid="mine", **terms))
    assert again == first | {"replayed": True}


@pytest.mark.parametrize(
    ("policy", "newest", "oldest"),
    [
        ("cancel_newest", "self_trade", None),
        ("cancel_oldest", None, "self_trade"),
        ("cancel_both", "self_trade", "self_trade"),
        ("decrement", "self_trade", None),
    ],
)
def test_who_would_trade_with_themselves_is_told(
    venue: Venue, policy: str, newest: str | None, oldest: str | None
) -> None:
    [waiting] = venue.run(venue.place("sam", "sell", 50, 5))
    venue.join("sam2", points=1)
    venue._issue(venue.points, venue.people["sam"], 1000)
    [came] = venue.run(venue.place("sam", "buy", 50, 3, cid=policy, self_trade=policy))
    assert came.get("cancel_reason") == newest
    assert (why(venue, came), why(venue, waiting)) == (newest, oldest)
    [again] = venue.run(venue.place("sam", "buy", 50, 3, cid=policy, self_trade=policy))
    assert again == came | {"replayed": True}


def test_an_owners_own_cancellation_is_requested_and_a_partners_is_oco(venue: Venue) -> None:
    [single] = venue.run(venue.place("sam", "sell", 50, 5))
    [pair] = venue.run(venue.pair("bea", "buy", 40, 1, stop=60, worst=70))
    venue.run(venue.cancel("sam", single["order_id"]), venue.cancel("bea", pair["order_id"]))
    assert why(venue, single) == "requested"
    assert why(venue, pair) == "requested"
    assert why(venue, pair["oco"]) == "oco"
    [again] = venue.run(venue.cancel("sam", single["order_id"]))
    assert (again["http"], again["status"]) == (200, "cancelled")


def test_an_order_whose_time_is_over_expired(venue: Venue) -> None:
    expires_us = venue.engine.wall_us() + 5_000_000
    [dated] = venue.run(venue.place("sam", "sell", 50, 5, tif="gtd", expires_us=expires_us))
    venue.engine.pass_s(6)
    venue.keep_up()
    assert why(venue, dated) == "expired"


def test_the_dead_mans_switch_an_operator_and_a_close_are_told_apart(venue: Venue) -> None:
    key = ApiKey.objects.create(
        owner=venue.people["sam"], prefix="sambot00", digest=b"sambot".ljust(32, b"."), name="bot",
        scopes=["orders:write"],
    )  # fmt: skip
    arm_switch(key.pk, 5)
    venue.keep_up()
    [bots] = venue.run(venue.place("sam", "sell", 50, 1, key_id=key.pk))
    venue.engine.pass_s(6)
    venue.keep_up()
    [served] = venue.run(venue.place("sam", "sell", 50, 1))
    venue.ask("cancel", order_id=int(served["order_id"]))
    [left] = venue.run(venue.place("sam", "sell", 50, 1))
    venue.ask("close")
    venue.keep_up()
    assert [why(venue, each) for each in (bots, served, left)] == [
        "dead_mans_switch", "operator", "market_closed",
    ]  # fmt: skip


def test_a_stop_that_ran_and_could_not_fill_says_so(venue: Venue) -> None:
    [stop] = venue.run(venue.place("bea", "buy", 60, 5, type="stop", tif="ioc", stop_price=50))
    venue.run(venue.place("sam", "sell", 50, 1), venue.place("bea", "buy", 50, 1))
    assert "cancel_reason" not in stop
    assert why(venue, stop) == "immediate_or_cancel"


def test_a_halt_by_the_band_says_so() -> None:
    venue = Venue(dynamic_band_bps=1000, halt_s=60)
    venue.join("sam", units=100)
    venue.join("bea", points=100_000)
    venue.run(venue.place("sam", "sell", 100, 1), venue.place("bea", "buy", 100, 1))
    venue.run(venue.place("sam", "sell", 101, 1), venue.place("sam", "sell", 150, 5))
    [swept] = venue.run(venue.place("bea", "buy", 150, 6))
    assert (swept["filled_quantity"], swept["cancel_reason"]) == (1, "volatility_halt")
    assert why(venue, swept) == "volatility_halt"


def test_history_counts_what_was_filled_and_at_what_price(venue: Venue) -> None:
    venue.run(venue.place("sam", "sell", 50, 2), venue.place("sam", "sell", 51, 1))
    [taker] = venue.run(venue.place("bea", "buy", 55, 7))
    venue.run(venue.amend("bea", taker["order_id"], remaining_quantity=3))
    venue.run(venue.place("sam", "sell", 55, 1), venue.cancel("bea", taker["order_id"]))
    row = shown(venue, taker["order_id"])
    assert (row["quantity"], row["filled_quantity"], row["remaining_quantity"]) == (6, 4, 0)
    assert (row["filled_amount"], row["average_price"]) == (206, "51.5000")
    assert row["cancel_reason"] == "requested"
    assert row["ended_at"] > row["created_at"]
    filled = Fill.objects.filter(taker_order_id=int(taker["order_id"]))
    assert sum(fill.quantity_lots for fill in filled) == 3
    [refused] = venue.run(venue.place("bea", "buy", 40, 7, tif="fok"))
    row = shown(venue, refused["order_id"])
    assert (row["status"], row["filled_quantity"], row["average_price"]) == ("refused", 0, None)
    assert (row["cancel_reason"], row["refusal"]) == (None, "fill_or_kill_unfilled")
    assert row["side"] == Side.BUY.value


def test_who_cancels_what_was_left_of_an_amended_order_is_told_so(venue: Venue) -> None:
    """Some of it met an order of its own owner, and the rest went on waiting."""
    venue.join("ann", units=50, points=1_000)
    venue.run(venue.place("ann", "buy", 10, 2))
    [sold] = venue.run(venue.place("ann", "sell", 20, 10, cid="s", self_trade="decrement"))
    venue.run(venue.amend("ann", cid="s", price=10))
    venue.run(venue.cancel("ann", cid="s"))
    assert why(venue, sold) == "requested"
