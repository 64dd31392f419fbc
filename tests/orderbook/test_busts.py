"""Undoing a trade: asked by one, approved by another, all of it or nothing."""

from __future__ import annotations

import pytest
from django.db import InternalError, transaction
from django.db.utils import IntegrityError

from accounts.models import User
from edge.models import AuditEvent
from live.models import OutboxEvent
from orderbook import busts
from orderbook.models import Bust, Fill
from tests.orderbook.venue import Venue
from wallet import reversals
from wallet.accounts import Purpose, open_accounts
from wallet.actions import post
from wallet.freezing import ReasonMissing
from wallet.items import Transfer as Move
from wallet.models import Code, Transfer

pytestmark = pytest.mark.django_db


@pytest.fixture
def venue() -> Venue:
    venue = Venue(taker_fee_bps=100, maker_fee_bps=50)
    venue.join("sam", units=10)
    venue.join("bea", points=10_000)
    for handle in ("olga", "otto"):
        venue.join(handle)
    return venue


def clerks(venue: Venue) -> tuple[User, User]:
    return venue.people["olga"], venue.people["otto"]


def trade(venue: Venue, lots: int = 2, price: int = 1000) -> Fill:
    venue.run(venue.place("sam", "sell", price, lots), venue.place("bea", "buy", price, lots))
    return Fill.objects.filter(market_id=venue.market.pk).latest("pk")


def spend(venue: Venue, who: str, to: str, amount: int) -> None:
    """Pay points to another person."""
    pair = [Purpose(venue.people[name].pk, venue.points.pk) for name in (who, to)]
    opened = open_accounts(pair)
    item = Move(
        reference=f"spend-{who}-{to}-{amount}-{Transfer.objects.count()}",
        asset_id=venue.points.pk,
        debit_account_id=opened[pair[0]],
        credit_account_id=opened[pair[1]],
        amount=amount,
        code=Code.PAYMENT,
    )
    [result] = post([item])
    assert result.is_created


def standing(venue: Venue) -> tuple[object, ...]:
    people = [(venue.points_of(who), venue.units_of(who)) for who in ("sam", "bea")]
    return (*people, venue.fees())


def bust(venue: Venue, fill: Fill) -> tuple[Bust, busts.Shortfall | None]:
    olga, otto = clerks(venue)
    asked = busts.request_bust(fill.pk, actor=olga, reason="a wrong price")
    return busts.approve(asked.pk, actor=otto)


def test_everything_goes_back(venue: Venue) -> None:
    before = standing(venue)
    done, shortfall = bust(venue, trade(venue))
    assert (done.state, shortfall, len(done.reversal_ids)) == (Bust.State.APPROVED, None, 3)
    assert standing(venue) == before
    assert busts.busted_among([done.fill_id]) == {done.fill_id}


def test_a_trade_without_fees_has_two_legs(venue: Venue) -> None:
    venue = Venue()
    for handle, what in (
        ("sam", {"units": 9}),
        ("bea", {"points": 900}),
        ("olga", {}),
        ("otto", {}),
    ):
        venue.join(handle, **what)
    done, _ = bust(venue, trade(venue, price=10))
    assert len(done.reversal_ids) == 2
    assert (venue.points_of("bea"), venue.units_of("sam")) == ((900, 0), (9, 0))


def test_each_trade_of_a_batch_has_its_own_legs(venue: Venue) -> None:
    venue.join("ann", units=10)
    venue.run(
        venue.place("sam", "sell", 100, 1),
        venue.place("ann", "sell", 101, 2),
        venue.place("sam", "sell", 102, 3),
        venue.place("bea", "buy", 200, 9),
        venue.place("ann", "sell", 99, 2),
    )
    fills = list(Fill.objects.filter(market_id=venue.market.pk).order_by("pk"))
    assert len({fill.ledger_batch_id for fill in fills}) == 1
    legs = [busts.legs_of(fill) for fill in fills]
    assert [each[0].amount for each in legs] == [1, 2, 3, 2]
    assert len({leg.transfer_id for each in legs for leg in each}) == sum(map(len, legs))
    before = venue.units_of("ann"), venue.points_of("ann")
    bust(venue, fills[1])
    assert venue.units_of("ann") == (before[0][0] + 2, before[0][1])
    assert venue.points_of("ann")[0] == before[1][0] - 202 + 1


def test_spent_money_stops_all_of_it(venue: Venue) -> None:
    fill = trade(venue)
    spend(venue, "sam", "olga", 1_000)
    before = standing(venue), Transfer.objects.count()
    asked, shortfall = bust(venue, fill)
    assert shortfall is not None
    assert (shortfall.refusal, shortfall.lacks) == ("insufficient_funds", 1_000)
    assert (standing(venue), Transfer.objects.count()) == before
    assert (asked.state, asked.last_refusal) == (Bust.State.OPEN, "insufficient_funds")
    spend(venue, "olga", "sam", 1_000)
    done, shortfall = busts.approve(asked.pk, actor=clerks(venue)[1])
    assert (done.state, shortfall) == (Bust.State.APPROVED, None)


def test_units_on_offer_stop_all_of_it(venue: Venue) -> None:
    fill = trade(venue)
    venue.run(venue.place("bea", "sell", 2000, 2))
    before = standing(venue)
    _, shortfall = bust(venue, fill)
    assert shortfall is not None
    assert (shortfall.refusal, shortfall.lacks) == ("insufficient_funds", 2)
    assert standing(venue) == before


def test_two_people_are_needed_and_neither_is_a_party(venue: Venue) -> None:
    fill, (olga, _) = trade(venue), clerks(venue)
    asked = busts.request_bust(fill.pk, actor=olga, reason="a wrong price")
    for person in (olga, venue.people["sam"], venue.people["bea"]):
        with pytest.raises(busts.OwnBust):
            busts.approve(asked.pk, actor=person)
    with pytest.raises(busts.OwnBust):
        busts.request_bust(fill.pk, actor=venue.people["bea"], reason="I regret")
    with pytest.raises(busts.BustExists):
        busts.request_bust(fill.pk, actor=olga, reason="again")


def test_a_rejected_bust_may_be_asked_for_anew(venue: Venue) -> None:
    fill, (olga, otto) = trade(venue), clerks(venue)
    asked = busts.request_bust(fill.pk, actor=olga, reason="a wrong price")
    busts.reject(asked.pk, actor=otto, note="the price was right")
    with pytest.raises(busts.BustDecided):
        busts.approve(asked.pk, actor=otto)
    assert bust(venue, fill)[0].state == Bust.State.APPROVED


def test_a_busted_trade_is_not_busted_again(venue: Venue) -> None:
    fill = trade(venue)
    done, _ = bust(venue, fill)
    with pytest.raises(busts.BustExists):
        busts.request_bust(fill.pk, actor=clerks(venue)[0], reason="again")
    with pytest.raises(busts.BustDecided):
        busts.approve(done.pk, actor=clerks(venue)[1])
    with pytest.raises((InternalError, IntegrityError)), transaction.atomic():
        Bust.objects.update(state=0)


def test_a_part_of_a_trade_is_not_reversed_alone(venue: Venue) -> None:
    [units, *_] = busts.legs_of(trade(venue))
    with pytest.raises(reversals.NotReversible):
        reversals.request_reversal(units.transfer_id, actor=clerks(venue)[0], reason="alone")


def test_an_unknown_trade_and_an_empty_reason_are_refused(venue: Venue) -> None:
    with pytest.raises(busts.TradeUnknown):
        busts.request_bust(1, actor=clerks(venue)[0], reason="a wrong price")
    fill = trade(venue)
    for reason in ("", "  ", "x" * 501):
        with pytest.raises(ReasonMissing):
            busts.request_bust(fill.pk, actor=clerks(venue)[0], reason=reason)


def test_both_people_are_told_and_each_step_is_audited(venue: Venue) -> None:
    fill = trade(venue)
    done, _ = bust(venue, fill)
    [event] = OutboxEvent.objects.filter(topic="busts")
    assert str(venue.people["sam"].pk) in str(event.payload)
    trail = AuditEvent.objects.filter(object_type="bust", object_id=str(done.pk))
    assert set(trail.values_list("action", flat=True)) == {
        "orderbook.request_bust", "orderbook.approve_bust",
    }  # fmt: skip


def test_the_market_goes_on_after_a_bust(venue: Venue) -> None:
    bust(venue, trade(venue))
    again = trade(venue)
    assert again.quantity_lots == 2
    assert venue.fees() == 30


def test_a_trade_of_an_auction_is_undone_as_a_whole(venue: Venue) -> None:
    venue.join("ann", units=10)
    before = standing(venue), venue.units_of("ann"), venue.points_of("ann")
    venue.ask("call", seconds=60)
    venue.run(
        venue.place("sam", "sell", 100, 2),
        venue.place("ann", "sell", 100, 3),
        venue.place("bea", "buy", 120, 5),
    )
    venue.ask("uncross")
    fills = list(Fill.objects.filter(market_id=venue.market.pk).order_by("pk"))
    assert [fill.quantity_lots for fill in fills] == [2, 3]
    for fill in fills:
        assert bust(venue, fill)[1] is None
    assert (standing(venue), venue.units_of("ann"), venue.points_of("ann")) == before
