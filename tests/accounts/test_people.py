"""Signing up, signing in, and who a person is."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import Client

from accounts.handles import RESERVED
from accounts.models import User, refuse_reserved
from accounts.roles import Role
from edge.callers import client_ip
from tests.accounts.conftest import PASSWORD

Person = Callable[..., User]
SIGN_UP = {
    "email": "Bob@Example.com",
    "username": "@Bob_1",
    "password1": PASSWORD,
    "password2": PASSWORD,
}


@pytest.fixture(autouse=True)
def mail_in_memory(settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"


@pytest.mark.django_db
def test_email_and_handle_are_kept_in_small_letters() -> None:
    user = User.objects.create_user(" Alice@Example.COM ", handle="@Alice")
    assert (user.email, user.handle) == ("alice@example.com", "alice")
    assert User.objects.get_by_natural_key("ALICE@example.com") == user
    assert User.objects.by_handle("@ALICE") == user
    assert not user.has_usable_password()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "fields",
    [
        {"email": "ALICE@EXAMPLE.COM", "handle": "other"},
        {"email": "other@example.com", "handle": "ALICE"},
    ],
)
def test_email_and_handle_are_unique_whatever_the_case(
    person: Person, fields: dict[str, str]
) -> None:
    person("alice")
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create_user(**fields)
    assert User.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("handle", ["ab", "1ab", "a-b", "a b", "é" * 3, "a" * 31, "Alice", ""])
def test_postgres_refuses_a_bad_handle(handle: str) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        User.objects.bulk_create([User(email="a@example.com", handle=handle)])


@pytest.mark.django_db
def test_deactivated_person_is_not_found_by_handle(person: Person) -> None:
    person("alice", is_active=False)
    assert User.objects.by_handle("alice") is None


@pytest.mark.parametrize("handle", ["admin", "Scrip", "@support"])
def test_reserved_handles_are_refused(handle: str) -> None:
    with pytest.raises(ValidationError):
        refuse_reserved(handle)
    assert "alice" not in RESERVED


@pytest.mark.django_db
def test_person_signs_up_and_is_signed_in() -> None:
    client = Client()
    response = client.post("/accounts/signup/", SIGN_UP)
    assert response.status_code == 302
    user = User.objects.get()
    assert (user.email, user.handle, user.is_staff) == ("bob@example.com", "bob_1", False)
    assert client.session["_auth_user_id"] == str(user.pk)
    assert len(mail.outbox) == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"username": "admin"}, "username"),
        ({"username": "b"}, "username"),
        ({"username": "bob\x00by"}, "username"),
        ({"username": "x" * 5000}, "username"),
        ({"email": "not an address"}, "email"),
        ({"email": "bob@ꟋX.com"}, "email"),
        ({"email": "b\x00@example.com"}, "email"),
        ({"password1": "12345678", "password2": "12345678"}, "password1"),
        ({"password2": "different"}, "password2"),
    ],
)
def test_bad_sign_up_says_which_field(change: dict[str, str], field: str) -> None:
    response = Client(raise_request_exception=False).post("/accounts/signup/", SIGN_UP | change)
    assert response.status_code == 200
    assert field in response.context["form"].errors
    assert User.objects.count() == 0


@pytest.mark.django_db
def test_taken_handle_is_refused(person: Person) -> None:
    person("bob_1")
    response = Client().post("/accounts/signup/", SIGN_UP)
    assert "username" in response.context["form"].errors


@pytest.mark.django_db(transaction=True)
def test_two_sign_ups_for_one_handle_make_one_person() -> None:
    def sign_up(number: int) -> int:
        try:
            client = Client(raise_request_exception=False)
            form = SIGN_UP | {"email": f"bob{number}@example.com"}
            return client.post("/accounts/signup/", form).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(sign_up, range(6)))
    assert User.objects.filter(handle="bob_1").count() == User.objects.count() == 1
    assert statuses.count(302) == 1
    assert set(statuses) <= {200, 302, 409}


@pytest.mark.django_db
def test_sign_in_by_email_whatever_the_case(person: Person) -> None:
    user = person("alice")
    client = Client()
    form = {"login": "ALICE@example.com", "password": PASSWORD}
    assert client.post("/accounts/login/", form).status_code == 302
    assert client.session["_auth_user_id"] == str(user.pk)


@pytest.mark.django_db
def test_wrong_password_is_slowed_down(person: Person) -> None:
    person("alice")
    client = Client(raise_request_exception=False)
    wrong = {"login": "alice@example.com", "password": "wrong"}
    for _ in range(5):
        assert client.post("/accounts/login/", wrong).status_code == 200
    right = wrong | {"password": PASSWORD}
    response = client.post("/accounts/login/", right)
    assert "Too many failed login attempts" in response.content.decode()
    assert "_auth_user_id" not in client.session


@pytest.mark.django_db
def test_limit_goes_by_the_address_our_proxy_saw(person: Person, rf: Any, settings: Any) -> None:
    request = rf.get("/", HTTP_X_FORWARDED_FOR="6.6.6.6, 203.0.113.7", REMOTE_ADDR="127.0.0.1")
    assert client_ip(request) == "203.0.113.7"
    settings.TRUSTED_PROXY_COUNT = 0
    assert client_ip(request) == "127.0.0.1"


@pytest.mark.parametrize("said", ["", "nonsense", "1.2.3.4, nonsense", "::1%eth0", "\x00"])
def test_strange_forwarded_address_is_not_believed(rf: Any, said: str) -> None:
    assert client_ip(rf.get("/", HTTP_X_FORWARDED_FOR=said, REMOTE_ADDR="")) == "127.0.0.1"


@pytest.mark.django_db
def test_deactivated_person_cannot_sign_in_and_loses_the_session(person: Person) -> None:
    user = person("alice")
    client = Client()
    client.force_login(user)
    User.objects.update(is_active=False)
    assert client.get("/api/v1/me/").status_code == 401
    client = Client()
    response = client.post("/accounts/login/", {"login": "alice@example.com", "password": PASSWORD})
    assert response.headers["Location"] == "/accounts/inactive/"
    assert "_auth_user_id" not in client.session


@pytest.mark.django_db
def test_forgotten_password_is_set_anew_by_mail(person: Person) -> None:
    person("alice")
    client = Client()
    client.post("/accounts/password/reset/", {"email": "alice@example.com"})
    link = re.search(r"https?://[^/]+(/accounts/password/reset/key/\S+)", str(mail.outbox[0].body))
    assert link is not None
    page = client.get(link[1], follow=True)
    new = {"password1": "an entirely new one", "password2": "an entirely new one"}
    client.post(page.request["PATH_INFO"], new)
    assert User.objects.get().check_password("an entirely new one")


@pytest.mark.django_db
def test_reset_for_a_stranger_gives_nothing_away() -> None:
    response = Client().post("/accounts/password/reset/", {"email": "nobody@example.com"})
    assert response.headers["Location"] == "/accounts/password/reset/done/"


@pytest.mark.django_db
def test_second_factor_can_be_set_up(person: Person) -> None:
    client = Client()
    person("alice")
    client.post("/accounts/login/", {"login": "alice@example.com", "password": PASSWORD})
    assert client.get("/accounts/2fa/").status_code == 200
    assert client.get("/accounts/2fa/totp/activate/", follow=True).status_code == 200


@pytest.mark.django_db
def test_admin_sends_strangers_to_the_one_sign_in() -> None:
    response = Client().get("/admin/login/")
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/accounts/login/")


@pytest.mark.django_db
def test_roles_exist_and_superusers_have_them_all(person: Person) -> None:
    clerk, boss = person("clerk"), person("boss", is_superuser=True)
    clerk.groups.add(Group.objects.get(name=Role.FINANCE))
    assert clerk.works_in(Role.FINANCE)
    assert not clerk.works_in(Role.MARKETING)
    assert boss.works_in(Role.MARKETING)
    assert set(Group.objects.values_list("name", flat=True)) == set(Role)


@pytest.mark.django_db
def test_wrong_passwords_count_for_an_account_whatever_host_is_asked(client: Client) -> None:
    told = [
        client.post(
            "/accounts/login/",
            {"login": "alice@example.com", "password": f"wrong {number}"},
            HTTP_HOST=f"testserver:{number + 1}",
            HTTP_X_FORWARDED_FOR=f"203.0.113.{number}",
        ).content.decode()
        for number in range(8)
    ]
    assert "Too many failed" in told[-1]
