"""The rewards' jobs: each calls one action."""

from __future__ import annotations

from typing import Any

from jobs import SLOW_QUEUE, Step, long_job, repeatable_job
from rewards.bulk import steps
from rewards.disputes import actions as disputes
from rewards.disputes import guarantees
from rewards.redemption import expiry

SWEEP_PAGES = 200
"""Pages of two thousand codes that one sweep posts; the next one goes on."""


@long_job("rewards.bulk", queue=SLOW_QUEUE, time_limit_s=900)
def bulk(notes: dict[str, Any], *, bulk_job_id: int) -> Step:  # noqa: ARG001 (its row has them)
    """Do a step of work on many codes."""
    return steps.step(bulk_job_id)


@repeatable_job("rewards.lapse_reservations")
def lapse_reservations() -> None:
    """Free the vouchers whose reservations are over."""
    while expiry.lapse_reservations():
        pass


@repeatable_job("rewards.break_expired", queue=SLOW_QUEUE, time_limit_s=600)
def break_expired() -> None:
    """Post the breakage of what expired."""
    for _ in range(SWEEP_PAGES):
        if not expiry.break_expired():
            return


@repeatable_job("rewards.release_guarantees", time_limit_s=300)
def release_guarantees() -> int:
    """Give issuers back what lay behind codes nobody disputed in time; say how many."""
    return guarantees.release_due()


@repeatable_job("rewards.end_silent_disputes", time_limit_s=300)
def end_silent_disputes() -> int:
    """Refund the disputes whose issuers did not answer in time; say how many."""
    return disputes.end_silences()


@repeatable_job("rewards.close_guarantees", queue=SLOW_QUEUE, time_limit_s=300)
def close_guarantees() -> int:
    """End the guarantees of series that have expired; say how many."""
    return guarantees.close_finished()
