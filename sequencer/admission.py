"""Who may come in, who waits, and who is turned away: early, cheaply, and money first. Pure.

A limit says how much may be under way at once. Each class of request owns a share of it;
what a class does not use is lent to whoever comes. What finds no room waits in a short line
of its class; when room appears the most important class goes first, except that a class
below its own share never starves. What finds no place in its line is refused at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Protocol

from edge.problems import RateLimited
from sequencer.limits import Limit


class Priority(IntEnum):
    """Classes of requests, the most important first."""

    CANCEL = 0
    """What sets money free: cancellations, settlements."""
    ORDER = 1
    CLAIM = 2
    READ = 3
    WIDGET = 4
    """What only adorns a page."""


SHARES: Mapping[Priority, float] = {
    Priority.CANCEL: 0.20,
    Priority.ORDER: 0.40,
    Priority.CLAIM: 0.25,
    Priority.READ: 0.10,
    Priority.WIDGET: 0.05,
}
"""What part of the limit each class can always have, whatever the others ask."""
MOST_WITHIN = 208
"""The most that is under way or waiting in one class: at 5,000 orders a second this is 42 ms of
work, and more would only wait longer."""
LEAST_PLACES = 16
LONGEST_WAIT_S = 0.25


class Overloaded(RateLimited):
    """The gateway is full: nothing of the request was done."""

    code = "overloaded"
    title = "Too much is going on at once"


class Place(Protocol):
    """One request, as admission sees it. `weight` is how much work it is: 1 for one command."""

    @property
    def priority(self) -> Priority: ...
    @property
    def weight(self) -> int: ...


class _Line:
    """The requests of one class: how much is under way, and who waits since when."""

    __slots__ = ("in_flight", "share", "waiting", "waiting_weight")

    def __init__(self, share: float) -> None:
        self.share = share
        self.in_flight = 0
        self.waiting: deque[tuple[Place, float]] = deque()
        self.waiting_weight = 0


class Admission:
    """Keeps account of one kind of work. Nothing here waits or knows the time."""

    def __init__(
        self,
        limit: Limit,
        *,
        shares: Mapping[Priority, float] = SHARES,
        most_within: int = MOST_WITHIN,
        longest_wait_s: float = LONGEST_WAIT_S,
    ) -> None:
        assert sum(shares.values()) <= 1 + 1e-9
        self._limit = limit
        self._most_within = most_within
        self._longest_wait_s = longest_wait_s
        self._lines = [_Line(shares.get(priority, 0.0)) for priority in Priority]
        self.in_flight = 0
        self.waiting = 0
        self.refused = 0
        self._most_in_flight = 0
        self._rtt_sum_s = 0.0
        self._rtt_count = 0

    @property
    def limit(self) -> int:
        return self._limit.value

    # -- coming in -------------------------------------------------------------------------

    def is_full(self, priority: Priority) -> bool:
        """Say whether even the line of this class is full: then nothing needs to be looked at."""
        if not self.waiting:
            return False
        line = self._lines[priority]
        return bool(line.waiting) and not self._has_place(line, 1)

    def refuse(self) -> None:
        """Count a request that was turned away."""
        self.refused += 1

    def enter(self, place: Place, *, now: float) -> bool:
        """Let a request go (true) or have it wait (false). Refuses when its line is full."""
        line, weight = self._lines[place.priority], place.weight
        if not line.waiting and self._may_go(line, weight):
            self._go(line, weight)
            return True
        if not self._has_place(line, weight):
            self.refused += 1
            raise Overloaded("Nothing was done; try again.")
        line.waiting.append((place, now))
        line.waiting_weight += weight
        self.waiting += 1
        return False

    def _may_go(self, line: _Line, weight: int) -> bool:
        limit = self._limit.value
        if self.in_flight == 0:
            return True  # what is larger than the limit goes alone
        if line.in_flight + weight <= line.share * limit:
            return True
        return self.in_flight + weight <= limit and not self._is_awaited_above(line)

    def _is_awaited_above(self, line: _Line) -> bool:
        """Say whether a more important class waits: what is lent goes to it first."""
        if not self.waiting:
            return False
        for other in self._lines:
            if other is line:
                return False
            if other.waiting:
                return True
        raise AssertionError("every line is in the list")

    def _has_place(self, line: _Line, weight: int) -> bool:
        room = max(LEAST_PLACES, self._most_within - self._limit.value)
        return line.waiting_weight + weight <= room or not line.waiting

    def _go(self, line: _Line, weight: int) -> None:
        line.in_flight += weight
        self.in_flight += weight
        if self.in_flight > self._most_in_flight:
            self._most_in_flight = self.in_flight

    # -- going out -------------------------------------------------------------------------

    def leave(self, place: Place) -> None:
        """Give back the room of a request that went."""
        self._lines[place.priority].in_flight -= place.weight
        self.in_flight -= place.weight
        assert self.in_flight >= 0

    def ready(self) -> Iterator[Place]:
        """Those of the waiting who may go now, the most important first; they count as gone in."""
        while self.waiting:
            line = self._next_line()
            if line is None:
                return
            place = self._take(line)
            self._go(line, place.weight)
            yield place

    def _next_line(self) -> _Line | None:
        for line in self._lines:
            if line.waiting and self._may_go(line, line.waiting[0][0].weight):
                return line
        return None

    def _take(self, line: _Line) -> Place:
        place, _ = line.waiting.popleft()
        line.waiting_weight -= place.weight
        self.waiting -= 1
        return place

    def overdue(self, now: float) -> list[Place]:
        """Take out those that have waited too long: they are to be refused."""
        late: list[Place] = []
        for line in self._lines:
            while line.waiting and now - line.waiting[0][1] > self._longest_wait_s:
                late.append(self._take(line))
        self.refused += len(late)
        return late

    def give_up(self, place: Place) -> bool:
        """Take out one that waits, because its client has left. False if it does not wait."""
        line = self._lines[place.priority]
        for index, (waiting, _) in enumerate(line.waiting):
            if waiting is place:
                del line.waiting[index]
                line.waiting_weight -= place.weight
                self.waiting -= 1
                return True
        return False

    # -- learning --------------------------------------------------------------------------

    def answered(self, rtt_s: float) -> None:
        """Note how long a request took, from its way out to its answer."""
        self._rtt_sum_s += rtt_s
        self._rtt_count += 1

    def learn(self) -> None:
        """Let the limit move by what was answered since the last time: one sample, the mean."""
        if self._rtt_count:
            self._limit.answered(self._rtt_sum_s / self._rtt_count, self._most_in_flight)
            self._rtt_sum_s, self._rtt_count = 0.0, 0
            self._most_in_flight = self.in_flight

    def dropped(self) -> None:
        """A request was not answered in time."""
        self._limit.dropped()
