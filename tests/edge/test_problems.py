"""Whatever is sent, the answer is a problem document with a stable code."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from django.core.cache import cache
from django.db import IntegrityError, connection
from django.http import HttpResponse
from rest_framework.test import APIClient

from edge.answers import LONGEST_ERROR_LIST, refusal_for
from edge.bodies import LARGEST_BODY
from edge.problems import Refusal, Unavailable, answer, asgi_answer, problem

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.edge.addresses")]

LEG: dict[str, Any] = {"amount": 5, "asset": "EUR", "to": "7"}


def assert_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert isinstance(response, HttpResponse)
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json")
    document: dict[str, Any] = json.loads(response.content)
    assert document["code"] == code
    assert document["status"] == status
    assert document["type"] == f"urn:scrip:problem:{code}"
    assert document["title"]
    return document


def post(api: APIClient, body: bytes, content_type: str = "application/json") -> Any:
    return api.generic("POST", "/api/payments", body, content_type=content_type)  # type: ignore[arg-type]


def test_valid_payment_passes(api: APIClient) -> None:
    response = api.post("/api/payments", {"legs": [LEG], "at": "2026-01-31T12:00:00+02:00"})
    assert response.status_code == 200
    assert response.json()["legs"] == [{"amount": 5, "asset": "EUR", "to": 7}]
    assert response.json()["at"] == "2026-01-31T10:00:00Z"


def test_each_bad_field_has_its_pointer(api: APIClient) -> None:
    legs = [LEG, {"amount": 0, "asset": "eur", "to": 7}]
    document = assert_problem(
        api.post("/api/payments", {"legs": legs, "no~te/": 1}), 400, "invalid_request"
    )
    assert document["errors"] == [
        {"pointer": "#/no~0te~1", "code": "unknown", "detail": "There is no such field."}
    ]
    document = assert_problem(api.post("/api/payments", {"legs": legs}), 400, "invalid_request")
    assert [(e["pointer"], e["code"]) for e in document["errors"]] == [
        ("#/legs/1/amount", "min_value"),
        ("#/legs/1/asset", "invalid"),
        ("#/legs/1/to", "invalid"),
    ]


def test_bad_query_names_its_parameter(api: APIClient) -> None:
    response = api.get("/api/payments?size=11&since=2026-01-31")
    document = assert_problem(response, 400, "invalid_request")
    assert [(e["parameter"], e["code"]) for e in document["errors"]] == [
        ("since", "invalid"),
        ("size", "max_value"),
    ]


def test_list_of_errors_is_capped(api: APIClient) -> None:
    response = api.post("/api/payments", {"legs": [{}] * 5000})
    document = assert_problem(response, 400, "invalid_request")
    assert len(document["errors"]) == LONGEST_ERROR_LIST


@pytest.mark.parametrize(
    "body",
    [
        b" ",
        b"{",
        b'{"legs": NaN}',
        b'{"legs": Infinity}',
        b'{"legs": 1e999}',
        b"9" * 5000,
        b'{"note": "\xff\xfe"}',
        b'{"note": "\\ud800"}',
        b'{"note": "a\\u0000b"}',
        b'{"no\\u0000te": 1}',
        b'{"note": "\x00"}',
        b"[" * 100_000,
        b"[" * 40 + b"]" * 40,
        b'{"a":' * 33 + b"1" + b"}" * 33,
        b"\xef\xbb\xbf{}",
        b"'single'",
        b'{"legs": [],}',
    ],
)
def test_unreadable_body_is_malformed(api: APIClient, body: bytes) -> None:
    assert_problem(post(api, body), 400, "malformed_body")


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"1", b'"x"', b"[" * 30 + b"]" * 30])
def test_readable_body_of_wrong_shape_is_invalid(api: APIClient, body: bytes) -> None:
    assert_problem(post(api, body), 400, "invalid_request")


def test_escaped_backslash_is_not_taken_for_nul(api: APIClient) -> None:
    response = post(api, b'{"legs": [], "note": "\\\\u0000"}')
    assert response.status_code == 200
    assert response.json()["note"] == "\\u0000"


def test_body_over_one_megabyte_is_refused(api: APIClient) -> None:
    fits = b'{"legs":[], "x":"' + b"a" * (LARGEST_BODY - 20) + b'"}'
    assert_problem(post(api, fits[: LARGEST_BODY - 2] + b'"}'), 400, "malformed_body")
    document = assert_problem(post(api, b" " * (LARGEST_BODY + 1)), 413, "body_too_large")
    assert document["limit_bytes"] == LARGEST_BODY


@pytest.mark.parametrize(
    "amount",
    [0, -1, 2**62 + 1, 2**64, 10**400, 1.0, 1.5, True, False, "5", None, [], {}, 1e3],
)
def test_amount_that_is_no_amount_is_refused(api: APIClient, amount: object) -> None:
    response = api.post("/api/payments", {"legs": [LEG | {"amount": amount}]})
    document = assert_problem(response, 400, "invalid_request")
    assert document["errors"][0]["pointer"] == "#/legs/0/amount"


def test_other_media_types_are_refused(api: APIClient) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml", "nonsense"):
        assert_problem(post(api, b"a=1", kind), 415, "unsupported_media_type")


def test_unknown_address_and_method(api: APIClient) -> None:
    assert_problem(api.get("/api/nothing"), 404, "not_found")
    response = api.delete("/api/payments")
    assert_problem(response, 405, "method_not_allowed")
    assert response["Allow"] == "GET, POST, HEAD, OPTIONS"
    assert_problem(api.get("/api/payments", HTTP_ACCEPT="image/png"), 406, "not_acceptable")


@pytest.mark.parametrize("bad", ["0", "01", "-1", "1.0", "x", "9" * 30, "9223372036854775807"])
def test_address_with_no_id_is_not_found(api: APIClient, bad: str) -> None:
    assert_problem(api.get(f"/api/things/{bad}"), 404, "not_found")


def test_address_with_an_id_is_found(api: APIClient) -> None:
    assert api.get("/api/things/4611686018427387903").json() == {"id": "4611686018427387903"}


def test_throttled_caller_hears_when_to_come_back(api: APIClient) -> None:
    caller = {"HTTP_X_CALLER": "881"}
    cache.delete("edge-once-881")
    assert api.get("/api/throttled", **caller).status_code == 200  # type: ignore[arg-type]
    response = api.get("/api/throttled", **caller)  # type: ignore[arg-type]
    assert_problem(response, 429, "rate_limited")
    assert 3590 <= int(response["Retry-After"]) <= 3600


def test_nobody_is_told_to_sign_in(api: APIClient) -> None:
    assert_problem(api.get("/api/closed"), 403, "forbidden")
    response = api.get("/api/closed-bearer")
    assert_problem(response, 401, "unauthenticated")
    assert response["WWW-Authenticate"] == "Bearer"


def test_value_that_postgres_refuses_is_the_callers_fault(api: APIClient) -> None:
    assert_problem(api.get("/api/broken/overflow"), 400, "value_out_of_range")
    assert_problem(api.get("/api/broken/nul?q=%00"), 400, "value_out_of_range")


def test_database_that_is_gone_or_busy_answers_503(api: APIClient) -> None:
    response = api.get("/api/broken/gone")
    assert_problem(response, 503, "database_unavailable")
    assert response["Retry-After"] == "2"
    connection.close()
    response = api.get("/api/broken/timeout")
    assert_problem(response, 503, "busy")
    assert response["Retry-After"] == "1"


def test_page_for_people_answers_503_as_html(api: APIClient) -> None:
    response = api.get("/page")
    assert response.status_code == 503
    assert response["Content-Type"].startswith("text/html")
    assert response["Retry-After"] == "2"


def test_bug_tells_nothing_about_the_inside(api: APIClient) -> None:
    document = assert_problem(api.get("/api/broken/bug"), 500, "server_error")
    assert "Zero" not in json.dumps(document)


def test_wrong_host_is_a_problem_too(api: APIClient) -> None:
    assert_problem(api.get("/api/payments", HTTP_HOST="evil.example"), 400, "bad_request")


def test_broken_constraint_of_ours_is_no_refusal() -> None:
    assert refusal_for(IntegrityError("check")) is None


def test_refusal_carries_its_members() -> None:
    refusal = Refusal("You have 3.", code="too_poor", title="No", status=422, available=3)
    status, headers, body = answer(refusal)
    assert (status, headers["Content-Type"]) == (422, "application/problem+json")
    assert json.loads(body) == {
        "type": "urn:scrip:problem:too_poor",
        "title": "No",
        "status": 422,
        "code": "too_poor",
        "detail": "You have 3.",
        "available": 3,
    }


def test_only_lasting_refusals_are_final() -> None:
    assert Refusal(status=422).is_final
    assert Refusal(status=409).is_final
    assert not Refusal(status=409, retry_after_s=1).is_final
    assert not Refusal(status=429).is_final
    assert not Unavailable("x").is_final


def test_gateway_answers_in_two_messages() -> None:
    start, body = asgi_answer(Unavailable("Soon.", retry_after_s=1.2))
    assert start["status"] == 503
    assert (b"retry-after", b"2") in start["headers"]
    assert (b"content-length", str(len(body["body"])).encode()) in start["headers"]


def test_plain_problem_has_the_status_phrase() -> None:
    assert problem(code="gone", status=410)["title"] == "Gone"


def test_gateway_needs_no_django() -> None:
    code = "import edge.problems, sys; sys.exit(any(m.startswith('django') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
