"""Limits how fast one caller may ask, counted in the cache's Redis for all processes together.

The rule is GCRA: `burst` requests at once, then one every `60 / per_minute` seconds. It
keeps a single number a caller, and knows to the millisecond when the next one may come.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING

import redis
from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from accounts.models import ApiKey
from edge.callers import client_ip

if TYPE_CHECKING:
    # DRF loads its default throttles while it is itself half loaded.
    from rest_framework.views import APIView

logger = logging.getLogger(__name__)

TIMEOUT_S = 0.25
# KEYS: the caller. ARGV: milliseconds between requests, burst, what this one counts. Answers how
# long to wait, in ms.
# The time is Redis's own, so processes with different clocks agree.
_GCRA = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local step, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local wait = due - now - step * (burst - 1)
if wait > 0 then return math.ceil(wait) end
local cost = step * tonumber(ARGV[3])
if cost > 0 then redis.call('SET', KEYS[1], due + cost, 'PX', math.ceil(due + cost - now)) end
return 0
"""


@cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(
        settings.CACHES["default"]["LOCATION"],
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
    )


def wait_ms(caller: str, *, per_minute: int, burst: int, cost: int = 1) -> int:
    """Count a request and say how long its caller must wait: 0 means it may pass.

    `cost` 0 only asks, for what is counted later if it fails.

    When Redis does not answer everyone passes: the limit protects the service, it guards
    no money, and refusing all would be a worse failure than counting none.
    """
    try:
        step_ms = 60_000 / per_minute
        answer = _redis().eval(_GCRA, 1, f"rate:{caller}", str(step_ms), str(burst), str(cost))
    except redis.RedisError as error:
        logger.warning("Rate limits are off, Redis does not answer: %s", error)
        return 0
    assert isinstance(answer, int)
    return answer


class CallerRate(BaseThrottle):
    """The limit of every API view: by key, else by person, else by address."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        self._wait_ms = wait_ms(
            _caller(request),
            per_minute=settings.API_RATE_PER_MINUTE,
            burst=settings.API_RATE_BURST,
        )
        return self._wait_ms == 0

    def wait(self) -> float:
        return self._wait_ms / 1000


def _caller(request: Request) -> str:
    if isinstance(request.auth, ApiKey):
        return f"key:{request.auth.pk}"
    if request.user.is_authenticated:
        return f"user:{request.user.pk}"
    return f"ip:{client_ip(request)}"
