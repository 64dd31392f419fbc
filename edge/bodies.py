"""Reads JSON request bodies strictly, so that nothing strange reaches a rule.

Refused here, once, for the whole API: more than 1 MB, invalid UTF-8, NaN and infinities,
integers of thousands of digits, NUL characters, halves of surrogate pairs, and nesting
deeper than 32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

import msgspec
from rest_framework.parsers import BaseParser

from edge.problems import Refusal

LARGEST_BODY = 1_000_000
DEEPEST_NESTING = 32


class BodyTooLarge(Refusal):
    """The request carries more bytes than any of our requests needs."""

    code = "body_too_large"
    title = "The request body is too large"
    status = 413


class MalformedBody(Refusal):
    """The request body is no JSON that we accept."""

    code = "malformed_body"
    title = "The request body cannot be read"
    status = 400


def parse_json(body: bytes) -> Any:
    """Read a JSON document, or say what is wrong with it. Integers stay exact."""
    if len(body) > LARGEST_BODY:
        raise BodyTooLarge(limit_bytes=LARGEST_BODY)
    try:
        document = msgspec.json.decode(body)
    except RecursionError:
        raise MalformedBody("The JSON is nested too deeply.") from None
    except UnicodeDecodeError:
        raise MalformedBody("The body is not valid UTF-8.") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise MalformedBody(str(error)) from None
    # Both checks walk the document, so they run only where the bytes say they could fail.
    if b"\\u0000" in body or body.count(b"[") + body.count(b"{") > DEEPEST_NESTING:
        _check(document, DEEPEST_NESTING)
    return document


def _check(node: Any, levels_left: int) -> None:
    if levels_left < 0:
        raise MalformedBody(f"The JSON is nested deeper than {DEEPEST_NESTING} levels.")
    if isinstance(node, str) and "\x00" in node:
        raise MalformedBody("A text holds a NUL character.")
    if isinstance(node, dict):
        for name, value in node.items():
            _check(name, levels_left)
            _check(value, levels_left - 1)
    elif isinstance(node, list):
        for value in node:
            _check(value, levels_left - 1)


class StrictJSONParser(BaseParser):
    """The only parser of the API unless a view takes uploads."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Read at most one byte more than allowed, then parse."""
        declared = getattr(stream, "META", {}).get("CONTENT_LENGTH") or 0
        if int(declared) > LARGEST_BODY:
            raise BodyTooLarge(limit_bytes=LARGEST_BODY)
        return parse_json(stream.read(LARGEST_BODY + 1))
