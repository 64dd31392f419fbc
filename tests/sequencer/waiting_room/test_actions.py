"""Operators open, change and close rooms: by action, by command, in the admin; all audited."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.http import HttpRequest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from edge.models import AuditEvent
from sequencer.models import WaitingRoom
from sequencer.waiting_room.actions import (
    RoomClosed,
    RoomRefused,
    RoomStarted,
    change_room,
    close_room,
    open_room,
    require_passes,
)
from sequencer.waiting_room.api import ticket_cookie
from sequencer.waiting_room.directory import UnknownRoom
from sequencer.waiting_room.guard import PassRequired
from sequencer.waiting_room.tokens import Pass, Ticket, read_ticket, write_pass, write_ticket

pytestmark = pytest.mark.django_db


@pytest.fixture
def boss() -> User:
    return User.objects.create(
        handle="boss", email="boss@example.com", is_staff=True, is_superuser=True
    )


def new_room(**terms: Any) -> WaitingRoom:
    now = timezone.now()
    defaults = {
        "name": "drop",
        "title": "A drop",
        "opens_at": now,
        "starts_at": now + timedelta(hours=1),
        "passes_per_minute": 600,
    }
    return WaitingRoom(**defaults | terms)


def test_each_deed_is_audited(boss: User) -> None:
    open_room(new_room(), by=boss)
    change_room("drop", by=boss, reason="more stock", passes_per_minute=900)
    close_room("drop", by=boss, reason="sold out")
    deeds = AuditEvent.objects.order_by("id").values_list("action", "reason", "object_id")
    assert list(deeds) == [
        ("sequencer.open_waiting_room", "", "drop"),
        ("sequencer.change_waiting_room", "more stock", "drop"),
        ("sequencer.close_waiting_room", "sold out", "drop"),
    ]
    assert WaitingRoom.objects.get().passes_per_minute == 900


@pytest.mark.parametrize(
    "terms",
    [
        {"passes_per_minute": 0},
        {"passes_per_minute": 1_000_001},
        {"pass_life_s": 5},
        {"name": "no spaces"},
        {"path_prefix": "/admin/"},
        {"starts_at": timezone.now() - timedelta(days=1)},
        {"title": ""},
    ],
)
def test_terms_that_make_no_room_are_refused_and_leave_nothing(terms: dict[str, Any]) -> None:
    with pytest.raises(RoomRefused):
        open_room(new_room(**terms), by=None)
    assert not WaitingRoom.objects.exists() and not AuditEvent.objects.exists()


def test_a_closed_room_stays_closed_and_an_unknown_one_is_told() -> None:
    open_room(new_room(), by=None)
    close_room("drop", by=None, reason="over")
    with pytest.raises(RoomClosed):
        change_room("drop", by=None, reason="again", passes_per_minute=1)
    with pytest.raises(UnknownRoom):
        close_room("other", by=None, reason="over")


def test_what_a_room_guards_on_the_web_asks_for_the_pass(boss: User) -> None:
    room = open_room(new_room(path_prefix="/api/v1/campaigns/DROP/"), by=None)
    guarded, free = "/api/v1/campaigns/DROP/claims/", "/api/v1/campaigns/OTHER/claims/"
    good = write_pass(Pass(room.pk, boss.pk, int(timezone.now().timestamp()) + 60))
    late = timezone.now() + timedelta(seconds=61)
    bare, by_header, by_cookie = HttpRequest(), HttpRequest(), HttpRequest()
    by_header.META["HTTP_X_WAITING_ROOM_PASS"] = good
    by_cookie.COOKIES["scrip_pass_drop"] = good
    require_passes(bare, free, user_id=boss.pk)
    require_passes(by_header, guarded, user_id=boss.pk)
    require_passes(by_cookie, guarded, user_id=boss.pk)
    with pytest.raises(PassRequired) as refused:
        require_passes(bare, guarded, user_id=boss.pk)
    assert refused.value.members["page_url"] == "/waiting/drop/"
    with pytest.raises(PassRequired):
        require_passes(by_cookie, guarded, user_id=boss.pk + 1)
    with pytest.raises(PassRequired):
        require_passes(by_cookie, guarded, user_id=boss.pk, now=late)
    require_passes(bare, guarded, user_id=boss.pk, now=room.opens_at - timedelta(seconds=1))
    close_room("drop", by=None, reason="over")
    require_passes(bare, guarded, user_id=boss.pk)


def test_the_command_opens_lists_changes_and_closes(boss: User) -> None:
    def manage(*words: str) -> str:
        out = StringIO()
        call_command("waiting_room", *words, stdout=out)
        return out.getvalue()

    start = (timezone.now() + timedelta(hours=2)).isoformat()
    terms = ("--title", "A drop", "--starts-at", start, "--passes-per-minute", "60")
    assert "/waiting/drop/" in manage("open", "drop", *terms, "--market", "CUP.PTS")
    assert "60 passes a minute, guards CUP.PTS, 0 waiting, 0 passed" in manage("list")
    manage("change", "drop", "--passes-per-minute", "90", "--reason", "more", "--by", "boss")
    assert WaitingRoom.objects.get().passes_per_minute == 90
    assert AuditEvent.objects.latest("id").actor_name == "boss@example.com"
    manage("close", "drop", "--reason", "over")
    with pytest.raises(CommandError, match="waiting_room_closed"):
        manage("close", "drop", "--reason", "over")
    with pytest.raises(CommandError, match="waiting_room_refused"):
        manage("open", "bad name", *terms)
    with pytest.raises(CommandError, match="Nobody"):
        manage("close", "drop", "--reason", "over", "--by", "noone")


def test_the_admin_opens_changes_and_closes(boss: User, client: Client) -> None:
    client.force_login(boss)
    start = timezone.now() + timedelta(hours=2)
    form = {
        "name": "drop", "title": "A drop", "passes_per_minute": "60", "pass_life_s": "600",
        "opens_at_0": "2026-11-21", "opens_at_1": "00:00:00", "market": "", "path_prefix": "",
        "starts_at_0": f"{start:%Y-%m-%d}", "starts_at_1": f"{start:%H:%M:%S}",
        "reason": "a drop on Friday",
    }  # fmt: skip
    added = client.post("/admin/sequencer/waitingroom/add/", form)
    assert added.status_code == 302, added.content.decode()
    room = WaitingRoom.objects.get()
    url = f"/admin/sequencer/waitingroom/{room.pk}/change/"
    changed = client.post(url, form | {"passes_per_minute": "120", "reason": "more stock"})
    assert changed.status_code == 302
    room.refresh_from_db()
    assert (room.passes_per_minute, room.name) == (120, "drop")
    bad = client.post(url, form | {"passes_per_minute": "0"})
    assert bad.status_code == 200
    closing = {"action": "close", "_selected_action": [room.pk], "reason": "sold out"}
    client.post("/admin/sequencer/waitingroom/", closing)
    room.refresh_from_db()
    assert room.closed_at is not None
    assert AuditEvent.objects.filter(reason="sold out").exists()
    assert client.get(url).status_code == 200


def test_signing_in_gives_a_ticket_of_ones_own_and_keeps_the_place(
    boss: User, client: Client
) -> None:
    room = open_room(new_room(), by=None)
    cookie = ticket_cookie("drop").decode()
    anonymous = client.get("/waiting/drop/enter/")
    assert anonymous.status_code == 302 and "/accounts/login/" in anonymous["location"]
    client.force_login(boss, backend="allauth.account.auth_backends.AuthenticationBackend")
    entered = client.get("/waiting/drop/enter/")
    assert entered["location"] == "/waiting/drop/"
    assert read_ticket(client.cookies[cookie].value) == Ticket(room.pk, boss.pk, -1.0)
    client.cookies[cookie] = placed = write_ticket(Ticket(room.pk, boss.pk, 0.25))
    client.get("/waiting/drop/enter/")
    assert client.cookies[cookie].value == placed
    client.cookies[cookie] = write_ticket(Ticket(room.pk, boss.pk + 1, 0.01))
    client.get("/waiting/drop/enter/")
    assert read_ticket(client.cookies[cookie].value) == Ticket(room.pk, boss.pk, -1.0)
    assert client.get("/waiting/none/enter/").status_code == 404


def test_the_start_of_a_room_that_has_started_stays() -> None:
    """Who would come before another start had a lot, and went before those who wait already."""
    started = timezone.now() - timedelta(minutes=10)
    open_room(new_room(opens_at=started, starts_at=started), by=None)
    for moment in (started + timedelta(hours=1), started - timedelta(minutes=1)):
        with pytest.raises(RoomStarted):
            change_room("drop", by=None, reason="later", starts_at=moment)
    change_room("drop", by=None, reason="faster", starts_at=started, passes_per_minute=900)
    assert WaitingRoom.objects.get().passes_per_minute == 900
