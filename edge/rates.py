"""How fast one caller may ask: a token bucket a caller, kept as a single moment in time. Pure.

The rule is GCRA: what is asked moves a caller's due moment on by the time it is worth, and
is refused while that moment lies further ahead than the burst allows. Nothing is refilled,
and a caller whose moment has passed need not be remembered at all.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

MOST_CALLERS = 20_000
"""Callers remembered before those with a full bucket are forgotten."""


class Rate(NamedTuple):
    """So many a second for ever, and so many at once after a rest."""

    per_s: float
    burst: int


class Buckets:
    """The buckets of all callers of one process. The clock is the caller's: seconds, monotonic."""

    def __init__(self) -> None:
        self._due_at: dict[Hashable, float] = {}

    def take(self, caller: Hashable, rate: Rate, *, count: int, now: float) -> float:
        """Take `count` tokens and answer 0, or take none and say in how many seconds it can be.

        More than the burst at once can never be: that answers infinity.
        """
        if count > rate.burst:
            return float("inf")
        step_s = 1 / rate.per_s
        due_at = self._due_at.get(caller, now)
        if due_at < now:
            due_at = now
        wait_s = due_at + count * step_s - now - rate.burst * step_s
        # The sum above is exact to some nanoseconds only.
        if wait_s > 1e-9:
            return wait_s
        self._due_at[caller] = due_at + count * step_s
        if len(self._due_at) > MOST_CALLERS:
            self._forget(now)
        return 0

    def __len__(self) -> int:
        return len(self._due_at)

    def _forget(self, now: float) -> None:
        """Forget full buckets; if nearly all are in use, the half that is due first."""
        kept = {caller: due_at for caller, due_at in self._due_at.items() if due_at > now}
        if len(kept) > MOST_CALLERS // 2:
            latest = sorted(kept.items(), key=lambda item: item[1])[-MOST_CALLERS // 2 :]
            kept = dict(latest)
        self._due_at = kept
