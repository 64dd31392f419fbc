"""Claims: a crowd's, decided in batches by the engine, beside claims made one by one.

The campaign has a rule of twelve conditions, a limit per person and one for all, and gives
points out of a budget. Everything is on: counters, ledger, stories, events, one commit a batch.
"""

from __future__ import annotations

import statistics
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from accounts.models import User
from bench.support import Figures
from rewards.campaigns import claiming, deciding, names, publishing
from rewards.campaigns.conditions import WEEK
from rewards.campaigns.directory import compiled
from rewards.campaigns.facts import Facts
from rewards.campaigns.models import Campaign
from rewards.campaigns.rush.commands import CLAIM, MakeClaim, encode
from rewards.campaigns.rush.engine import CampaignEngine
from sequencer.commands import Command
from sequencer.garbage import Garbage
from wallet.models import Asset

BATCH = 512
PEOPLE = 20_480
UNITS = 1_000
SINGLES = 200
BESIDE = {
    "rewards.claims_per_s": "rewards.single_claims_per_s",
    "rewards.refusals_per_s": "rewards.single_claims_per_s",
}
ZONE = "Europe/Berlin"
RULE = {
    "is": "all",
    "of": [
        {"is": "joined", "days_at_least": 0},
        {"is": "joined", "days_at_most": 10_000},
        {"is": "not", "of": {"is": "segment", "any_of": ["press"]}},
        {"is": "weekday", "days": list(WEEK), "time_zone": ZONE},
        {"is": "any", "of": [
            {"is": "segment", "any_of": ["press", "vip"]},
            {"is": "attribute", "name": "age", "op": "ge", "value": 18},
            {"is": "channel", "any_of": ["web", "kiosk"]},
            {"is": "channel", "any_of": ["app"]},
        ]},
        {"is": "not", "of": {"is": "attribute", "name": "age", "op": "lt", "value": 12}},
        {"is": "claimed", "campaign": "RACE", "at_least": 0, "at_most": 0},
        {"is": "not", "of": {"is": "did", "event": "check_in", "times": 3, "within_days": 7}},
        {"is": "any", "of": [
            {"is": "did", "event": "check_in"},
            {"is": "hours", "start": "00:00", "until": "23:59", "time_zone": ZONE},
        ]},
    ],
}  # fmt: skip
"""Twelve conditions, all of which are looked at for most people."""


def measure() -> Figures:
    """Claims granted and refused a second, one by one and together; a race for the last units."""
    people = _people()
    _world(people)
    engine, garbage = CampaignEngine(0), Garbage()
    garbage.freeze()
    granted = [
        _batch_s(engine, garbage, "CROWD", people[start : start + BATCH])
        for start in range(0, PEOPLE // 2, BATCH)
    ]
    refused = [
        _batch_s(engine, garbage, "CROWD", people[start : start + BATCH])
        for start in range(0, PEOPLE // 4, BATCH)
    ]
    singles = [_single_s("CROWD", person) for person in people[-SINGLES:]]
    race_s, won = _race(engine, garbage, people)
    assert won == UNITS, f"{won} of {UNITS} granted"
    return {
        "rewards.claims_per_s": BATCH / statistics.median(granted),
        "rewards.refusals_per_s": BATCH / statistics.median(refused),
        "rewards.single_claims_per_s": 1 / statistics.median(singles),
        "rewards.race_20k_for_1k_s": race_s,
        **_rule_figures(people[0]),
    }


def _people() -> list[User]:
    made = User.objects.bulk_create(
        User(email=f"crowd{n}@scrip.example", handle=f"crowd{n}", password="!")
        for n in range(PEOPLE)
    )
    return list(made)


def _world(people: list[User]) -> None:
    Asset.objects.create(code="CLAIMED", name="Points", kind=Asset.Kind.POINTS, expires=True)
    names.declare(kind="segment", code="press", actor=None)
    names.declare(kind="segment", code="vip", actor=None)
    names.declare(kind="activity", code="check_in", actor=None)
    names.declare(kind="attribute", code="age", value_type="number", actor=None)
    limits = [
        {"most": 1, "per": "person", "window": "day"},
        {"most": 1_000_000, "per": "campaign", "window": "day"},
    ]
    for code, budget in (("RACE", UNITS * 10), ("CROWD", 10_000_000)):
        rule = RULE if code == "CROWD" else {"is": "all", "of": []}
        terms: dict[str, Any] = {
            "starts_at": "2026-01-01T00:00:00+00:00",
            "rule": rule,
            "limits": limits,
            "effects": [{"is": "points", "asset": "CLAIMED", "amount": 10}],
            "budgets": {"CLAIMED": budget},
        }
        publishing.create(code=code, title=code.title(), actor=people[0])
        version = publishing.draft(code, terms, actor=people[0])
        publishing.publish(code, version.number, actor=people[1])


def _batch_s(engine: CampaignEngine, garbage: Garbage, code: str, people: list[User]) -> float:
    """Decide and commit a batch of claims; say how long it took."""
    commands = [_command(code, person) for person in people]
    started = time.perf_counter()
    with transaction.atomic():
        answers = engine.execute(commands)
    garbage.after_batch()
    spent = time.perf_counter() - started
    assert len(answers) == len(commands)
    _counted(answers)
    return spent


_statuses: list[int] = []


def _counted(answers: Any) -> None:
    _statuses.extend(each.status for each in answers)


def _race(engine: CampaignEngine, garbage: Garbage, people: list[User]) -> tuple[float, int]:
    """Let everybody claim one of few; how long it took, and how many won."""
    _statuses.clear()
    started = time.perf_counter()
    for start in range(0, PEOPLE, BATCH):
        _batch_s(engine, garbage, "RACE", people[start : start + BATCH])
    return time.perf_counter() - started, _statuses.count(201)


def _command(code: str, person: User) -> Command:
    body = encode(MakeClaim(code, uuid.uuid4().bytes, "app", "", ""))
    return Command(
        id=uuid.uuid4().hex, kind=CLAIM, user_id=person.pk, key_id=None, shard=0,
        gateway="bench", sent_at_us=0, body=body,
    )  # fmt: skip


def _single_s(code: str, person: User) -> float:
    wish = claiming.Wish(campaign=code, person=person, request=uuid.uuid4(), channel="app")
    started = time.perf_counter()
    outcome = claiming.claim(wish)
    assert outcome.claim is not None, outcome.refused
    return time.perf_counter() - started


def _rule_figures(person: User) -> Figures:
    """Evaluations a second of a rule of twelve conditions, on one core."""
    row = Campaign.objects.get(code="CROWD")
    version = compiled([row])[row.pk].version_at(datetime.now(UTC))
    assert isinstance(version, deciding.Version)
    facts = Facts(
        person=person.pk, now=datetime.now(UTC), joined_at=datetime(2026, 1, 1, tzinfo=UTC),
        channel="app",
    )  # fmt: skip
    count = 200_000
    started = time.process_time()
    for _ in range(count):
        version.holds(facts)
    return {"rewards.rule_evaluations_per_s": count / (time.process_time() - started)}
