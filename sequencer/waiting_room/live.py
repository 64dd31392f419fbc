"""How many people a room has just now, for operators to look at."""

from __future__ import annotations

from typing import Any

import redis
from django.conf import settings

from sequencer.waiting_room.line import line_keys

TIMEOUT_S = 0.5


def people(room_id: int) -> str:
    """Say how many wait and how many got a pass; or that nobody knows just now."""
    line, _, _, passes = line_keys(room_id)
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=TIMEOUT_S) as client:
            waiting: Any = client.zcard(line)
            passed: Any = client.hlen(passes)
    except redis.RedisError:
        return "Redis does not answer"
    return f"{waiting} waiting, {passed} passed"
