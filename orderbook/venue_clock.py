"""The clock that one shard goes by: it never goes back, and never stands still. Pure.

The computer's clock may be stepped back: by a correction, or by an operator's slip. What the
shard did by its clock (an order that expired, an auction that ended) stays done, so its time
must not return. And it must not wait until the other clock has caught up, because a dead
man's switch would sleep so long. So it goes on by a counter that only grows (the monotonic
clock), at half its speed, until the other clock is ahead again. A clock stepped forward is
followed at once.
"""

from __future__ import annotations


class VenueClock:
    """Time in microseconds since 1970, from the computer's two clocks at each reading."""

    __slots__ = ("_counter_us", "now_us")

    def __init__(self, *, wall_us: int, counter_us: int, not_before_us: int = 0) -> None:
        self.now_us = max(wall_us, not_before_us)
        self._counter_us = counter_us

    def read(self, *, wall_us: int, counter_us: int) -> int:
        """The time now: later than, or the same as, at the reading before."""
        elapsed_us = max(0, counter_us - self._counter_us)
        self._counter_us = max(counter_us, self._counter_us)
        slow_us = self.now_us + elapsed_us // 2
        self.now_us = max(wall_us, slow_us)
        return self.now_us
