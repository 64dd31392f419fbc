"""Tiers: what somebody has earned, what they still need, and by when. Pure.

Tier points count within a qualifying period, a calendar year or month of a zone. Reaching a
level's threshold raises a person at once. The level lasts to the end of the next period;
whoever has not earned it again by then falls to what the last period earned.
"""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from rewards.campaigns.conditions import Name, Text
from rewards.campaigns.facts import NO_TIER, zone

Every = Literal["month", "year"]


class Level(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A level and the tier points that reach it within one period."""

    code: Name
    title: Text
    threshold: Annotated[int, Meta(ge=0, le=1 << 53)]


class Standing(NamedTuple):
    """Where somebody stands. Ranks count from 0; `NO_TIER` is below the lowest level.

    `keeps_until` is when the rank falls unless it is earned again; `needed_to_rise` what the
    next level still takes in this period; `needed_to_keep` what staying takes.
    """

    rank: int
    earned: int
    needed_to_rise: int | None
    needed_to_keep: int
    period_ends_at: datetime
    keeps_until: datetime


def faults_of(levels: tuple[Level, ...]) -> list[str]:
    """Say what is wrong with the levels of a program."""
    faults = []
    if not levels:
        faults.append("A program has at least one level.")
    if len({level.code for level in levels}) < len(levels):
        faults.append("Two levels have the same code.")
    thresholds = [level.threshold for level in levels]
    if any(high <= low for low, high in pairwise(thresholds)):
        faults.append("Each level needs more than the one before it.")
    return faults


def period_starts(moment: datetime, every: Every, time_zone: str) -> tuple[datetime, ...]:
    """Four starts of periods: of the last, this, the next, and the one after the next."""
    local = moment.astimezone(zone(time_zone))
    month = local.year * 12 + (local.month - 1 if every == "month" else 0)
    step = 1 if every == "month" else 12
    return tuple(
        datetime(at // 12, at % 12 + 1, 1, tzinfo=zone(time_zone))
        for at in range(month - step, month + 3 * step, step)
    )


def rank_of(levels: tuple[Level, ...], earned: int) -> int:
    """The highest level that so many points reach."""
    reached = [rank for rank, level in enumerate(levels) if earned >= level.threshold]
    return reached[-1] if reached else NO_TIER


def standing(
    levels: tuple[Level, ...],
    *,
    earned: int,
    earned_before: int,
    now: datetime,
    every: Every,
    time_zone: str,
) -> Standing:
    """Say where somebody stands who earned so much in this period and in the one before."""
    _, _, next_start, after_next = period_starts(now, every, time_zone)
    fresh, kept = rank_of(levels, earned), rank_of(levels, earned_before)
    rank = max(fresh, kept)
    above = levels[rank + 1].threshold if rank + 1 < len(levels) else None
    return Standing(
        rank=rank,
        earned=earned,
        needed_to_rise=None if above is None else above - earned,
        needed_to_keep=max(0, levels[rank].threshold - earned) if rank >= 0 else 0,
        period_ends_at=next_start,
        keeps_until=after_next if fresh >= rank else next_start,
    )
