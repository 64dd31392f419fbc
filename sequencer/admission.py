"""How much work a gateway takes in at once; the rest is turned away early and cheaply."""

from __future__ import annotations

import random

from edge.problems import RateLimited

IN_FLIGHT_COMMANDS = 2_000
"""At 6,000 commands a second this is a third of a second of work: more would only wait."""


class Overloaded(RateLimited):
    """The gateway is full: nothing of the request was done."""

    code = "overloaded"
    title = "Too much is going on at once"


class Admission:
    """Counts the requests between admission and answer, and refuses beyond a limit."""

    def __init__(self, limit: int = IN_FLIGHT_COMMANDS) -> None:
        self.in_flight = 0
        self._limit = limit

    def enter(self) -> None:
        """Take a place, or refuse with 429 and a jittered Retry-After."""
        if self.in_flight >= self._limit:
            raise Overloaded("Nothing was done; try again.", retry_after_s=random.uniform(1, 4))
        self.in_flight += 1

    def leave(self) -> None:
        """Give the place back."""
        self.in_flight -= 1
