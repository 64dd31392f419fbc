"""Random trading through the engine: whoever follows the feed knows what the market knows.

Batches fail and come again, the writer and the projector start anew, events get lost. After
every step a snapshot is the sum of the waiting orders; at the end a client that took a
snapshot somewhere and then the changes has the same book, candles are those of the fills, and
the owners' events add up to their orders.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Q
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orderbook.answers import cancel_reason
from orderbook.api.own_serializers import OwnEventOut
from orderbook.api.serializers import BookOut, ChangeOut
from orderbook.market_data.books import ChangesGone, changes_after, depth
from orderbook.market_data.projection import Projection
from orderbook.models import (
    Feed,
    Fill,
    Market,
    Order,
    OrderState,
    OwnEvent,
    OwnFeed,
    SpecialOrder,
)
from scripclient.book import LocalBook, OutOfStep
from tests.orderbook.feed import Follower, plain_book, plain_candles, stored_candles
from tests.orderbook.venue import SteppedEngine, Venue

pytestmark = pytest.mark.django_db

CONTEXT: dict[str, Any] = {"markets": defaultdict(Market)}
PEOPLE = ("ann", "ben", "cid")

orders = st.tuples(
    st.just("place"), st.sampled_from(PEOPLE), st.sampled_from(["buy", "sell"]),
    st.integers(96, 104), st.integers(1, 5),
)  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "iceberg": {"display_quantity": 2},
    "stop": {"type": "stop_limit", "stop_price": 500},
    "decrement": {"self_trade": "decrement"},
    "both": {"self_trade": "cancel_both"},
    "oldest": {"self_trade": "cancel_oldest"},
    "ioc": {"tif": "ioc"},
    "at least": {"min_quantity": 4},
}
specials = st.tuples(orders, st.sampled_from(sorted(KINDS))).map(lambda both: (*both[0], both[1]))
cancels = st.tuples(st.just("cancel"), st.sampled_from(PEOPLE), st.integers(0, 40))
amendments = st.tuples(
    st.just("amend"), st.sampled_from(PEOPLE), st.integers(0, 12), st.integers(96, 104),
    st.integers(0, 4),
)  # fmt: skip
batches = st.tuples(
    st.sampled_from(["commit", "commit", "commit", "fail"]),
    st.lists(
        st.one_of(orders, orders, specials, specials, cancels, amendments), min_size=1, max_size=6
    ),
)
others = st.sampled_from(
    [("take",), ("take",), ("take_some",), ("miss",), ("new_writer",), ("new_projector",),
     ("new_client",)]
)  # fmt: skip
steps = st.lists(st.one_of(batches, others), min_size=4, max_size=20)


class Story:
    """A market, its projector, and a client that follows it over the API's messages."""

    def __init__(self) -> None:
        self.venue = Venue(maker_fee_bps=50, taker_fee_bps=100, tick_minor=5, lot_units=2)
        for who in PEOPLE:
            self.venue.join(who, points=100_000, units=200)
        self.follower = Follower()
        self.waiting: list[Any] = []
        self.count = 0
        self.client: LocalBook | None = None
        self.missed = False

    def play(self, step: Any) -> None:
        deed, *details = step
        getattr(self, deed)(*details)

    def commit(self, deeds: list[Any]) -> None:
        self.waiting += [self.spell(*deed) for deed in deeds]
        self.venue.run(*self.waiting)
        self.waiting = []

    def fail(self, deeds: list[Any]) -> None:
        """A batch whose commit fails; its commands come again with the next."""
        self.waiting += [self.spell(*deed) for deed in deeds]
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            self.venue.engine.execute(self.waiting)
            raise ZeroDivisionError
        self.venue.engine.rolled_back()

    def spell(self, deed: str, who: str, *details: Any) -> Any:
        if deed == "cancel":
            return self.venue.cancel(who, cid=f"n{details[0]}")
        if deed == "amend":
            number, price, left = details
            change = {"price": 5 * price} | ({"remaining_quantity": 2 * left} if left else {})
            return self.venue.amend(who, cid=f"n{number}", **change)
        side, price, quantity, *kind = details
        name = f"n{self.count}"
        self.count += 1
        terms = KINDS[kind[0]] if kind else {}
        return self.venue.place(who, side, 5 * price, 2 * quantity, cid=name, **terms)

    def take(self) -> None:
        self.follower.take()

    def take_some(self) -> None:
        self.follower.take(most=1)

    def miss(self) -> None:
        self.missed = True
        self.follower.miss()

    def new_writer(self) -> None:
        self.venue.engine = SteppedEngine(self.venue.market.shard)
        self.venue.engine.load()

    def new_projector(self) -> None:
        self.follower.projection = Projection()

    def new_client(self) -> None:
        self.client = LocalBook(self.snapshot())

    def snapshot(self, levels: int = 1000) -> Any:
        return BookOut(depth(self.venue.market, levels)).data

    def follow(self) -> None:
        """Bring the client up to date as it would: changes, or a new snapshot after a gap."""
        if self.client is None:
            self.client = LocalBook(self.snapshot())
        try:
            for change in changes_after(self.venue.market, self.client.sequence):
                self.client.apply(ChangeOut(change).data)
        except ChangesGone:
            self.client = LocalBook(self.snapshot())


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=steps)
def test_who_follows_the_feed_knows_what_the_market_knows(db: None, steps: list[Any]) -> None:
    story = Story()
    for step in steps:
        story.play(step)
        assert_snapshot_is_true(story)
    story.commit([("place", "ann", "buy", 90, 1)])
    story.take()
    story.follow()
    assert story.client is not None
    assert_snapshot_is_true(story)
    plain = plain_book(story.venue.market)
    assert (story.client.bids(), story.client.asks()) == (plain["bids"], plain["asks"])
    assert story.client.sequence == Feed.objects.get(market=story.venue.market).sequence
    assert stored_candles(story.venue.market) == plain_candles(story.venue.market)
    assert_own_events_have_no_gap(story.venue, missed=story.missed)


def assert_snapshot_is_true(story: Story) -> None:
    """Whatever the projector has taken in or not, unless events were lost and none came since."""
    market = story.venue.market
    feed = Feed.objects.filter(market=market).first()
    found = depth(market, 1000)
    if story.missed and feed and found.sequence < feed.sequence:
        return
    assert found.sequence == (feed.sequence if feed else 0)
    plain = plain_book(market)
    assert (found.bids, found.asks) == (plain["bids"], plain["asks"])
    assert not (found.has_more_bids or found.has_more_asks)
    best = depth(market, 2)
    assert (best.bids, best.asks) == (plain["bids"][:2], plain["asks"][:2])
    assert best.has_more_bids == (len(plain["bids"]) > 2)


def assert_own_events_have_no_gap(venue: Venue, *, missed: bool) -> None:
    own = [user.pk for user in venue.people.values()]
    for feed in OwnFeed.objects.filter(user_id__in=own):
        numbers = OwnEvent.objects.filter(user_id=feed.user_id).values_list("sequence", flat=True)
        assert sorted(numbers) == list(range(1, feed.sequence + 1))
    if not missed:
        assert not OwnEvent.objects.filter(user_id__in=own, order_id=None).exists()
        assert_own_events_add_up(venue)


def assert_own_events_add_up(venue: Venue) -> None:
    for order in Order.objects.filter(market_id=venue.market.pk):
        events = list(OwnEvent.objects.filter(order_id=order.pk).order_by("sequence"))
        assert [event.is_new for event in events] == [True] + [False] * (len(events) - 1)
        assert {event.user_id for event in events} == {order.user_id}
        filled = order.taken_minor + order.made_minor
        assert sum(event.filled_minor for event in events) == filled
        assert sum(event.fee_minor for event in events) == (
            order.taken_fee_minor + order.made_fee_minor
        )
        assert OrderState(order.state) == OrderState(events[-1].state or 0)
        special = SpecialOrder.objects.filter(pk=order.pk).first()
        reason = cancel_reason(order.entry_state, order.state, special.cause if special else 0)
        assert OwnEventOut(events[-1], context=CONTEXT).data["cancel_reason"] == reason
        left = order.remaining_lots if order.state == OrderState.OPEN else 0
        assert events[-1].remaining_lots == left
        fills = Fill.objects.filter(Q(maker_order_id=order.pk) | Q(taker_order_id=order.pk))
        assert sum(event.filled_lots for event in events) == sum(
            fill.quantity_lots for fill in fills
        )


def test_control_a_lost_change_is_noticed_by_the_client(db: None) -> None:
    story = Story()
    venue = story.venue
    story.follower.take()
    venue.run(venue.place("ann", "buy", 500, 2))
    story.follower.take()
    story.client = LocalBook(story.snapshot())
    venue.run(venue.place("ann", "buy", 495, 2))
    venue.run(venue.place("ann", "buy", 490, 2))
    story.follower.take()
    lost, last = (ChangeOut(each).data for each in changes_after(venue.market, 1))
    with pytest.raises(OutOfStep, match="after 1 came 3"):
        story.client.apply(last)
    wrong = {**lost, "levels": [{**level, "quantity": 4} for level in lost["levels"]]}
    with pytest.raises(OutOfStep, match="checksum"):
        story.client.apply(wrong)
