"""Compares the arms of a test: how many reached the goal, and how sure the difference is. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

Z_95 = 1.959964


class Arm(NamedTuple):
    """One arm: how many people it was given to, and how many of them reached the goal."""

    code: str
    people: int
    converted: int

    @property
    def rate(self) -> float | None:
        return self.converted / self.people if self.people else None


class Compared(NamedTuple):
    """An arm beside the first. `low` and `high` bound the difference of rates by 95 %."""

    arm: Arm
    uplift: float | None
    difference: float | None
    low: float | None
    high: float | None


def compare(arms: Sequence[Arm]) -> list[Compared]:
    """Set each arm beside the first one. What cannot be said yet is `None`."""
    base = arms[0] if arms else None
    return [_compared(arm, base) for arm in arms]


def _compared(arm: Arm, base: Arm | None) -> Compared:
    if base is None or arm is base or arm.rate is None or base.rate is None:
        return Compared(arm, None, None, None, None)
    difference = arm.rate - base.rate
    # Agresti and Caffo: one success and one failure more in each arm keep small samples honest.
    rates = [((each.converted + 1) / (each.people + 2), each.people + 2) for each in (arm, base)]
    centre = rates[0][0] - rates[1][0]
    spread = Z_95 * math.sqrt(sum(rate * (1 - rate) / count for rate, count in rates))
    uplift = difference / base.rate if base.rate else None
    return Compared(arm, uplift, difference, centre - spread, centre + spread)
