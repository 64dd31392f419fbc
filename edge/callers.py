"""Where a request came from, as far as our own proxies can be trusted to say."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.http import HttpRequest

NOWHERE = "127.0.0.1"
"""Requests over a Unix socket come from this machine."""


def client_ip(request: HttpRequest) -> str:
    """Say the caller's address. Always a valid one.

    Each of our proxies adds the address it saw to the end of X-Forwarded-For, so with
    `TRUSTED_PROXY_COUNT` proxies only that many entries from the end are believed; what
    the caller wrote there is not.
    """
    trusted: int = settings.TRUSTED_PROXY_COUNT
    seen = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
    if trusted and len(seen) >= trusted and _is_address(seen[-trusted]):
        return seen[-trusted]
    direct = str(request.META.get("REMOTE_ADDR", ""))
    return direct if _is_address(direct) else NOWHERE


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
