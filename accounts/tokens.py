"""Short tickets that let a signed-in browser use the gateway, which knows no sessions.

A token says who, for what, and by which session, signed with the site's key: the gateway
checks it without asking anybody. It lasts 15 minutes; the page fetches the next one while
the session lives. A deactivated person's token is refused by the keyring within a second;
signing out ends a token only by its age.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.core import signing

from accounts.scopes import Scope

LIFE_S = 15 * 60
SALT = "accounts.tokens"
BRAND = "scrip_session_"
LONGEST_TOKEN = 600
SESSION_HASH_LENGTH = 16


class SessionToken(NamedTuple):
    """What a token says."""

    user_id: int
    scopes: frozenset[Scope]
    session_hash: str


def session_hash(session_key: str) -> str:
    """Name a session without giving it away: streams and logs tell browsers apart by this."""
    return hashlib.sha256(f"{SALT}{session_key}".encode()).hexdigest()[:SESSION_HASH_LENGTH]


def write_session_token(*, user_id: int, scopes: Iterable[Scope], session_key: str) -> str:
    """Sign a token for one session of one person."""
    said = [user_id, sorted(scopes), session_hash(session_key)]
    return BRAND + signing.dumps(said, salt=SALT)


def read_session_token(text: str) -> SessionToken | None:
    """Read a token; `None` when it is forged, spoilt or older than 15 minutes. No look-up."""
    if not text.startswith(BRAND) or len(text) > LONGEST_TOKEN:
        return None
    try:
        said: Any = signing.loads(text.removeprefix(BRAND), salt=SALT, max_age=LIFE_S)
    except signing.BadSignature:
        return None
    user_id, scopes, session = said
    return SessionToken(user_id, frozenset(Scope(scope) for scope in scopes), session)
