"""Whatever is sent to the addresses of this room, the answer is never a 500."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from accounts.models import User

ADDRESSES = ("api-keys/", "api-keys/1/", "api-keys/%00/", "session-token/", "me/", "nothing/")
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
key_bodies = st.fixed_dictionaries(
    {},
    optional={
        "name": anything | st.text(max_size=90),
        "scopes": anything | st.lists(st.sampled_from(["wallet:read", "finance:read", "x"])),
        "expires_at": anything | st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"),
    },
)
bodies = st.binary(max_size=60) | (key_bodies | anything).map(lambda b: json.dumps(b).encode())


@pytest.mark.django_db
@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]),
    st.sampled_from(ADDRESSES),
    bodies,
    st.sampled_from(["application/json", "text/plain", "multipart/form-data", "", "x"]),
    st.text(st.characters(max_codepoint=255, min_codepoint=32), max_size=30),
    st.booleans(),
)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_strange_request_is_answered(
    person: Callable[..., User],
    method: str,
    address: str,
    body: bytes,
    kind: str,
    text: str,
    is_signed_in: bool,
) -> None:
    api = APIClient(raise_request_exception=False)
    if is_signed_in:
        api.force_login(User.objects.filter(handle="alice").first() or person("alice"))
    response = api.generic(
        method,
        f"/api/v1/{address}",
        body,  # type: ignore[arg-type]
        content_type=kind,
        QUERY_STRING=text.encode("latin-1").decode("latin-1"),
        HTTP_AUTHORIZATION=f"Bearer {text}" if not is_signed_in else "",
        HTTP_X_FORWARDED_FOR=text,
    )
    assert response.status_code < 500
    if response.status_code >= 400:
        assert response["Content-Type"] == "application/problem+json"
