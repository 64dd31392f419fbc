"""Rate limits: a burst at once, then a steady pace, counted for all processes together."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from rest_framework.test import APIClient

from accounts import throttling
from accounts.actions import create_key
from accounts.models import User
from accounts.throttling import wait_ms


def test_burst_passes_then_the_pace_is_kept() -> None:
    waits = [wait_ms("x", per_minute=600, burst=5) for _ in range(7)]
    assert waits[:5] == [0] * 5
    assert all(50 <= wait <= 100 for wait in waits[5:])
    time.sleep(waits[6] / 1000)
    assert wait_ms("x", per_minute=600, burst=5) == 0
    assert wait_ms("y", per_minute=600, burst=5) == 0


def test_racing_callers_share_one_burst() -> None:
    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(lambda _: wait_ms("z", per_minute=1, burst=10), range(40)))
    assert waits.count(0) == 10


def test_everyone_passes_while_redis_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    away = redis.Redis.from_url("unix:///nowhere.sock")
    monkeypatch.setattr(throttling, "_redis", lambda: away)
    assert [wait_ms("x", per_minute=1, burst=1) for _ in range(3)] == [0, 0, 0]


@pytest.mark.django_db
def test_each_key_has_its_own_limit(
    api: APIClient, person: Callable[..., User], settings: Any
) -> None:
    settings.API_RATE_BURST, settings.API_RATE_PER_MINUTE = 2, 6
    alice = person("alice")
    one, other = (create_key(alice, name=n, scopes=["wallet:read"]).token for n in "ab")
    headers = {"Authorization": f"Bearer {one}"}
    answers = [api.get("/api/v1/me/", headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["code"] == "rate_limited"
    assert answers[2]["Retry-After"] == "10"
    headers = {"Authorization": f"Bearer {other}"}
    assert api.get("/api/v1/me/", headers=headers).status_code == 200
