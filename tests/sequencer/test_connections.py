"""Connections as no good client makes them: pipelined, half closed, slow to read, far too large."""

from __future__ import annotations

import contextlib
import json
import socket
import time

import httpx
import pytest

from tests.sequencer.conftest import Served, ServeGateway, StartWriter
from tests.sequencer.servers import wait_for
from tests.sequencer.tally import rows

AUTHORIZED = b"Host: x\r\nAuthorization: Bearer key-1\r\n"
ADD = b"POST /api/v1/tally HTTP/1.1\r\n" + AUTHORIZED + b"Content-Type: application/json\r\n"


def adding(client_id: str, *headers: bytes) -> bytes:
    body = json.dumps({"client_id": client_id}).encode()
    lines = b"".join(header + b"\r\n" for header in headers)
    return ADD + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_pipelined_commands_are_answered_in_their_order(
    shard: int, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    start_writer()
    served = serve_gateway()
    count = 200  # more than may be open: reading pauses, and goes on
    with served.connect() as connection:
        requests = [adding(f"c{number}") for number in range(count)]
        requests[100] = adding("").replace(b'{"client_id": ""}', b'{"client_id": 7 }')
        connection.sendall(b"".join(requests) + adding("last", b"Connection: close"))
        answers = read_all(connection).split(b"HTTP/1.1 ")[1:]
    assert len(answers) == count + 1
    numbers = [int(each.rpartition(b"\n")[2]) for each in answers if each.startswith(b"200")]
    assert numbers == list(range(1, count + 1))
    assert answers[100].startswith(b"400 ")
    assert b"connection: close" in answers[-1]


def test_who_closes_only_their_sending_half_still_reads_the_answer(
    shard: int, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    start_writer()
    served = serve_gateway()
    wait_for(lambda: served.client().delete("/api/v1/tally/first").status_code == 200)
    with served.connect() as connection:
        connection.sendall(adding("a"))
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n2")
    with served.connect() as connection:
        connection.sendall(adding("cut short")[:-3])
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b""
    assert rows(shard) == {"first": 1, "a": 2}


@pytest.mark.parametrize("how", [b"Content-Length: 10000000", b"Transfer-Encoding: chunked"])
def test_ten_megabytes_are_refused_early_and_the_refusal_can_be_read(
    serve_gateway: ServeGateway, how: bytes
) -> None:
    served = serve_gateway()
    chunk = b" " * 10_000
    framed = b"%x\r\n%b\r\n" % (len(chunk), chunk) if b"chunked" in how else chunk
    with served.connect() as connection:
        connection.sendall(ADD + how + b"\r\n\r\n")
        for _ in range(1_000):
            with contextlib.suppress(ConnectionError):
                connection.sendall(framed)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"body_too_large"' in answer
    assert b"connection: close" in answer
    health = served.client().get("/healthz").json()
    assert (health["in_flight"], health["waiting"]) == (0, 0)


def test_a_body_that_is_announced_too_large_is_not_waited_for(serve_gateway: ServeGateway) -> None:
    served = serve_gateway()
    with served.connect() as connection:
        connection.sendall(ADD + b"Expect: 100-continue\r\nContent-Length: 10000000\r\n\r\n")
        answer = connection.recv(1000)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_that_is_asked_for_first_is_told_to_come(
    shard: int, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    start_writer()
    head, _, body = adding("a", b"Expect: 100-continue").partition(b"\r\n\r\n")
    with serve_gateway().connect() as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_who_does_not_read_their_answers_is_cut_off(
    shard: int, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    start_writer()
    served = serve_gateway(patience_s=0.5)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", served.port))
        connection.settimeout(1)
        refused = b"POST /api/v1/tally HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" * 1_000
        deadline = time.monotonic() + 20
        with pytest.raises(ConnectionError):
            while time.monotonic() < deadline:
                with contextlib.suppress(TimeoutError):
                    connection.sendall(refused)
    assert served.client().delete("/api/v1/tally/a").status_code == 200


def test_hundreds_who_never_finish_their_request_keep_nobody_waiting(
    shard: int, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    start_writer()
    served = serve_gateway(patience_s=6)
    wait_for(lambda: served.client().delete("/api/v1/tally/first").status_code == 200)
    with contextlib.ExitStack() as open_connections:
        slow = [open_connections.enter_context(served.connect()) for _ in range(300)]
        for number, connection in enumerate(slow):
            request = adding(f"slow {number}")
            connection.sendall(request[: number * (len(request) - 1) // len(slow)])
        with served.client() as client:
            started = time.monotonic()
            assert client.delete("/api/v1/tally/a").json() == 2
            assert time.monotonic() - started < 4
        answers = {read_all(connection)[:12] for connection in slow}
    assert answers == {b"", b"HTTP/1.1 408"}
    assert rows(shard) == {"first": 1, "a": 2}


def test_a_page_behind_open_commands_ends_the_connection(
    shard: int, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    start_writer()
    served = serve_gateway()
    answer = served.exchange(adding("a") + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_what_is_no_http_behind_a_command_does_not_harm_it(
    shard: int, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    start_writer()
    answer = serve_gateway().exchange(adding("a") + b"\x16\x03\x01 nonsense\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert rows(shard) == {"a": 1}


def malformed(served: Served, sent: bytes) -> bytes:
    """Send what is no request, and no more; say how it was answered."""
    with served.connect() as connection:
        connection.sendall(sent)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            return read_all(connection)[:12]
    return b""


def test_malformed_http_never_breaks_the_server(serve_gateway: ServeGateway) -> None:
    served = serve_gateway()
    good = adding("a")
    wrong = [
        b"\x00" * 50,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        good.replace(b"POST", b"P\x01ST"),
        good.replace(b"Content-Length: ", b"Content-Length: -"),
        good.replace(b"Content-Length: ", b"Content-Length: 99999999999999999999999"),
        good.replace(b"Content-Length: ", b"Content-Length: 3, "),
        good.replace(b"\r\nHost", b"\r\nTransfer-Encoding: chunked\r\nHost"),
        good.replace(b"Authorization", b"Author\x00ization"),
        good.replace(b"HTTP/1.1", b"HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade"),
        good.replace(b"Content-Length", b"Transfer-Encoding: chunked\r\nX")[:-5] + b"zz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
    answers = [malformed(served, each) for each in wrong]
    assert {answer[9:12] for answer in answers} <= {b"400", b"413", b"404", b"503", b""}
    assert b"400" in {answer[9:12] for answer in answers}
    cut_short = [malformed(served, good[:length]) for length in range(0, len(good), 7)]
    assert set(cut_short) == {b""}
    assert served.process.poll() is None
    assert httpx.get(f"http://127.0.0.1:{served.port}/healthz").json()["in_flight"] == 0


def test_who_was_turned_away_may_ask_again_on_the_same_connection(
    shard: int, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    served = serve_gateway(TALLY_LIMIT="1", TALLY_WITHIN="1", TALLY_TIMEOUT_S="1")
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(served.connect()) for _ in range(40)]
        for number, connection in enumerate(crowd):
            connection.sendall(adding(f"c{number}"))
        [*_, last] = crowd
        assert last.recv(1_000).startswith(b"HTTP/1.1 429 ")
        last.sendall(adding("again") * 2)  # two at once are the parser's
        assert read_answers(last, 2).count(b"HTTP/1.1 429 ") == 2
        wait_for(lambda: served.client().get("/healthz").json()["waiting"] == 0)
        start_writer()
        wait_for(lambda: served.client().delete("/api/v1/tally/first").status_code == 200)
        last.sendall(adding("again"))
        assert last.recv(1_000).startswith(b"HTTP/1.1 200 ")
    assert "again" in rows(shard)


def read_answers(connection: socket.socket, count: int) -> bytes:
    answers = b""
    while answers.count(b"HTTP/1.1 ") < count:
        answers += connection.recv(65536)
    return answers


ENDINGS = {
    "expect": b"POST /api/v1/tally HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
    b"Content-Length: 5\r\n\r\n",
    "body": ADD + b"Content-Length: 100000\r\n\r\n" + b" " * 100_000,
    "head": ADD + b"X: " + b"y" * 20_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_ends_a_connection_waits_for_the_commands_before_it(
    shard: int, serve_gateway: ServeGateway, start_writer: StartWriter, ending: str
) -> None:
    """Answering it must not fail: that would take all other answers along."""
    start_writer()
    served = serve_gateway()
    wait_for(lambda: served.client().delete("/api/v1/tally/first").status_code == 200)
    for number in range(5):
        with served.connect() as connection:
            connection.sendall(adding(f"a{number}") + ENDINGS[ending])
            answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 ")
    assert served.client().delete("/api/v1/tally/last").json() == 7
