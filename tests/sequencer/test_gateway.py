"""The gateway over HTTP: good requests, bad ones, slow ones, and its servers gone."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import redis
from django.conf import settings

from sequencer import http
from sequencer.stream import stream_key
from tests.sequencer.conftest import ServeGateway, StartWriter
from tests.sequencer.servers import Restartable, wait_for
from tests.sequencer.tally import rows

POST = b"POST /api/v1/tally HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-1\r\n"
JSON = b"Content-Type: application/json\r\n"


def code(response: httpx.Response) -> tuple[int, str]:
    """The status and the code of a problem, which must be told as one."""
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    return response.status_code, problem["code"]


def test_a_command_is_answered_once_it_is_durable(
    shard: int, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    start_writer()
    with serve_gateway().client() as client:
        first = client.post("/api/v1/tally", json={"client_id": "a"})
        named = client.delete("/api/v1/tally/b")
        again = client.post("/api/v1/tally", json={"client_id": "a"})
    assert (first.status_code, first.json()) == (200, 1)
    assert first.headers["content-type"] == "application/json"
    assert "idempotent-replayed" not in first.headers
    assert (named.status_code, named.json()) == (200, 2)
    assert (again.json(), again.headers["idempotent-replayed"]) == (1, "true")
    assert rows(shard) == {"a": 1, "b": 2}


def test_bad_requests_are_problems_and_send_nothing(
    shard: int, serve_gateway: ServeGateway
) -> None:
    with serve_gateway().client() as client:

        def post(body: bytes, **headers: str) -> tuple[int, str]:
            all_headers = {"Content-Type": "application/json"} | headers
            return code(client.post("/api/v1/tally", content=body, headers=all_headers))

        good = b'{"client_id": "a"}'
        assert code(client.get("/nowhere")) == (404, "not_found")
        assert code(client.get(f"/api/v1/tally/{'x' * 101}")) == (404, "not_found")
        refused = client.put("/api/v1/tally")
        assert code(refused) == (405, "method_not_allowed")
        assert refused.headers["allow"] == "POST"
        unknown = client.post("/api/v1/tally", headers={"Authorization": "Bearer x"})
        assert code(unknown) == (401, "unauthenticated")
        assert unknown.headers["www-authenticate"] == "Bearer"
        assert post(good, Authorization="Bearer reader") == (403, "scope_missing")
        assert post(good, **{"Content-Type": "text/plain"}) == (415, "unsupported_media_type")
        assert post(good, **{"Content-Encoding": "gzip"}) == (415, "unsupported_media_type")
        assert post(b"") == (400, "malformed_body")
        assert post(b"{") == (400, "malformed_body")
        assert post(b"\xff") == (400, "malformed_body")
        assert post(b'{"client_id": "\\u0000"}') == (400, "malformed_body")
        assert post(b'{"client_id": ' + b"[" * 30_000) == (400, "invalid_request")
        assert post(b'{"client_id": 1}') == (400, "invalid_request")
        assert post(b'{"client": "a"}') == (400, "invalid_request")
        assert post(b" " * 65_537) == (413, "body_too_large")
        assert code(client.post("/api/v1/broken", json={})) == (500, "server_error")
        chunks = (b" " * 20_000 for _ in range(4))
        headers = {"Content-Type": "application/json"}
        chunked = client.post("/api/v1/tally", content=chunks, headers=headers)
        assert code(chunked) == (413, "body_too_large")
    assert redis.Redis.from_url(settings.REDIS_URL).xlen(stream_key(shard)) == 0


def test_a_field_at_fault_is_pointed_at(serve_gateway: ServeGateway) -> None:
    with serve_gateway().client() as client:
        problem = client.post("/api/v1/tally", json={"client_id": 1}).json()
    detail = "Expected `str`, got `int`"
    assert problem["errors"] == [{"pointer": "#/client_id", "code": "invalid", "detail": detail}]


def test_what_is_not_http_is_a_problem_and_the_connection_ends(serve_gateway: ServeGateway) -> None:
    served = serve_gateway()
    head = POST + b"X: " + b"x" * http.LARGEST_HEAD_BYTES
    assert served.exchange(b"\x16\x03\x01 hello\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in served.exchange(b"GET /\xff HTTP/1.1\r\n\r\n")
    assert served.exchange(head).startswith(b"HTTP/1.1 431 ")
    twice = POST + JSON + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{"
    assert served.exchange(twice).startswith(b"HTTP/1.1 400 ")
    assert served.process.poll() is None


def test_a_client_that_leaves_in_the_middle_costs_nothing(
    shard: int, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    start_writer()
    served = serve_gateway(TALLY_LIMIT="4")
    for _ in range(20):
        with served.connect() as connection:
            connection.sendall(POST + JSON + b'Content-Length: 30\r\n\r\n{"client')
    with served.client() as client:
        wait_for(lambda: client.get("/healthz").json()["in_flight"] == 0)
        assert client.post("/api/v1/tally", json={"client_id": "a"}).status_code == 200


def test_a_client_that_leaves_before_its_answer_still_has_its_command_done(
    shard: int, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    served = serve_gateway(TALLY_TIMEOUT_S="60")
    with served.connect() as connection:
        body = b'{"client_id": "left"}'
        connection.sendall(POST + JSON + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    start_writer()
    wait_for(lambda: rows(shard) == {"left": 1})


def test_slow_senders_are_cut_off(serve_gateway: ServeGateway) -> None:
    served = serve_gateway(patience_s=0.5)

    def slow_head() -> bytes:
        with served.connect() as connection, contextlib.suppress(ConnectionError):
            for byte in POST:
                connection.sendall(bytes([byte]))
                time.sleep(0.02)
            return connection.recv(1000)
        return b""

    def silent() -> bytes:
        with served.connect() as connection:
            return connection.recv(1000)

    def slow_body() -> bytes:
        return served.exchange(POST + JSON + b"Content-Length: 30\r\n\r\n{")

    with ThreadPoolExecutor() as threads:
        head, nothing, body = [threads.submit(each) for each in (slow_head, silent, slow_body)]
    assert (head.result(), nothing.result()) == (b"", b"")
    assert body.result().startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in body.result()


def test_beyond_the_limit_requests_are_turned_away_at_once(
    shard: int, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    served = serve_gateway(TALLY_LIMIT="3", TALLY_TIMEOUT_S="1")

    async def burst() -> list[httpx.Response]:
        headers = {"Authorization": "Bearer key-1"}
        base_url = f"http://127.0.0.1:{served.port}"
        async with httpx.AsyncClient(base_url=base_url, headers=headers) as client:
            asked = (client.post("/api/v1/tally", json={"client_id": str(n)}) for n in range(10))
            return await asyncio.gather(*asked)

    codes = sorted(code(response) for response in asyncio.run(burst()))
    assert codes == [(429, "overloaded")] * 7 + [(503, "outcome_unknown")] * 3
    assert served.client().get("/healthz").json()["in_flight"] == 0
    start_writer()
    wait_for(lambda: served.client().delete("/api/v1/tally/late").status_code == 200)


def test_a_writer_that_does_not_keep_up_closes_the_door(
    shard: int, serve_gateway: ServeGateway
) -> None:
    key = stream_key(shard)
    client = redis.Redis.from_url(settings.REDIS_URL)
    pipeline = client.pipeline()
    for _ in range(5_000):
        pipeline.xadd(key, {b"other": b""})
    pipeline.execute()
    with serve_gateway(TALLY_TIMEOUT_S="0.3").client() as http_client:
        noticing = http_client.delete("/api/v1/tally/a")
        refused = http_client.delete("/api/v1/tally/b")
        assert code(noticing) == (503, "outcome_unknown")
        assert code(refused) == (503, "backlog_full")
        assert int(refused.headers["retry-after"]) in {1, 2, 3}
        assert client.xlen(key) == 5_001
        client.delete(key)
        wait_for(lambda: code(http_client.delete("/api/v1/tally/b"))[1] == "outcome_unknown")


def test_without_redis_503_and_back_by_itself(
    shard: int, own_valkey: Restartable, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    start_writer()
    with serve_gateway().client() as client:
        assert client.delete("/api/v1/tally/a").status_code == 200
        own_valkey.kill()
        wait_for(lambda: not client.get("/healthz").json()["redis"])
        assert code(client.delete("/api/v1/tally/b")) == (503, "redis_unavailable")
        own_valkey.start()
        wait_for(lambda: client.get("/healthz").json()["redis"])
        assert client.delete("/api/v1/tally/b").json() == 2
    assert rows(shard) == {"a": 1, "b": 2}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_after_answering_what_it_took(
    shard: int, serve_gateway: ServeGateway, start_writer: StartWriter, how: signal.Signals
) -> None:
    served, writer = serve_gateway(), start_writer()
    with ThreadPoolExecutor() as threads, served.client() as client:
        wait_for(lambda: client.delete("/api/v1/tally/first").status_code == 200)
        writer.send_signal(signal.SIGSTOP)
        waiting = threads.submit(client.delete, "/api/v1/tally/a")
        wait_for(lambda: served.client().get("/healthz").json()["in_flight"] == 1)
        served.process.send_signal(how)
        time.sleep(0.2)
        writer.send_signal(signal.SIGCONT)
        assert waiting.result().json() == 2
    assert served.process.wait(10) in {0, -how}


def test_cancelling_gets_in_while_orders_fill_the_house(
    shard: int, serve_gateway: ServeGateway
) -> None:
    served = serve_gateway(TALLY_LIMIT="8", TALLY_WITHIN="24", TALLY_TIMEOUT_S="1")

    async def crowd() -> tuple[list[httpx.Response], list[httpx.Response]]:
        headers = {"Authorization": "Bearer key-1"}
        base_url = f"http://127.0.0.1:{served.port}"
        async with httpx.AsyncClient(base_url=base_url, headers=headers) as client:
            orders = [
                asyncio.create_task(client.post("/api/v1/tally", json={"client_id": str(number)}))
                for number in range(60)
            ]
            await asyncio.sleep(0.15)
            cancels = await asyncio.gather(
                *(client.delete(f"/api/v1/tally/{number}") for number in range(2))
            )
            return await asyncio.gather(*orders), cancels

    orders, cancels = asyncio.run(crowd())
    # There is no writer: who got in is not answered in time, who did not is told at once.
    assert {code(response) for response in cancels} == {(503, "outcome_unknown")}
    assert sum(code(response) == (429, "overloaded") for response in orders) >= 60 - 8


def test_a_key_that_asks_too_fast_waits_and_may_still_cancel(
    shard: int, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    start_writer()
    with serve_gateway().client() as client:
        client.headers["Authorization"] = "Bearer slow"  # three at once, then one in ten seconds
        for number in range(3):
            assert client.post("/api/v1/tally", json={"client_id": str(number)}).is_success
        refused = client.post("/api/v1/tally", json={"client_id": "more"})
        assert code(refused) == (429, "rate_limited")
        assert 9 <= int(refused.headers["retry-after"]) <= 21
        assert client.delete("/api/v1/tally/cancelled").is_success
        client.headers["Authorization"] = "Bearer key-1"
        assert client.post("/api/v1/tally", json={"client_id": "other"}).is_success
    assert "more" not in rows(shard)
