"""Every refusal of the platform, and how it is told: RFC 9457 problem+json.

A rule raises a `Refusal`; whoever answers the caller turns it into a problem document.
`edge.answers` does so for Django and DRF, `asgi_answer` for the raw gateway.

Pure: no Django here, the gateway imports this module.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

PROBLEM_JSON = "application/problem+json"
TYPE_PREFIX = "urn:scrip:problem:"
RESERVED_MEMBERS = frozenset({"type", "title", "status", "detail", "code"})
TEMPORARY_STATUSES = frozenset({401, 403, 408, 425, 429})
"""Refusals that the same request may not meet a moment later."""


class Refusal(Exception):
    """Something was asked that will not be done, and this says why in words and in a code.

    Subclass it beside the rule and set `code`, `title` and `status`; or give them by name
    where a table of reasons makes them. `code` is stable for ever: clients compare it.
    `detail` tells this one case to a person. Further members (a balance, a limit) appear
    in the document beside the standard ones.
    """

    code = "refused"
    title = "The request was refused"
    status = 422

    def __init__(
        self,
        detail: str = "",
        *,
        code: str = "",
        title: str = "",
        status: int = 0,
        retry_after_s: float | None = None,
        **members: Any,
    ) -> None:
        assert not RESERVED_MEMBERS & members.keys(), members
        super().__init__(detail or title or self.title)
        self.detail = detail
        self.code = code or self.code
        self.title = title or self.title
        self.status = status or self.status
        self.retry_after_s = retry_after_s
        self.members = members

    @property
    def is_final(self) -> bool:
        """Say whether the same request would be refused again: then it may be remembered."""
        return (
            400 <= self.status < 500
            and self.retry_after_s is None
            and self.status not in TEMPORARY_STATUSES
        )


class Unavailable(Refusal):
    """A part of the platform does not answer just now; the same request may work soon."""

    code = "unavailable"
    title = "The service cannot answer just now"
    status = 503

    def __init__(self, detail: str = "", *, retry_after_s: float = 1, **members: Any) -> None:
        super().__init__(detail, retry_after_s=retry_after_s, **members)


class ScopeMissing(Refusal):
    """The key was not made for this."""

    code = "scope_missing"
    title = "The API key lacks a scope"
    status = 403

    def __init__(self, scope: str) -> None:
        super().__init__(f"This needs the scope {scope}.", scope=str(scope))


class RateLimited(Refusal):
    """Too many requests in too short a time."""

    code = "rate_limited"
    title = "Too many requests"
    status = 429


class Answer(NamedTuple):
    """A problem ready to send: status, headers and body."""

    status: int
    headers: dict[str, str]
    body: bytes


def problem(
    *, code: str, title: str = "", status: int, detail: str = "", **members: Any
) -> dict[str, Any]:
    """Lay out a problem document. `detail` and further members appear only when given."""
    document: dict[str, Any] = {
        "type": TYPE_PREFIX + code,
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "code": code,
    }
    if detail:
        document["detail"] = detail
    return document | members


def answer(refusal: Refusal) -> Answer:
    """Turn a refusal into what is sent back. `Retry-After` is in whole seconds, rounded up."""
    document = problem(
        code=refusal.code,
        title=refusal.title,
        status=refusal.status,
        detail=refusal.detail,
        **refusal.members,
    )
    headers = {"Content-Type": PROBLEM_JSON, "Cache-Control": "no-store"}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(refusal.retry_after_s)))
    return Answer(refusal.status, headers, msgspec.json.encode(document))


def asgi_answer(refusal: Refusal) -> tuple[dict[str, Any], dict[str, Any]]:
    """Turn a refusal into the two ASGI messages that answer a request."""
    status, headers, body = answer(refusal)
    headers["Content-Length"] = str(len(body))
    raw_headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return (
        {"type": "http.response.start", "status": status, "headers": raw_headers},
        {"type": "http.response.body", "body": body},
    )
