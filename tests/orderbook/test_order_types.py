"""Every order type through the engine: what is held, what is paid, what a restart knows."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from orderbook import paying, plans
from orderbook.engine import MarketEngine
from orderbook.instructions import TimeInForce
from orderbook.models import Order, OrderState
from tests.orderbook.traders import four_traders, held, settled, trade_at
from tests.orderbook.venue import Venue
from wallet.models import Account, Hold

pytestmark = pytest.mark.django_db

HOUR_US = 3_600_000_000


@pytest.fixture
def venue() -> Venue:
    return four_traders()


# -- market orders -----------------------------------------------------------------------------


def test_a_market_order_pays_what_it_takes_and_never_more_than_its_worst_price(
    venue: Venue,
) -> None:
    venue.run(venue.place("sam", "sell", 100, 2), venue.place("sam", "sell", 120, 2))
    [answer] = venue.run(venue.place("bea", "buy", 110, 4, tif="ioc", type="market"))
    assert (answer["status"], answer["filled_quantity"]) == ("cancelled", 2)
    assert (answer["type"], answer["worst_price"]) == ("market", 110)
    assert "price" not in answer
    assert venue.points_of("bea") == (100_000 - 202, 0)
    settled(venue)


# -- icebergs ----------------------------------------------------------------------------------


def test_an_iceberg_holds_for_all_of_itself_and_shows_its_peak(venue: Venue) -> None:
    [answer] = venue.run(venue.place("sam", "sell", 100, 10, display_quantity=3))
    assert (answer["display_quantity"], answer["status"]) == (3, "open")
    assert venue.units_of("sam") == (100, 10)
    assert venue.book.best(2) == (100, 3)
    settled(venue)


def test_a_restart_knows_the_queue_of_icebergs(venue: Venue) -> None:
    venue.run(
        venue.place("sam", "sell", 100, 7, display_quantity=3),
        venue.place("ned", "sell", 100, 2),
        venue.place("bea", "buy", 100, 4),
    )
    shown = [(row.owner_id, row.quantity_lots) for row in venue.book.resting()]
    assert shown == [(venue.people["ned"].pk, 1), (venue.people["sam"].pk, 3)]
    settled(venue)
    venue.run(venue.place("bea", "buy", 100, 5))
    assert venue.units_of("sam") == (100 - 7, 0)
    settled(venue)


def test_one_order_eats_an_iceberg_and_pays_each_part(venue: Venue) -> None:
    venue.run(venue.place("sam", "sell", 100, 7, display_quantity=3))
    [answer] = venue.run(venue.place("bea", "buy", 100, 8))
    assert (answer["filled_quantity"], answer["filled_amount"]) == (7, 700)
    assert venue.units_of("sam") == (93, 0)
    settled(venue)


# -- minimum quantity, ends --------------------------------------------------------------------


def test_a_minimum_that_is_not_there_is_refused_and_moves_nothing(venue: Venue) -> None:
    venue.run(venue.place("sam", "sell", 100, 3))
    [answer] = venue.run(venue.place("bea", "buy", 100, 9, min_quantity=4))
    assert (answer["http"], answer["code"]) == (422, "minimum_quantity_unfilled")
    assert venue.points_of("bea") == (100_000, 0)
    settled(venue)


def test_an_order_ends_at_its_time(venue: Venue) -> None:
    soon = venue.engine.clock.now_us + HOUR_US
    [answer] = venue.run(venue.place("sam", "sell", 100, 3, tif="gtd", expires_us=soon))
    assert answer["expires_at"].endswith("Z")
    settled(venue)
    venue.engine.pass_s(3601)
    venue.keep_up()
    assert venue.units_of("sam") == (100, 0)
    assert not venue.book.orders
    settled(venue)


def test_an_end_in_the_past_is_refused(venue: Venue) -> None:
    [answer] = venue.run(venue.place("sam", "sell", 100, 3, tif="gtd", expires_us=1))
    assert (answer["http"], answer["code"]) == (422, "expiry_in_past")
    settled(venue)


# -- stops -------------------------------------------------------------------------------------


def test_a_stop_waits_as_it_was_asked_for_whatever_the_band_is_meanwhile() -> None:
    venue = four_traders(dynamic_band_bps=500)
    trade_at(venue, 100)
    venue.run(venue.place("sam", "sell", 120, 5))
    stop = venue.place("bea", "buy", 130, 3, type="stop_limit", stop_price=102)
    [waits] = venue.run(stop)
    assert waits["status"] == "open"
    [kept] = venue.book.stops.commands.values()
    assert (kept.price_ticks, kept.time_in_force) == (130, TimeInForce.GOOD_TILL_CANCELLED)
    settled(venue)


def test_a_stop_holds_from_the_start_and_pays_what_it_takes(venue: Venue) -> None:
    trade_at(venue, 100)
    [answer] = venue.run(venue.place("bea", "buy", 130, 2, tif="ioc", type="stop", stop_price=110))
    assert (answer["status"], answer["stop_price"]) == ("open", 110)
    assert venue.points_of("bea") == (100_000, 262)
    settled(venue)
    venue.run(venue.place("sam", "sell", 115, 5))
    venue.run(venue.place("ben", "buy", 115, 1))
    assert venue.points_of("bea") == (100_000 - 230 - 2, 0)
    row = Order.objects.get(pk=int(answer["order_id"]))
    assert (row.state, row.taken_minor, row.made_minor) == (OrderState.FILLED, 0, 230)
    settled(venue)


def test_a_stop_limit_waits_after_it_ran_and_a_restart_knows_its_place(venue: Venue) -> None:
    trade_at(venue, 100)
    venue.run(
        venue.place("sam", "sell", 95, 4, type="stop_limit", stop_price=98),
        venue.place("ned", "sell", 95, 1, tif="post_only"),
    )
    settled(venue)
    venue.run(venue.place("bea", "buy", 95, 3), venue.place("ben", "buy", 90, 1))
    assert [row.quantity_lots for row in venue.book.resting()] == [1, 2]
    settled(venue)


def test_a_cascade_of_stops_runs_to_its_end_in_one_batch(venue: Venue) -> None:
    trade_at(venue, 100)
    venue.run(
        *(
            venue.place("sam", "sell", 50, 2, tif="ioc", type="stop", stop_price=price)
            for price in (97, 98, 99)
        ),
        *(venue.place("bea", "buy", price, 2) for price in (99, 98, 97, 96)),
    )
    assert held(venue, "sam", venue.units) == 6
    venue.run(venue.place("ned", "sell", 99, 2))
    assert venue.units_of("sam") == (94, 0)
    assert not list(venue.book.resting())
    settled(venue)


def test_stops_without_room_in_a_batch_run_in_the_next_and_survive_a_restart(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    trade_at(venue, 100)
    venue.run(
        *(
            venue.place("sam", "sell", 50, 1, tif="ioc", type="stop", stop_price=99)
            for _ in range(6)
        ),
        *(venue.place("bea", "buy", 98, 1) for _ in range(9)),
    )
    monkeypatch.setattr(paying, "MOST_TRANSFERS", 20)
    [answer] = venue.run(venue.place("ned", "sell", 98, 1))
    assert answer["status"] == "filled"
    assert 0 < len(venue.book.stops.turns) < 6
    settled(venue)
    again = MarketEngine(venue.market.shard)
    again.load()
    venue.engine = again  # type: ignore[assignment]
    assert venue.engine.is_due()
    assert venue.keep_up() > 0
    assert not venue.book.stops.commands
    assert venue.units_of("sam") == (94, 0)
    settled(venue)


def test_stops_run_after_a_refused_order_of_the_same_batch(venue: Venue) -> None:
    """The market is matched anew from there on, stops included."""
    trade_at(venue, 100)
    venue.join("poor", points=10)
    venue.run(
        venue.place("bea", "buy", 130, 2, tif="ioc", type="stop", stop_price=110),
        venue.place("sam", "sell", 115, 5),
    )
    refused, bought, last = venue.run(
        venue.place("poor", "buy", 115, 1),
        venue.place("ben", "buy", 115, 1),
        venue.place("ben", "buy", 115, 5),
    )
    assert (refused["code"], bought["status"]) == ("insufficient_funds", "filled")
    assert (last["status"], last["filled_quantity"]) == ("open", 2)
    assert venue.points_of("bea") == (100_000 - 230 - 2, 0)
    settled(venue)


def test_of_two_stops_one_that_cannot_pay_does_not_stop_the_other(venue: Venue) -> None:
    trade_at(venue, 100)
    venue.run(
        venue.place("bea", "buy", 130, 2, tif="ioc", type="stop", stop_price=110),
        venue.place("ben", "buy", 130, 2, tif="ioc", type="stop", stop_price=111),
        venue.place("sam", "sell", 115, 5),
    )
    Account.objects.filter(owner=venue.people["bea"], asset=venue.points).update(status=1)
    venue.join("eve", points=10_000)
    venue.run(venue.place("eve", "buy", 115, 1), venue.place("eve", "buy", 115, 9))
    assert venue.points_of("bea") == (100_000, 0)
    assert venue.units_of("ben") == (1 + 2, 0)
    assert venue.units_of("eve") == (3, 0)
    settled(venue)


def test_a_maker_that_may_not_receive_is_expelled_by_a_stop(venue: Venue) -> None:
    trade_at(venue, 100)
    venue.run(
        venue.place("bea", "buy", 130, 3, tif="ioc", type="stop", stop_price=110),
        venue.place("ned", "sell", 112, 1),
        venue.place("sam", "sell", 113, 2),
        venue.place("ned", "sell", 114, 2),
    )
    # Sam's wallet for points is made by his first trade: it may hold no more than that.
    venue.run(venue.place("sam", "sell", 90, 1), venue.place("ben", "buy", 90, 1))
    Account.objects.filter(owner=venue.people["sam"], asset=venue.points).update(ceiling=90)
    venue.run(venue.place("ben", "buy", 112, 1))
    assert venue.units_of("sam") == (99, 0)
    assert venue.units_of("bea") == (2, 0)
    settled(venue)


def test_a_stop_whose_owner_may_not_pay_any_more_is_cancelled(venue: Venue) -> None:
    trade_at(venue, 100)
    [stop] = venue.run(venue.place("bea", "buy", 130, 2, tif="ioc", type="stop", stop_price=110))
    venue.run(venue.place("sam", "sell", 115, 5))
    Account.objects.filter(owner=venue.people["bea"], asset=venue.points).update(status=1)
    [bought] = venue.run(venue.place("ben", "buy", 115, 1))
    assert bought["status"] == "filled"
    assert venue.points_of("bea") == (100_000, 0)
    assert Order.objects.get(pk=int(stop["order_id"])).state == OrderState.CANCELLED
    settled(venue)


def test_a_stop_whose_price_was_traded_is_refused(venue: Venue) -> None:
    trade_at(venue, 100)
    [answer] = venue.run(venue.place("bea", "buy", 130, 2, type="stop_limit", stop_price=100))
    assert (answer["http"], answer["code"]) == (422, "stop_would_trigger")
    settled(venue)


# -- pairs -------------------------------------------------------------------------------------


def test_a_pair_holds_once(venue: Venue) -> None:
    trade_at(venue, 100)
    [answer] = venue.run(venue.pair("sam", "sell", 120, 10, stop=90, worst=80))
    assert (answer["status"], answer["oco"]["status"]) == ("open", "open")
    assert venue.units_of("sam") == (100, 10)
    settled(venue)


def test_a_pair_of_buys_holds_for_the_dearer(venue: Venue) -> None:
    trade_at(venue, 100)
    venue.run(venue.pair("bea", "buy", 90, 2, stop=110, worst=130))
    assert venue.points_of("bea") == (100_000, 262)
    settled(venue)


def test_a_trade_of_one_ends_the_other_and_frees_the_surplus(venue: Venue) -> None:
    trade_at(venue, 100)
    venue.run(venue.pair("bea", "buy", 90, 2, stop=110, worst=130))
    venue.run(venue.place("sam", "sell", 90, 1))
    assert venue.points_of("bea") == (100_000 - 90, 90)
    assert not venue.book.stops.commands
    settled(venue)
    venue.run(venue.place("sam", "sell", 90, 1))
    assert venue.points_of("bea") == (100_000 - 180, 0)
    settled(venue)


def test_a_stop_of_a_pair_that_runs_ends_the_limit_order(venue: Venue) -> None:
    trade_at(venue, 100)
    venue.run(venue.pair("sam", "sell", 120, 3, stop=90, worst=80))
    venue.run(venue.place("bea", "buy", 90, 9), venue.place("ned", "sell", 90, 1))
    assert venue.units_of("sam") == (97, 0)
    assert venue.book.best(2) is None
    settled(venue)


def test_a_stop_that_takes_nothing_after_all_leaves_the_pairs_it_met_alone(venue: Venue) -> None:
    venue.run(
        venue.place("ned", "sell", 101, 5),
        venue.pair("sam", "sell", 102, 4, stop=95, worst=90),
        venue.place("bea", "buy", 110, 20, tif="fok", type="stop", stop_price=101),
        venue.place("ben", "buy", 101, 1),
    )
    assert venue.units_of("sam") == (100, 4)
    own = Order.objects.filter(user_id=venue.people["sam"].pk)
    assert own.filter(state=OrderState.OPEN).count() == 2
    settled(venue)


def test_cancelling_one_of_a_pair_cancels_both(venue: Venue) -> None:
    trade_at(venue, 100)
    [answer] = venue.run(venue.pair("sam", "sell", 120, 3, stop=90, worst=80))
    [cancelled] = venue.run(venue.cancel("sam", answer["oco"]["order_id"]))
    assert cancelled["http"] == 200
    assert venue.units_of("sam") == (100, 0)
    settled(venue)


def test_a_pair_is_replayed_for_ever_and_with_other_content_refused(venue: Venue) -> None:
    trade_at(venue, 100)
    [first] = venue.run(venue.pair("sam", "sell", 120, 3, stop=90, worst=80, cid="p"))
    venue.run(venue.cancel("sam", cid="p"))
    again, other = venue.run(
        venue.pair("sam", "sell", 120, 3, stop=90, worst=80, cid="p"),
        venue.pair("sam", "sell", 120, 3, stop=90, worst=81, cid="p"),
    )
    assert (again["replayed"], again["oco"]) == (True, first["oco"])
    assert other["code"] == "client_order_id_reused"
    settled(venue)


def test_a_refused_pair_is_refused_again(venue: Venue) -> None:
    pair = venue.pair("bea", "buy", 90, 2_000, stop=110, worst=130, cid="dear")
    first, again = venue.run(pair, pair)
    assert (first["code"], again["code"]) == ("insufficient_funds", "insufficient_funds")
    assert again["replayed"]
    settled(venue)


# -- self-trade --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "units", "points"),
    [
        # units and points that stay on hold: 4 were for sale, 6 at 100 are wanted
        ("cancel_newest", 4, 0),
        ("cancel_oldest", 0, 606),
        ("cancel_both", 0, 0),
        ("decrement", 0, 202),
    ],
)
def test_what_stays_on_hold_after_a_trade_with_oneself(
    venue: Venue, policy: str, units: int, points: int
) -> None:
    venue.join("eve", units=10, points=1000)
    venue.run(venue.place("eve", "sell", 100, 4))
    [answer] = venue.run(venue.place("eve", "buy", 100, 6, self_trade=policy))
    assert answer["filled_quantity"] == 0
    assert venue.units_of("eve") == (10, units)
    assert venue.points_of("eve") == (1000, points)
    settled(venue)


def test_decrement_leaves_the_rest_of_an_own_iceberg(venue: Venue) -> None:
    venue.join("eve", units=10, points=1000)
    venue.run(venue.place("eve", "sell", 100, 9, display_quantity=2))
    venue.run(venue.place("eve", "buy", 100, 3, self_trade="decrement"))
    assert venue.units_of("eve") == (10, 6)
    assert venue.points_of("eve") == (1000, 0)
    settled(venue)


# -- cancelling many -----------------------------------------------------------------------------


def test_all_of_ones_orders_of_a_side_are_cancelled(venue: Venue) -> None:
    trade_at(venue, 100)
    venue.join("eve", units=50, points=10_000)
    venue.run(
        venue.place("eve", "sell", 110, 5),
        venue.place("eve", "sell", 115, 9, display_quantity=2),
        venue.place("eve", "sell", 80, 2, type="stop_limit", stop_price=90),
        venue.place("eve", "buy", 90, 3),
        venue.place("ned", "sell", 112, 1),
    )
    last, answer = venue.run(venue.place("eve", "sell", 120, 1), venue.cancel_all("eve", "sell"))
    assert last["status"] == "open"
    assert (answer["http"], answer["cancelled"], answer["remaining"]) == (200, 4, 0)
    assert venue.units_of("eve") == (50, 0)
    assert held(venue, "eve", venue.points) == 272
    assert held(venue, "ned", venue.units) == 1
    settled(venue)


def test_all_of_ones_orders_of_all_markets_are_cancelled(venue: Venue) -> None:
    other = Venue()
    other.people = venue.people
    other.market.shard = venue.market.shard
    other.market.save()
    other.engine = venue.engine
    venue.run(venue.place("sam", "sell", 110, 5), venue.place("sam", "sell", 111, 5))
    other._issue(other.units, venue.people["sam"], 10)
    venue.run(other.place("sam", "sell", 50, 4))
    [answer] = venue.run(venue.cancel_all("sam", everywhere=True))
    assert (answer["cancelled"], answer["remaining"]) == (3, 0)
    assert venue.units_of("sam") == (100, 0)
    assert other.units_of("sam") == (10, 0)
    [nothing] = venue.run(venue.cancel_all("sam", everywhere=True))
    assert nothing["cancelled"] == 0


def test_a_command_cancels_a_bounded_number(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MOST_CANCELLED", 3)
    venue.run(*(venue.place("sam", "sell", 100 + price, 1) for price in range(5)))
    answers = venue.run(venue.cancel_all("sam"), venue.cancel_all("sam"))
    assert [(a["cancelled"], a["remaining"]) for a in answers] == [(3, 2), (2, 0)]
    settled(venue)


# -- replay ------------------------------------------------------------------------------------

BASE: dict[str, Any] = {
    "tif": "gtd", "type": "stop_limit", "stop_price": 150, "display_quantity": 2,
    "min_quantity": 1, "self_trade": "decrement",
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"price": 161}, {"quantity": 5}, {"side": "sell"}, {"tif": "post_only"},
        {"type": "limit"}, {"stop_price": 151}, {"display_quantity": 3}, {"min_quantity": 2},
        {"self_trade": "cancel_both"}, {"expires_us": 1},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
@pytest.mark.parametrize("in_one_batch", [True, False])
def test_every_field_counts_when_an_id_is_used_again(
    venue: Venue, change: dict[str, Any], in_one_batch: bool
) -> None:
    fields = BASE | {"side": "buy", "price": 160, "quantity": 4}
    fields["expires_us"] = venue.engine.clock.now_us + HOUR_US
    other = {**fields, **change}
    if "expires_us" in change:
        other["expires_us"] = fields["expires_us"] + 1

    def spelled(asked: dict[str, Any]) -> Any:
        asked = dict(asked)
        side, price, quantity = asked.pop("side"), asked.pop("price"), asked.pop("quantity")
        return venue.place("bea", side, price, quantity, cid="one", **asked)

    commands = [spelled(fields), spelled(fields), spelled(other)]
    if in_one_batch:
        first, again, reused = venue.run(*commands)
    else:
        first, again, reused = itertools.chain.from_iterable(map(venue.run, commands))
    assert first["http"] == 201, first
    assert again["replayed"] and {**again, "replayed": False} == first
    assert (reused["http"], reused["code"]) == (409, "client_order_id_reused")
    settled(venue)


def test_no_hold_is_left_when_all_is_cancelled(venue: Venue) -> None:
    trade_at(venue, 100)
    venue.run(
        venue.place("sam", "sell", 110, 9, display_quantity=2),
        venue.pair("sam", "sell", 120, 10, stop=90, worst=80),
        venue.place("sam", "sell", 80, 2, type="stop_limit", stop_price=90),
    )
    venue.run(venue.cancel_all("sam"))
    assert not Hold.objects.filter(remaining__gt=0).exists()
    settled(venue)
