"""Claims: a crowd's, decided in batches by the engine, beside claims made one by one.

The campaign has a rule of twelve conditions, a limit per person and one for all, and gives
points out of a budget. Everything is on: counters, ledger, stories, events, one commit a batch.
"""

from __future__ import annotations

import statistics
import time
import urllib.request
import uuid
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from accounts.actions import create_key
from accounts.models import User
from accounts.scopes import Scope
from accounts.tokens import write_session_token
from bench import gateway
from bench.load import pack, request
from bench.support import Figures, percentile
from config.guard import Guard
from rewards.campaigns import claiming, deciding, names, publishing
from rewards.campaigns.conditions import WEEK
from rewards.campaigns.directory import compiled
from rewards.campaigns.facts import Facts
from rewards.campaigns.models import Campaign, Claim
from rewards.campaigns.rush.commands import CLAIM, MakeClaim, encode
from rewards.campaigns.rush.engine import CampaignEngine
from sequencer.commands import Command
from sequencer.garbage import Garbage
from wallet.models import Asset

BATCH = 512
PEOPLE = 20_480
UNITS = 1_000
SINGLES = 200
RUSH_S = 3.0
LIVE = 200
ASKING, WARM = 320, 20
BODY = b'{"channel": "app"}'
CONNECTIONS = 200
BESIDE = {
    "rewards.claims_per_s": "rewards.single_claims_per_s",
    "rewards.engine_claims_per_s": "rewards.single_claims_per_s",
    "rewards.engine_refusals_per_s": "rewards.single_claims_per_s",
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


LIMITS = [
    {"most": 1, "per": "person", "window": "day"},
    {"most": 1_000_000, "per": "campaign", "window": "day"},
]


def measure() -> Figures:
    """Claims granted and refused a second, one by one, together, and through the gateway."""
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
    guard = Guard()
    try:
        over_http = {**_over_http(guard, people), **_qualify_over_http(guard, people)}
    finally:
        guard.close()
    return {
        **over_http,
        "rewards.engine_claims_per_s": BATCH / statistics.median(granted),
        "rewards.engine_refusals_per_s": BATCH / statistics.median(refused),
        "rewards.single_claims_per_s": 1 / statistics.median(singles),
        "rewards.engine_race_20k_for_1k_s": race_s,
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
    for code, units in (("RACE", UNITS), ("CROWD", PEOPLE), ("STADIUM", PEOPLE), ("LAST", UNITS)):
        rule = RULE if code in {"CROWD", "STADIUM"} else {"is": "all", "of": []}
        _publish(code, rule, units, people)


def _publish(code: str, rule: dict[str, Any], units: int, people: list[User]) -> None:
    """Set up a campaign that gives 10 points to so many, and publish it."""
    terms: dict[str, Any] = {
        "starts_at": "2026-01-01T00:00:00+00:00",
        "rule": rule,
        "limits": LIMITS,
        "effects": [{"is": "points", "asset": "CLAIMED", "amount": 10}],
        "budgets": {"CLAIMED": 10 * units},
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


def _over_http(guard: Guard, people: list[User]) -> Figures:
    """Everybody claims at once, through gateway, stream and writer: first enough, then too few."""
    port = gateway.free_port()
    gateway.start(guard, "manage.py", "writer", "--shard", "0")
    gateway.start(guard, "manage.py", "gateway", "--port", str(port))
    gateway.wait_until_served(port)
    tokens = [
        write_session_token(user_id=p.pk, scopes=[Scope.REWARDS_WRITE], session_key=str(p.pk))
        for p in people
    ]
    granted = _rush(port, "STADIUM", tokens[UNITS:])
    raced = _rush(port, "LAST", tokens)
    won = Claim.objects.filter(campaign__code="LAST").count()
    assert won == UNITS, f"{won} of {UNITS} granted"
    return {
        "rewards.claims_per_s": granted["decided_per_s"],
        "rewards.claims_p99_ms": granted["p99_ms"],
        "rewards.race_20k_for_1k_s": PEOPLE / raced["decided_per_s"],
    }


def _qualify_over_http(guard: Guard, people: list[User]) -> Figures:
    """One person after another asks what they could claim of 200 live campaigns."""
    for number in range(LIVE):
        _publish(f"LIVE{number}", RULE, PEOPLE, people)
    port = gateway.free_port()
    serve = ("-m", "granian", "config.wsgi:application", "--interface", "wsgi", "--http", "1")
    options = ("--host", "127.0.0.1", "--port", str(port), "--blocking-threads", "1", "--no-ws")
    gateway.start(guard, *serve, *options)
    gateway.wait_until_served(port)
    asked = [
        _qualify_s(port, create_key(person, name="bench", scopes=[Scope.REWARDS_READ]).token)
        for person in people[:ASKING]
    ]
    return {
        "rewards.qualify_200_campaigns_p50_ms": 1000 * statistics.median(asked[WARM:]),
        "rewards.qualify_200_campaigns_p99_ms": 1000 * percentile(asked[WARM:], 99),
    }


def _qualify_s(port: int, token: str) -> float:
    url = f"http://127.0.0.1:{port}/api/v1/qualify/?channel=app"
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    started = time.perf_counter()
    with urllib.request.urlopen(asked) as answer:
        body = answer.read()
    spent = time.perf_counter() - started
    assert body.count(b'"qualifies"') >= LIVE
    return spent


def _rush(port: int, code: str, tokens: list[str]) -> dict[str, Any]:
    """Let everybody ask, as fast as they are answered, for so long as first claims last."""
    path = f"/api/v1/campaigns/{code}/claims/"
    asked = pack(request("POST", path, key=t, body=BODY, once=f"bench-{code}") for t in tokens)
    outcome = gateway.run_load(port, asked, f"0x{RUSH_S}", connections=CONNECTIONS)
    [phase] = outcome["phases"]
    gateway.say(code, outcome)
    assert set(phase["statuses"]) <= {"201", "422", "429"}, phase
    decided = phase["statuses"].get("201", 0) + phase["statuses"].get("422", 0)
    return {"decided_per_s": decided / phase["elapsed_s"], "p99_ms": phase["p99_ms"]}


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
