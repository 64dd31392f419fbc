"""Markets of units that have rules: who may trade them, which units, and until when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Residence, User
from accounts.regions import set_region
from orderbook import busts
from orderbook.models import Fill, Order, OrderState
from tests.orderbook.venue import Venue
from wallet.models import AssetRules, Transfer
from wallet.ownership import set_rules

pytestmark = pytest.mark.django_db
DAY_S = 86_400


def rule(venue: Venue, **rules: Any) -> None:
    set_rules(venue.units, AssetRules(**rules), may_tighten=True, actor=None)


def live_in(person: User, region: str | None) -> None:
    set_region(person, region, source=Residence.Source.DOCUMENT, actor=None)


@pytest.fixture
def venue() -> Venue:
    venue = Venue()
    venue.join("sam", units=10)
    venue.join("bea", points=10_000)
    return venue


def refused(venue: Venue, *command: Any) -> tuple[int, str]:
    before = Transfer.objects.count()
    [answer] = venue.run(*command)
    assert Transfer.objects.count() == before
    return answer["http"], answer["code"]


def test_units_of_a_promotion_are_not_traded(venue: Venue) -> None:
    rule(venue, is_transferable=False)
    assert refused(venue, venue.place("sam", "sell", 10, 1)) == (403, "not_transferable")
    assert refused(venue, venue.place("bea", "buy", 10, 1)) == (403, "not_transferable")


def test_buyers_of_unknown_region_are_refused(venue: Venue) -> None:
    rule(venue, regions=["DE"])
    assert refused(venue, venue.place("bea", "buy", 10, 1)) == (403, "region_unknown")
    live_in(venue.people["bea"], "FR")
    assert refused(venue, venue.place("bea", "buy", 10, 1)) == (403, "region_not_allowed")
    live_in(venue.people["bea"], "DE-BY")
    [answer] = venue.run(venue.place("bea", "buy", 10, 1))
    assert answer["status"] == "open"
    live_in(venue.people["bea"], None)
    assert refused(venue, venue.place("bea", "buy", 10, 1)) == (403, "region_unknown")


def test_sellers_may_live_anywhere(venue: Venue) -> None:
    rule(venue, regions=["DE"])
    [answer] = venue.run(venue.place("sam", "sell", 10, 1))
    assert answer["status"] == "open"


def test_what_was_just_received_is_not_offered(venue: Venue) -> None:
    rule(venue, holding_s=DAY_S)
    assert refused(venue, venue.place("sam", "sell", 10, 1)) == (409, "units_too_young")
    assert venue.units_of("sam") == (10, 0)
    assert not venue.book.orders


def test_units_held_for_long_enough_are_offered_and_no_more(venue: Venue) -> None:
    rule(venue, holding_s=DAY_S)
    venue.engine.pass_s(DAY_S + 60)
    sold, more = venue.run(venue.place("sam", "sell", 10, 7), venue.place("sam", "sell", 11, 3))
    assert (sold["status"], more["status"]) == ("open", "open")
    assert refused(venue, venue.place("sam", "sell", 12, 1)) == (422, "insufficient_funds")


def test_what_is_bought_in_a_batch_is_not_sold_in_it(venue: Venue) -> None:
    rule(venue, holding_s=DAY_S)
    venue.engine.pass_s(DAY_S + 60)
    _, bought, resold = venue.run(
        venue.place("sam", "sell", 10, 4),
        venue.place("bea", "buy", 10, 4),
        venue.place("bea", "sell", 20, 1),
    )
    assert (bought["status"], resold["code"]) == ("filled", "units_too_young")


def test_units_that_come_back_by_a_reversal_are_not_young(venue: Venue) -> None:
    rule(venue, holding_s=DAY_S)
    venue.engine.pass_s(DAY_S + 60)
    for handle in ("olga", "otto"):
        venue.join(handle)
    venue.run(venue.place("sam", "sell", 10, 10), venue.place("bea", "buy", 10, 10))
    fill = Fill.objects.get(market_id=venue.market.pk)
    asked = busts.request_bust(fill.pk, actor=venue.people["olga"], reason="a wrong price")
    busts.approve(asked.pk, actor=venue.people["otto"])
    [answer] = venue.run(venue.place("sam", "sell", 10, 10))
    assert (answer.get("code"), answer.get("status")) == (None, "open")


def test_trading_ends_before_the_units_expire(venue: Venue) -> None:
    now = timezone.now()
    rule(venue, expires_at=now + timedelta(days=10), stops_before_s=2 * DAY_S)
    sold, bid = venue.run(venue.place("sam", "sell", 10, 4), venue.place("bea", "buy", 9, 2))
    assert (sold["status"], venue.units_of("sam")) == ("open", (10, 4))
    venue.engine.pass_s(8 * DAY_S + 1)
    [answer] = venue.run(venue.place("bea", "buy", 10, 1))
    assert (answer["http"], answer["code"]) == (409, "trading_ended")
    venue.keep_up()
    assert (venue.units_of("sam"), venue.points_of("bea")) == ((10, 0), (10_000, 0))
    states = Order.objects.filter(pk__in=[sold["order_id"], bid["order_id"]])
    assert {order.state for order in states} == {OrderState.CANCELLED}
    assert refused(venue, venue.place("bea", "buy", 10, 1)) == (409, "trading_ended")


def test_a_market_may_ask_for_more_life(venue: Venue) -> None:
    now = timezone.now()
    rule(venue, expires_at=now + timedelta(days=10), stops_before_s=DAY_S)
    type(venue.market).objects.filter(pk=venue.market.pk).update(minimum_life_s=5 * DAY_S)
    venue.engine.pass_s(5 * DAY_S + 1)
    [answer] = venue.run(venue.place("bea", "buy", 10, 1))
    assert answer["code"] == "trading_ended"


def test_a_refused_order_leaves_the_rest_of_its_batch_alone(venue: Venue) -> None:
    rule(venue, regions=["DE"])
    live_in(venue.people["bea"], "DE")
    venue.join("cat", points=100)
    sold, barred, bought = venue.run(
        venue.place("sam", "sell", 10, 2),
        venue.place("cat", "buy", 10, 2),
        venue.place("bea", "buy", 10, 2),
    )
    assert (barred["code"], bought["status"]) == ("region_unknown", "filled")
    assert sold["http"] == 201


def test_an_order_made_larger_needs_units_that_are_old_enough(venue: Venue) -> None:
    [mine] = venue.run(venue.place("sam", "sell", 20, 6))
    rule(venue, holding_s=DAY_S)
    order_id = mine["order_id"]
    [larger] = venue.run(venue.amend("sam", order_id, remaining_quantity=8, price=20))
    assert (larger["http"], larger["code"]) == (409, "units_too_young")
    assert venue.units_of("sam") == (10, 6)
    [cheaper] = venue.run(venue.amend("sam", order_id, remaining_quantity=6, price=19))
    assert (cheaper["http"], venue.units_of("sam")) == (200, (10, 6))
    venue.engine.pass_s(DAY_S + 60)
    [larger] = venue.run(venue.amend("sam", order_id, remaining_quantity=8, price=20))
    assert (larger["http"], venue.units_of("sam")) == (200, (10, 8))


def test_what_waited_already_is_traded(venue: Venue) -> None:
    [waiting] = venue.run(venue.place("sam", "sell", 5, 4))
    rule(venue, holding_s=DAY_S)
    [bought] = venue.run(venue.place("bea", "buy", 5, 4))
    assert (waiting["status"], bought["status"]) == ("open", "filled")


def test_an_amendment_is_no_way_around_the_region(venue: Venue) -> None:
    rule(venue, regions=["DE"])
    live_in(venue.people["bea"], "DE")
    venue.run(venue.place("bea", "buy", 10, 3, cid="a"))
    venue.run(venue.place("sam", "sell", 20, 10))
    live_in(venue.people["bea"], "FR")
    for change in (
        {"price": 20},
        {"remaining_quantity": 4},
        {"price": 20, "remaining_quantity": 1},
    ):
        [amended] = venue.run(venue.amend("bea", cid="a", **change))
        assert (amended["http"], amended["code"]) == (403, "region_not_allowed")
    [less] = venue.run(venue.amend("bea", cid="a", remaining_quantity=2))
    assert (less["http"], less["remaining_quantity"]) == (200, 2)
    assert venue.units_of("bea") == (0, 0)
