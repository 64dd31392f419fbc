"""What is known of a person at the moment of a claim, and what they ask with. Pure.

Facts are gathered once and then only read: the same facts give the same decision, and the
same explanation of it, for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

NO_TIER = -1
Value = str | int | bool
MICROSECONDS_A_DAY = 86_400_000_000


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A purchase that somebody trusted reported. `amount` is in minor units of `asset`."""

    key: str
    asset: str
    amount: int
    is_first: bool


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What rules ask about a person; nothing else of what is known has to be read.

    `activities` are kinds that are counted, `streaks` those whose days are, `streak_days` back.
    """

    segments: bool = False
    attributes: bool = False
    tiers: bool = False
    campaigns: frozenset[str] = frozenset()
    activities: frozenset[str] = frozenset()
    streaks: frozenset[str] = frozenset()
    streak_days: int = 0

    def __or__(self, other: Needs) -> Needs:
        return Needs.of([self, other])

    @classmethod
    def of(cls, parts: Iterable[Needs]) -> Needs:
        """What all of them ask, together."""
        every = list(parts)
        return cls(
            segments=any(each.segments for each in every),
            attributes=any(each.attributes for each in every),
            tiers=any(each.tiers for each in every),
            campaigns=frozenset().union(*(each.campaigns for each in every)),
            activities=frozenset().union(*(each.activities for each in every)),
            streaks=frozenset().union(*(each.streaks for each in every)),
            streak_days=max((each.streak_days for each in every), default=0),
        )


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """One person at one moment.

    `tiers` gives the rank in each program, 0 the lowest, `NO_TIER` below it. `places` are
    those with evidence that the person is inside; `None` means no evidence came at all, and
    a rule about places then never holds. `activities` are times in microseconds, rising,
    `quarters` the last of them in each quarter of an hour, and `claimed_at` the last grant by
    campaign. `is_merged` if another account goes on for this one.
    """

    person: int
    now: datetime
    joined_at: datetime
    channel: str = ""
    segments: frozenset[str] = frozenset()
    tiers: Mapping[str, int] = {}
    attributes: Mapping[str, Value] = {}
    places: frozenset[str] | None = None
    claims: Mapping[str, int] = {}
    claimed_at: Mapping[str, int] = {}
    activities: Mapping[str, tuple[int, ...]] = {}
    quarters: Mapping[str, tuple[int, ...]] = {}
    order: Order | None = None
    is_merged: bool = False

    @property
    def now_us(self) -> int:
        return microseconds(self.now)


def microseconds(moment: datetime) -> int:
    """A moment as whole microseconds since 1970."""
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


@lru_cache(maxsize=1_024)
def zone(name: str) -> tzinfo:
    """Find an IANA time zone. Raises ValueError for a name that is none."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{name!r} is no time zone") from error
