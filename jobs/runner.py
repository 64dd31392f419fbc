"""Running jobs: claim, do, end. Each kind keeps its own promise (`jobs/registry.py`)."""

from __future__ import annotations

import logging
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from celery.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, InterfaceError, connection, transaction

from jobs import bell, claims
from jobs.claims import Claim
from jobs.problems import LeaseLost, UnknownJob
from jobs.registry import Declaration, Step, declarations, find
from jobs.rules import Reason, Wish

logger = logging.getLogger(__name__)


JOBS_PER_COMMIT = 25
Ready = tuple[Declaration, Claim]
T = TypeVar("T")


class TimeLimit(BaseException):
    """The job took too long. No Exception, so that no job swallows it by accident."""


def run_all(ids: Sequence[int]) -> int:
    """Run those of these jobs that still wait; say how many. Part only, if time runs short:
    the sweeper rings again for the rest."""
    until = time.monotonic() + bell.TURN_S
    connection.close_if_unusable_or_obsolete()
    ran, left = 0, ids
    if len(ids) > 1:
        ran = _guarded(lambda: _run_sharing(ids), 0)
        # Much that was rung again is done already: one look is cheaper than a claim for each.
        left = _guarded(lambda: claims.still_waiting(ids), [])
    for job_id in left:
        if ran and time.monotonic() > until:
            break
        ran += _guarded(partial(run_one, job_id), False)
    return ran


def _guarded(run: Callable[[], T], otherwise: T) -> T:
    """Run something that may find the database gone: then its jobs wait for the sweeper."""
    try:
        return run()
    except (DatabaseError, InterfaceError) as error:
        logger.warning("jobs wait for the database: %s", error)
        connection.close()
        return otherwise


def run_one(job_id: int) -> bool:
    """Run a job if it is queued and due. Whatever goes wrong inside ends in its row."""
    held = claims.claim(job_id)
    if held is not None and (declaration := _known(held)):
        _attempt(declaration, held)
    return held is not None


def _known(held: Claim) -> Declaration | None:
    """The job's declaration, if it is one that we can serve; else the job is stranded."""
    try:
        declaration = find(held.name)
    except UnknownJob:
        _strand(held, Reason.UNKNOWN_NAME, f"nobody here declares {held.name}")
        return None
    if held.version > declaration.version:
        why = f"written by version {held.version}; here is version {declaration.version}"
        _strand(held, Reason.NEWER_VERSION, why)
    elif why := declaration.mismatch(held.arguments):
        _strand(held, Reason.WRONG_ARGUMENTS, why)
    else:
        return declaration
    return None


def _strand(held: Claim, reason: Reason, error: str) -> None:
    logger.error("job %s %s is stranded: %s", held.name, held.id, error)
    claims.strand(held, reason, error)


def _attempt(declaration: Declaration, held: Claim) -> None:
    try:
        _KINDS[declaration.kind](declaration, held)
    except (TimeLimit, SoftTimeLimitExceeded):
        # It may have struck in the middle of a query: this connection is not to be trusted.
        connection.close()
        _fail(held, Reason.TIME_LIMIT, f"took longer than {held.time_limit_s} s")
    except LeaseLost:
        logger.warning("job %s %s was given to somebody else", held.name, held.id)
    except Exception:  # noqa: BLE001 (a job may raise anything; its row keeps what)
        _fail(held, Reason.RAISED, traceback.format_exc())


def _fail(held: Claim, reason: Reason, error: str) -> None:
    logger.warning("job %s %s failed (%s): %s", held.name, held.id, reason, error[-300:])
    if not connection.is_usable():
        connection.close()
    claims.fail(held, reason, error)


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeLimit` in the block after so long. Only a process's main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def strike(number: int, frame: object) -> None:  # noqa: ARG001 (the signal's own form)
        raise TimeLimit

    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# -- together --------------------------------------------------------------------------


def _run_sharing(ids: Sequence[int]) -> int:
    """Run those of these jobs that share commits; say how many."""
    names = [each.name for each in declarations().values() if each.shares_commit]
    ran = 0
    for start in range(0, len(ids), JOBS_PER_COMMIT):
        held = claims.claim_named(ids[start : start + JOBS_PER_COMMIT], names)
        ran += len(held) - _run_group([(known, each) for each in held if (known := _known(each))])
    return ran


def _run_group(jobs: list[Ready]) -> int:
    """Run jobs in one transaction, each in a savepoint, and end them together.

    If one has lost its lease, or the whole goes wrong, each is run alone; if one takes too
    long, the others are put back, and their number is given. Should the commit have come
    through after all, their fences tell.
    """
    failed: dict[int, str] = {}
    at_work: list[Claim] = []
    try:
        with transaction.atomic(durable=_is_durable()):
            for declaration, held in jobs:
                at_work[:] = [held]
                _run_in_savepoint(declaration, held, failed)
            claims.end_together([held for _, held in jobs if held.id not in failed])
    except (TimeLimit, SoftTimeLimitExceeded):
        return _blame(at_work, [held for _, held in jobs if held not in at_work])
    except (LeaseLost, DatabaseError, InterfaceError) as error:
        if not isinstance(error, LeaseLost):
            connection.close()
        _run_each(jobs)
        return 0
    for _, held in jobs:
        if held.id in failed:
            _fail(held, Reason.RAISED, failed[held.id])
    return 0


def _blame(late: list[Claim], others: list[Claim]) -> int:
    """One job used up the time of all: it alone has failed, and the others were not begun."""
    connection.close()
    claims.unclaim(others)
    for held in late:
        _fail(held, Reason.TIME_LIMIT, f"took longer than {held.time_limit_s} s")
    return len(others)


def _run_each(jobs: list[Ready]) -> None:
    for declaration, held in jobs:
        _attempt(declaration, held)


def _run_in_savepoint(declaration: Declaration, held: Claim, failed: dict[int, str]) -> None:
    try:
        with _time_limit(held.time_limit_s), transaction.atomic():
            declaration.run(**held.arguments)
    except SoftTimeLimitExceeded:
        raise
    except Exception:  # noqa: BLE001 (a job may raise anything; its row keeps what)
        failed[held.id] = traceback.format_exc()


# -- the kinds -------------------------------------------------------------------------


def _run_transaction(declaration: Declaration, held: Claim) -> None:
    with _time_limit(held.time_limit_s), transaction.atomic(durable=_is_durable()):
        declaration.run(**held.arguments)
        claims.end(held)


def _run_repeatable(declaration: Declaration, held: Claim) -> None:
    with _time_limit(held.time_limit_s):
        declaration.run(**held.arguments)
    with transaction.atomic(durable=_is_durable()):
        claims.end(held)


def _run_outside(declaration: Declaration, held: Claim) -> None:
    work = OutsideWork(held)
    with _time_limit(held.time_limit_s):
        declaration.run(work, **held.arguments)
        if not work.is_finished:
            with work.finish():
                pass


def _run_long(declaration: Declaration, held: Claim) -> None:
    """Step after step for a turn; then it queues up again, so that others get theirs, and no
    message lasts longer than Celery lets it."""
    notes, is_over, until = held.progress, False, time.monotonic() + bell.TURN_S
    while not is_over:
        with _time_limit(held.time_limit_s), transaction.atomic(durable=_is_durable()):
            step: Step = declaration.run(notes, **held.arguments)
            wish = claims.step(held, step)
            is_over = step.is_last or wish != Wish.NONE
            if step.is_last:
                claims.end(held)
            elif is_over:
                claims.stop(held, is_cancelled=wish == Wish.CANCEL)
            elif time.monotonic() > until:
                bell.ring_on_commit(claims.step_aside(held), [held.id], limit_s=held.time_limit_s)
                is_over = True
        notes = step.notes


def _is_durable() -> bool:
    """A job's transaction is the outermost, but for tests that wrap everything in one."""
    return not connection.in_atomic_block


class OutsideWork:
    """What an outside job holds in its hand: see `jobs.registry.Work`."""

    def __init__(self, held: Claim) -> None:
        self._held = held
        self.job_id = held.id
        self.attempt = held.attempt
        self.point = held.point
        self.notes: dict[str, Any] = dict(held.progress)
        self.is_finished = False

    @contextmanager
    def reach(self, point: str, **notes: Any) -> Iterator[None]:
        """Commit the block, the point and the notes together."""
        with transaction.atomic(durable=_is_durable()):
            yield
            claims.reach(self._held, point, notes)
        self.point = point
        self.notes |= notes

    def once(self, point: str, call: Callable[[], Any]) -> Any:
        """Call the outside unless its answer was noted already."""
        if point not in self.notes:
            answer = call()
            with self.reach(point, **{point: answer}):
                pass
        return self.notes[point]

    @contextmanager
    def finish(self) -> Iterator[None]:
        """Commit the block and the job's end together."""
        with transaction.atomic(durable=_is_durable()):
            yield
            claims.end(self._held)
        self.is_finished = True


_KINDS: dict[str, Callable[[Declaration, Claim], None]] = {
    "transaction": _run_transaction,
    "repeatable": _run_repeatable,
    "outside": _run_outside,
    "long": _run_long,
}
