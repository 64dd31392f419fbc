"""Tier programs, and where people stand in them: derived from the ledger, never stored as truth.

Tier points are an asset of their own on accounts of the kind `status`, which no payment or
order can reach. What somebody earned in a period is the difference of two balances.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
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


def ranks_of_many(person_ids: Iterable[int], now: datetime) -> dict[int, dict[str, int]]:
    """The rank of people in each program that they have reached a level of, or earned points in.

    A lowest level that takes no points is everybody's.
    """
    people = list(person_ids)
    ranks: dict[int, dict[str, int]] = {person: {} for person in people}
    accounts = _accounts(people)
    for program in TierProgram.objects.all():
        if (nowhere := tiers.rank_of(levels_of(program), 0)) != NO_TIER:
            for own in ranks.values():
                own[program.code] = nowhere
        owners = {
            account: person
            for (person, asset), account in accounts.items()
            if asset == program.asset_id
        }
        if not owners:
            continue
        for account, place in _places(program, list(owners), now).items():
            ranks[owners[account]][program.code] = place.standing.rank
    return ranks


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
    found = rows.values_list("owner_id", "asset_id", "pk")
    return {(owner or 0, asset): account for owner, asset, account in found}


def _place(program: TierProgram, account_id: int | None, now: datetime) -> Place:
    if account_id is None:
        return _place_by(program, levels_of(program), 0, 0, now)
    return _places(program, [account_id], now)[account_id]


def _places(program: TierProgram, account_ids: list[int], now: datetime) -> dict[int, Place]:
    """Where the owners of these accounts stand: three queries, however many they are."""
    starts = tiers.period_starts(now, program.every, program.time_zone)  # type: ignore[arg-type]
    totals = dict(Account.objects.filter(pk__in=account_ids).values_list("pk", "balance"))
    # What was undone is dated when it was earned: see `paying.take_back`.
    at_start = balances_as_of(account_ids, starts[1], by_effective_date=True)
    at_last = balances_as_of(account_ids, starts[0], by_effective_date=True)
    levels = levels_of(program)
    return {
        id: _place_by(program, levels, totals[id] - at_start[id], at_start[id] - at_last[id], now)
        for id in account_ids
    }


def _place_by(
    program: TierProgram, levels: tuple[Level, ...], earned: int, earned_before: int, now: datetime
) -> Place:
    standing = tiers.standing(
        levels,
        earned=earned,
        earned_before=earned_before,
        now=now,
        every=program.every,  # type: ignore[arg-type]
        time_zone=program.time_zone,
    )
    return Place(program, levels, standing)


def follow_all(moved: Collection[tuple[str, int]], now: datetime) -> list[Event]:
    """`follow` people of several programs, each given by the program's code and the person."""
    if not moved:
        return []
    programs = TierProgram.objects.in_bulk([code for code, _ in moved], field_name="code")
    return [
        told
        for code, program in sorted(programs.items())
        for told in follow([person for of, person in moved if of == code], program, now)
    ]


def follow(person_ids: Iterable[int], program: TierProgram, now: datetime) -> list[Event]:
    """Note where people stand, and tell of those whose level is not the one told last.

    Locks their standings in one order, before it looks, so that nobody writes down what was
    true a moment ago; some six statements, however many they are.
    """
    people = sorted(set(person_ids))
    told = _locked_standings(program, people, now)
    accounts = _accounts(people)
    places = _places(
        program, [id for (_, asset), id in accounts.items() if asset == program.asset_id], now
    )
    nowhere = _place_by(program, levels_of(program), 0, 0, now)
    standing = {
        person: places.get(accounts.get((person, program.asset_id), 0), nowhere)
        for person in people
    }
    events = []
    for row in told:
        place, before = standing[row.person_id], row.rank
        row.rank, row.keeps_until = place.standing.rank, place.standing.keeps_until
        if row.rank != before:
            events.append(_moved(program, row.person_id, place, before))
    TierStanding.objects.bulk_update(told, ["rank", "keeps_until"])
    return events


def _locked_standings(program: TierProgram, people: list[int], now: datetime) -> list[TierStanding]:
    fresh = [
        TierStanding(program=program, person_id=person, rank=NO_TIER, keeps_until=now)
        for person in people
    ]
    TierStanding.objects.bulk_create(fresh, ignore_conflicts=True)
    rows = TierStanding.objects.select_for_update(no_key=True).order_by("person_id")
    return list(rows.filter(program=program, person__in=people))


def _moved(program: TierProgram, person: int, place: Place, before: int) -> Event:
    rank = place.standing.rank
    story = {
        "program": program.code,
        "person": str(person),
        "level": place.level.code if place.level else None,
        "before": place.levels[before].code if before >= 0 else None,
    }
    return event("tier_raised" if rank > before else "tier_lowered", program.code, **story)


def follow_due(now: datetime) -> int:
    """Look again at people whose level may have fallen; say how many changed. At most 500."""
    with transaction.atomic():
        due = list(
            TierStanding.objects.filter(keeps_until__lte=now)
            .select_related("program")
            .order_by("keeps_until")[:PEOPLE_AT_ONCE]
        )
        programs = {row.program.code: row.program for row in due}
        events = [
            each
            for code, program in sorted(programs.items())
            for each in follow([r.person_id for r in due if r.program.code == code], program, now)
        ]
        announce(*events)
    return len(events)
