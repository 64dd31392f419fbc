"""What jobs there are: each app declares its own in `tasks.py`, beside its other doors.

    @job("rewards.expire_vouchers")
    def expire_vouchers(*, series_id: int) -> None:
        actions.expire(series_id)

Four kinds, by what must hold when the worker dies in the middle:

- `@job`: the effect is in PostgreSQL alone. It and the job's end are one transaction.
- `@repeatable_job`: it has transactions of its own, and running it again does no harm.
- `@outside_job`: it speaks with the outside, between transactions, from one recovery point
  to the next. The function gets a `Work`.
- `@long_job`: many steps, each a transaction with the progress. The function does one step.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, Protocol, TypeVar

from django.utils.module_loading import autodiscover_modules

from jobs.problems import BadArguments, UnknownJob
from jobs.rules import QUEUE, QUEUES

LONGEST_LIMIT_S = 3_600

Kind = Literal["transaction", "repeatable", "outside", "long"]
TAKES_ONLY_ARGUMENTS = frozenset({"transaction", "repeatable"})
Json = dict[str, Any]
F = TypeVar("F", bound=Callable[..., Any])


class Work(Protocol):
    """What an outside job holds in its hand: how far it came, and how to go on.

    `point` names the last recovery point ("" at first), `notes` is what was noted at all of
    them. Everything noted must be JSON, 64 kB in all.
    """

    job_id: int
    attempt: int
    point: str
    notes: Json

    def reach(self, point: str, **notes: Any) -> AbstractContextManager[None]:
        """Open a transaction that ends at a recovery point: what is done in the block, the
        point and the notes commit together, or the lease is lost and nothing does."""

    def once(self, point: str, call: Callable[[], Any]) -> Any:
        """Call the outside unless its answer was noted already. The call may be repeated if
        the worker dies before the note commits: give the outside a key that tells repeats."""

    def finish(self) -> AbstractContextManager[None]:
        """Open the last transaction: what is done in the block ends the job."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of a long job did: how many are done in all, of how many, what the next
    step needs to know. `is_last` ends the job."""

    done: int
    total: int | None = None
    notes: Json = field(default_factory=dict)
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Declaration:
    """A kind of job, as its app declared it."""

    name: str
    kind: Kind
    run: Callable[..., Any]
    queue: str
    time_limit_s: int
    most_attempts: int
    backoff_s: int
    version: int
    shares_commit: bool = False

    def mismatch(self, arguments: Mapping[str, Any]) -> str:
        """Say why these arguments do not fit the function; "" if they do."""
        handed = () if self.kind in TAKES_ONLY_ARGUMENTS else (None,)
        try:
            _signature(self.run).bind(*handed, **arguments)
        except TypeError as error:
            return str(error)
        return ""

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raise `BadArguments` unless the function can be called with these."""
        if why := self.mismatch(arguments):
            raise BadArguments(f"{self.name}: {why}")


_declared: dict[str, Declaration] = {}
_signature = cache(inspect.signature)


def job(
    name: str,
    *,
    queue: str = QUEUE,
    time_limit_s: int = 60,
    most_attempts: int = 8,
    backoff_s: int = 1,
    version: int = 1,
    shares_commit: bool = False,
) -> Callable[[F], F]:
    """Declare work whose whole effect is in PostgreSQL; it runs in the transaction of its end.

    `time_limit_s` is for one attempt. After a failure it waits a random time up to
    `backoff_s`, doubled each time, at most ten minutes; after `most_attempts` it is dead.
    Raise `version` when the arguments change their meaning.

    `shares_commit` lets jobs that were rung together commit together, each in a savepoint of
    its own: several times as many a second. Only for quick work that locks no row which
    others lock too; never for what goes through the ledger's door.
    """
    return _declaring(
        name, "transaction", queue, time_limit_s, most_attempts, backoff_s, version, shares_commit
    )


def repeatable_job(
    name: str,
    *,
    queue: str = QUEUE,
    time_limit_s: int = 60,
    most_attempts: int = 8,
    backoff_s: int = 1,
    version: int = 1,
) -> Callable[[F], F]:
    """Declare work with transactions of its own, which may be done again at any time."""
    return _declaring(name, "repeatable", queue, time_limit_s, most_attempts, backoff_s, version)


def outside_job(
    name: str,
    *,
    queue: str = QUEUE,
    time_limit_s: int = 60,
    most_attempts: int = 8,
    backoff_s: int = 5,
    version: int = 1,
) -> Callable[[F], F]:
    """Declare work that calls the outside; its function gets a `Work` first."""
    return _declaring(name, "outside", queue, time_limit_s, most_attempts, backoff_s, version)


def long_job(
    name: str,
    *,
    queue: str = QUEUE,
    time_limit_s: int = 60,
    most_attempts: int = 8,
    backoff_s: int = 1,
    version: int = 1,
) -> Callable[[F], F]:
    """Declare work in steps; its function gets the notes of the step before, and returns a
    `Step`. `time_limit_s` and the attempts count for a step, not for the whole."""
    return _declaring(name, "long", queue, time_limit_s, most_attempts, backoff_s, version)


def _declaring(
    name: str,
    kind: Kind,
    queue: str,
    time_limit_s: int,
    most_attempts: int,
    backoff_s: int,
    version: int,
    shares_commit: bool = False,
) -> Callable[[F], F]:
    assert 0 < time_limit_s <= LONGEST_LIMIT_S and most_attempts > 0 and backoff_s > 0
    assert 0 < len(name) <= 100
    assert queue in QUEUES, f"{name}: nobody works on the queue {queue}"

    def declare(run: F) -> F:
        known = _declared.get(name)
        assert known is None or known.run.__module__ == run.__module__, f"{name} is declared twice"
        _declared[name] = Declaration(
            name, kind, run, queue, time_limit_s, most_attempts, backoff_s, version, shares_commit
        )
        return run

    return declare


def find(name: str) -> Declaration:
    """Give a declaration by its name. Raises `UnknownJob`."""
    declaration = declarations().get(name)
    if declaration is None:
        raise UnknownJob(name)
    return declaration


def declarations() -> Mapping[str, Declaration]:
    """All jobs of all installed apps; their `tasks.py` are imported on the first call."""
    _discover()
    return _declared


@cache
def _discover() -> None:
    autodiscover_modules("tasks")
