"""Campaign work that happens later, in a worker."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from jobs import SLOW_QUEUE, Step, job, long_job, repeatable_job
from rewards.campaigns import people, simulating, standings


@long_job(simulating.JOB, queue=SLOW_QUEUE, time_limit_s=300)
def simulate(notes: dict[str, Any], *, simulation_id: int) -> Step:
    """Do ten runs of a trial a step."""
    done, total, costs = simulating.step(simulation_id, notes.get("costs", []))
    return Step(done=done, total=total, notes={"costs": costs}, is_last=done >= total)


@job("campaigns.follow_tiers", queue=SLOW_QUEUE, time_limit_s=300)
def follow_tiers() -> int:
    """Tell of levels that fell because a period is over; say how many."""
    return standings.follow_due(timezone.now())


@repeatable_job("campaigns.forget_refusals", queue=SLOW_QUEUE, time_limit_s=600)
def forget_refusals() -> int:
    """Forget why claims were refused long ago; say how many."""
    return people.forget_refusals(timezone.now())
