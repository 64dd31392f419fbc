"""Auctions through the engine and the real ledger: orders gather, then trade at one price."""

from __future__ import annotations

import pytest
from django.db import transaction

from orderbook.models import Fill, Order, OrderState
from orderbook.paying import CannotSettle
from tests.orderbook.traders import assert_sound, opened
from tests.orderbook.venue import Venue
from wallet.items import Status
from wallet.models import Account

pytestmark = pytest.mark.django_db


@pytest.fixture
def auction() -> Venue:
    venue = opened(state="scheduled", auction_s=60)
    assert venue.ask("open").outcome == "auction"
    assert venue.state == "auction"
    return venue


def test_orders_of_an_auction_gather_and_then_trade_at_one_price(auction: Venue) -> None:
    venue = auction
    answers = venue.run(
        venue.place("sam", "sell", 100, 5),
        venue.place("bea", "buy", 120, 4),
        venue.place("tim", "sell", 110, 5),
        venue.place("ben", "buy", 110, 4),
    )
    assert [answer["status"] for answer in answers] == ["open"] * 4
    assert not Fill.objects.exists()
    venue.engine.pass_s(61)
    venue.keep_up()
    assert venue.state == "open"
    fills = Fill.objects.order_by("id")
    assert [(f.price_ticks, f.quantity_lots, f.is_auction) for f in fills] == [
        (110, 4, True), (110, 1, True), (110, 3, True),
    ]  # fmt: skip
    assert venue.units_of("sam") == (95, 0)
    assert venue.units_of("tim") == (97, 2)
    assert venue.units_of("bea") == (4, 0)
    # bea and tim were the younger of their pairs: they pay the taker's fee, the others half.
    assert venue.points_of("bea") == (100_000 - 440 - 4, 0)
    assert_sound(venue)
    assert venue.market.reference_ticks == 110


def test_an_auction_is_settled_in_parts_at_one_price(auction: Venue) -> None:
    venue = auction
    for number in range(6):
        venue.run(
            venue.place("sam", "sell", 100 + number, 3), venue.place("bea", "buy", 120 - number, 4)
        )
    venue.engine.pass_s(61)
    sizes = iter([2, 2, 2, 50])
    original = venue.engine.agenda._uncrossing

    def in_parts(trading: object, now_us: int) -> object:
        work = original(trading, now_us)  # type: ignore[arg-type]
        work.deeds[0].most_crosses = next(sizes)  # type: ignore[attr-defined]
        return work

    venue.engine.agenda._uncrossing = in_parts  # type: ignore[assignment,method-assign]
    venue.keep_up()
    assert venue.state == "open"
    assert Fill.objects.values("price_ticks").distinct().count() == 1
    assert sum(Fill.objects.values_list("quantity_lots", flat=True)) == 18
    assert next(sizes, None) is None, "it took four commits"
    assert_sound(venue)


def test_a_command_waits_for_an_auction_that_is_being_settled(auction: Venue) -> None:
    venue = auction
    venue.run(venue.place("sam", "sell", 100, 5), venue.place("bea", "buy", 120, 5, cid="mine"))
    venue.engine.pass_s(61)
    [answer] = venue.run(venue.cancel("bea", cid="mine"))
    assert answer["code"] == "order_already_filled"


def test_only_orders_that_can_wait_join_an_auction(auction: Venue) -> None:
    venue = auction
    [refused] = venue.run(venue.place("sam", "sell", 100, 1, tif="ioc"))
    assert refused["code"] == "not_in_auction"
    _, own = venue.run(venue.place("sam", "sell", 100, 1), venue.place("sam", "buy", 100, 1))
    assert own["code"] == "meets_own_order"
    assert venue.units_of("sam") == (100, 1)


def test_an_auction_order_nobody_can_pay_for_is_refused(auction: Venue) -> None:
    [answer] = auction.run(auction.place("bea", "buy", 100_000, 1))
    assert answer["code"] == "insufficient_funds"
    assert not auction.book.orders


def test_an_auction_without_a_trade_just_opens(auction: Venue) -> None:
    auction.run(auction.place("sam", "sell", 120, 1), auction.place("bea", "buy", 100, 1))
    auction.ask("uncross")
    assert auction.state == "open"
    assert not Fill.objects.exists()
    assert auction.units_of("sam") == (100, 1)


def test_who_may_not_receive_leaves_the_auction_and_the_others_trade(auction: Venue) -> None:
    venue = auction
    venue.run(venue.place("sam", "sell", 100, 1), venue.place("tim", "sell", 100, 1))
    venue.run(venue.place("bea", "buy", 100, 2))
    Account.objects.create(
        owner=venue.people["sam"], asset=venue.points, kind_id="wallet", floor=0,
        status=Status.CLOSED,
    )  # fmt: skip
    venue.ask("uncross")
    assert venue.state == "open"
    assert venue.units_of("sam") == (100, 0)
    assert venue.units_of("tim") == (99, 0)
    assert venue.units_of("bea") == (1, 0)
    assert_sound(venue)


def test_a_rolled_back_auction_leaves_memory_as_it_was(auction: Venue) -> None:
    venue = auction
    venue.run(venue.place("sam", "sell", 100, 5), venue.place("bea", "buy", 120, 3))
    before = venue.book.state_hash()
    venue.engine.pass_s(61)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        venue.engine.execute([])
        assert venue.book.state_hash() != before
        raise ZeroDivisionError
    venue.engine.rolled_back()
    assert venue.book.state_hash() == before
    assert venue.engine.memory.exposure.orders == {
        venue.people["sam"].pk: 1, venue.people["bea"].pk: 1,
    }  # fmt: skip
    venue.keep_up()
    assert venue.state == "open"
    assert venue.units_of("bea") == (3, 0)


def test_an_auction_whose_fees_cannot_be_taken_waits_and_says_so(auction: Venue) -> None:
    venue = auction
    venue.run(venue.place("sam", "sell", 1000, 5), venue.place("bea", "buy", 1000, 5))
    before = venue.book.state_hash()
    venue.engine.pass_s(61)
    fees = Account.objects.filter(pk=venue.engine.memory.markets[venue.market.pk].fee_account_id)
    fees.update(ceiling=0)
    with pytest.raises(CannotSettle, match="CEILING_EXCEEDED"), transaction.atomic():
        venue.engine.execute([])
    venue.engine.rolled_back()
    assert venue.book.state_hash() == before and venue.state == "auction"
    fees.update(ceiling=None)
    venue.engine.pass_s(61)  # it is left out for a while
    venue.keep_up()
    assert venue.state == "open"
    assert venue.units_of("bea") == (5, 0)
    assert_sound(venue)


def test_every_open_order_has_a_state_that_says_so(auction: Venue) -> None:
    auction.run(auction.place("sam", "sell", 100, 5))
    assert Order.objects.get().state == OrderState.OPEN
