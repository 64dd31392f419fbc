"""What a job may be, and when it is tried again. Pure.

A job that failed waits a random time up to its `backoff_s`, doubled with each attempt, and
never longer than `LONGEST_BACKOFF_S`; the randomness keeps jobs that failed together from
coming back together. The sum itself is in claims.py, in SQL.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

QUEUE = "scrip"
SLOW_QUEUE = "slow"
QUEUES = (QUEUE, SLOW_QUEUE)
"""Each has workers of its own (config/supervisor/table.py), so that work which takes minutes
keeps nobody waiting who waits for the other. A queue without workers would keep jobs for ever."""
LARGEST_ARGUMENTS_BYTES = 64 * 1024
LONGEST_ERROR = 4_000
LONGEST_KEY = 200
LONGEST_BACKOFF_S = 600
JOBS_PER_CALL = 10_000
LEASE_GRACE_S = 30
"""A lease lasts this much longer than the job may take."""
STRANDED_DAYS = 7
"""A job that nobody knows how to do is given up after so long."""


class State(IntEnum):
    """Where a job stands. From DONE on it has ended."""

    QUEUED = 1
    RUNNING = 2
    PAUSED = 3
    STRANDED = 4
    DONE = 5
    DEAD = 6
    CANCELLED = 7


class Reason(StrEnum):
    """Why a job failed or is stranded; `error` says more in words."""

    NONE = ""
    RAISED = "raised"
    TIME_LIMIT = "time_limit"
    KILLED = "killed"
    WORKER_LOST = "worker_lost"
    LEASE_EXPIRED = "lease_expired"
    UNKNOWN_NAME = "unknown_name"
    NEWER_VERSION = "newer_version"
    WRONG_ARGUMENTS = "wrong_arguments"
    DISCARDED = "discarded"


class Wish(IntEnum):
    """What a person wants of a job that is at work; it is heard between two steps."""

    NONE = 0
    PAUSE = 1
    CANCEL = 2
