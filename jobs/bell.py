"""The bell: tells the workers, through Celery, which jobs wait. It promises nothing.

Many numbers travel in one message. If Redis is away, whoever rang goes on after a second at
most and rings nobody for a while, longer each time; the sweeper rings later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

TASK = "jobs.run"
JOBS_PER_RING = 50
KILL_GRACE_S = 5
"""Celery first asks a worker's child to stop, then kills it so much later."""
TURN_S = 5.0
"""A worker that has run through part of a message for so long leaves the rest to others."""
SILENT_S = 2.0
MOST_SILENT_S = 16.0
UNREACHABLE = (OperationalError, RedisError, OSError)


@dataclass
class _Silence:
    """Until when nobody rings. Each failure in a row doubles it: a frozen broker costs whoever
    rings a second each time, and that may be a person's request."""

    until: float = 0.0
    lasts_s: float = SILENT_S

    def fall(self) -> None:
        self.until = time.monotonic() + self.lasts_s
        self.lasts_s = min(2 * self.lasts_s, MOST_SILENT_S)

    def end(self) -> None:
        self.lasts_s = SILENT_S


_silence = _Silence()


def ring(queue: str, ids: Sequence[int], *, limit_s: int) -> bool:
    """Tell a worker of these jobs. False if the broker could not be reached; never raises so.

    About 0.2 ms for each message of 50.
    """
    if time.monotonic() < _silence.until:
        return False
    try:
        for pack in _packs(ids):
            current_app.send_task(
                TASK,
                args=(pack,),
                queue=queue,
                soft_time_limit=limit_s + TURN_S,
                time_limit=limit_s + TURN_S + KILL_GRACE_S,
                ignore_result=True,
                retry=False,
            )
    except UNREACHABLE as error:
        _silence.fall()
        logger.warning("the bell is silent for %s jobs: %s", len(ids), type(error).__name__)
        return False
    _silence.end()
    return True


def ring_on_commit(queue: str, ids: Sequence[int], *, limit_s: int) -> None:
    """Ring once this transaction has committed; its caller hears of no fault of the bell's."""

    # No partial: when a robust callback fails, Django asks for its name.
    def ring_now() -> None:
        ring(queue, ids, limit_s=limit_s)

    transaction.on_commit(ring_now, robust=True)


def waiting(queues: Sequence[str]) -> dict[str, int]:
    """How many messages wait in each queue, unheard. Raises one of `UNREACHABLE`."""
    with current_app.connection_for_write() as connection:
        channel = connection.default_channel
        return {
            name: channel.queue_declare(queue=name, passive=False, durable=True).message_count
            for name in queues
        }


def _packs(ids: Sequence[int]) -> Iterator[list[int]]:
    for start in range(0, len(ids), JOBS_PER_RING):
        yield list(ids[start : start + JOBS_PER_RING])
