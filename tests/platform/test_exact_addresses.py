"""An address of the API without its last slash is none; people are led on."""

from __future__ import annotations

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


def test_program_is_led_nowhere(client: Client) -> None:
    """A redirect would make a POST a GET: the list of holds where one was to be made."""
    for answer in (client.get("/api/v1/me"), client.post("/api/v1/holds", {})):
        assert answer.status_code == 404
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] == "not_found"
        assert answer.json()["detail"] == "Addresses of the API end with a slash."
    assert "detail" not in client.get("/api/v1/nothing/").json()


def test_people_are_led_on(client: Client) -> None:
    assert client.get("/markets").headers["Location"] == "/markets/"
