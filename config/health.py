"""Says whether this installation lives, and whether it can serve.

/healthz answers as long as the process does. /readyz asks each part for a sign of life:
200 when all give one, else 503 as problem+json. Both answer before hosts, sessions and
redirects are looked at, so that probes reach them by any name.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import redis
from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, JsonResponse

from edge.problems import Unavailable, answer
from jobs.health import report
from live.models import Relay
from orderbook.market_data.projector import changes_behind
from orderbook.models import Projector
from sequencer.models import Shard
from sequencer.stream import stream_key

REDIS_TIMEOUT_S = 1.0
SILENCE_S = 5.0
"""Writers and the relay give a sign of life twice a second at least."""

NEEDED = ("database", "redis", "writers", "relay")
"""Without these nobody is served. A silent sweeper only delays jobs, and a silent projector
market data: they are shown, no more."""

Part = dict[str, Any]


class HealthMiddleware:
    """Answers the two addresses and lets everything else pass."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/healthz":
            return HttpResponse("alive\n", content_type="text/plain")
        if request.path == "/readyz":
            response = _readiness()
            # Whoever asks hears it; the log need not, each time somebody asks.
            response._has_been_logged = True  # type: ignore[attr-defined]
            return response
        return self._get_response(request)


def _readiness() -> HttpResponse:
    parts = check_parts()
    failing = [name for name in NEEDED if not parts[name]["is_ready"]]
    if not failing:
        return JsonResponse({"status": "ready", "parts": parts})
    refusal = Unavailable(f"Not ready: {', '.join(failing)}.", parts=parts)
    status, headers, body = answer(refusal)
    return HttpResponse(body, status=status, headers=headers)


def check_parts() -> dict[str, Part]:
    """Ask every part. Costs a handful of short queries and two Redis commands, at most 5 s."""
    checks = {
        "database": _database,
        "redis": _redis,
        "writers": _writers,
        "relay": _relay,
        "jobs": _jobs,
        "market_data": _market_data,
    }
    return {name: _check(ask) for name, ask in checks.items()}


def _check(ask: Callable[[], Part]) -> Part:
    started = time.monotonic()
    try:
        part = ask()
    except (Error, redis.RedisError) as error:
        # The kind of error says enough; its text may name hosts and users.
        part = {"is_ready": False, "error": type(error).__name__}
    return part | {"took_ms": round((time.monotonic() - started) * 1000, 1)}


def _database() -> Part:
    _database_clock()
    return {"is_ready": True}


def _database_clock() -> datetime:
    """The clock that the signs of life were written by."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
    assert isinstance(now, datetime)
    return now


def _redis() -> Part:
    _client().ping()
    return {"is_ready": True}


def _client() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
    )


def _writers() -> Part:
    """Each shard's writer: the age of its sign of life, and the stream entries that wait."""
    now = _database_clock()
    rows = {row.pk: row for row in Shard.objects.filter(pk__lt=settings.SHARD_COUNT)}
    client = _client()
    shards = []
    for number in range(settings.SHARD_COUNT):
        row = rows.get(number)
        state = row.state if row else Shard.State.STOPPED
        silence_s = _age_s(row.heartbeat_at if row else None, now)
        shards.append(
            {
                "shard": number,
                "state": state,
                "silence_s": silence_s,
                "waiting_entries": int(client.xlen(stream_key(number))),
                "is_ready": state == Shard.State.RUNNING and _is_fresh(silence_s),
            }
        )
    return {"is_ready": all(shard["is_ready"] for shard in shards), "shards": shards}


def _relay() -> Part:
    row = Relay.objects.filter(pk=1).first()
    silence_s = _age_s(row.heartbeat_at if row else None, _database_clock())
    return {
        "is_ready": _is_fresh(silence_s),
        "silence_s": silence_s,
        "lag_events": row.lag_events if row else None,
        "lag_ms": row.lag_ms if row else None,
    }


def _jobs() -> Part:
    """The queues, and whether the sweeper lives: then no job waits for ever."""
    return report().part()


def _market_data() -> Part:
    """The projector: the age of its sign of life, and the changes of markets it lacks."""
    row = Projector.objects.filter(pk=1).first()
    silence_s = _age_s(row.heartbeat_at if row else None, _database_clock())
    return {
        "is_ready": _is_fresh(silence_s),
        "silence_s": silence_s,
        "behind_changes": changes_behind(),
    }


def _age_s(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else round((now - moment).total_seconds(), 3)


def _is_fresh(silence_s: float | None) -> bool:
    return silence_s is not None and silence_s <= SILENCE_S
