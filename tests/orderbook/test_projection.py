"""What the projector keeps: gaps are healed, old rows leave, and a stale one is shown."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.health import check_parts
from orderbook.market_data import books, projection
from orderbook.market_data.books import changes_after, depth
from orderbook.market_data.checksum import book_checksum
from orderbook.market_data.messages import read_change
from orderbook.market_data.projector import changes_behind, trim_seconds
from orderbook.market_data.rebuilding import backfill_day
from orderbook.models import BookChange, Candle, OwnEvent, OwnFeed
from tests.orderbook.feed import Follower, plain_book, plain_candles, stored_candles
from tests.orderbook.venue import Venue

pytestmark = pytest.mark.django_db


@pytest.fixture
def venue(db: None) -> Venue:
    venue = Venue()
    venue.join("ann", points=100_000)
    venue.join("sam", units=1000)
    return venue


def test_after_a_gap_the_market_is_made_anew_and_owners_are_told(venue: Venue) -> None:
    follower = Follower()
    venue.run(venue.place("ann", "buy", 100, 4))
    follower.take()
    venue.run(venue.place("sam", "sell", 100, 1))
    follower.miss()
    venue.run(venue.place("sam", "sell", 100, 2))
    follower.take()
    assert depth(venue.market).bids == [(100, 1)]
    assert stored_candles(venue.market) == plain_candles(venue.market)
    ann = venue.people["ann"].pk
    told = list(OwnEvent.objects.filter(user_id=ann).order_by("sequence").values_list("order_id"))
    assert told[-1] == (None,), "a reset"
    assert OwnFeed.objects.get(user_id=ann).sequence == len(told) == 3
    assert not BookChange.objects.filter(market_id=venue.market.pk).exists()


def test_a_new_state_alone_is_a_change_too(venue: Venue) -> None:
    follower = Follower()
    venue.run(venue.place("ann", "buy", 100, 4))
    assert venue.ask("halt").outcome == "halted"
    venue.ask("resume")
    follower.take()
    told = [read_change(row.payload) for row in changes_after(venue.market, 0)]
    assert [change.sequence for change in told] == list(range(1, len(told) + 1))
    states = [change.state for change in told]
    assert (states[:2], states[-1]) == (["open", "halted"], "open")
    assert told[1].levels == [], "nothing else changed"


def test_the_same_events_taken_in_twice_count_once(venue: Venue) -> None:
    follower = Follower()
    start = follower.position
    venue.run(venue.place("sam", "sell", 100, 4), venue.place("ann", "buy", 100, 3))
    follower.take()
    before = stored_candles(venue.market)
    again = Follower()
    again.position = start
    again.take()
    assert stored_candles(venue.market) == before == plain_candles(venue.market)
    assert depth(venue.market).asks == [(100, 1)]


def test_only_the_newest_changes_and_events_are_kept(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "CHANGES_KEPT", 4)
    monkeypatch.setattr(projection, "OWN_EVENTS_KEPT", 4)
    monkeypatch.setattr(projection, "TRIM_EVERY", 5)
    follower = Follower()
    for price in range(80, 92):
        venue.run(venue.place("ann", "buy", price, 1))
        follower.take()
    kept = BookChange.objects.filter(market_id=venue.market.pk).values_list("sequence", flat=True)
    assert sorted(kept) == [7, 8, 9, 10, 11, 12]
    own = OwnEvent.objects.filter(user_id=venue.people["ann"].pk)
    assert sorted(own.values_list("sequence", flat=True)) == [7, 8, 9, 10, 11, 12]


def test_candles_of_a_second_leave_after_a_week(venue: Venue) -> None:
    follower = Follower()
    venue.run(venue.place("sam", "sell", 100, 4), venue.place("ann", "buy", 100, 3))
    follower.take()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orderbook_candle SET start_s = start_s - 86400 * 8")
    trim_seconds()
    kept = Candle.objects.filter(market_id=venue.market.pk).values_list("interval_s", flat=True)
    assert sorted(kept) == [60, 300, 900, 3600, 86_400]


def test_backfill_leaves_to_the_projector_what_it_has_not_counted(venue: Venue) -> None:
    follower = Follower()
    venue.run(venue.place("sam", "sell", 100, 9), venue.place("ann", "buy", 100, 3))
    follower.take()
    venue.run(venue.place("ann", "buy", 100, 2))
    day = Candle.objects.get(market_id=venue.market.pk, interval_s=86_400)
    assert backfill_day(venue.market.pk, datetime.fromtimestamp(day.start_s, UTC))
    follower.take()
    assert stored_candles(venue.market) == plain_candles(venue.market)


def test_how_far_behind_the_projector_is_can_be_seen(venue: Venue) -> None:
    follower = Follower()
    follower.take()
    behind = changes_behind()
    venue.run(venue.place("ann", "buy", 100, 1))
    venue.run(venue.place("ann", "buy", 101, 1))
    assert changes_behind() == behind + 2
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orderbook_projector SET heartbeat_at = now() - interval '1 minute'")
    part = check_parts()["market_data"]
    assert not part["is_ready"]
    assert part["behind_changes"] == behind + 2
    follower.take()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orderbook_projector SET heartbeat_at = clock_timestamp()")
    part = check_parts()["market_data"]
    assert (part["is_ready"], part["behind_changes"]) == (True, behind)


orders = st.lists(
    st.tuples(st.sampled_from(["buy", "sell"]), st.integers(88, 112), st.integers(1, 4)),
    max_size=20,
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(stored=orders, beyond=orders, levels=st.integers(1, 6), spare=st.integers(5, 9))
def test_a_cut_snapshot_is_the_top_of_the_whole_book(
    db: None, stored: list[tuple[str, int, int]], beyond: list[tuple[str, int, int]],
    levels: int, spare: int,
) -> None:  # fmt: skip
    """The levels that are stored, and events beyond them that take away and add at the top."""
    venue = Venue()
    venue.join("ann", points=10**6, units=1000)
    venue.join("sam", points=10**6, units=1000)
    follower = Follower()
    for rows, is_taken in ((stored, True), (beyond, False)):
        for number, (side, price, quantity) in enumerate(rows):
            venue.run(venue.place(("ann", "sam")[number % 2], side, price, quantity))
        if is_taken:
            follower.take()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(books, "SPARE_LEVELS", spare)
        found = depth(venue.market, levels)
    plain = plain_book(venue.market)
    assert (found.bids, found.asks) == (plain["bids"][:levels], plain["asks"][:levels])
    assert found.has_more_bids == (len(plain["bids"]) > levels)
    assert found.has_more_asks == (len(plain["asks"]) > levels)
    assert found.checksum == book_checksum(plain["bids"][:10], plain["asks"][:10])
