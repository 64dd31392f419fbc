"""Tokens for a browser at the gateway: short, signed, bound to a session."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from django.core import signing
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from accounts import tokens
from accounts.models import User
from accounts.scopes import OWN_SCOPES, Scope
from accounts.tokens import read_session_token, session_hash, write_session_token

scopes = st.frozensets(st.sampled_from(Scope))


def write(user_id: int = 7) -> str:
    return write_session_token(user_id=user_id, scopes=[Scope.ORDERS_READ], session_key="s")


@given(st.integers(1, 2**62), scopes, st.text(max_size=40))
def test_written_token_reads_back(user_id: int, scopes: frozenset[Scope], session: str) -> None:
    text = write_session_token(user_id=user_id, scopes=scopes, session_key=session)
    assert read_session_token(text) == (user_id, scopes, session_hash(session))


def test_token_ends_after_fifteen_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    text, now = write(), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 15 * 60 - 2)
    assert read_session_token(text) is not None
    monkeypatch.setattr(time, "time", lambda: now + 15 * 60 + 2)
    assert read_session_token(text) is None


@given(st.integers(0, len(write()) - 1), st.characters(codec="ascii"))
def test_changed_token_is_refused(place: int, character: str) -> None:
    text = write()
    changed = text[:place] + character + text[place + 1 :]
    assert (read_session_token(changed) is None) == (changed != text)


@given(st.text(max_size=700))
def test_no_text_surprises_the_reader(text: str) -> None:
    assert read_session_token(text) is None
    assert read_session_token(tokens.BRAND + text) is None


def test_signature_of_another_purpose_is_refused() -> None:
    other = signing.dumps([7, ["orders:read"], "x"], salt="other")
    assert read_session_token(tokens.BRAND + other) is None


@pytest.mark.django_db
def test_signed_in_person_gets_a_token(api: APIClient, person: Callable[..., User]) -> None:
    alice = person("alice")
    api.force_login(alice)
    response = api.post("/api/v1/session-token/")
    assert (response.status_code, response["Cache-Control"]) == (201, "no-store")
    assert response.json()["expires_in_s"] == 900
    token = read_session_token(response.json()["token"])
    key = api.session.session_key
    assert key is not None
    assert token == (alice.pk, OWN_SCOPES, session_hash(key))


@pytest.mark.django_db
def test_token_needs_a_session_and_the_csrf_token(
    api: APIClient, person: Callable[..., User]
) -> None:
    assert api.post("/api/v1/session-token/").status_code == 401
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("alice"))
    assert client.post("/api/v1/session-token/").status_code == 403
