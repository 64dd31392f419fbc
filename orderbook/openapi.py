"""Adds trading to the OpenAPI document: its routes are the gateway's, which no Django view serves.

The shapes are made from the very structures that read requests and write answers, so they
cannot say anything else; a test holds the routes equal to the gateway's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from edge.openapi import add_paths, add_shapes, json_of
from orderbook.answers import AmendAnswer, CancelAnswer, OrderAnswer
from orderbook.cancelled import CancelAllAnswer
from orderbook.commands import CancelRequest
from orderbook.gateway_routes import EVERYWHERE, ORDERS
from orderbook.requests import AmendRequest, NamedAmendment, OrderRequest
from sequencer.batches import MOST_COMMANDS

Schema = dict[str, Any]
_NAMES: dict[str, Schema] = {
    "market": {},
    "order_id": {"pattern": r"^[1-9][0-9]{0,18}$"},
    "client_order_id": {"pattern": r"^[\x21-\x7e]{1,64}$"},
}


class BatchItem(msgspec.Struct):
    """One command of a batch: exactly one of the three."""

    place: OrderRequest | msgspec.UnsetType = msgspec.UNSET
    amend: NamedAmendment | msgspec.UnsetType = msgspec.UNSET
    cancel: CancelRequest | msgspec.UnsetType = msgspec.UNSET


class BatchRequest(msgspec.Struct):
    """Up to 500 commands, each with an answer of its own."""

    commands: list[BatchItem]


class BatchResult(msgspec.Struct):
    """The answer that one command of a batch would have had alone."""

    status: int
    replayed: bool
    body: dict[str, Any]


class BatchAnswer(msgspec.Struct):
    """The answers, in the order of the commands."""

    results: list[BatchResult]


@dataclass(frozen=True)
class Operation:
    """One route of the gateway as the document has it."""

    method: Literal["post", "patch", "delete"]
    path: str
    name: str
    summary: str
    answer: type
    body: type | None = None
    status: str = "200"
    has_side: bool = False


AN_ORDER = {"side": "buy", "price": 110, "quantity": 2, "client_order_id": "mine-1"}
EXAMPLES: dict[type, Schema] = {
    OrderRequest: AN_ORDER,
    AmendRequest: {"price": 105},
    BatchRequest: {
        "commands": [
            {"place": AN_ORDER},
            {"amend": {"client_order_id": "mine-1", "price": 105}},
            {"cancel": {"client_order_id": "mine-1"}},
        ]
    },
}
"""What the readable docs show and try out, in place of every field at its largest."""

_ONE = ORDERS + "{order_id}/"
_NAMED = ORDERS + "by-client-id/{client_order_id}/"
OPERATIONS = (
    Operation("post", ORDERS, "place_order", "Place an order", OrderAnswer, OrderRequest, "201"),
    Operation(
        "post", ORDERS + "batch/", "batch_orders", "Place, amend and cancel many orders",
        BatchAnswer, BatchRequest,
    ),
    Operation("patch", _ONE, "amend_order", "Amend an order", AmendAnswer, AmendRequest),
    Operation(
        "patch", _NAMED, "amend_order_by_client_id", "Amend an order by your own name for it",
        AmendAnswer, AmendRequest,
    ),
    Operation("delete", _ONE, "cancel_order", "Cancel an order", CancelAnswer),
    Operation(
        "delete", _NAMED, "cancel_order_by_client_id", "Cancel an order by your own name for it",
        CancelAnswer,
    ),
    Operation(
        "delete", ORDERS, "cancel_orders", "Cancel all your orders of a market",
        CancelAllAnswer, has_side=True,
    ),
    Operation(
        "delete", EVERYWHERE, "cancel_all_orders", "Cancel all your orders",
        CancelAllAnswer, has_side=True,
    ),
)  # fmt: skip


def add_trading(result: Schema, **_: Any) -> Schema:
    """A postprocessing hook of drf-spectacular: the gateway's routes and their shapes."""
    types = {each.answer for each in OPERATIONS} | {each.body for each in OPERATIONS if each.body}
    schemas = add_shapes(result, types)
    schemas["BatchRequest"]["properties"]["commands"] |= {"minItems": 1, "maxItems": MOST_COMMANDS}
    paths: dict[str, Schema] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method] = _operation(each)
    add_paths(result, paths)
    return result


def _operation(operation: Operation) -> Schema:
    asked: Schema = {}
    if operation.body:
        content = json_of(operation.body)
        content["application/json"]["example"] = EXAMPLES[operation.body]
        asked = {"requestBody": {"required": True, "content": content}}
    answer = {"description": "", "content": json_of(operation.answer)}
    return {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": (operation.body or operation.answer).__doc__ or "",
        "tags": ["orders"],
        # The gateway takes a browser's token in the same header, and no cookie.
        "security": [{"apiKey": []}],
        "parameters": _parameters(operation),
        **asked,
        "responses": {operation.status: answer},
    }


def _parameters(operation: Operation) -> list[Schema]:
    found: list[Schema] = [
        {"in": "path", "name": name, "required": True, "schema": {"type": "string"} | more}
        for name, more in _NAMES.items()
        if f"{{{name}}}" in operation.path
    ]
    if operation.has_side:
        side = {"type": "string", "enum": ["buy", "sell"]}
        found.append({"in": "query", "name": "side", "required": False, "schema": side})
    return found
