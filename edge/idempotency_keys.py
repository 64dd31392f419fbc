"""The key that makes a repeated write the same write: what it may be, and what it names. Pure."""

from __future__ import annotations

import hashlib
import re
import uuid

from edge.problems import Refusal

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


class KeyMissing(Refusal):
    """A write that moves value came without a key, so a repeat could not be told apart."""

    code = "idempotency_key_required"
    title = f"The header {HEADER} is missing"
    status = 400


class KeyInvalid(Refusal):
    """The key is empty, too long, or not printable ASCII."""

    code = "idempotency_key_invalid"
    title = f"{HEADER} is 1 to 255 visible ASCII characters"
    status = 400


class KeyReused(Refusal):
    """The key already stands for another request."""

    code = "idempotency_key_reused"
    title = "This key was used for a request with another body"
    status = 422


def checked_key(key: str | None) -> str:
    """Refuse a key that is missing or cannot be one."""
    if key is None:
        raise KeyMissing
    if not _KEY.fullmatch(key):
        raise KeyInvalid
    return key


def name_of(user_id: int | None, method: str, path: str, key: str) -> uuid.UUID:
    """Name a request by who asks, for what, and under which key: the same at every door."""
    scope = f"{user_id}\0{method}\0{path}\0{key}"
    return uuid.UUID(bytes=hashlib.sha256(scope.encode()).digest()[:16])
