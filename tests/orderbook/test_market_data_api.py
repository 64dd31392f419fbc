"""Market data and one's own orders over HTTP: what answers say, cost and refuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from orderbook.candles import INTERVALS
from orderbook.models import BookChange, Market, OwnEvent
from tests.orderbook.feed import Follower
from tests.orderbook.venue import Venue
from wallet.models import Asset

pytestmark = pytest.mark.django_db

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


class Floor:
    """A market with a projector at hand, and people who ask the API."""

    def __init__(self) -> None:
        self.venue = Venue(tick_minor=5, lot_units=2, taker_fee_bps=100)
        self.venue.join("ann", points=100_000)
        self.venue.join("sam", units=400)
        self.follower = Follower()
        self.stranger = Client()
        self.path = f"/api/v1/markets/{self.venue.market.code}"

    def trade(self, *orders: tuple[str, str, int, int]) -> list[dict[str, Any]]:
        """Place each order in a commit of its own, and take the events in."""
        answers = [answer for each in orders for answer in self.venue.run(self.venue.place(*each))]
        self.follower.take()
        return answers

    def get(self, path: str = "", *, who: str = "", **query: Any) -> Any:
        """Ask as nobody, or as one of the people; the JSON of a good answer."""
        answer = self.ask(path, who=who, **query)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def ask(self, path: str = "", *, who: str = "", **query: Any) -> Any:
        client = self.stranger
        if who:
            client = Client()
            client.force_login(self.venue.people[who], backend=BACKEND)
        path = path if path.startswith("/") else f"{self.path}/{path}"
        return client.get(path, query)

    def refused(self, path: str, **query: Any) -> tuple[int, str]:
        answer = self.ask(path, **query)
        assert answer.headers["Content-Type"] == "application/problem+json"
        return answer.status_code, answer.json()["code"]


@pytest.fixture
def floor(db: None) -> Floor:
    return Floor()


# -- prices ----------------------------------------------------------------------------


def test_ticker_tells_best_prices_and_the_day(floor: Floor) -> None:
    floor.trade(
        ("sam", "sell", 500, 10), ("ann", "buy", 500, 4), ("sam", "sell", 520, 6),
        ("ann", "buy", 520, 8), ("ann", "buy", 495, 2),
    )  # fmt: skip
    ticker = floor.get("ticker/")
    last = ticker.pop("last_trade_at")
    assert datetime.fromisoformat(last) > datetime.now(UTC) - timedelta(minutes=1)
    assert ticker == {
        "market": floor.venue.market.code, "state": "open", "sequence": 5,
        "best_bid": 495, "best_bid_quantity": 2, "best_ask": 520, "best_ask_quantity": 4,
        "last_price": 520, "last_quantity": 2,
        "open_24h": 500, "high_24h": 520, "low_24h": 500, "volume_24h": 12,
        "turnover_24h": 5 * 500 + 1 * 520, "trades_24h": 3,
        "change_24h": 20, "change_24h_bps": 400,
    }  # fmt: skip


def test_a_market_nobody_traded_on_has_no_price(floor: Floor) -> None:
    assert floor.get("")["last_price"] is None
    ticker = floor.get("ticker/")
    assert (ticker["sequence"], ticker["best_bid"], ticker["change_24h"]) == (0, None, None)
    assert (ticker["volume_24h"], ticker["trades_24h"], ticker["high_24h"]) == (0, 0, None)


def test_all_markets_with_prices_are_one_statement(floor: Floor) -> None:
    floor.trade(("sam", "sell", 500, 10), ("ann", "buy", 500, 4))
    for _ in range(5):
        Venue()
    with CaptureQueriesContext(connection) as spent:
        listed = floor.get("/api/v1/markets/")["results"]
    assert len([query for query in spent if "orderbook_market" in query["sql"]]) == 1
    assert len(spent) == 1
    mine = next(row for row in listed if row["code"] == floor.venue.market.code)
    assert (mine["last_price"], mine["best_bid"], mine["best_ask"]) == (500, None, 500)
    assert (mine["change_24h_bps"], mine["volume_24h"]) == (0, 4)


def test_an_auctions_end_is_foretold(floor: Floor) -> None:
    venue = floor.venue
    Market.objects.filter(pk=venue.market.pk).update(state="auction")
    floor.trade(("ann", "buy", 510, 8), ("sam", "sell", 500, 6))
    assert floor.get("ticker/")["state"] == "auction"
    assert floor.get("session/")["indicative"] == {
        "price": 510, "quantity": 6, "surplus_side": "buy", "surplus_quantity": 2,
    }, "buyers are left over, so they pay what they offer"  # fmt: skip
    with CaptureQueriesContext(connection) as spent:
        floor.get("session/")
    assert not [query for query in spent if 'FROM "orderbook_order"' in query["sql"]]


def test_the_price_a_day_ago_is_that_of_the_last_trade_before(floor: Floor) -> None:
    floor.trade(("sam", "sell", 500, 4), ("ann", "buy", 500, 4))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orderbook_candle SET start_s = start_s - 86400 * 2")
    floor.trade(("ann", "buy", 505, 2), ("sam", "sell", 505, 4))
    ticker = floor.get("ticker/")
    assert (ticker["open_24h"], ticker["high_24h"], ticker["low_24h"]) == (500, 505, 505)
    assert (ticker["volume_24h"], ticker["change_24h"]) == (2, 5)


# -- book ------------------------------------------------------------------------------


def test_book_is_as_new_as_the_last_commit(floor: Floor) -> None:
    floor.trade(("ann", "buy", 495, 2))
    floor.venue.run(floor.venue.place("ann", "buy", 490, 4))
    book = floor.get("book/")
    assert book["bids"] == [{"price": 495, "quantity": 2}, {"price": 490, "quantity": 4}]
    assert (book["sequence"], book["asks"], book["has_more_bids"]) == (2, [], False)
    cut = floor.get("book/", levels=1)
    assert (len(cut["bids"]), cut["has_more_bids"], cut["has_more_asks"]) == (1, True, False)
    assert cut["checksum"] == book["checksum"]


def test_changes_follow_a_sequence(floor: Floor) -> None:
    floor.trade(("ann", "buy", 495, 2), ("ann", "buy", 490, 4), ("sam", "sell", 495, 2))
    page = floor.get("changes/", after=1, limit=1)
    [second] = page["results"]
    assert second["levels"] == [{"price": 490, "quantity": 4, "side": "buy"}]
    [third] = floor.get(page["next"])["results"]
    assert (third["sequence"], third["levels"][0]["quantity"]) == (3, 0)
    [trade] = third["trades"]
    assert (trade["price"], trade["quantity"], trade["amount"]) == (495, 2, 495)
    assert trade["taker_side"] == "sell"
    assert floor.get("changes/", after=3) == {"results": [], "next": None}


def test_changes_that_are_gone_are_said_to_be_gone(floor: Floor) -> None:
    floor.trade(("ann", "buy", 495, 2), ("ann", "buy", 490, 4), ("ann", "buy", 485, 4))
    BookChange.objects.filter(sequence__lte=2).delete()
    assert floor.refused("changes/", after=1) == (410, "changes_gone")
    assert [row["sequence"] for row in floor.get("changes/", after=2)["results"]] == [3]
    assert floor.refused("changes/", after=4) == (422, "sequence_unknown")


# -- candles and tape ------------------------------------------------------------------


def test_candles_without_trades_hold_the_price(floor: Floor) -> None:
    floor.trade(("sam", "sell", 500, 4), ("ann", "buy", 500, 4))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orderbook_candle SET start_s = start_s - 180")
    floor.trade(("ann", "buy", 505, 2), ("sam", "sell", 500, 2))
    page = floor.get("candles/", interval="1m", limit=6)
    told = [(row["open"], row["close"], row["volume"], row["trades"]) for row in page["results"]]
    # The minute may have ended meanwhile.
    ended = [(505, 505, 0, 0)] * (len(told) - 4)
    quiet = [(500, 500, 0, 0)] * 2
    assert told == [*ended, (505, 505, 2, 1), *quiet, (500, 500, 4, 1)]
    starts = [datetime.fromisoformat(row["start"]) for row in page["results"]]
    assert all(a - b == timedelta(minutes=1) for a, b in pairwise(starts))
    assert page["next"] is None


@pytest.mark.parametrize("interval", list(INTERVALS))
def test_candles_page_back_without_gap_or_repeat(floor: Floor, interval: str) -> None:
    floor.trade(("sam", "sell", 500, 10), ("ann", "buy", 500, 4))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orderbook_candle SET start_s = start_s - 7 * interval_s")
    seen: list[str] = []
    page = floor.get("candles/", interval=interval, limit=3)
    for _ in range(5):
        seen += [row["start"] for row in page["results"]]
        if page["next"] is None:
            break
        page = floor.get(page["next"])
    assert len(set(seen)) == len(seen) in (8, 9)
    assert seen == sorted(seen, reverse=True)


def test_candles_of_a_period(floor: Floor) -> None:
    floor.trade(("sam", "sell", 500, 10), ("ann", "buy", 500, 4))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orderbook_candle SET start_s = start_s - 86400 * 10")
    end = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)
    period = {"from": (end - timedelta(hours=3)).isoformat(), "to": end.isoformat()}
    found = floor.get("candles/", interval="1h", **period)["results"]
    assert len(found) in (3, 4)
    assert all(row["trades"] == 0 and row["close"] == 500 for row in found)


def test_tape_of_a_period(floor: Floor) -> None:
    floor.trade(("sam", "sell", 500, 10), ("ann", "buy", 500, 4), ("ann", "buy", 500, 2))
    assert [row["quantity"] for row in floor.get("trades/")["results"]] == [2, 4]
    future = (datetime.now(UTC) + timedelta(days=9000 * 300)).isoformat()
    assert floor.get("trades/", **{"from": future})["results"] == []
    assert len(floor.get("trades/", to=future)["results"]) == 2


# -- bad input -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("book/", {"levels": 0}), ("book/", {"levels": 1001}), ("book/", {"levels": "x"}),
        ("book/", {"depth": 5}), ("changes/", {}), ("changes/", {"after": -1}),
        ("changes/", {"after": 1 << 62}), ("changes/", {"after": "1.5"}),
        ("candles/", {"interval": "2m"}), ("candles/", {"interval": "1m", "limit": 201}),
        ("candles/", {"cursor": "x"}), ("candles/", {"from": "yesterday"}),
        ("candles/", {"until": "2026-01-01T00:00:00Z"}), ("trades/", {"from": "1"}),
        ("trades/", {"limit": "0"}), ("/api/v1/markets/", {"limit": "none"}),
    ],
)  # fmt: skip
def test_bad_questions_are_400(floor: Floor, path: str, query: dict[str, Any]) -> None:
    assert floor.refused(path, **query)[0] == 400


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
@pytest.mark.parametrize("path", ["candles/", "trades/"])
def test_the_ends_of_time_are_answered(floor: Floor, path: str, moment: str) -> None:
    floor.trade(("sam", "sell", 500, 10), ("ann", "buy", 500, 4))
    for word in ("from", "to"):
        assert floor.ask(path, **{word: moment}).status_code == 200


def test_an_unknown_market_is_404(floor: Floor) -> None:
    for path in ("", "book/", "changes/?after=0", "trades/", "candles/", "ticker/"):
        answer = floor.stranger.get(f"/api/v1/markets/NOPE/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_cursor_of_another_interval_is_refused(floor: Floor) -> None:
    floor.trade(("sam", "sell", 500, 10), ("ann", "buy", 500, 4))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orderbook_candle SET start_s = start_s - 7 * interval_s")
    following = floor.get("candles/", interval="1m", limit=3)["next"]
    assert floor.refused(following.replace("interval=1m", "interval=5m")) == (400, "invalid_cursor")


# -- one's own -------------------------------------------------------------------------


def test_own_orders_by_status_market_and_side(floor: Floor) -> None:
    floor.trade(
        ("ann", "buy", 495, 2), ("ann", "buy", 500, 2), ("sam", "sell", 500, 2),
        ("sam", "sell", 600, 4),
    )  # fmt: skip
    other = Market.objects.exclude(pk=floor.venue.market.pk).first() or Venue().market

    def prices(who: str, **query: Any) -> list[int]:
        return [row["price"] for row in floor.get("/api/v1/orders/", who=who, **query)["results"]]

    assert prices("ann") == [500, 495]
    assert prices("ann", status="open") == [495]
    assert prices("ann", status="filled") == [500]
    assert prices("sam", side="sell", status="open") == [600]
    assert prices("ann", market=floor.venue.market.code) == [500, 495]
    assert prices("ann", market=other.code) == []
    long_ago = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    assert (prices("ann", to=long_ago), len(prices("ann", **{"from": long_ago}))) == ([], 2)
    for query in ({"market": "NOPE"}, {"status": "lost"}, {"side": "both"}, {"color": "red"}):
        assert floor.refused("/api/v1/orders/", who="ann", **query) == (400, "invalid_request")


def test_an_own_order_is_found_by_its_owners_name_for_it(floor: Floor) -> None:
    venue = floor.venue
    [placed] = venue.run(venue.place("ann", "buy", 495, 2, cid="a/b#1"))
    found = floor.get("/api/v1/orders/by-client-id/a%2Fb%231/", who="ann")
    assert found == floor.get(f"/api/v1/orders/{placed['order_id']}/", who="ann")
    assert (found["order_id"], found["client_order_id"]) == (placed["order_id"], "a/b#1")
    for who, name in (("sam", "a%2Fb%231"), ("ann", "other"), ("ann", "x" * 300)):
        path = f"/api/v1/orders/by-client-id/{name}/"
        assert floor.refused(path, who=who) == (404, "not_found")


def test_a_market_says_what_it_takes() -> None:
    market = Venue(
        tick_minor=5, lot_units=2, least_lots=3, most_lots=50, least_price_ticks=2,
        most_price_ticks=400,
    ).market  # fmt: skip
    terms = Client().get(f"/api/v1/markets/{market.code}/").json()
    assert {name: terms[name] for name in ("tick", "lot", "min_price", "max_price")} == {
        "tick": 5, "lot": 2, "min_price": 10, "max_price": 2000,
    }  # fmt: skip
    assert (terms["min_quantity"], terms["max_quantity"]) == (6, 100)


MANY_ORDERS = """
INSERT INTO orderbook_order (id, market_id, user_id, side, time_in_force, price_ticks,
    quantity_lots, client_order_id, entry_state, refusal, taken_lots, taken_minor,
    taken_fee_minor, state, remaining_lots, made_minor, made_fee_minor, hold_id, ended_id)
SELECT %(first)s + i, %(market)s, %(user)s, 1, 0, 100, 1, 'old', 0, '', 0, 0, 0, %(state)s, 1,
       0, 0, i, CASE WHEN %(state)s = 0 THEN NULL ELSE %(first)s + i END
  FROM generate_series(1, 20000) AS i
"""


def test_open_orders_cost_the_same_however_many_others_there_are(floor: Floor) -> None:
    [old, *_] = floor.trade(("ann", "buy", 495, 2))
    first, market = int(old["order_id"]), floor.venue.market.pk
    ann, sam = floor.venue.people["ann"].pk, floor.venue.people["sam"].pk
    with connection.cursor() as cursor:
        for start, user, state in ((first, ann, 2), (first + 20_000, sam, 0)):
            values = {"first": start, "market": market, "user": user, "state": state}
            cursor.execute(MANY_ORDERS, values)
        cursor.execute("ANALYZE orderbook_order")
    with CaptureQueriesContext(connection) as spent:
        found = floor.get("/api/v1/orders/", who="ann", status="open")["results"]
    assert [row["order_id"] for row in found] == [old["order_id"]]
    [asked] = [query["sql"] for query in spent if 'FROM "orderbook_order"' in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {asked}")
        [plan] = cursor.fetchone()[0]
    assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < 60


def test_own_fills_of_both_roles_come_in_one_list(floor: Floor) -> None:
    first, _, third, *_ = floor.trade(
        ("ann", "buy", 500, 6), ("sam", "sell", 500, 2), ("sam", "sell", 510, 4),
        ("ann", "buy", 510, 2), ("sam", "sell", 500, 2),
    )  # fmt: skip

    def roles(**query: Any) -> list[tuple[str, int]]:
        page = floor.get("/api/v1/fills/", who="ann", **query)
        rows = page["results"]
        while page["next"]:
            page = floor.get(page["next"], who="ann")
            rows += page["results"]
        return [(row["role"], row["price"]) for row in rows]

    everything = [("maker", 500), ("taker", 510), ("maker", 500)]
    assert roles() == roles(limit=1) == roles(limit=2) == everything
    assert roles(role="maker") == [("maker", 500), ("maker", 500)]
    assert roles(side="buy") == everything
    assert roles(side="sell") == []
    assert roles(order_id=first["order_id"]) == [("maker", 500), ("maker", 500)]
    assert roles(order_id=third["order_id"]) == [], "somebody else's order"
    assert floor.refused("/api/v1/fills/", who="ann", order_id="x") == (400, "invalid_request")


def test_own_events_tell_each_step_of_an_order(floor: Floor) -> None:
    [placed, *_] = floor.trade(("ann", "buy", 500, 6), ("sam", "sell", 500, 4))
    floor.venue.run(floor.venue.cancel("ann", placed["order_id"]))
    floor.follower.take()
    assert floor.get("/api/v1/orders/events/position/", who="ann") == {"sequence": 3}
    page = floor.get("/api/v1/orders/events/", who="ann", after=0, limit=2)
    steps = page["results"] + floor.get(page["next"], who="ann")["results"]
    told = [
        (row["sequence"], row["is_new"], row["status"], row["remaining_quantity"],
         row["filled_quantity"], row["filled_amount"])
        for row in steps
    ]  # fmt: skip
    assert told == [
        (1, True, "open", 6, 0, 0), (2, False, "open", 2, 4, 1000),
        (3, False, "cancelled", 0, 0, 0),
    ]  # fmt: skip
    assert {row["order_id"] for row in steps} == {placed["order_id"]}
    others = floor.get("/api/v1/orders/events/", who="sam", after=0)["results"]
    assert placed["order_id"] not in {row["order_id"] for row in others}


def test_own_events_that_are_gone_are_said_to_be_gone(floor: Floor) -> None:
    floor.trade(("ann", "buy", 500, 2), ("ann", "buy", 495, 2), ("ann", "buy", 490, 2))
    OwnEvent.objects.filter(sequence=1).delete()
    path = "/api/v1/orders/events/"
    assert floor.refused(path, who="ann", after=0) == (410, "changes_gone")
    assert len(floor.get(path, who="ann", after=1)["results"]) == 2
    assert floor.refused(path, who="ann", after=4) == (422, "sequence_unknown")


def test_strangers_see_nobodys_orders(floor: Floor) -> None:
    for path in ("orders/", "fills/", "orders/events/?after=0", "orders/events/position/"):
        assert floor.stranger.get(f"/api/v1/{path}").status_code == 401


def test_own_orders_on_the_thousand_and_first_market() -> None:
    points = Asset.objects.create(code="QQ", name="Points", kind="points")
    Asset.objects.bulk_create(
        Asset(code=f"B{number}", name="b", kind="series") for number in range(1_000)
    )
    Market.objects.bulk_create(
        Market(code=f"{base.code}.QQ", name="b", base_asset=base, quote_asset=points, shard=4000)
        for base in Asset.objects.filter(code__regex="^B[0-9]+$")
    )
    floor = Floor()
    floor.trade(("sam", "sell", 10, 2))
    assert len(floor.get("/api/v1/orders/", who="sam")["results"]) == 1
