"""Tier programs, and where people stand in them: derived from the ledger, never stored as truth.

Tier points are an asset of their own on accounts of the kind `status`, which no payment or
order can reach. What somebody earned in a period is the difference of two balances.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from django.db import IntegrityError, transaction

from accounts.models import User
from edge import audit
from live.events import Event
from rewards.campaigns import tiers
from rewards.campaigns.events import announce, event
from rewards.campaigns.facts import NO_TIER, zone
from rewards.campaigns.models import NAME, TierProgram, TierStanding
from rewards.campaigns.problems import ProgramExists, ProgramInvalid
from rewards.campaigns.tiers import Level, Standing
from wallet.models import Account, Asset
from wallet.statements import balances_as_of

STATUS = "status"
PEOPLE_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Place:
    """Where a person stands in one program."""

    program: TierProgram
    levels: tuple[Level, ...]
    standing: Standing

    @property
    def level(self) -> Level | None:
        return self.levels[self.standing.rank] if self.standing.rank >= 0 else None

    @property
    def next_level(self) -> Level | None:
        rank = self.standing.rank + 1
        return self.levels[rank] if rank < len(self.levels) else None


def create_program(
    *,
    code: str,
    title: str,
    levels: list[dict[str, Any]],
    every: str,
    time_zone: str,
    actor: User | None,
) -> TierProgram:
    """Set up a program and the asset of its tier points (`TIER-` and its code).

    Levels cannot be changed afterwards: versions and people rely on them.
    """
    read = _checked(code, levels, every, time_zone)
    try:
        with transaction.atomic():
            asset = Asset.objects.create(
                code=f"TIER-{code.upper()}", name=title, kind=Asset.Kind.POINTS
            )
            program = TierProgram.objects.create(
                code=code,
                title=title,
                asset=asset,
                every=every,
                time_zone=time_zone,
                levels=msgspec.to_builtins(read),
            )
            audit.record(
                actor=actor,
                action="campaigns.create_program",
                object_type="tier program",
                object_id=code,
                after={"levels": program.levels, "every": every, "time_zone": time_zone},
            )
            announce(event("program_created", code, program=code))
    except IntegrityError:
        raise ProgramExists from None
    return program


def _checked(
    code: str, levels: list[dict[str, Any]], every: str, time_zone: str
) -> tuple[Level, ...]:
    if not re.fullmatch(NAME, code) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,35}", code):
        raise ProgramInvalid("A code has 1 to 35 letters, digits, hyphens, dots or underscores.")
    if every not in TierProgram.Every.values:
        raise ProgramInvalid("A period is a month or a year.")
    try:
        zone(time_zone)
        read = msgspec.convert(levels, type=tuple[Level, ...])
    except ValueError as error:
        raise ProgramInvalid(f"{error}.") from None
    if faults := tiers.faults_of(read):
        raise ProgramInvalid(" ".join(faults))
    return read


def levels_of(program: TierProgram) -> tuple[Level, ...]:
    """The levels of a program, lowest first."""
    return msgspec.convert(program.levels, type=tuple[Level, ...])


def ranks_of(person_id: int, now: datetime) -> dict[str, int]:
    """The rank of a person in each program where they have earned anything."""
    return {place.program.code: place.standing.rank for place in places_of(person_id, now)}


def places_of(person_id: int, now: datetime, *, with_untouched: bool = False) -> list[Place]:
    """Where a person stands; `with_untouched` adds the programs they have no points in."""
    accounts = _accounts([person_id])
    if not accounts and not with_untouched:
        return []
    programs = TierProgram.objects.order_by("code")
    if not with_untouched:
        programs = programs.filter(asset__in=[asset for _, asset in accounts])
    return [
        _place(program, accounts.get((person_id, program.asset_id)), now) for program in programs
    ]


def _accounts(person_ids: Iterable[int]) -> dict[tuple[int, int], int]:
    rows = Account.objects.filter(owner_id__in=list(person_ids), kind=STATUS, label="")
    return {(row.owner_id or 0, row.asset_id): row.pk for row in rows}


def _place(program: TierProgram, account_id: int | None, now: datetime) -> Place:
    levels = levels_of(program)
    earned = earned_before = 0
    if account_id is not None:
        starts = tiers.period_starts(now, program.every, program.time_zone)  # type: ignore[arg-type]
        total = Account.objects.values_list("balance", flat=True).get(pk=account_id)
        at_start = balances_as_of([account_id], starts[1])[account_id]
        at_last = balances_as_of([account_id], starts[0])[account_id]
        earned, earned_before = total - at_start, at_start - at_last
    standing = tiers.standing(
        levels,
        earned=earned,
        earned_before=earned_before,
        now=now,
        every=program.every,  # type: ignore[arg-type]
        time_zone=program.time_zone,
    )
    return Place(program, levels, standing)


def follow(person_id: int, program: TierProgram, now: datetime) -> list[Event]:
    """Note a person's standing and tell it if the level changed since it was told last."""
    account_id = _accounts([person_id]).get((person_id, program.asset_id))
    place = _place(program, account_id, now)
    rank = place.standing.rank
    told, _ = TierStanding.objects.select_for_update(no_key=True).get_or_create(
        program=program,
        person_id=person_id,
        defaults={"rank": NO_TIER, "keeps_until": place.standing.keeps_until},
    )
    before = told.rank
    told.rank, told.keeps_until = rank, place.standing.keeps_until
    told.save(update_fields=["rank", "keeps_until"])
    if before == rank:
        return []
    story = {
        "program": program.code,
        "person": str(person_id),
        "level": place.level.code if place.level else None,
        "before": place.levels[before].code if before >= 0 else None,
    }
    return [event("tier_raised" if rank > before else "tier_lowered", program.code, **story)]


def follow_due(now: datetime) -> int:
    """Look again at people whose level may have fallen; say how many changed. At most 500."""
    with transaction.atomic():
        due = list(
            TierStanding.objects.filter(keeps_until__lte=now)
            .select_related("program")
            .order_by("keeps_until")[:PEOPLE_AT_ONCE]
        )
        events = [each for row in due for each in follow(row.person_id, row.program, now)]
        announce(*events)
    return len(events)
