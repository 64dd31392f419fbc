from __future__ import annotations

import pytest
from rest_framework.test import APIClient


@pytest.fixture
def api() -> APIClient:
    """A client that sees what a stranger sees: a bug is an answer with 500, no exception."""
    return APIClient(raise_request_exception=False)
