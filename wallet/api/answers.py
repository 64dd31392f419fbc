"""From the ledger's result to the answer: a movement with 201, or the refusal as a problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from edge.answers import problem_response
from edge.idempotency import REPLAYED
from edge.idempotency_keys import HEADER, KeyReused
from wallet.api.serializers import TransferOut
from wallet.items import Refusal, Result
from wallet.movements import movement
from wallet.problems import LedgerRefusal


def person(request: Request) -> User:
    """Who asks; the view's permission has let nobody else in."""
    assert isinstance(request.user, User)
    return request.user


def key_of(request: Request) -> str:
    """The caller's own name for what is asked; `@idempotent` has checked it."""
    return request.headers[HEADER]


def posted(result: Result, lay_out: Callable[[int], Any] | None = None) -> HttpResponse:
    """Answer a write to the ledger.

    A refusal is returned, not raised, so that the ledger keeps it under its reference: the
    same key is refused for ever. A replay that only the ledger remembers is marked as one.
    """
    if not result.is_created:
        if result.refusal is Refusal.REFERENCE_REUSED:
            return problem_response(KeyReused())
        return problem_response(LedgerRefusal(result.refusal))
    answer = Response((lay_out or transfer_out)(result.transfer_id), status=201)
    if result.is_replay:
        answer[REPLAYED] = "true"
    return answer


def transfer_out(transfer_id: int) -> Any:
    """Lay out a transfer that was just written."""
    found = movement(transfer_id)
    assert found is not None
    return TransferOut(found).data
