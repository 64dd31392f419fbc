"""Many commands in one request: answered one by one, in order, and the bad ones alone refused."""

from __future__ import annotations

import json
from typing import Any

import httpx
import redis
from django.conf import settings

from sequencer.commands import decode_commands
from sequencer.stream import FIELD, stream_key
from tests.sequencer.conftest import ServeGateway, StartWriter
from tests.sequencer.tally import rows

BATCH = "/api/v1/tally/batch"


def adding(*client_ids: str) -> dict[str, Any]:
    return {"commands": [{"add": {"client_id": client_id}} for client_id in client_ids]}


def results(response: httpx.Response) -> list[tuple[int, Any]]:
    """Status and body of each result; a problem as its code."""
    assert response.status_code == 200, response.text
    return [
        (each["status"], each["body"]["code"] if each["status"] >= 400 else each["body"])
        for each in response.json()["results"]
    ]


def test_each_command_has_its_own_answer_in_order(
    shard: int, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    start_writer()
    with serve_gateway().client() as client:
        first = client.post(BATCH, json=adding("a", "b", "c"))
        again = client.post(BATCH, json=adding("d", "b"))
    assert results(first) == [(200, 1), (200, 2), (200, 3)]
    assert results(again) == [(200, 4), (200, 2)]
    assert [each["replayed"] for each in again.json()["results"]] == [False, True]
    assert rows(shard) == {"a": 1, "b": 2, "c": 3, "d": 4}


def test_half_of_a_batch_is_bad_and_the_other_half_is_done(
    shard: int, serve_gateway: ServeGateway, start_writer: StartWriter
) -> None:
    start_writer()
    items = [
        {"add": {"client_id": "a"}},
        {"add": {"client_id": 1}},
        {"take": {"client_id": "b"}},
        {"add": {"client_id": "b"}, "break": {}},
        {},
        "add",
        {"break": {}},
        {"add": {"client_id": "c", "more": 1}},
        {"add": {"client_id": "poison"}},
        {"add": {"client_id": "b"}},
        {"add": {"client_id": "a"}},
    ]
    with serve_gateway().client() as client:
        answered = client.post(BATCH, json={"commands": items})
    assert results(answered) == [
        (200, 1),
        (400, "invalid_request"),
        (400, "unknown_verb"),
        (400, "unknown_verb"),
        (400, "unknown_verb"),
        (400, "invalid_request"),
        (422, "refused_here"),
        (400, "invalid_request"),
        (500, "command_failed"),
        (200, 2),
        (200, 1),
    ]
    assert rows(shard) == {"a": 1, "b": 2}


def test_a_batch_in_which_all_is_bad_sends_nothing(shard: int, serve_gateway: ServeGateway) -> None:
    with serve_gateway().client() as client:
        answered = client.post(BATCH, json={"commands": [{"break": {}}, 7]})
    assert results(answered) == [(422, "refused_here"), (400, "invalid_request")]
    assert redis.Redis.from_url(settings.REDIS_URL).xlen(stream_key(shard)) == 0


def test_what_is_no_batch_is_refused_as_a_whole(shard: int, serve_gateway: ServeGateway) -> None:
    def code(body: bytes) -> tuple[int, str]:
        headers = {"Content-Type": "application/json"}
        response = client.post(BATCH, content=body, headers=headers)
        return response.status_code, response.json()["code"]

    with serve_gateway().client() as client:
        too_many = json.dumps(adding(*(str(number) for number in range(501)))).encode()
        assert code(b"[]") == (400, "invalid_request")
        assert code(b'{"commands": []}') == (400, "invalid_request")
        assert code(too_many) == (400, "invalid_request")
        assert code(b'{"commands": [') == (400, "malformed_body")
        assert code(b'{"commands": [{}], "other": 1}') == (400, "invalid_request")
        assert code(b" " * 262_145) == (413, "body_too_large")
        client.headers["Authorization"] = "Bearer slow"
        assert code(json.dumps(adding("a", "b", "c", "d")).encode()) == (422, "batch_exceeds_burst")
    assert redis.Redis.from_url(settings.REDIS_URL).xlen(stream_key(shard)) == 0


def test_a_whole_batch_travels_in_one_entry(shard: int, serve_gateway: ServeGateway) -> None:
    client_ids = [f"c{number}" for number in range(500)]
    with serve_gateway(TALLY_TIMEOUT_S="0.3").client() as client:
        answered = client.post(BATCH, json=adding(*client_ids))
    assert results(answered) == [(503, "outcome_unknown")] * 500
    stream = redis.Redis.from_url(settings.REDIS_URL)
    entries: Any = stream.xrange(stream_key(shard))
    [(_, fields)] = entries
    commands = decode_commands(fields[FIELD])
    assert [command.body.decode() for command in commands] == client_ids
    assert len({command.id for command in commands}) == 500
    assert {len(command.id) for command in commands} == {32}
