"""Adds to the OpenAPI document what every endpoint shares: how a problem looks.

The gateway's routes are no Django views; their shapes are made from the structures that read
requests and write answers (`add_shapes`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from edge.problems import PROBLEM_JSON

METHODS = frozenset({"get", "post", "put", "patch", "delete"})
REFERENCE = "#/components/schemas/{name}"
PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457. Compare `code`; further members depend on it.",
    "required": ["type", "title", "status", "code"],
    "properties": {
        "type": {"type": "string", "example": "urn:scrip:problem:invalid_request"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "example": "invalid_request"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {"type": "string", "example": "#/amount"},
                    "parameter": {"type": "string", "example": "limit"},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
    "additionalProperties": True,
}
REFUSED = {
    "description": "Refused, or out of order; `status` and `code` say why.",
    "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def add_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A postprocessing hook of drf-spectacular: every operation may answer with a problem."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    for operations in result.get("paths", {}).values():
        for method in METHODS & operations.keys():
            operations[method].setdefault("responses", {}).setdefault("default", REFUSED)
    return result


def add_shapes(result: dict[str, Any], types: Iterable[type]) -> dict[str, Any]:
    """Put msgspec structures among the document's schemas; answers all of these."""
    shapes = msgspec.json.schema_components(types, ref_template=REFERENCE)[1]
    schemas: dict[str, Any] = result.setdefault("components", {}).setdefault("schemas", {})
    schemas.update({name: in_3_0(shape) for name, shape in shapes.items()})
    return schemas


def add_paths(result: dict[str, Any], paths: dict[str, dict[str, Any]]) -> None:
    """Put operations, by path and method, in their places among the document's."""
    for path, operations in paths.items():
        result["paths"].setdefault(path, {}).update(operations)
    result["paths"] = dict(sorted(result["paths"].items()))


def json_of(shape: type) -> dict[str, Any]:
    """A body of this structure, as an operation refers to it."""
    return {"application/json": {"schema": {"$ref": REFERENCE.format(name=shape.__name__)}}}


def in_3_0(node: Any) -> Any:
    """Write a JSON Schema as OpenAPI 3.0 has it: `nullable`, no empty lists, `$` for `\\Z`."""
    if isinstance(node, list):
        return [in_3_0(each) for each in node]
    if not isinstance(node, dict):
        return node
    node = {name: in_3_0(each) for name, each in node.items()}
    if isinstance(pattern := node.get("pattern"), str):
        node["pattern"] = pattern.replace(r"\Z", "$")
    if node.get("default", ...) is None:
        del node["default"]
    if node.get("required") == []:
        del node["required"]
    if {"type": "null"} in (choices := node.get("anyOf", [])):
        [one] = [each for each in choices if each != {"type": "null"}]
        del node["anyOf"]
        node |= ({"allOf": [one]} if "$ref" in one else one) | {"nullable": True}
    return node
