"""The back office opens with what waits for its reader, and shows no more than they may see."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from accounts.models import User
from accounts.roles import Role
from config import first_page
from sequencer.models import DeadLetter

pytestmark = pytest.mark.django_db
BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


def reader(handle: str, role: Role | None = None) -> Client:
    """Somebody of the staff in one role, or else a superuser."""
    make = User.objects.create_user if role else User.objects.create_superuser
    user = make(f"{handle}@example.com", "pw", handle=handle)
    if role:
        User.objects.filter(pk=user.pk).update(is_staff=True)
        user.groups.add(Group.objects.get(name=role))
    browser = Client()
    browser.force_login(user, backend=BACKEND)
    return browser


def break_engine(times: int) -> None:
    DeadLetter.objects.bulk_create(
        DeadLetter(
            command_id=str(n), shard=0, kind="order.place", user_id=1, body=b"", error="x",
            sent_at="2026-01-01T00:00:00Z",
        )
        for n in range(times)
    )  # fmt: skip


def test_administrator_sees_what_waits_and_what_runs() -> None:
    break_engine(2)
    answer = reader("root").get("/admin/")
    assert answer.status_code == 200
    cards = {each["title"]: each["count"] for each in answer.context["waiting"]}
    assert cards["Commands that broke the engine"] == "2"
    assert cards["Reversals to approve"] == "0"
    assert len(cards) == len(first_page.WAITING)
    states = {part["name"]: part["is_ready"] for part in answer.context["parts"]}
    assert states["Database"] is True
    assert states["Order writers"] is False  # None runs here.


def test_every_list_that_a_card_leads_to_is_there() -> None:
    browser = reader("root")
    for each in first_page.WAITING:
        assert browser.get(each.card()["address"]).status_code == 200


def test_much_is_not_counted_to_its_end() -> None:
    break_engine(first_page.MOST_COUNTED + 50)
    [card] = [each.card() for each in first_page.WAITING if "engine" in each.title]
    assert card["count"] == "99+"


def test_finance_is_shown_what_finance_sees_to() -> None:
    answer = reader("finn", Role.FINANCE).get("/admin/")
    titles = [each["title"] for each in answer.context["waiting"]]
    assert "Reversals to approve" in titles
    assert "Campaign versions to publish" not in titles
