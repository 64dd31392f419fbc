"""What the OpenAPI document says of refusals: each operation lists its codes, with examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from edge.idempotency import KeyInUse
from edge.idempotency_keys import KeyInvalid, KeyMissing, KeyReused
from edge.problems import PROBLEM_JSON, RateLimited, Refusal, ScopeMissing, problem
from wallet import items
from wallet.problems import LedgerRefusal

INVALID = Refusal(
    code="invalid_request",
    title="The request is not valid",
    status=400,
    errors=[{"pointer": "#/amount", "code": "min_value", "detail": "An amount is at least 1."}],
)
UNAUTHENTICATED = Refusal(
    code="unauthenticated", title="Authentication credentials were not provided", status=401
)
PROBLEM = {"$ref": "#/components/schemas/Problem"}
NOT_FOUND = Refusal(code="not_found", title="There is nothing here", status=404)
EVERYWHERE = (INVALID, UNAUTHENTICATED, ScopeMissing("wallet:read"), RateLimited(retry_after_s=1))
WRITES = (KeyMissing(), KeyInvalid(), KeyInUse(), KeyReused())
MONEY = tuple(
    LedgerRefusal(reason)
    for reason in (
        items.Refusal.ACCOUNTS_SAME,
        items.Refusal.DEBIT_ACCOUNT_CLOSED,
        items.Refusal.CREDIT_ACCOUNT_CLOSED,
        items.Refusal.DEBIT_ACCOUNT_FROZEN,
        items.Refusal.AMOUNT_EXCEEDS_LIMIT,
        items.Refusal.INSUFFICIENT_FUNDS,
        items.Refusal.CEILING_EXCEEDED,
    )
)
HOLDS = tuple(
    LedgerRefusal(reason)
    for reason in (
        items.Refusal.HOLD_ALREADY_POSTED,
        items.Refusal.HOLD_ALREADY_VOIDED,
        items.Refusal.HOLD_EXPIRED,
        items.Refusal.AMOUNT_EXCEEDS_HOLD,
    )
)


def answers(success: Mapping[Any, Any], *refusals: Refusal) -> dict[Any, Any]:
    """Spell the `responses` of an operation: its success, its refusals and the usual ones."""
    by_status: dict[int, list[Refusal]] = defaultdict(list)
    for refusal in (*EVERYWHERE, *refusals):
        by_status[refusal.status].append(refusal)
    responses: dict[Any, Any] = dict(success)
    for status, same in sorted(by_status.items()):
        responses[(status, PROBLEM_JSON)] = OpenApiResponse(
            PROBLEM,
            description=", ".join(f"`{refusal.code}`" for refusal in same),
            examples=[_example(refusal) for refusal in same],
        )
    return responses


def _example(refusal: Refusal) -> OpenApiExample:
    value = problem(
        code=refusal.code,
        title=refusal.title,
        status=refusal.status,
        detail=refusal.detail,
        **refusal.members,
    )
    return OpenApiExample(
        refusal.code,
        value=value,
        media_type=PROBLEM_JSON,
        response_only=True,
        status_codes=[str(refusal.status)],
    )


def sample(name: str, value: Any, *, is_request: bool = False) -> OpenApiExample:
    """An example of a body that comes in, or of one that goes out."""
    return OpenApiExample(name, value=value, request_only=is_request, response_only=not is_request)
