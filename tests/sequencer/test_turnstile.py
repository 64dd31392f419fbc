"""Turning away without parsing: never anything that a parser would have understood otherwise."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sequencer.admission import Admission, Priority
from sequencer.exchange import TURNED_AWAY
from sequencer.routes import Draft, Request, Route
from sequencer.turnstile import HEADS_REMEMBERED, Turnstile
from tests.sequencer.test_admission import Asking, door, fill

ORDER = b"POST /orders HTTP/1.1\r\n"
CANCEL = b"DELETE /orders HTTP/1.1\r\n"
HOST = b"Host: x\r\nAuthorization: Bearer key\r\n"


class FullHouse:
    """A turnstile before a house that is full for orders."""

    def __init__(self) -> None:
        self.lane = door(2, within=2)
        fill(self.lane, 2, Priority.ORDER)
        while not self.lane.is_full(Priority.ORDER):
            self.lane.enter(Asking(), now=0)
        self.found: list[tuple[bytes, bytes]] = []
        self.turnstile = Turnstile([self.lane], lambda route: self.lane, self.find)

    def find(self, method: bytes, target: bytes) -> Route | None:
        self.found.append((method, target))
        if target.partition(b"?")[0] != b"/orders" or method not in {b"POST", b"DELETE"}:
            return None
        priority = Priority.ORDER if method == b"POST" else Priority.CANCEL
        return Route(method.decode(), "/orders", scope="s", priority=priority, draft=_never)


def _never(_: Request) -> Draft:
    raise AssertionError("no command is made of what is turned away")


class Parsed:
    """What the gateway's own parser makes of a chunk."""

    def __init__(self, chunk: bytes) -> None:
        self.begun = self.ended = 0
        self.keeps_alive = self.is_upgrade = False
        self.headers: list[bytes] = []
        self.url = b""
        self.parser = httptools.HttpRequestParser(self)
        self.is_valid = True
        try:
            self.parser.feed_data(chunk)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.is_valid = False

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append(name.lower())

    def on_message_complete(self) -> None:
        self.ended += 1
        self.keeps_alive = self.parser.should_keep_alive()
        self.is_upgrade = self.parser.should_upgrade()

    @property
    def is_one_request(self) -> bool:
        return (
            self.is_valid
            and (self.begun, self.ended) == (1, 1)
            and self.keeps_alive
            and not self.is_upgrade
            and b"expect" not in self.headers
        )


lines = st.sampled_from(
    [
        ORDER, ORDER, CANCEL, b"GET /orders HTTP/1.1\r\n", b"POST /orders?a=b HTTP/1.1\r\n",
        b"POST /orders HTTP/1.0\r\n", b"POST /pages HTTP/1.1\r\n", b"POST /orders\r\n", b"\r\n",
        b"POST  /orders HTTP/1.1\r\n", b"POST /orders HTTP/1.1\n", b"POST /orders HTTP/2.0\r\n",
    ]
)  # fmt: skip
lengths = st.sampled_from(
    [
        b"Content-Length: %d\r\n", b"content-length: %d\r\n", b"CONTENT-LENGTH: %d\r\n",
        b"Content-Length:%d\r\n", b"Content-Length:  %d\r\n", b"Content-Length: %d \r\n",
        b"Content-Length : %d\r\n", b"Content-Length: 0%d\r\n", b"Content-Length: +%d\r\n",
        b"Content-Length: %d\r\nContent-Length: 3\r\n", b"X-Content-Length: %d\r\n", b"%.0d",
        b"Content-Length: %d\n", b"Content-Length: %d, 3\r\n", b" Content-Length: %d\r\n",
    ]
)  # fmt: skip
headers = st.sampled_from(
    [
        HOST, b"Connection: keep-alive\r\n", b"Connection: close\r\n", b"connection: Close\r\n",
        b"Connection: keep-alive, close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n",
        b"Transfer-Encoding: chunked\r\n", b"transfer-encoding: identity\r\n", b"X: \x00\r\n",
        b"Expect: 100-continue\r\n", b"X: y\r\n folded\r\n", b"X: content-length: 3\r\n",
        b"Connection:close\r\n", b"Proxy-Connection: close\r\n", b"Content-Type: a/b\r\n",
    ]
)  # fmt: skip
bodies = st.sampled_from([b"", b"{}", b'{"a": 1}', b"abc", b"\r\n\r\n"])


@st.composite
def chunks(draw: st.DrawFn) -> bytes:
    """A request as a client, a bad client or a villain might send it, whole or not."""
    body = draw(bodies)
    length = draw(lengths) % (len(body) + draw(st.sampled_from([0, 0, 0, -1, 1])))
    heads = [*draw(st.lists(headers, max_size=3)), length]
    chunk = draw(lines) + b"".join(draw(st.permutations(heads))) + b"\r\n" + body
    cut = draw(st.sampled_from([0, 0, 0, 1, 2, 5]))
    more = draw(st.sampled_from([b"", b"", b"", b"\r\n", ORDER, ORDER + HOST + b"\r\n"]))
    return chunk[: len(chunk) - cut] + more


@given(st.lists(chunks(), min_size=1, max_size=5))
@example([ORDER + HOST + b"Content-Length: -1\r\n\r\n"])
@example([ORDER + HOST + b"\r\n", ORDER + HOST + b"\r\n" + ORDER + HOST + b"\r\n"])
def test_who_is_turned_away_sent_one_whole_request_and_stays(sent: list[bytes]) -> None:
    house = FullHouse()
    for chunk in sent:
        refused = house.lane.refused
        response = house.turnstile.refusal_for(chunk)
        assert response is None or response in TURNED_AWAY
        assert house.lane.refused == refused + (response is not None)
        if response is not None:
            parsed = Parsed(chunk)
            assert parsed.is_one_request
            assert parsed.parser.get_method() == b"POST"
            assert parsed.url.partition(b"?")[0] == b"/orders"


@pytest.mark.parametrize(
    "chunk",
    [
        ORDER + HOST + b"Content-Length: 2\r\n\r\n{}",
        ORDER + HOST + b"content-length: 2\r\nConnection: keep-alive\r\n\r\n{}",
        ORDER + HOST + b"\r\n",
    ],
)
def test_what_the_crowd_sends_is_turned_away(chunk: bytes) -> None:
    house = FullHouse()
    told = {house.turnstile.refusal_for(chunk) for _ in range(8)}
    assert told == set(TURNED_AWAY), "told to come back at different times"
    assert house.found == [(b"POST", b"/orders")], "and looked up once"


def test_who_may_find_a_place_is_not_turned_away() -> None:
    house = FullHouse()
    assert house.turnstile.refusal_for(CANCEL + HOST + b"\r\n") is None
    assert house.turnstile.refusal_for(ORDER + HOST + b"\r\n") is not None
    house.lane.overdue(1e9)
    assert house.turnstile.refusal_for(ORDER + HOST + b"\r\n") is None


def test_with_nobody_waiting_nothing_is_looked_at() -> None:
    lane: Admission = door()
    turnstile = Turnstile([lane], lambda route: lane, lambda *_: pytest.fail("looked up"))
    assert turnstile.refusal_for(ORDER + HOST + b"\r\n") is None


def test_what_is_remembered_has_a_limit() -> None:
    house = FullHouse()
    for number in range(HEADS_REMEMBERED + 10):
        assert house.turnstile.refusal_for(ORDER + b"Host: %d\r\n\r\n" % number) is not None
    assert len(house.turnstile._heads) <= HEADS_REMEMBERED
    long = ORDER + b"X: " + b"x" * 1_000 + b"\r\n\r\n"
    assert house.turnstile.refusal_for(long) is None
    assert long not in house.turnstile._heads
