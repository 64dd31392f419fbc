"""From signing up to using a key, over a real socket."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.accounts.conftest import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)


def sign_up(browser: httpx.Client) -> dict[str, str]:
    """Sign Carol up and give the header that her writes need."""
    browser.get("/accounts/signup/")
    form = {"email": "carol@example.com", "username": "carol"}
    form |= {"password1": PASSWORD, "password2": PASSWORD}
    form |= {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    assert browser.post("/accounts/signup/", data=form).status_code == 302
    return {"X-CSRFToken": browser.cookies["csrftoken"]}


def test_stranger_signs_up_makes_a_key_uses_it_and_revokes_it(live_server: Any) -> None:
    with httpx.Client(base_url=live_server.url, follow_redirects=False) as browser:
        csrf = sign_up(browser)
        wish = {"name": "bot", "scopes": ["wallet:read"]}
        assert browser.post("/api/v1/api-keys/", json=wish).status_code == 403
        made = browser.post("/api/v1/api-keys/", json=wish, headers=csrf)
        assert made.status_code == 201
        key = {"Authorization": f"Bearer {made.json()['token']}"}
        assert httpx.get(f"{live_server.url}/api/v1/me/", headers=key).json() == {
            "handle": "carol",
            "name": "",
            "email": "carol@example.com",
            "scopes": ["wallet:read"],
        }
        token = browser.post("/api/v1/session-token/", headers=csrf)
        assert token.json()["token"].startswith("scrip_session_")
        place = f"/api/v1/api-keys/{made.json()['id']}/"
        assert browser.delete(place, headers=csrf).status_code == 204
        refused = httpx.get(f"{live_server.url}/api/v1/me/", headers=key)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize(
    ("content", "status"), [(b"x" * 1_000_001, 413), (b"{", 400), (b"\xff", 400), (b"", 400)]
)
def test_bad_body_is_refused_over_the_wire(live_server: Any, content: bytes, status: int) -> None:
    with httpx.Client(base_url=live_server.url) as browser:
        headers = sign_up(browser) | {"Content-Type": "application/json"}
        response = browser.post("/api/v1/api-keys/", content=content, headers=headers)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
