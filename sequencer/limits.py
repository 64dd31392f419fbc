"""How much work may be under way at once, learnt from how long it takes. Pure.

`GradientLimit` compares how long an answer takes now with how long it took over a long
while: the longer it takes, the fewer may be under way. It is Netflix's Gradient2.
`AimdLimit` is the plain fallback: one more while answers come in time, a tenth less when one
does not. Neither ever sees the event loop's own lag: a busy gateway is not a slow writer, and
a limit that takes one for the other shuts the door for nothing.
"""

from __future__ import annotations

from typing import Protocol

INITIAL = 160.0
LEAST = 160.0
"""A writer commits what has arrived, and decides the next batch while it writes one: with 64
under way it had one batch in hand and waited, with 160 it does 1.4 times as much."""
MOST = 200.0
SMOOTHING = 0.2
TOLERANCE = 1.5
LONG_WINDOW = 600
WARM_UP = 10
"""The first answers count as their plain mean."""
QUEUE = 4.0
"""What may always wait: without it the limit could never grow again."""
BACK_OFF = 0.9


class Limit(Protocol):
    """How many may be under way. Told of answers, it moves."""

    @property
    def value(self) -> int: ...

    def answered(self, rtt_s: float, in_flight: int, /) -> None:
        """Some were answered; `in_flight` is the most that were under way just before."""

    def dropped(self) -> None:
        """One was not answered in time."""


class GradientLimit:
    """Netflix's Gradient2: the limit follows the ratio of a long to a short mean of the time."""

    def __init__(
        self,
        *,
        initial: float = INITIAL,
        least: float = LEAST,
        most: float = MOST,
        smoothing: float = SMOOTHING,
        tolerance: float = TOLERANCE,
        long_window: int = LONG_WINDOW,
    ) -> None:
        assert 1 <= least <= initial <= most and 0 < smoothing <= 1 <= tolerance
        self._limit = initial
        self._least = least
        self._most = most
        self._smoothing = smoothing
        self._tolerance = tolerance
        self._long_factor = 2 / (long_window + 1)
        self._long_s = 0.0
        self._samples = 0

    @property
    def value(self) -> int:
        return int(self._limit)

    def answered(self, rtt_s: float, in_flight: int, /) -> None:
        if rtt_s <= 0:
            return
        long_s = self._learn(rtt_s)
        # With half the room unused the time says nothing about the limit.
        if in_flight < self._limit / 2:
            return
        gradient = max(0.5, min(1.0, self._tolerance * long_s / rtt_s))
        wanted = self._limit * gradient + QUEUE
        self._set(self._limit * (1 - self._smoothing) + wanted * self._smoothing)

    def dropped(self) -> None:
        self._set(self._limit * BACK_OFF)

    def _learn(self, rtt_s: float) -> float:
        """Put a sample into the long mean, which comes down faster than it goes up."""
        self._samples += 1
        if self._samples <= WARM_UP:
            self._long_s += (rtt_s - self._long_s) / self._samples
        else:
            self._long_s += (rtt_s - self._long_s) * self._long_factor
        long_s = self._long_s
        if long_s > 2 * rtt_s:
            self._long_s *= 0.95
        return long_s

    def _set(self, limit: float) -> None:
        self._limit = max(self._least, min(self._most, limit))


class AimdLimit:
    """Additive increase, multiplicative decrease: `step` more an answer in time, a tenth less."""

    def __init__(
        self,
        *,
        initial: float = INITIAL,
        least: float = LEAST,
        most: float = MOST,
        slow_s: float = 0.25,
        step: float = 1.0,
    ) -> None:
        assert 1 <= least <= initial <= most
        self._limit = initial
        self._least = least
        self._most = most
        self._slow_s = slow_s
        self._step = step

    @property
    def value(self) -> int:
        return int(self._limit)

    def answered(self, rtt_s: float, in_flight: int, /) -> None:
        if rtt_s > self._slow_s:
            self.dropped()
        elif in_flight * 2 >= self._limit:
            self._limit = min(self._most, self._limit + self._step)

    def dropped(self) -> None:
        self._limit = max(self._least, self._limit * BACK_OFF)
