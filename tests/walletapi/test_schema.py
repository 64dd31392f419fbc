"""The OpenAPI document: valid, without warnings, every operation named and exemplified."""

from __future__ import annotations

from typing import Any

import pytest
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from wallet import urls
from wallet.items import Refusal
from wallet.problems import TABLE, LedgerRefusal

METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    GENERATOR_STATS.reset()
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    with GENERATOR_STATS.silence():
        document: dict[str, Any] = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return document


def ours(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Every operation of the wallet: path, method, and what is said of it."""
    return [
        (path, method, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if method in METHODS and set(operation.get("tags", [])) & {"wallet", "finance"}
    ]


def test_schema_is_valid_and_raises_no_warning(schema: dict[str, Any]) -> None:
    validate_schema(schema)  # type: ignore[no-untyped-call]
    assert (dict(GENERATOR_STATS._warn_cache), dict(GENERATOR_STATS._error_cache)) == ({}, {})


def test_every_address_of_the_wallet_is_described(schema: dict[str, Any]) -> None:
    assert len({path for path, _, _ in ours(schema)}) == len(urls.urlpatterns)


def test_every_operation_has_a_name_examples_and_problems(schema: dict[str, Any]) -> None:
    operations = ours(schema)
    names = [operation["operationId"] for _, _, operation in operations]
    assert len(set(names)) == len(names)
    for _, method, operation in operations:
        assert operation["summary"], operation["operationId"]
        for status, response in operation["responses"].items():
            contents = response.get("content", {})
            is_problem = not status.startswith("2")
            assert ("application/problem+json" in contents) == is_problem
            if status == "default":
                continue
            if is_problem or "application/json" in contents:
                assert all(content["examples"] for content in contents.values())
        if method == "post":
            headers = [p for p in operation["parameters"] if p["in"] == "header"]
            assert [(p["name"], p["required"]) for p in headers] == [("Idempotency-Key", True)]


def test_every_refusal_of_the_ledger_has_a_status_and_a_title() -> None:
    assert set(TABLE) == set(Refusal) - {Refusal.CREATED}
    for reason in TABLE:
        told = LedgerRefusal(reason)
        assert told.code == reason.name.lower()
        assert told.status in {404, 409, 422}
        assert told.is_final


def test_amounts_are_whole_numbers_of_64_bits(schema: dict[str, Any]) -> None:
    payment = schema["components"]["schemas"]["PaymentInRequest"]["properties"]
    assert (payment["amount"]["type"], payment["amount"]["format"]) == ("integer", "int64")
    assert (payment["amount"]["minimum"], payment["amount"]["maximum"]) == (1, 2**62)
