"""Our answers to what django-allauth leaves open: handles, and where a request came from."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from accounts.handles import normalise_handle
from edge.callers import client_ip


class AccountAdapter(DefaultAccountAdapter):
    """allauth's user name is our handle."""

    def clean_username(self, username: str, shallow: bool = False) -> Any:
        return super().clean_username(normalise_handle(username), shallow=shallow)

    def clean_email(self, email: str) -> str:
        """Take ASCII only: small letters of other scripts differ between us and PostgreSQL."""
        if not email.isascii():
            raise ValidationError("Write this address in plain letters (punycode).", code="invalid")
        cleaned: str = super().clean_email(email)
        return cleaned

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Count wrong passwords by account alone: allauth's own key has whatever Host is named."""
        return str(credentials.get("email", credentials.get("username", ""))).lower()

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_ip(request)
