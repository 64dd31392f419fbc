"""A write asked twice is done once: the same key brings the same answer back.

The answer is stored in the transaction of the effect, so there is never one without the
other. Two requests with one key at the same time: the first does the work, the second is
told that it is in progress (409) and asks again. Neither waits inside the database.

`@idempotent` goes on a DRF method that writes:

    class Transfers(APIView):
        @idempotent
        def post(self, request: Request) -> Response: ...

What the method **returns** commits, whatever its status. What it **raises** rolls the
effect back; a final refusal (4xx) is remembered as the answer all the same, a passing one
(rate limit, overload, 5xx, an invalid body) is not, and the key stays free.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, NamedTuple, ParamSpec

import msgspec
from django.db import connection, transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from edge.idempotency_keys import HEADER, KeyReused, checked_key, name_of
from edge.models import IdempotencyKey
from edge.problems import Refusal, answer

REPLAYED = "Idempotent-Replayed"
SLOTS = 4
LARGEST_ANSWER = 256_000
LOCK_SPACE = 0x1DE7
"""First half of the advisory lock; `pg_advisory_xact_lock(int, int)` is a space of its own."""

P = ParamSpec("P")
View = Callable[Concatenate[Any, Request, P], HttpResponseBase]


class KeyInUse(Refusal):
    """The first request with this key is still at work."""

    code = "idempotency_key_in_use"
    title = "A request with this key is in progress"
    status = 409

    def __init__(self) -> None:
        super().__init__("Ask again in a moment.", retry_after_s=1)


class Claim(NamedTuple):
    """One request's key within its scope, and what its body said."""

    digest: uuid.UUID
    fingerprint: bytes


def idempotent(view: View[P]) -> View[P]:
    """Make a DRF method remember its answers by `Idempotency-Key`, which becomes mandatory."""

    @extend_schema(parameters=[_HEADER_PARAMETER])
    @wraps(view)
    def remembered(
        self: Any, request: Request, /, *args: P.args, **kwargs: P.kwargs
    ) -> HttpResponse:
        claim = claim_of(request)
        return answer_once(claim, lambda: view(self, request, *args, **kwargs))

    return remembered


_HEADER_PARAMETER = OpenApiParameter(
    HEADER,
    str,
    OpenApiParameter.HEADER,
    required=True,
    description="1 to 255 visible ASCII characters, new for each thing you want done. "
    "Send the same key and body again after a timeout: it is done once.",
)


def claim_of(request: Request) -> Claim:
    """Read a request's key. Its scope is the person, the method and the path."""
    key = checked_key(request.headers.get(HEADER))
    named = name_of(request.user.pk, request.method or "", request.path, key)
    return Claim(named, fingerprint_of(request))


def fingerprint_of(request: Request) -> bytes:
    """Digest what was asked: the query and the body, regardless of the order of its keys."""
    digest = hashlib.sha256(request.META.get("QUERY_STRING", "").encode() + b"\0")
    if files := request.FILES:
        digest.update(msgspec.json.encode(sorted(request.POST.lists())))
        for name, upload in sorted(files.items()):
            digest.update(f"\0{name}\0{upload.size}\0".encode())
            for chunk in upload.chunks():
                digest.update(chunk)
            upload.seek(0)
    else:
        digest.update(msgspec.json.encode(request.data, order="deterministic"))
    return digest.digest()


def answer_once(claim: Claim, effect: Callable[[], HttpResponseBase]) -> HttpResponse:
    """Do the effect and remember its answer in one transaction, or give the remembered one.

    Raises `KeyInUse` at once when another transaction holds the key, `KeyReused` when the
    body differs. Costs a lock, one look-up and one insert.
    """
    with transaction.atomic():
        _lock(claim)
        if remembered := _recall(claim):
            return remembered
        response = _run(effect)
        _remember(claim, response, timezone.now())
    return response


def _lock(claim: Claim) -> None:
    # Held until the commit is visible, so whoever gets it next sees the stored answer. Two
    # keys that share these 32 bits only make one of them ask again.
    low = int.from_bytes(claim.digest.bytes[:4], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [LOCK_SPACE, low])
        (is_ours,) = cursor.fetchone()
    if not is_ours:
        raise KeyInUse


def _recall(claim: Claim) -> HttpResponse | None:
    stored = IdempotencyKey.objects.filter(digest=claim.digest).first()
    if stored is None:
        return None
    if bytes(stored.fingerprint) != claim.fingerprint:
        raise KeyReused
    response = HttpResponse(
        bytes(stored.body), status=stored.status, content_type=stored.content_type
    )
    response[REPLAYED] = "true"
    return response


def _run(effect: Callable[[], HttpResponseBase]) -> HttpResponse:
    try:
        with transaction.atomic():
            response = effect()
    except Refusal as refusal:
        if not refusal.is_final:
            raise
        status, headers, body = answer(refusal)
        return HttpResponse(body, status=status, headers=headers)
    return _rendered(response)


def _rendered(response: HttpResponseBase) -> HttpResponse:
    """Fix the answer's bytes now, so that a replay repeats exactly these."""
    if isinstance(response, Response):
        body = b"" if response.data is None else JSONRenderer().render(response.data)
        headers = dict(response.items())
        headers["Content-Type"] = "application/json"
        return HttpResponse(body, status=response.status_code, headers=headers)
    assert isinstance(response, HttpResponse), "a streamed answer cannot be remembered"
    return response


def _remember(claim: Claim, response: HttpResponse, now: datetime) -> None:
    assert response.status_code < 500, "raise a 5xx: it must not be remembered"
    assert len(response.content) <= LARGEST_ANSWER, "too large an answer to a write"
    IdempotencyKey.objects.create(
        slot=slot_at(now),
        digest=claim.digest,
        fingerprint=claim.fingerprint,
        status=response.status_code,
        content_type=response["Content-Type"],
        body=response.content,
        created_at=now,
    )


# -- retention -------------------------------------------------------------------------


def slot_at(moment: datetime) -> int:
    """Say which partition takes the answers of this month."""
    return (moment.year * 12 + moment.month) % SLOTS


def forget_old_keys(now: datetime) -> int:
    """Empty the partition that next month will write to; say how many keys were forgotten.

    So an answer is kept for at least two whole months after its own. Run it daily: all but
    the first run of a month find nothing. Locks the partition for a moment, gives up after
    two seconds rather than hold up writers.
    """
    table = f"edge_idempotencykey_{(slot_at(now) + 1) % SLOTS}"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '2s'")
        cursor.execute(f"SELECT count(*) FROM {table}")
        (count,) = cursor.fetchone()
        if count:
            cursor.execute(f"TRUNCATE {table}")
    return int(count)
