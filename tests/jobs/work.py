"""Jobs for tests: each leaves rows in an `effects` table, which keeps no two from being equal."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from django.db import connection

from jobs import SLOW_QUEUE, Step, Work, job, long_job, outside_job

TABLE = "CREATE TABLE IF NOT EXISTS effects (number bigint NOT NULL, what text NOT NULL DEFAULT '')"


def leave(number: int, what: str = "") -> None:
    """The effect: one more row."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO effects (number, what) VALUES (%s, %s)", [number, what])


@job("tests.leave")
def leave_one(*, number: int) -> None:
    leave(number)


@job("tests.dawdle")
def dawdle(*, number: int) -> None:
    """Leaves its effect, and a moment in which to be killed before the commit."""
    leave(number)
    time.sleep(0.002)


@job("tests.share", shares_commit=True, time_limit_s=1, most_attempts=1)
def share(*, number: int) -> None:
    leave(number)
    if number < 0:
        raise ValueError(f"no luck with {number}")
    if number == 13:
        time.sleep(2)


@job("tests.raise", most_attempts=3)
def leave_and_raise(*, number: int) -> None:
    leave(number)
    raise ValueError(f"no luck with {number}\0")


@job("tests.hang", time_limit_s=1, most_attempts=1)
def hang(*, number: int) -> None:
    leave(number)
    time.sleep(60)


@job("tests.sleep", time_limit_s=60, most_attempts=1)
def sleep(*, number: int) -> None:
    hang(number=number)


@job("tests.sleep_slowly", queue=SLOW_QUEUE, most_attempts=1)
def sleep_slowly(*, number: int) -> None:
    hang(number=number)


@job("tests.hang_hard", time_limit_s=1, most_attempts=1)
def hang_hard(*, number: int) -> None:
    """Hears no signal, as code that never comes back from C does."""
    leave(number)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM, signal.SIGUSR1])
    time.sleep(120)


@job("tests.die", most_attempts=1)
def die(*, number: int) -> None:
    """What the kernel does to who takes too much memory."""
    leave(number)
    os.kill(os.getpid(), signal.SIGKILL)


@outside_job("tests.call", most_attempts=4)
def call(work: Work, *, number: int) -> None:
    with work.reach("intent", asked=number):
        leave(number, "intent")
    answer = work.once("answer", lambda: outside(number))
    with work.finish():
        leave(number, f"finished {answer}")


calls: list[int] = []
breaks_before: list[str] = []


def outside(number: int) -> str:
    """The outside world, which counts how often it was called."""
    calls.append(number)
    if breaks_before:
        raise ConnectionError(breaks_before.pop())
    return f"answer {number}"


@long_job("tests.count_briskly", time_limit_s=2, most_attempts=1)
def count_briskly(notes: dict[str, Any], *, upto: int, pause_s: float) -> Step:
    """Its steps keep within their limit, the whole does not."""
    return count({"number": notes.get("number", 1_000)}, upto=upto + 1_000, pause_s=pause_s)


@long_job("tests.count")
def count(notes: dict[str, Any], *, upto: int, pause_s: float = 0.0) -> Step:
    """One step: the next number."""
    number = notes.get("number", 0) + 1
    leave(number)
    time.sleep(pause_s)
    return Step(done=number, total=upto, notes={"number": number}, is_last=number == upto)
