"""Operators see writers and failed commands, and can change neither."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import redis
from django.conf import settings
from django.test import Client
from django.utils import timezone

from accounts.models import User
from sequencer.models import DeadLetter, Shard
from sequencer.stream import stream_key

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


def test_operators_see_how_far_a_writer_is_behind(client: Client) -> None:
    boss = User.objects.create(
        handle="boss", email="boss@example.com", is_staff=True, is_superuser=True
    )
    client.force_login(boss)
    stream = redis.Redis.from_url(settings.REDIS_URL)
    stream.delete(stream_key(4007))
    for _ in range(37):
        stream.xadd(stream_key(4007), {"c": b"x"})
    Shard.objects.create(
        id=4007, state=Shard.State.RUNNING, batches=4, commands=50, last_batch_size=19,
        heartbeat_at=timezone.now(),
    )  # fmt: skip
    shown = client.get("/admin/sequencer/shard/").content.decode()
    stream.delete(stream_key(4007))
    assert ">37<" in shown
    assert ">12.5<" in shown
    assert ">0.0<" in shown
