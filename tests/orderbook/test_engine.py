"""The engine on the real ledger: what an order does to wallets, books, rows and answers."""

from __future__ import annotations

import pytest
from django.db import transaction

from orderbook.actions import instruct, reschedule
from orderbook.engine import MarketEngine
from orderbook.models import Fill, Instruction, Market, Order, OrderState
from tests.orderbook.traders import settled
from tests.orderbook.venue import Venue
from wallet.items import Status
from wallet.models import Account, Hold, Transfer

pytestmark = pytest.mark.django_db


@pytest.fixture
def venue() -> Venue:
    venue = Venue(taker_fee_bps=100, maker_fee_bps=50)
    venue.join("sam", units=100)
    venue.join("bea", points=10_000)
    return venue


def test_a_waiting_order_sets_its_funds_aside(venue: Venue) -> None:
    [answer] = venue.run(venue.place("sam", "sell", 120, 3))
    assert (answer["http"], answer["status"]) == (201, "open")
    assert venue.units_of("sam") == (100, 3)


def test_a_waiting_buyer_sets_the_fee_aside_too(venue: Venue) -> None:
    venue.run(venue.place("bea", "buy", 1000, 2))
    assert venue.points_of("bea") == (10_000, 2_020)


def test_taker_pays_the_makers_price_and_both_fees_go_to_the_house(venue: Venue) -> None:
    _, taken = venue.run(venue.place("sam", "sell", 1000, 2), venue.place("bea", "buy", 1200, 2))
    assert (taken["status"], taken["filled_amount"], taken["fee"]) == ("filled", 2000, 20)
    assert venue.points_of("bea") == (10_000 - 2000 - 20, 0)
    assert venue.points_of("sam") == (2000 - 10, 0)
    assert venue.units_of("bea") == (2, 0)
    assert venue.units_of("sam") == (98, 0)
    assert venue.fees() == 30


def test_a_maker_that_is_done_gets_back_what_its_hold_has_left(venue: Venue) -> None:
    venue.run(venue.place("bea", "buy", 1000, 2))
    venue.run(venue.place("sam", "sell", 900, 2))
    assert venue.points_of("bea") == (10_000 - 2000 - 10, 0)
    assert venue.points_of("sam") == (2000 - 20, 0)
    assert not Hold.objects.filter(remaining__gt=0).exists()


def test_a_partly_filled_maker_keeps_the_rest_on_hold(venue: Venue) -> None:
    [maker] = venue.run(venue.place("sam", "sell", 100, 10))
    venue.run(venue.place("bea", "buy", 100, 4))
    row = Order.objects.get(pk=int(maker["order_id"]))
    assert (row.state, row.remaining_lots, row.made_minor) == (OrderState.OPEN, 6, 400)
    assert venue.units_of("sam") == (96, 6)


def test_an_order_that_cannot_be_paid_is_refused_and_moves_nothing(venue: Venue) -> None:
    before = Transfer.objects.count()
    [answer] = venue.run(venue.place("bea", "buy", 10_000, 1))
    assert (answer["http"], answer["code"]) == (422, "insufficient_funds")
    assert venue.points_of("bea") == (10_000, 0)
    assert Transfer.objects.count() == before
    assert not venue.book.orders


def test_a_refused_order_leaves_the_book_to_the_next_in_the_same_batch(venue: Venue) -> None:
    venue.join("poor", points=50)
    sold, refused, bought = venue.run(
        venue.place("sam", "sell", 1000, 1),
        venue.place("poor", "buy", 1000, 1),
        venue.place("bea", "buy", 1000, 1),
    )
    assert (sold["http"], refused["code"], bought["status"]) == (
        201, "insufficient_funds", "filled",
    )  # fmt: skip
    assert venue.units_of("bea") == (1, 0)
    assert venue.units_of("poor") == (0, 0)


def test_what_is_matched_anew_and_not_locked_comes_with_the_next_batch(venue: Venue) -> None:
    # poor's order would have taken sam's; when it is refused, bea's meets sam's instead of
    # tim's, whose hold was locked and sam's not: the batch ends before bea's.
    venue.join("poor", points=50)
    venue.join("tim", units=5)
    venue.run(venue.place("sam", "sell", 1000, 1), venue.place("tim", "sell", 1010, 1))
    batch = [venue.place("poor", "buy", 1000, 1), venue.place("bea", "buy", 1010, 1)]
    refused, bought = venue.run(*batch)
    assert refused["code"] == "insufficient_funds"
    assert bought["filled_amount"] == 1000
    assert venue.units_of("tim") == (5, 1)


def test_same_client_order_id_gets_the_first_answer_for_ever(venue: Venue) -> None:
    first = venue.place("sam", "sell", 120, 3, cid="mine")
    [one] = venue.run(first)
    venue.run(venue.place("bea", "buy", 120, 3))
    again, twice = venue.run(
        venue.place("sam", "sell", 120, 3, cid="mine"),
        venue.place("sam", "sell", 120, 3, cid="mine"),
    )
    assert again == twice == {**one, "replayed": True}
    assert Order.objects.filter(client_order_id="mine").count() == 1


def test_same_client_order_id_twice_in_one_batch_is_one_order(venue: Venue) -> None:
    one, two = venue.run(
        venue.place("sam", "sell", 120, 3, cid="mine"),
        venue.place("sam", "sell", 120, 3, cid="mine"),
    )
    assert two == {**one, "replayed": True}
    assert venue.units_of("sam") == (100, 3)


def test_client_order_id_with_other_content_is_refused(venue: Venue) -> None:
    venue.run(venue.place("sam", "sell", 120, 3, cid="mine"))
    [answer] = venue.run(venue.place("sam", "sell", 121, 3, cid="mine"))
    assert (answer["http"], answer["code"]) == (409, "client_order_id_reused")
    assert venue.units_of("sam") == (100, 3)


def test_two_people_may_use_the_same_client_order_id(venue: Venue) -> None:
    one, two = venue.run(
        venue.place("sam", "sell", 120, 3, cid="same"),
        venue.place("bea", "buy", 100, 1, cid="same"),
    )
    assert (one["status"], two["status"]) == ("open", "open")


def test_a_refusal_for_want_of_funds_is_remembered(venue: Venue) -> None:
    venue.run(venue.place("bea", "buy", 10_000, 1, cid="big"))
    venue._issue(venue.points, venue.people["bea"], 50_000)
    [answer] = venue.run(venue.place("bea", "buy", 10_000, 1, cid="big"))
    assert (answer["code"], answer["replayed"]) == ("insufficient_funds", True)


def test_an_order_off_the_tick_is_not_remembered() -> None:
    venue = Venue(tick_minor=5)
    venue.join("sam", units=10)
    [answer] = venue.run(venue.place("sam", "sell", 121, 1, cid="x"))
    assert (answer["http"], answer["code"]) == (422, "price_off_tick")
    [answer] = venue.run(venue.place("sam", "sell", 120, 1, cid="x"))
    assert answer["http"] == 201


def test_cancel_releases_the_hold(venue: Venue) -> None:
    [placed] = venue.run(venue.place("sam", "sell", 120, 3))
    [answer] = venue.run(venue.cancel("sam", placed["order_id"]))
    assert (answer["http"], answer["status"]) == (200, "cancelled")
    assert venue.units_of("sam") == (100, 0)
    assert not venue.book.orders


def test_cancel_by_client_id_in_the_same_batch(venue: Venue) -> None:
    placed, cancelled = venue.run(
        venue.place("sam", "sell", 120, 3, cid="mine"), venue.cancel("sam", cid="mine")
    )
    assert (placed["status"], cancelled["status"]) == ("open", "cancelled")
    assert venue.units_of("sam") == (100, 0)


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_cancel_twice_says_cancelled_again(venue: Venue, in_one_batch: bool) -> None:
    [placed] = venue.run(venue.place("sam", "sell", 120, 3))
    cancels = [venue.cancel("sam", placed["order_id"]) for _ in range(2)]
    batches = [cancels] if in_one_batch else [[cancels[0]], [cancels[1]]]
    first, second = [answer for batch in batches for answer in venue.run(*batch)]
    assert second == {**first, "replayed": True}


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_cancel_of_a_filled_order_is_refused(venue: Venue, in_one_batch: bool) -> None:
    [placed] = venue.run(venue.place("sam", "sell", 120, 1))
    commands = [venue.place("bea", "buy", 120, 1), venue.cancel("sam", placed["order_id"])]
    batches = [commands] if in_one_batch else [[commands[0]], [commands[1]]]
    answer = [answer for batch in batches for answer in venue.run(*batch)][-1]
    assert (answer["http"], answer["code"]) == (409, "order_already_filled")


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_anothers_order_does_not_exist(venue: Venue, in_one_batch: bool) -> None:
    [placed] = venue.run(venue.place("sam", "sell", 120, 1))
    commands = [venue.place("bea", "buy", 120, 1), venue.cancel("bea", placed["order_id"])]
    batches = [commands] if in_one_batch else [[commands[1]], [commands[0]]]
    answers = [answer for batch in batches for answer in venue.run(*batch)]
    assert {"unknown_order"} == {answer["code"] for answer in answers if answer["http"] == 404}
    assert venue.units_of("bea") == (1, 0)


def test_own_orders_do_not_trade_with_each_other(venue: Venue) -> None:
    venue.join("both", points=1000, units=10)
    _, answer = venue.run(venue.place("both", "sell", 100, 1), venue.place("both", "buy", 100, 1))
    assert (answer["status"], answer["filled_quantity"]) == ("cancelled", 0)
    assert not Fill.objects.filter(market_id=venue.market.pk).exists()


@pytest.mark.parametrize(
    ("tif", "expected"),
    [("ioc", ("cancelled", 2)), ("gtc", ("open", 2)), ("fok", ("fill_or_kill_unfilled", 0))],
)
def test_time_in_force(venue: Venue, tif: str, expected: tuple[str, int]) -> None:
    venue.run(venue.place("sam", "sell", 100, 2))
    [answer] = venue.run(venue.place("bea", "buy", 100, 5, tif=tif))
    got = answer.get("status") if answer["http"] == 201 else answer["code"]
    assert (got, answer.get("filled_quantity", 0)) == expected
    assert venue.units_of("bea") == (expected[1], 0)


def test_post_only_never_takes(venue: Venue) -> None:
    venue.run(venue.place("sam", "sell", 100, 2))
    [answer] = venue.run(venue.place("bea", "buy", 100, 1, tif="post_only"))
    assert answer["code"] == "post_only_would_take"


def test_a_halted_market_refuses_orders_and_lets_cancel(venue: Venue) -> None:
    [placed] = venue.run(venue.place("sam", "sell", 100, 2))
    instruct(venue.market.pk, Instruction.Deed.HALT, reason="news", actor=venue.people["sam"])
    refused, cancelled = venue.run(
        venue.place("bea", "buy", 100, 1), venue.cancel("sam", placed["order_id"])
    )
    assert (refused["code"], cancelled["status"]) == ("market_halted", "cancelled")


def test_a_market_opened_later_is_known_with_the_next_batch(venue: Venue) -> None:
    later = Market.objects.create(
        code="LATER.PTS", name="Later", base_asset=venue.points, quote_asset=venue.units,
        shard=venue.market.shard,
    )  # fmt: skip
    venue.market = later
    [answer] = venue.run(venue.place("bea", "sell", 1, 10))
    assert answer["http"] == 201


def test_a_market_whose_first_batch_fails_trades_with_the_next(venue: Venue) -> None:
    """The account for its fees was opened in that batch, and is gone with it."""
    venue.market = Market.objects.create(
        code="YOUNG.PTS", name="Young", base_asset=venue.units, quote_asset=venue.points,
        shard=venue.market.shard, taker_fee_bps=100,
    )  # fmt: skip
    orders = [venue.place("sam", "sell", 100, 1), venue.place("bea", "buy", 100, 1)]
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        venue.engine.execute(orders)
        raise ZeroDivisionError
    venue.engine.rolled_back()
    assert venue.run(*orders)[1]["status"] == "filled"
    assert venue.fees() == 1


def test_a_frozen_account_places_nothing_but_its_waiting_order_trades(venue: Venue) -> None:
    venue.run(venue.place("sam", "sell", 100, 2))
    Account.objects.filter(owner=venue.people["sam"]).update(status=Status.FROZEN)
    refused, bought = venue.run(
        venue.place("sam", "sell", 100, 1), venue.place("bea", "buy", 100, 2)
    )
    assert (refused["code"], bought["status"]) == ("account_frozen", "filled")


def test_a_maker_who_may_not_receive_leaves_the_book(venue: Venue) -> None:
    venue.join("tim", units=5)
    venue.run(venue.place("sam", "sell", 100, 1), venue.place("tim", "sell", 100, 1))
    Account.objects.create(
        owner=venue.people["sam"], asset=venue.points, kind_id="wallet", floor=0,
        status=Status.CLOSED,
    )  # fmt: skip
    # The batch has locked sam's accounts and not tim's: it removes sam's order and asks again.
    [moved] = venue.run(venue.place("bea", "buy", 100, 1, cid="mine"))
    assert (moved["http"], moved["code"]) == (503, "market_moved")
    [answer] = venue.run(venue.place("bea", "buy", 100, 1, cid="mine"))
    assert answer["status"] == "filled"
    assert venue.units_of("sam") == (100, 0)
    assert venue.units_of("tim") == (4, 0)


def test_a_maker_who_may_not_receive_leaves_with_all_that_the_taker_met(venue: Venue) -> None:
    """Else each of a long row of them would cost somebody a request."""
    venue.join("ned", units=100)
    venue.run(*(venue.place("sam", "sell", 90, 1) for _ in range(30)))
    venue.run(*(venue.place("ned", "sell", 91, 1) for _ in range(30)))
    Account.objects.create(
        owner=venue.people["sam"], asset=venue.points, kind_id="wallet", floor=0, ceiling=180
    )
    order = venue.place("bea", "buy", 91, 30)
    [moved] = venue.run(order)
    assert (moved["http"], moved["code"]) == (503, "market_moved")
    assert venue.units_of("sam") == (100, 2)  # what would have been too much is off the book
    [bought] = venue.run(order)
    assert (bought["filled_quantity"], bought["filled_amount"]) == (30, 2 * 90 + 28 * 91)
    assert venue.units_of("sam") == (98, 0)
    assert venue.points_of("sam") == (180, 0)


def test_a_failed_commit_leaves_memory_and_database_as_they_were(venue: Venue) -> None:
    [placed] = venue.run(venue.place("sam", "sell", 100, 5))
    hash_before, holds_before = venue.book.state_hash(), dict(venue.engine.memory.hold_of)
    with pytest.raises(RuntimeError, match="commit"), transaction.atomic():
        venue.engine.execute(
            [
                venue.place("bea", "buy", 100, 2),
                venue.cancel("sam", placed["order_id"]),
                venue.place("bea", "buy", 90, 2),
            ]
        )
        raise RuntimeError("commit")
    venue.engine.rolled_back()
    venue.book.check()
    assert venue.book.state_hash() == hash_before
    assert venue.engine.memory.hold_of == holds_before
    [answer] = venue.run(venue.place("bea", "buy", 100, 5))
    assert answer["status"] == "filled"


def test_a_new_engine_knows_what_the_old_one_knew(venue: Venue) -> None:
    venue.run(
        venue.place("sam", "sell", 100, 5),
        venue.place("bea", "buy", 90, 5),
        venue.place("bea", "buy", 100, 2),
    )
    after = MarketEngine(venue.market.shard)
    after.load()
    assert after.memory.markets[venue.market.pk].book.state_hash() == venue.book.state_hash()
    assert after.memory.hold_of == venue.engine.memory.hold_of


def test_a_sweep_of_many_makers_fits_one_commit(venue: Venue) -> None:
    venue.join("whale", points=10_000_000)
    sells = [venue.place("sam", "sell", 100 + number, 1) for number in range(100)]
    venue.run(*sells)
    [answer] = venue.run(venue.place("whale", "buy", 300, 100))
    assert (answer["status"], answer["filled_quantity"]) == ("filled", 100)


def test_an_order_asked_for_again_is_answered_as_then_though_sizes_have_changed(
    venue: Venue,
) -> None:
    sold = venue.place("sam", "sell", 200, 50, cid="a")
    [first] = venue.run(sold)
    reschedule(venue.market.pk, reason="A test", actor=None, most_lots=10)
    again, other, reused = venue.run(
        sold,
        venue.place("sam", "sell", 200, 50, cid="b"),
        venue.place("sam", "sell", 200, 40, cid="a"),
    )
    assert (again["http"], again["replayed"]) == (201, True)
    assert again["order_id"] == first["order_id"]
    assert (other["http"], other["code"]) == (422, "quantity_too_large")
    assert (reused["http"], reused["code"]) == (409, "client_order_id_reused")


def test_what_is_too_large_uses_no_name_up(venue: Venue) -> None:
    reschedule(venue.market.pk, reason="A test", actor=None, most_lots=10)
    large, fitting = venue.run(
        venue.place("sam", "sell", 200, 50, cid="a"), venue.place("sam", "sell", 200, 10, cid="a")
    )
    assert (large["http"], fitting["http"]) == (422, 201)
    assert Order.objects.count() == 1


@pytest.mark.parametrize("third", [("bea", "buy", 100), ("sam", "sell", 200)])
def test_what_is_too_large_leaves_the_order_after_it_its_turn(
    venue: Venue, third: tuple[str, str, int]
) -> None:
    """Of the same name, and before a third: all three in one batch."""
    reschedule(venue.market.pk, reason="A test", actor=None, most_lots=10)
    _, first, _ = venue.run(
        venue.place("sam", "sell", 200, 50, cid="a"),
        venue.place("sam", "sell", 200, 10, cid="a"),
        venue.place(*third, 1),
    )
    settled(venue)
    venue.run(venue.place("bea", "buy", 200, 5))
    assert str(Fill.objects.get().maker_order_id) == first["order_id"]
