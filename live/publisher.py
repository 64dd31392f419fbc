"""Tells events to the world through Redis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Protocol, cast

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from live.reader import Row

STREAM_KEY = "scrip:events"
STREAM_ENTRIES = 100_000
"""About how many entries the stream keeps; an entry carries up to 500 events."""
SOCKET_TIMEOUT_S = 5.0


class Told(msgspec.Struct, frozen=True, gc=False):
    """An event as the world gets it. `id` only grows; consumers drop ids they have seen."""

    id: str
    topic: str
    key: str
    at: datetime
    payload: msgspec.Raw


class Publisher(Protocol):
    """Where events are told."""

    def publish(self, rows: Sequence[Row], /) -> None:
        """Tell the events, in order. Raises `redis.RedisError` unless sure that they were."""


def topic_channel(topic: str) -> str:
    """Name the channel on which a topic's events are published, as JSON arrays."""
    return f"scrip:live:{topic}"


class RedisPublisher:
    """Tells events twice: on one stream, for those who follow everything, and on a channel
    for each topic, for those who listen to one thing. An entry or message carries many."""

    def __init__(self, url: str) -> None:
        self._redis: redis.Redis = redis.Redis.from_url(
            url,
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=SOCKET_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )

    def publish(self, rows: Sequence[Row], /) -> None:
        told = [_told(row) for row in rows]
        events = msgspec.json.encode(told)
        fields = {"first": told[0].id, "last": told[-1].id, "events": events}
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xadd(STREAM_KEY, cast(Any, fields), maxlen=STREAM_ENTRIES, approximate=True)
        # Sorting is stable: within a topic the ids stay in order.
        for topic, group in groupby(sorted(told, key=_topic), key=_topic):
            pipeline.publish(topic_channel(topic), msgspec.json.encode(list(group)))
        pipeline.execute()


def _told(row: Row) -> Told:
    at = row.created_at.astimezone(UTC)
    return Told(str(row.id), row.topic, row.key, at, msgspec.Raw(row.payload))


def _topic(event: Told) -> str:
    return event.topic
