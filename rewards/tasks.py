"""The rewards' jobs: each calls one action."""

from __future__ import annotations

from typing import Any

from jobs import Step, long_job, repeatable_job
from rewards.bulk import steps
from rewards.redemption import expiry

SWEEP_PAGES = 200
"""Pages of two thousand codes that one sweep posts; the next one goes on."""


@long_job("rewards.bulk", time_limit_s=900)
def bulk(notes: dict[str, Any], *, bulk_job_id: int) -> Step:  # noqa: ARG001 (its row has them)
    """Do a step of work on many codes."""
    return steps.step(bulk_job_id)


@repeatable_job("rewards.lapse_reservations")
def lapse_reservations() -> None:
    """Free the vouchers whose reservations are over."""
    while expiry.lapse_reservations():
        pass


@repeatable_job("rewards.break_expired", time_limit_s=600)
def break_expired() -> None:
    """Post the breakage of what expired."""
    for _ in range(SWEEP_PAGES):
        if not expiry.break_expired():
            return
