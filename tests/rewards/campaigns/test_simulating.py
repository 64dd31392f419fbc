"""A trial tells what a version would cost, whom it leaves out, and what it collides with."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command

from rewards.campaigns import publishing, simulating
from rewards.campaigns.crowds import from_history, synthetic
from rewards.campaigns.deciding import Version
from rewards.campaigns.directory import version_of
from rewards.campaigns.models import CampaignVersion
from rewards.campaigns.tasks import simulate
from tests.rewards.campaigns.conftest import NOW, World, everything

VIPS = {"is": "segment", "any_of": ["vip"]}


def version(world: World, code: str = "WELCOME") -> Version:
    row = CampaignVersion.objects.select_related("campaign").get(campaign__code=code)
    return version_of(row, code)


def test_same_seed_is_the_same_crowd_and_the_same_report(world: World) -> None:
    world.campaign(rule=VIPS, limits=[{"per": "person", "most": 1}])
    found = version(world)
    crowd = synthetic(found, people=200, days=30, seed=7)
    assert crowd == synthetic(found, people=200, days=30, seed=7)
    assert crowd != synthetic(found, people=200, days=30, seed=8)
    assert len({visit.facts.person for visit in crowd}) == 200
    report = simulating.report(found, crowd, [{"POINTS": 5}])
    assert report == simulating.report(found, crowd, [{"POINTS": 5}])


def test_report_counts_grants_reasons_and_leaves(world: World) -> None:
    world.campaign(rule=VIPS, limits=[{"per": "person", "most": 1}])
    found = version(world)
    crowd = synthetic(found, people=200, days=30, seed=7)
    report = simulating.report(found, crowd, [{"POINTS": cost} for cost in range(100)])
    vips = {visit.facts.person for visit in crowd if "vip" in visit.facts.segments}
    assert report["granted"] == report["people_granted"] == min(len(vips), 100)
    assert report["granted"] + sum(report["excluded"].values()) == report["visits"]
    assert set(report["excluded"]) >= {"rule_not_met", "limit_person"}
    assert report["leaves"] == {"segment /rule": report["excluded"]["rule_not_met"]}
    cost = report["cost"]["POINTS"]
    assert (cost["p50"], cost["p95"], cost["worst"]) == (50, 95, 2_000)


def test_budget_holds_in_a_trial_too(world: World) -> None:
    world.campaign(budgets={"POINTS": 55})
    found = version(world)
    done = simulating.run(found, synthetic(found, people=50, days=3, seed=1), {"POINTS": 55})
    assert (done.granted, done.cost["POINTS"]) == (5, 50)
    assert done.refusals["budget_exhausted"] > 0


def test_worst_case_of_a_draw_is_its_dearest_outcome(world: World) -> None:
    outcomes: list[dict[str, Any]] = [
        {"weight": 99},
        {"weight": 1, "effects": [{"is": "points", "asset": "POINTS", "amount": 40}]},
    ]
    world.campaign(effects=[{"is": "chance", "outcomes": outcomes}])
    found = version(world)
    crowd = synthetic(found, people=30, days=3, seed=1)
    report = simulating.report(found, crowd, [{}])
    assert report["cost"]["POINTS"]["worst"] == 40 * len(crowd)


def test_collisions_with_live_campaigns_are_named(world: World) -> None:
    world.campaign("LIVE", group="g")
    world.campaign("OTHER", rule={"is": "segment", "any_of": ["press"]})
    world.campaign("NEW", rule=VIPS, group="g")
    found = version(world, "NEW")
    rows = simulating.report(found, synthetic(found, people=60, days=3, seed=1), [{}])["collisions"]
    assert [(row["campaign"], row["share"], row["same_group"]) for row in rows] == [
        ("LIVE", 1.0, True)
    ]


def test_history_comes_again_whole_weeks_later(world: World) -> None:
    world.campaign()
    world.claim(world.ann, channel="app")
    world.order(world.ben, "o-1", 700, at=NOW)
    world.campaign("NEXT", starts_at="2026-12-24T00:00:00Z", needs_order=True, rule={"is": "all"})
    found = version(world, "NEXT")
    visits = from_history(found, days=30, people=10, now=NOW.replace(hour=23))
    assert [visit.facts.person for visit in visits] == [world.ann.pk, world.ben.pk]
    shift = visits[0].facts.now - NOW
    assert (shift.days % 7, shift.seconds, visits[0].facts.channel) == (0, 0, "app")
    assert all(visit.facts.now >= found.starts_at for visit in visits)
    done = simulating.run(found, visits, {"POINTS": 1_000})
    assert (done.granted, done.people) == (1, {world.ben.pk})


def test_trial_of_a_draft_goes_step_by_step_and_touches_nothing(world: World) -> None:
    publishing.create(code="X", title="X", actor=world.marla)
    terms = {"starts_at": "2026-12-01T00:00:00Z", "rule": VIPS, "budgets": {"POINTS": 500},
             "effects": [{"is": "points", "asset": "POINTS", "amount": 10}]}  # fmt: skip
    publishing.draft("X", terms, actor=world.marla, now=NOW)
    before = everything()
    parameters = {"crowd": "synthetic", "people": 40, "runs": 25, "seed": 3, "days": 10}
    trial = simulating.start("X", 1, parameters, actor=world.marla)
    step = simulate({}, simulation_id=trial.pk)
    again = simulate({}, simulation_id=trial.pk)
    assert step == again, "a step that is repeated comes to the same"
    while not step.is_last:
        step = simulate(step.notes, simulation_id=trial.pk)
    trial.refresh_from_db()
    assert (trial.state, trial.runs_done, len(step.notes["costs"])) == ("done", 25, 25)
    assert trial.report is not None
    cost = trial.report["cost"]["POINTS"]
    assert 0 < cost["p50"] <= cost["p95"] <= cost["budget"] == 500
    assert everything() == before


def test_command_prints_progress_and_report(world: World, capsys: Any) -> None:
    world.campaign(rule=VIPS)
    call_command("simulate_campaign", "WELCOME", "1", "--people", "30", "--runs", "15")
    said = capsys.readouterr().out
    assert "15 of 15 runs" in said
    assert "POINTS: P50" in said
    with pytest.raises(CommandError, match="no such version"):
        call_command("simulate_campaign", "WELCOME", "9")
