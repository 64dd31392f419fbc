"""API keys: made once, shown once, good for what they were made for, gone when revoked."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.test import APIClient, APIRequestFactory

from accounts.actions import (
    MOST_KEYS,
    ExpiryOutOfRange,
    NewKey,
    ReasonMissing,
    ScopeNotAllowed,
    TooManyKeys,
    create_key,
    note_use,
    revoke_keys,
)
from accounts.models import ApiKey, User
from accounts.permissions import HasScope
from accounts.scopes import Scope
from edge.models import AuditEvent
from edge.problems import ScopeMissing

Person = Callable[..., User]
KEYS = "/api/v1/api-keys/"


@pytest.fixture
def alice(person: Person) -> User:
    return person("alice")


def make_key(owner: User, *scopes: str, **fields: Any) -> NewKey:
    return create_key(owner, name="bot", scopes=scopes or ["wallet:read"], **fields)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def in_finance(user: User) -> User:
    user.groups.add(Group.objects.get(name="finance"))
    return user


# -- making ------------------------------------------------------------------------------


@pytest.mark.django_db
def test_key_is_shown_once_and_stored_hashed(api: APIClient, alice: User) -> None:
    api.force_login(alice)
    body = {"name": "bot", "scopes": ["orders:write", "orders:read", "orders:read"]}
    response = api.post(KEYS, body)
    made = response.json()
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    secret = made["token"].split("_")[3]
    key = ApiKey.objects.get()
    assert bytes(key.digest) == hashlib.sha256(secret.encode()).digest()
    assert (key.owner_id, key.scopes) == (alice.pk, ["orders:read", "orders:write"])
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_jsonb(k)::text FROM accounts_apikey k")
        assert secret not in cursor.fetchone()[0]
    assert secret not in api.get(KEYS).content.decode()
    assert api.get(KEYS).json()["results"] == [
        {
            "id": str(key.pk),
            "prefix": key.prefix,
            "name": "bot",
            "scopes": ["orders:read", "orders:write"],
            "state": "usable",
            "created_at": made["created_at"],
            "last_used_at": None,
            "expires_at": None,
            "revoked_at": None,
        }
    ]


@pytest.mark.django_db
def test_making_a_key_is_audited_without_its_secret(alice: User) -> None:
    made = make_key(alice, ip="203.0.113.7")
    event = AuditEvent.objects.get()
    assert (event.actor_id, event.action, event.ip) == (
        alice.pk, "accounts.create_key", "203.0.113.7",
    )  # fmt: skip
    assert event.object_id == str(made.key.pk)
    assert made.token.split("_")[3] not in str(event.after)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        {"scopes": []},
        {"scopes": ["wallet:all"]},
        {"scopes": "wallet:read"},
        {"scopes": ["wallet:read"] * 21},
        {"scopes": None},
        {"name": ""},
        {"name": "x" * 81},
        {"name": "a\ud800".encode("utf-16", "surrogatepass").decode("utf-16", "replace") * 50},
        {"expires_at": "tomorrow"},
        {"owner": "2"},
    ],
)
def test_bad_wish_is_refused(api: APIClient, alice: User, change: dict[str, Any]) -> None:
    api.force_login(alice)
    response = api.post(KEYS, {"name": "bot", "scopes": ["wallet:read"]} | change)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert ApiKey.objects.count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize("after", [timedelta(0), timedelta(days=-1), timedelta(days=366 * 6)])
def test_expiry_out_of_range_is_refused(alice: User, after: timedelta) -> None:
    with pytest.raises(ExpiryOutOfRange):
        make_key(alice, expires_at=timezone.now() + after)
    assert ApiKey.objects.count() == AuditEvent.objects.count() == 0


@pytest.mark.django_db
def test_finance_scope_is_for_finance_alone(alice: User) -> None:
    with pytest.raises(ScopeNotAllowed):
        make_key(alice, "finance:read")
    assert ApiKey.objects.count() == 0
    assert make_key(in_finance(alice), "finance:read").key.scopes == ["finance:read"]


@pytest.mark.django_db
def test_revoked_and_expired_keys_make_room(alice: User) -> None:
    keys = [make_key(alice).key.pk for _ in range(MOST_KEYS)]
    with pytest.raises(TooManyKeys):
        make_key(alice)
    revoke_keys(keys[:1], by=alice, reason="")
    make_key(alice)
    assert ApiKey.objects.usable().count() == MOST_KEYS


def race_for_the_last_key(alice: User) -> int:
    """Let 8 threads ask for the one key that is left; say how many usable ones there are."""
    start = threading.Barrier(8)

    def ask(_: int) -> None:
        try:
            start.wait(10)
            make_key(alice)
        except TooManyKeys:
            pass
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    return ApiKey.objects.usable().count()


@pytest.mark.django_db(transaction=True)
def test_racing_for_the_last_key_gives_one(alice: User) -> None:
    for _ in range(MOST_KEYS - 1):
        make_key(alice)
    assert race_for_the_last_key(alice) == MOST_KEYS


@pytest.mark.django_db(transaction=True)
def test_control_without_the_lock_the_race_gives_more(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(MOST_KEYS - 1):
        make_key(alice)
    monkeypatch.setattr(QuerySet, "select_for_update", lambda self, **_: self)
    assert race_for_the_last_key(alice) > MOST_KEYS


# -- who may -----------------------------------------------------------------------------


@pytest.mark.django_db
def test_stranger_gets_no_keys(api: APIClient) -> None:
    assert api.get(KEYS).status_code == 401
    assert api.post(KEYS, {"name": "x", "scopes": ["wallet:read"]}).status_code == 401


@pytest.mark.django_db
def test_key_cannot_make_or_see_or_revoke_keys(api: APIClient, alice: User) -> None:
    made = make_key(alice, *sorted(Scope)[1:])
    headers = bearer(made.token)
    assert (
        api.post(KEYS, {"name": "x", "scopes": ["wallet:read"]}, headers=headers).status_code == 401
    )
    assert api.get(KEYS, headers=headers).status_code == 401
    assert api.delete(f"{KEYS}{made.key.pk}/", headers=headers).status_code == 401
    assert ApiKey.objects.usable().count() == 1


@pytest.mark.django_db
def test_making_a_key_needs_the_csrf_token(alice: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    body = b'{"name": "x", "scopes": ["wallet:read"]}'
    response = client.post(KEYS, body, content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert ApiKey.objects.count() == 0


@pytest.mark.django_db
def test_others_keys_are_not_there(api: APIClient, alice: User, person: Person) -> None:
    key = make_key(alice).key
    api.force_login(person("mallory"))
    assert api.get(KEYS).json()["results"] == []
    assert api.delete(f"{KEYS}{key.pk}/").status_code == 404
    assert ApiKey.objects.usable().count() == 1


# -- using -------------------------------------------------------------------------------


@pytest.mark.django_db
def test_key_opens_the_api(api: APIClient, alice: User) -> None:
    made = make_key(alice, "wallet:read")
    response = api.get("/api/v1/me/", headers=bearer(made.token))
    assert response.status_code == 200
    assert (response.json()["handle"], response.json()["scopes"]) == ("alice", ["wallet:read"])


@pytest.mark.django_db
def test_mistyped_key_is_refused_without_a_query(api: APIClient, alice: User) -> None:
    token = make_key(alice).token
    with CaptureQueriesContext(connection) as queries:
        response = api.get("/api/v1/me/", headers=bearer(token[:-1] + "~"))
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
    assert response["WWW-Authenticate"] == "Bearer"
    assert len(queries) == 0


@pytest.mark.django_db
@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "bearer x y", "Bearer " + "x" * 9000, "Bearer é"]
)
def test_strange_header_is_refused(api: APIClient, header: str) -> None:
    response = api.get("/api/v1/me/", HTTP_AUTHORIZATION=header)
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["revoked", "expired", "inactive", "unknown"])
def test_key_out_of_use_opens_nothing(api: APIClient, alice: User, how: str) -> None:
    made = make_key(alice)
    past = timezone.now() - timedelta(seconds=1)
    if how == "revoked":
        revoke_keys([made.key.pk], by=alice, reason="")
    elif how == "expired":
        ApiKey.objects.update(created_at=past - timedelta(days=1), expires_at=past)
    elif how == "inactive":
        User.objects.update(is_active=False)
    else:
        ApiKey.objects.all().delete()
    response = api.get("/api/v1/me/", headers=bearer(made.token))
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")


@pytest.mark.django_db
def test_last_use_is_noted_once_a_minute(alice: User) -> None:
    key = make_key(alice).key
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    for seconds, noted in ((0, 0), (59, 0), (60.5, 60.5), (90, 60.5)):
        note_use(ApiKey.objects.get(), now=noon + timedelta(seconds=seconds))
        key.refresh_from_db()
        assert key.last_used_at == noon + timedelta(seconds=noted)


# -- scopes ------------------------------------------------------------------------------


def allowed(method: str, user: User, key: ApiKey | None, **scopes: str) -> bool:
    request = Request(APIRequestFactory().generic(method, "/"))
    request.user, request.auth = user, key
    return HasScope.of(**scopes)().has_permission(request, None)  # type: ignore[arg-type]


@pytest.mark.django_db
def test_key_does_only_what_it_was_made_for(alice: User) -> None:
    key = make_key(alice, "wallet:read").key
    assert allowed("GET", alice, key, read="wallet:read", write="wallet:write")
    for method, scope in (("POST", "wallet:write"), ("DELETE", "wallet:write")):
        with pytest.raises(ScopeMissing) as refused:
            allowed(method, alice, key, read="wallet:read", write="wallet:write")
        assert refused.value.members == {"scope": scope}
    with pytest.raises(ScopeMissing):
        allowed("GET", alice, key, read="orders:read")


@pytest.mark.django_db
def test_signed_in_person_needs_no_scope_for_their_own(alice: User) -> None:
    assert allowed("POST", alice, None, read="wallet:read", write="wallet:write")
    assert not allowed("POST", alice, None, read="wallet:read")


@pytest.mark.django_db
def test_key_loses_finance_with_its_owner(alice: User) -> None:
    key = make_key(in_finance(alice), "finance:read").key
    assert allowed("GET", alice, key, read="finance:read")
    alice.groups.clear()
    for auth in (key, None):
        with pytest.raises(ScopeMissing):
            allowed("GET", alice, auth, read="finance:read")


# -- revoking ----------------------------------------------------------------------------


@pytest.mark.django_db
def test_revoking_ones_own_key_needs_no_reason_and_repeats_quietly(
    api: APIClient, alice: User
) -> None:
    key = make_key(alice).key
    api.force_login(alice)
    for _ in range(2):
        assert api.delete(f"{KEYS}{key.pk}/").status_code == 204
    assert api.get(KEYS).json()["results"][0]["state"] == "revoked"
    assert AuditEvent.objects.filter(action="accounts.revoke_key").count() == 1


@pytest.mark.django_db
def test_revoking_anothers_key_needs_a_reason(alice: User, person: Person) -> None:
    operator, key = person("olga"), make_key(alice).key
    with pytest.raises(ReasonMissing):
        revoke_keys([key.pk], by=operator, reason="  ")
    assert ApiKey.objects.usable().count() == 1
    assert revoke_keys([key.pk], by=operator, reason="leaked") == [key.pk]
    event = AuditEvent.objects.get(action="accounts.revoke_key")
    assert (event.actor_id, event.reason, event.object_id) == (operator.pk, "leaked", str(key.pk))
