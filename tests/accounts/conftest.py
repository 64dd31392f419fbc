from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.cache import cache
from rest_framework.test import APIClient

from accounts.models import User
from accounts.throttling import _redis

PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def no_limits_used_up(embedded_servers: object) -> None:
    """Each test starts with every rate limit untouched."""
    cache.clear()
    _redis().flushdb()


@pytest.fixture
def person() -> Callable[..., User]:
    """Make a person by handle; the e-mail address follows from it."""

    def make(handle: str = "alice", **fields: object) -> User:
        return User.objects.create_user(f"{handle}@example.com", PASSWORD, handle=handle, **fields)

    return make


@pytest.fixture
def api() -> APIClient:
    """A client that sees what a stranger sees: a bug is an answer with 500, no exception."""
    return APIClient(raise_request_exception=False)
