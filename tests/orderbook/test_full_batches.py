"""Batches that meet what is not locked, or more than one commit carries: whole, or later."""

from __future__ import annotations

from typing import Any

import pytest

from orderbook import agenda, paying
from orderbook.models import Market
from tests.orderbook.traders import four_traders, settled, trade_at
from tests.orderbook.venue import Venue

pytestmark = pytest.mark.django_db

HOUR_US = 3_600_000_000


@pytest.fixture
def venue() -> Venue:
    return four_traders()


def test_a_stop_that_meets_what_is_not_locked_waits_for_the_next_batch(venue: Venue) -> None:
    """Ahead it bought what Poor offered; then Poor could not, and Ned's order was not locked."""
    trade_at(venue, 100)
    venue.join("poor", points=10)
    venue.run(
        venue.place("sam", "sell", 111, 1),
        venue.place("ned", "sell", 120, 5),
        venue.place("bea", "buy", 130, 2, tif="ioc", type="stop", stop_price=110),
    )
    refused, bought = venue.run(
        venue.place("poor", "sell", 112, 2), venue.place("ben", "buy", 111, 1)
    )
    assert (refused["code"], bought["status"]) == ("insufficient_funds", "filled")
    assert len(venue.book.stops.turns) == 1
    settled(venue)
    assert venue.keep_up() == 1
    assert venue.points_of("bea") == (100_000 - 240 - 2, 0)
    settled(venue)


def test_a_maker_whose_wallet_is_locked_and_its_hold_is_not_comes_with_the_next_batch(
    venue: Venue,
) -> None:
    """Ahead Ben meets Poor and one order of Sam's; then Poor cannot, and it is two of Sam's."""
    venue.join("poor", points=10)
    venue.run(venue.place("sam", "sell", 101, 1), venue.place("sam", "sell", 102, 1))
    refused, bought = venue.run(
        venue.place("poor", "sell", 100, 1), venue.place("ben", "buy", 102, 2)
    )
    assert refused["code"] == "insufficient_funds"
    assert (bought["filled_quantity"], bought["filled_amount"]) == (2, 203)
    settled(venue)


def test_no_command_meets_an_order_whose_end_has_come_however_many_there_are(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "REMOVALS_PER_BATCH", 3)
    venue.engine.agenda.succeeded()
    soon = venue.engine.clock.now_us + HOUR_US
    venue.run(*(venue.place("sam", "sell", 100, 1, tif="gtd", expires_us=soon) for _ in range(8)))
    venue.engine.pass_s(3601)
    [bought] = venue.run(venue.place("ben", "buy", 100, 8))
    assert bought["filled_quantity"] == 0
    assert venue.units_of("sam") == (100, 0)
    settled(venue)


@pytest.mark.parametrize("rows", [30, 40, 45])
def test_what_a_full_commit_cannot_cancel_is_left_whole_for_the_next(
    venue: Venue, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Orders that expire fill the commit, so that not all of the cancellations fit beside them."""
    soon = venue.engine.clock.now_us + HOUR_US
    ends: dict[str, Any] = {"tif": "gtd", "expires_us": soon}
    venue.run(*(venue.place("bea", "buy", 5, 1, **ends) for _ in range(20)))
    venue.run(*(venue.place("ben", "buy", 5, 1) for _ in range(25)))
    monkeypatch.setattr(paying, "MOST_TRANSFERS", rows)
    venue.engine.pass_s(3601)
    [answer] = venue.run(venue.cancel_all("ben"))
    assert (answer["cancelled"], answer["remaining"]) == (25, 0)
    assert venue.points_of("ben") == venue.points_of("bea") == (100_000, 0)
    settled(venue)


@pytest.mark.parametrize("rows", [45, 55])
def test_a_cancellation_on_two_markets_counts_both(
    venue: Venue, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Were it cut between them, the answer would tell of the second only."""
    first = venue.market
    second = Market.objects.create(
        code=f"B.{first.code}", name="The same", base_asset=venue.units, quote_asset=venue.points,
        shard=first.shard,
    )  # fmt: skip
    for market in (first, second):
        venue.market = market
        venue.run(*(venue.place("ben", "buy", 5, 1) for _ in range(20)))
    waiting = [venue.place("bea", "buy", 5, 1) for _ in range(5)]
    monkeypatch.setattr(paying, "MOST_TRANSFERS", rows)
    *_, answer = venue.run(*waiting, venue.cancel_all("ben", everywhere=True))
    assert (answer["cancelled"], answer["remaining"]) == (40, 0)
    assert venue.points_of("ben") == (100_000, 0)
