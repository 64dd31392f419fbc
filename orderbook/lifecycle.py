"""The life of a market: which state follows which, and when. Pure.

    scheduled → auction → open ⇄ halted → … → closing → closed

A market opens, and opens again after a halt, through an auction; one that lasts no time is
only an uncrossing. Closing takes its orders off the book, a part with each commit; closed is
for good. Times are microseconds since 1970, of the shard's own clock; 0 means that none is set.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from orderbook.matching import MarketState

SCHEDULED, AUCTION, OPEN = MarketState.SCHEDULED, MarketState.AUCTION, MarketState.OPEN
HALTED, CLOSING, CLOSED = MarketState.HALTED, MarketState.CLOSING, MarketState.CLOSED

PERMITTED: dict[MarketState, frozenset[MarketState]] = {
    SCHEDULED: frozenset({AUCTION, CLOSING}),
    AUCTION: frozenset({OPEN, HALTED, CLOSING}),
    OPEN: frozenset({HALTED, AUCTION, CLOSING}),
    HALTED: frozenset({AUCTION, CLOSING}),
    CLOSING: frozenset({CLOSED}),
    CLOSED: frozenset(),
}
"""What may follow on each state."""


class Step(IntEnum):
    """What the clock asks of a market. Each ends in another state, or brings it nearer."""

    NONE = 0
    CALL = 1
    """Begin an auction."""
    UNCROSS = 2
    """End the auction: trade at one price, and then open."""
    SWEEP = 3
    """Take orders off the book; when none is left, it is closed."""
    CLOSE = 4
    """Begin to close."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """When a market does what by itself.

    `opens_us`: a scheduled market begins its auction. `until_us`: the present state ends (an
    auction uncrosses, a halt becomes an auction). `closes_us`: it begins to close, whatever
    its state. `auction_s`: how long an auction gathers orders. `halt_s`: how long the market
    rests after a trade would have left the band.
    """

    opens_us: int = 0
    until_us: int = 0
    closes_us: int = 0
    auction_s: int = 0
    halt_s: int = 0


def may_follow(before: MarketState, after: MarketState) -> bool:
    """Say whether a market may go from one state to the other."""
    return after in PERMITTED[before]


def step_due(
    state: MarketState, schedule: Schedule, now_us: int, *, is_uncrossing: bool = False
) -> Step:
    """Say what the market must do now. Begun steps are finished first."""
    if is_uncrossing:
        return Step.UNCROSS
    if state is CLOSED:
        return Step.NONE
    if state is CLOSING:
        return Step.SWEEP
    if _has_come(schedule.closes_us, now_us):
        return Step.CLOSE
    if state is SCHEDULED and _has_come(schedule.opens_us, now_us):
        return Step.CALL
    if state is HALTED and _has_come(schedule.until_us, now_us):
        return Step.CALL
    if state is AUCTION and _has_come(schedule.until_us, now_us):
        return Step.UNCROSS
    return Step.NONE


def next_us(state: MarketState, schedule: Schedule, *, is_uncrossing: bool = False) -> int:
    """The earliest time at which `step_due` says something; 0: never by itself."""
    if state is CLOSED:
        return 0
    if is_uncrossing or state is CLOSING:
        return 1
    times = [schedule.closes_us]
    if state is SCHEDULED:
        times.append(schedule.opens_us)
    if state in (HALTED, AUCTION):
        times.append(schedule.until_us)
    return min(filter(None, times), default=0)


def _has_come(moment_us: int, now_us: int) -> bool:
    return bool(moment_us) and moment_us <= now_us
