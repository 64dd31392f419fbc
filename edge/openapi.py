"""Adds to the OpenAPI document what every endpoint shares: how a problem looks."""

from __future__ import annotations

from typing import Any

from edge.problems import PROBLEM_JSON

METHODS = frozenset({"get", "post", "put", "patch", "delete"})
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
