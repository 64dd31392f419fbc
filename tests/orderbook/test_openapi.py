"""The API's document has every route of the gateway's market, in shapes that it really takes."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest
from drf_spectacular.generators import SchemaGenerator

from edge.openapi import in_3_0
from orderbook.answers import OrderAnswer
from orderbook.directory import MarketDirectory
from orderbook.gateway_routes import routes
from orderbook.openapi import AN_ORDER, EXAMPLES, OPERATIONS, BatchRequest
from orderbook.requests import (
    AmendRequest,
    OrderRequest,
    read_amendment,
    read_named_amendment,
    read_order,
)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    made = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return cast("dict[str, Any]", made)


def test_every_route_of_the_gateway_is_written_down(document: dict[str, Any]) -> None:
    # A star says that the name may have slashes in it; a description has no word for that.
    served = {
        (each.method.lower(), each.pattern.replace("*}", "}"))
        for each in routes(MarketDirectory("postgresql:///none"))
    }
    assert {(each.method, each.path) for each in OPERATIONS} == served
    for method, path in served:
        assert document["paths"][path][method]["tags"] == ["orders"]


def test_shapes_are_those_that_are_read_and_written(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    order = schemas["OrderRequest"]
    assert set(order["properties"]) == {each.name for each in msgspec.structs.fields(OrderRequest)}
    assert order["required"] == ["side", "quantity"]
    assert order["properties"]["price"] == {
        "type": "integer", "minimum": 1, "maximum": 2**53, "nullable": True,
    }  # fmt: skip
    assert order["properties"]["client_order_id"]["pattern"] == r"^[\x21-\x7e]{1,64}$"
    written = {each.name for each in msgspec.structs.fields(OrderAnswer)}
    assert set(schemas["OrderAnswer"]["properties"]) == written


def test_examples_are_taken() -> None:
    assert read_order(msgspec.json.encode(AN_ORDER), 1, "0" * 32).price == 110
    assert read_amendment(msgspec.json.encode(EXAMPLES[AmendRequest]), 1, 7).price == 105
    [_, amend, _] = EXAMPLES[BatchRequest]["commands"]
    named = read_named_amendment(msgspec.json.encode(amend["amend"]), 1)
    assert (named.client_order_id, named.price) == ("mine-1", 105)


def test_nothing_in_it_is_unknown_to_openapi_3_0() -> None:
    assert in_3_0({"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}) == {
        "type": "integer",
        "nullable": True,
    }
    assert in_3_0({"anyOf": [{"$ref": "#/x"}, {"type": "null"}]}) == {
        "allOf": [{"$ref": "#/x"}],
        "nullable": True,
    }
