"""Both clients say the same, retry what may be retried, and follow a book."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from config.embedded import ROOT
from orderbook.market_data.checksum import book_checksum
from scripclient import AsyncScrip, LocalBook, OutOfStep, Refused, Scrip, answers
from scripclient.book import checksum_of

Answer = Callable[[httpx.Request], httpx.Response]


def client_of(answer: Answer) -> Scrip:
    """A client whose server is this function."""
    scrip = Scrip("http://scrip.example", "scrip_live_x")
    scrip._http = httpx.Client(
        transport=httpx.MockTransport(answer), base_url="http://scrip.example/api/v1"
    )
    return scrip


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "pause_s", lambda attempt, response=None: 0.0)


def methods(client: type) -> dict[str, list[str]]:
    return {
        name: list(inspect.signature(method).parameters)
        for name, method in inspect.getmembers(client, inspect.isfunction)
        if not name.startswith("_")
    }


def test_both_clients_have_the_same_methods() -> None:
    assert methods(Scrip) == methods(AsyncScrip)


def test_an_order_that_had_no_answer_is_asked_for_again_under_its_own_name() -> None:
    bodies: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        if len(bodies) == 1:
            raise httpx.ReadTimeout("nothing came")
        if len(bodies) == 2:
            return httpx.Response(503, json={"code": "outcome_unknown"})
        return httpx.Response(201, json={"order_id": "7"})

    order = client_of(answer).place_order("X.PTS", side="buy", price=3, quantity=1)
    assert order["order_id"] == "7"
    assert len(set(bodies)) == 1 and b"client_order_id" in bodies[0]


def test_a_payment_that_had_no_answer_keeps_its_key() -> None:
    keys: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        return httpx.Response(503 if len(keys) < 3 else 201, json={"id": "1"})

    client_of(answer).pay("ben", "PTS", 5)
    assert len(keys) == 3 and len(set(keys)) == 1


def test_a_refusal_is_not_asked_again() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(422, json={"code": "insufficient_funds", "title": "No"})

    with pytest.raises(Refused, match="insufficient_funds") as refused:
        client_of(answer).place_order("X.PTS", side="buy", price=3, quantity=1)
    assert (refused.value.status, len(asked)) == (422, 1)


def test_what_never_answers_is_given_up() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(429, json={"code": "overloaded"})

    with pytest.raises(Refused, match="overloaded"):
        client_of(answer).market("X.PTS")
    assert len(asked) == answers.TRIES


def test_an_own_name_for_an_order_may_hold_any_sign() -> None:
    asked: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path)
        return httpx.Response(200, json={"order_id": "7"})

    client = client_of(answer)
    client.order_by_client_id("a/b?#%")
    client.cancel_by_client_id("X.PTS", "a/b?#%")
    assert asked == [
        b"/api/v1/orders/by-client-id/a%2Fb%3F%23%25/",
        b"/api/v1/markets/X.PTS/orders/by-client-id/a%2Fb%3F%23%25/",
    ]


def test_each_new_order_of_a_batch_has_a_name_before_it_is_sent() -> None:
    bodies: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        if len(bodies) == 1:
            raise httpx.ReadTimeout("nothing came")
        return httpx.Response(200, json={"results": [{"status": 201}, {"status": 200}]})

    commands: list[dict[str, Any]] = [
        {"place": {"side": "buy", "price": 3}}, {"cancel": {"order_id": "7"}},
    ]  # fmt: skip
    results = client_of(answer).send_batch("X.PTS", commands)
    assert [result["status"] for result in results] == [201, 200]
    assert bodies[0] == bodies[1], "asked again under the same names"
    placed, cancelled = bodies[0]["commands"]
    assert len(placed["place"].pop("client_order_id")) == 32
    assert [placed, cancelled] == commands


def test_lists_go_on_to_the_last_page() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/v1/fills/"
        if "cursor" in request.url.params:
            return httpx.Response(200, json={"results": [{"id": "2"}], "next": None})
        assert request.url.params["role"] == "maker"
        following = "/api/v1/fills/?cursor=c&role=maker"
        return httpx.Response(200, json={"results": [{"id": "1"}], "next": following})

    assert [fill["id"] for fill in client_of(answer).fills(role="maker")] == ["1", "2"]


def test_the_async_client_asks_the_same() -> None:
    async def ask() -> list[str]:
        seen: list[str] = []

        def answer(request: httpx.Request) -> httpx.Response:
            seen.append(f"{request.method} {request.url.path}")
            return httpx.Response(200, json={"results": [], "next": None, "sequence": 4})

        async with AsyncScrip("http://scrip.example") as scrip:
            scrip._http = httpx.AsyncClient(
                transport=httpx.MockTransport(answer), base_url="http://scrip.example/api/v1"
            )
            assert await scrip.order_position() == 4
            assert [each async for each in scrip.orders(only_open=True)] == []
            assert await scrip.wallets() == []
        return seen

    assert asyncio.run(ask()) == [
        "GET /api/v1/orders/events/position/", "GET /api/v1/orders/", "GET /api/v1/wallets/",
    ]  # fmt: skip


# -- a book of one's own -----------------------------------------------------------------


def test_the_checksum_is_the_documented_one() -> None:
    text = (ROOT / "docs" / "api" / "market-data.md").read_text()
    mine = checksum_of([(118, 4), (117, 20)], [(121, 3)])
    assert mine == book_checksum([(118, 4), (117, 20)], [(121, 3)])
    assert f"`118:4,117:20|121:3` gives {mine};" in text
    assert f"`|`, gives {checksum_of([], [])}." in text


def snapshot(bids: dict[int, int], asks: dict[int, int], sequence: int = 1) -> dict[str, Any]:
    levels = [sorted(bids.items(), reverse=True), sorted(asks.items())]
    spelt = [[{"price": p, "quantity": q} for p, q in side] for side in levels]
    return {
        "sequence": sequence,
        "checksum": checksum_of(levels[0][:10], levels[1][:10]),
        "bids": spelt[0],
        "asks": spelt[1],
        "has_more_bids": False,
        "has_more_asks": False,
    }


def change(sequence: int, checksum: int, *levels: tuple[str, int, int]) -> dict[str, Any]:
    spelt = [{"side": side, "price": p, "quantity": q} for side, p, q in levels]
    return {"sequence": sequence, "checksum": checksum, "levels": spelt, "trades": []}


def test_a_book_follows_changes() -> None:
    book = LocalBook(snapshot({99: 5, 98: 1}, {101: 2}))
    after = checksum_of([(98, 1)], [(100, 3), (101, 2)])
    book.apply(change(2, after, ("buy", 99, 0), ("sell", 100, 3)))
    assert (book.best_bid, book.best_ask, book.sequence) == (98, 100, 2)
    book.apply(change(2, 0, ("sell", 100, 9)))
    assert book.asks() == [(100, 3), (101, 2)], "a change that is known is passed over"


def test_a_book_beyond_its_last_price_knows_nothing() -> None:
    bids = dict.fromkeys(range(80, 100), 1)
    seen = snapshot(bids, {}) | {"has_more_bids": True}
    book = LocalBook(seen)
    book.apply(change(2, seen["checksum"], ("buy", 70, 5)))
    assert (70, 5) not in book.bids()
    gone = [("buy", price, 0) for price in range(89, 100)]
    with pytest.raises(OutOfStep, match="too few"):
        book.apply(change(3, 0, *gone))


def test_a_book_made_of_nonsense_is_refused() -> None:
    with pytest.raises(OutOfStep, match="checksum"):
        LocalBook(snapshot({99: 5}, {}) | {"checksum": 1})


def test_follow_book_takes_a_new_snapshot_after_a_gap() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path.split("/")[-2])
        if asked[-1] == "book":
            return httpx.Response(200, json=snapshot({99: asked.count("book")}, {}))
        if asked.count("changes") == 1:
            return httpx.Response(410, json={"code": "changes_gone"})
        return httpx.Response(200, json={"results": [], "next": None})

    book = next(client_of(answer).follow_book("X.PTS", every_s=0))
    assert asked == ["book", "changes", "book", "changes"]
    assert book.bids() == [(99, 2)]


def test_a_payment_that_is_still_being_made_is_waited_for() -> None:
    keys: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            raise httpx.ReadTimeout("the server waits for a lock")
        if len(keys) < 20:
            return httpx.Response(409, json={"code": "idempotency_key_in_use"})
        return httpx.Response(201, json={"id": "1"})

    assert client_of(answer).pay("ben", "PTS", 5) == {"id": "1"}
    assert len(set(keys)) == 1


def test_an_amendment_of_what_is_left_is_asked_for_once() -> None:
    """Some of it may have traded since: asked again, it would put in so much more."""
    asked: list[bytes] = []

    def silent(request: httpx.Request) -> httpx.Response:
        asked.append(request.content)
        raise httpx.ReadTimeout("nothing came")

    def unknown(request: httpx.Request) -> httpx.Response:
        asked.append(request.content)
        return httpx.Response(503, json={"code": "outcome_unknown"})

    with pytest.raises(httpx.ReadTimeout):
        client_of(silent).amend_order("X.PTS", "7", remaining_quantity=5)
    with pytest.raises(Refused, match="outcome_unknown"):
        client_of(unknown).amend_order("X.PTS", "7", remaining_quantity=5)
    assert len(asked) == 2
    with pytest.raises(httpx.ReadTimeout):
        client_of(silent).amend_order("X.PTS", "7", price=5)
    assert len(asked) == 2 + answers.TRIES
