"""The admin: roles see their rooms, deeds need reasons, secrets stay secret."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client

from accounts.actions import create_key
from accounts.models import ApiKey, User
from accounts.roles import Role, may
from edge.models import AuditEvent

pytestmark = pytest.mark.django_db
Person = Callable[..., User]
PEOPLE = "/admin/accounts/user/"
KEYS = "/admin/accounts/apikey/"


@pytest.fixture
def boss(person: Person) -> User:
    return person("boss", is_staff=True, is_superuser=True)


@pytest.fixture
def olga(person: Person) -> User:
    user = person("olga", is_staff=True)
    user.groups.add(Group.objects.get(name=Role.OPERATOR))
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def do(client: Client, place: str, action: str, users: list[Any], **more: Any) -> Any:
    form = {"action": action, "_selected_action": [u.pk for u in users], **more}
    return client.post(place, form, follow=True)


def is_active(user: User) -> bool:
    return User.objects.get(pk=user.pk).is_active


@pytest.mark.parametrize(
    ("role", "permission", "expected"),
    [
        (Role.FINANCE, "wallet.freeze_account", True),
        (Role.FINANCE, "accounts.change_user", False),
        (Role.FINANCE, "accounts.view_user", True),
        (Role.MARKETING, "cms.publish_page", True),
        (Role.MARKETING, "wallet.view_account", False),
        (Role.MARKETING, "wagtailadmin.access_admin", True),
        (Role.SUPPORT, "wallet.view_account", True),
        (Role.SUPPORT, "wallet.change_account", False),
        (Role.OPERATOR, "accounts.change_apikey", True),
        (Role.OPERATOR, "wallet.change_account", False),
    ],
)
def test_role_has_its_permissions(role: Role, permission: str, expected: bool) -> None:
    assert may(role, permission) is expected


def test_role_counts_only_for_active_staff(olga: User, person: Person) -> None:
    fan = person("fan")
    fan.groups.add(Group.objects.get(name=Role.OPERATOR))
    assert User.objects.get(pk=olga.pk).has_perm("accounts.change_apikey")
    assert not User.objects.get(pk=fan.pk).has_perm("accounts.change_apikey")
    User.objects.filter(pk=olga.pk).update(is_active=False)
    assert not User.objects.get(pk=olga.pk).has_perm("accounts.change_apikey")


def test_every_page_of_people_and_keys_opens(boss: User) -> None:
    key = create_key(boss, name="bot", scopes=["wallet:read"]).key
    client = signed_in(boss)
    AuditEvent.objects.get()
    for address in (
        "/admin/", PEOPLE, f"{PEOPLE}add/", f"{PEOPLE}{boss.pk}/change/",
        f"{PEOPLE}?q=boss&is_active__exact=1", KEYS, f"{KEYS}{key.pk}/change/", f"{KEYS}?q=bot",
        "/admin/edge/auditevent/", f"/admin/edge/auditevent/{AuditEvent.objects.get().pk}/change/",
    ):  # fmt: skip
        assert client.get(address).status_code == 200, address


def test_person_is_added_by_hand(boss: User) -> None:
    form = {
        "email": "New@Example.com",
        "handle": "Newcomer",
        "name": "",
        "usable_password": "true",
        "password1": "correct horse battery",
        "password2": "correct horse battery",
    }
    response = signed_in(boss).post(f"{PEOPLE}add/", form)
    assert response.status_code == 302, response.context["adminform"].form.errors
    user = User.objects.get(email="new@example.com")
    assert (user.handle, user.is_staff) == ("newcomer", False)
    assert AuditEvent.objects.get().action == "accounts.add_person"


def test_giving_a_role_is_written_down(boss: User, person: Person) -> None:
    alice = person("alice")
    finance = Group.objects.get(name=Role.FINANCE)
    form = {
        "email": alice.email,
        "handle": "alice",
        "name": "",
        "is_staff": "on",
        "groups": [finance.pk],
    }
    response = signed_in(boss).post(f"{PEOPLE}{alice.pk}/change/", form)
    assert response.status_code == 302
    event = AuditEvent.objects.get()
    assert (event.actor_id, event.action, event.object_id) == (
        boss.pk, "accounts.change_person", str(alice.pk),
    )  # fmt: skip
    assert event.before == {"is_staff": False, "groups": []}
    assert event.after == {"is_staff": True, "groups": ["finance"]}


def test_operator_cannot_raise_anyone(olga: User, boss: User, person: Person) -> None:
    client, alice = signed_in(olga), person("alice")
    form = {
        "email": "stolen@example.com",
        "handle": "alice2",
        "name": "",
        "is_staff": "on",
        "is_superuser": "on",
        "groups": [Group.objects.get(name=Role.FINANCE).pk],
    }
    assert client.post(f"{PEOPLE}{alice.pk}/change/", form).status_code == 302
    alice.refresh_from_db()
    assert (alice.handle, alice.email, alice.is_staff, alice.is_superuser) == (
        "alice2", "alice@example.com", False, False,
    )  # fmt: skip
    assert alice.groups.count() == 0
    assert client.post(f"{PEOPLE}{boss.pk}/change/", form).status_code == 403
    assert client.get(f"{PEOPLE}{alice.pk}/password/").status_code == 403
    assert client.get(f"{PEOPLE}{alice.pk}/delete/").status_code == 403


def test_deactivating_asks_for_the_reason(olga: User, person: Person) -> None:
    client, alice = signed_in(olga), person("alice")
    page = do(client, PEOPLE, "deactivate", [alice])
    assert "Deactivate these people?" in page.content.decode()
    do(client, PEOPLE, "deactivate", [alice], reason=" ")
    assert is_active(alice)
    assert AuditEvent.objects.count() == 0
    page = do(client, PEOPLE, "deactivate", [alice], reason="chargebacks")
    assert "1 changed, 0 already so." in page.content.decode()
    assert not is_active(alice)
    event = AuditEvent.objects.get()
    assert (event.action, event.reason, event.object_id) == (
        "accounts.deactivate", "chargebacks", str(alice.pk),
    )  # fmt: skip
    do(client, PEOPLE, "reactivate", [alice], reason="cleared up")
    assert is_active(alice)


def test_nobody_deactivates_themselves_or_a_superuser(olga: User, boss: User) -> None:
    page = do(signed_in(olga), PEOPLE, "deactivate", [olga], reason="tired of it")
    assert "Ask somebody else" in page.content.decode()
    do(signed_in(olga), PEOPLE, "deactivate", [boss], reason="coup")
    assert User.objects.filter(is_active=True).count() == 2


def test_keys_are_revoked_in_bulk_with_a_reason(olga: User, person: Person) -> None:
    alice = person("alice")
    keys = [create_key(alice, name="bot", scopes=["wallet:read"]).key for _ in range(3)]
    page = do(signed_in(olga), KEYS, "revoke", keys[:2], reason="leaked on a forum")
    assert "2 revoked, 0 were revoked already." in page.content.decode()
    assert list(ApiKey.objects.usable()) == [keys[2]]
    events = AuditEvent.objects.filter(action="accounts.revoke_key")
    assert set(events.values_list("actor_id", "reason")) == {(olga.pk, "leaked on a forum")}


def test_support_sees_people_and_changes_nothing(person: Person) -> None:
    sam, alice = person("sam", is_staff=True), person("alice")
    sam.groups.add(Group.objects.get(name=Role.SUPPORT))
    client = signed_in(sam)
    assert client.get(f"{PEOPLE}{alice.pk}/change/").status_code == 200
    assert client.post(f"{PEOPLE}{alice.pk}/change/", {"handle": "x"}).status_code == 403
    do(client, PEOPLE, "deactivate", [alice], reason="because")
    assert User.objects.filter(is_active=True).count() == 2


def test_secret_is_nowhere_in_the_admin(boss: User) -> None:
    made = create_key(boss, name="bot", scopes=["wallet:read"])
    page = signed_in(boss).get(f"{KEYS}{made.key.pk}/change/").content.decode()
    assert made.key.prefix in page
    assert made.token.split("_")[3] not in page
    assert bytes(made.key.digest).hex() not in page


OURS = {
    "accounts", "campaigns", "edge", "jobs", "live", "orderbook", "rewards", "sequencer", "wallet",
    "django_celery_beat",
}  # fmt: skip


def test_every_page_of_the_admin_is_one_that_we_know() -> None:
    """A library may bring pages of its own, as allauth does for addresses and second factors."""
    assert {model._meta.app_label for model in admin.site._registry} <= OURS


@pytest.mark.parametrize("role", list(Role))
def test_no_role_reaches_addresses_or_second_factors(
    role: Role, boss: User, person: Person
) -> None:
    worker = person("worker", is_staff=True)
    worker.groups.add(Group.objects.get(name=role))
    for place in ("account/emailaddress", "mfa/authenticator"):
        assert signed_in(worker).get(f"/admin/{place}/").status_code == 404
        assert signed_in(boss).get(f"/admin/{place}/").status_code == 404
    for permission in ("account.add_emailaddress", "mfa.view_authenticator"):
        assert not may(role, permission)


def test_saving_a_person_leaves_alone_what_was_not_changed(
    boss: User, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator shuts somebody out while a superuser has the page open."""
    alice, client = person("alice"), signed_in(boss)
    save = User.save

    def save_later(user: User, *args: Any, **kwargs: Any) -> None:
        User.objects.filter(pk=alice.pk).update(is_active=False)
        save(user, *args, **kwargs)

    monkeypatch.setattr(User, "save", save_later)
    form = {"email": alice.email, "handle": "alice", "name": "Al"}
    assert client.post(f"{PEOPLE}{alice.pk}/change/", form).status_code == 302
    alice.refresh_from_db()
    assert (alice.name, alice.is_active) == ("Al", False)
