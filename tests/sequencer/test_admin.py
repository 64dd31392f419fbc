"""Operators see writers and failed commands, and can change neither."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.test import Client

from accounts.models import User
from sequencer.models import DeadLetter, Shard

pytestmark = pytest.mark.django_db


def test_a_failed_command_is_shown_with_its_error_and_cannot_be_changed(client: Client) -> None:
    boss = User.objects.create(
        handle="boss", email="boss@example.com", is_staff=True, is_superuser=True
    )
    client.force_login(boss)
    Shard.objects.create(id=3, epoch=9, state=Shard.State.RUNNING)
    letter = DeadLetter.objects.create(
        command_id="ab12", shard=3, kind="order.place", user_id=boss.pk,
        sent_at=datetime(2026, 1, 2, tzinfo=UTC), body=b"\x93body", error="ValueError: why",
    )  # fmt: skip
    assert b"order.place" in client.get("/admin/sequencer/deadletter/?q=ab12").content
    shown = client.get(f"/admin/sequencer/deadletter/{letter.pk}/change/").content.decode()
    assert "ValueError: why" in shown
    assert "x93body" in shown
    assert client.post("/admin/sequencer/deadletter/add/").status_code == 403
    assert b"running" in client.get("/admin/sequencer/shard/").content.lower()
