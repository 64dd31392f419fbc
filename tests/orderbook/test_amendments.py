"""Amendments: less keeps its place, anything else loses it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.orderbook.traders import four_traders, settled, trade_at
from tests.orderbook.venue import Venue

pytestmark = pytest.mark.django_db

HOUR_US = 3_600_000_000


@pytest.fixture
def venue() -> Venue:
    return four_traders()


def test_less_of_an_order_keeps_its_place_and_frees_the_rest(venue: Venue) -> None:
    [first, _] = venue.run(venue.place("sam", "sell", 100, 5), venue.place("ned", "sell", 100, 5))
    [answer] = venue.run(venue.amend("sam", first["order_id"], remaining_quantity=2))
    assert (answer["kept_place"], answer["remaining_quantity"]) == (True, 2)
    assert venue.units_of("sam") == (100, 2)
    assert [row.quantity_lots for row in venue.book.resting()] == [2, 5]
    settled(venue)


def test_another_price_loses_the_place_and_holds_anew(venue: Venue) -> None:
    [first, _] = venue.run(venue.place("bea", "buy", 100, 2), venue.place("ben", "buy", 110, 2))
    [answer] = venue.run(venue.amend("bea", first["order_id"], price=110))
    assert (answer["kept_place"], answer["price"]) == (False, 110)
    assert venue.points_of("bea") == (100_000, 222)
    assert next(row.owner_id for row in venue.book.resting()) == venue.people["ben"].pk
    settled(venue)


def test_an_amended_order_may_trade_at_once(venue: Venue) -> None:
    first, _ = venue.run(venue.place("bea", "buy", 90, 5), venue.place("sam", "sell", 100, 2))
    [answer] = venue.run(venue.amend("bea", first["order_id"], price=100))
    assert (answer["filled_quantity"], answer["filled_amount"], answer["fee"]) == (2, 200, 2)
    assert (answer["status"], answer["remaining_quantity"]) == ("open", 3)
    assert venue.points_of("bea") == (100_000 - 202, 303)
    settled(venue)


def test_an_amendment_that_cannot_be_paid_changes_nothing(venue: Venue) -> None:
    [first] = venue.run(venue.place("bea", "buy", 100, 2))
    [answer] = venue.run(venue.amend("bea", first["order_id"], remaining_quantity=5_000))
    assert (answer["http"], answer["code"]) == (422, "insufficient_funds")
    assert venue.points_of("bea") == (100_000, 202)
    settled(venue)


def test_an_amendment_asked_twice_is_done_once(venue: Venue) -> None:
    [first, _] = venue.run(venue.place("sam", "sell", 100, 5), venue.place("ned", "sell", 100, 5))
    amend = venue.amend("sam", first["order_id"], price=100, remaining_quantity=7)
    once, twice = venue.run(amend, amend)
    assert (once["kept_place"], twice["kept_place"]) == (False, True)
    assert venue.units_of("sam") == (100, 7)
    settled(venue)


def test_an_order_may_be_amended_in_the_batch_that_places_it(venue: Venue) -> None:
    _, answer, filled = venue.run(
        venue.place("sam", "sell", 100, 5, cid="x"),
        venue.amend("sam", cid="x", price=90),
        venue.place("bea", "buy", 90, 1),
    )
    assert (answer["price"], filled["filled_amount"]) == (90, 90)
    settled(venue)


def test_an_amended_stop_waits_for_its_new_price(venue: Venue) -> None:
    trade_at(venue, 100)
    [stop] = venue.run(venue.place("sam", "sell", 80, 2, type="stop_limit", stop_price=90))
    [answer] = venue.run(venue.amend("sam", stop["order_id"], stop_price=99))
    assert (answer["stop_price"], answer["status"]) == (99, "open")
    settled(venue)
    trade_at(venue, 99)
    assert venue.book.best(2) == (80, 2)
    settled(venue)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"price": 0, "remaining_quantity": 0, "stop_price": 99}, "order_has_no_stop_price"),
        ({"price": 1_000_000_001}, "price_too_high"),
        ({"remaining_quantity": 1_000_001}, "quantity_too_large"),
    ],
)
def test_what_an_amendment_may_not_ask(venue: Venue, change: dict[str, Any], code: str) -> None:
    [first] = venue.run(venue.place("sam", "sell", 100, 5))
    [answer] = venue.run(venue.amend("sam", first["order_id"], **change))
    assert answer["code"] == code
    settled(venue)


def test_an_iceberg_cannot_grow_beyond_a_hundred_parts(venue: Venue) -> None:
    venue.join("eve", units=1000)
    [first] = venue.run(venue.place("eve", "sell", 100, 200, display_quantity=2))
    [answer] = venue.run(venue.amend("eve", first["order_id"], remaining_quantity=201))
    assert (answer["http"], answer["code"]) == (422, "display_quantity_too_small")
    assert venue.units_of("eve") == (1000, 200)
    settled(venue)


def test_an_amendment_matched_anew_is_answered_by_what_it_meets_then(venue: Venue) -> None:
    """Ahead nobody buys the last of Sam's order; but who was cheaper could not pay."""
    venue.join("poor")
    venue.run(venue.place("sam", "sell", 101, 2, cid="mine"))
    *_, amended = venue.run(
        venue.place("bea", "buy", 101, 1),
        venue.place("poor", "sell", 99, 1),
        venue.place("ben", "buy", 101, 1),
        venue.amend("sam", cid="mine", stop_price=95),
    )
    assert amended["code"] == "order_already_filled"


def test_what_is_not_there_cannot_be_amended(venue: Venue) -> None:
    trade_at(venue, 100)
    mine, gone, pair = venue.run(
        venue.place("sam", "sell", 100, 5),
        venue.place("sam", "sell", 100, 5),
        venue.pair("sam", "sell", 120, 3, stop=90, worst=80),
    )
    venue.run(venue.cancel("sam", gone["order_id"]))
    answers = venue.run(
        venue.amend("ned", mine["order_id"], price=90),
        venue.amend("sam", 12345, price=90),
        venue.amend("sam", gone["order_id"], price=90),
        venue.amend("sam", pair["order_id"], price=130),
        venue.amend("sam", pair["oco"]["order_id"], price=70),
    )
    assert [answer["code"] for answer in answers] == [
        "unknown_order", "unknown_order", "order_already_cancelled", "order_paired",
        "order_paired",
    ]  # fmt: skip
    settled(venue)
