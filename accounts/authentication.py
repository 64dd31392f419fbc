"""Recognises the caller of an API request: `Authorization: Bearer scrip_live_…`."""

from __future__ import annotations

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.actions import note_use
from accounts.key_format import read_token
from accounts.models import ApiKey, User

SCHEME = "Bearer"


class ApiKeyAuthentication(BaseAuthentication):
    """Lets a program in by its API key. A mistyped key is refused before any look-up.

    One query, and one UPDATE a minute. Unknown, revoked and expired keys, and keys of
    deactivated people, get the same answer.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != SCHEME.lower():
            return None
        token = read_token(text.strip())
        if token is None:
            raise AuthenticationFailed("This is no API key: it was mistyped or cut short.")
        key = (
            ApiKey.objects.usable()
            .select_related("owner")
            .filter(digest=token.digest, prefix=token.prefix)
            .first()
        )
        if key is None:
            raise AuthenticationFailed("This API key is not in use.")
        note_use(key, now=timezone.now())
        return key.owner, key

    def authenticate_header(self, request: Request) -> str:
        return SCHEME
