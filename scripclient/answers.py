"""What becomes of an answer: its JSON, a refusal, or another try. Nothing is sent here."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import httpx

TRIES = 5
TIMEOUT_S = 10.0
LONGEST_PAUSE_S = 5.0
RETRIED_STATUSES = frozenset({429, 502, 503, 504})
UNDER_WAY = "idempotency_key_in_use"
UNDER_WAY_TRIES = 45
"""The first request with this key is still at work. It is waited for longer than it may take."""


class Refused(Exception):
    """The platform said no: `code` is stable, `status` is HTTP's, `problem` is all it said."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", "unknown"))
        self.problem = dict(problem)
        super().__init__(f"{self.code}: {problem.get('detail') or problem.get('title', '')}")


def is_settled(response: httpx.Response, attempt: int, *, is_repeatable: bool = True) -> bool:
    """Whether this answer is final, or the same question may have a better one later.

    What is not repeatable and may have been done is for whoever asked to look at.
    """
    may_be_done = response.status_code in {502, 504} or "outcome_unknown" in response.text
    if may_be_done and not is_repeatable:
        return True
    if response.status_code == 409 and UNDER_WAY in response.text:
        return attempt >= UNDER_WAY_TRIES
    return response.status_code not in RETRIED_STATUSES or attempt >= TRIES


def pause_s(attempt: int, response: httpx.Response | None = None) -> float:
    """How long to wait before asking again: what the server says, else longer each time."""
    retry_after = response.headers.get("Retry-After", "") if response is not None else ""
    if retry_after.isdigit():
        return min(float(retry_after), LONGEST_PAUSE_S)
    return min(0.1 * 2.0**attempt, LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)


def read(response: httpx.Response) -> Any:
    """The answer's JSON; raises `Refused` for what is none, or says no."""
    try:
        answer = response.json()
    except ValueError:
        answer = {"code": "not_json", "title": response.text[:200]}
        raise Refused(response.status_code, answer) from None
    if response.is_error:
        raise Refused(response.status_code, answer if isinstance(answer, dict) else {})
    return answer
