"""Campaigns over HTTP: from a draft to a claim, each refusal with its code."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from rewards.campaigns.models import Claim, Simulation
from rewards.campaigns.tasks import simulate
from sequencer.waiting_room.actions import close_room, open_room
from tests.rewards.campaigns.conftest import World, everything
from tests.rewards.test_api import Caller, code_of
from tests.sequencer.waiting_room.test_actions import new_room

TERMS: dict[str, Any] = {
    "starts_at": "2026-11-01T00:00:00Z",
    "rule": {"is": "segment", "any_of": ["vip"]},
    "effects": [{"is": "points", "asset": "POINTS", "amount": 10}],
    "limits": [{"per": "person", "window": "ever", "most": 1}],
    "budgets": {"POINTS": 1000},
}


@pytest.fixture
def marla(world: World) -> Caller:
    return Caller(world.marla)


@pytest.fixture
def mo(world: World) -> Caller:
    return Caller(world.mo)


@pytest.fixture
def ann(world: World) -> Caller:
    return Caller(world.ann)


def published(marla: Caller, mo: Caller, **terms: Any) -> None:
    assert marla.post("campaigns/", {"code": "VIP", "title": "For VIPs"}).status_code == 201
    made = marla.post("campaigns/VIP/versions/", {"terms": TERMS | terms})
    assert made.status_code == 201, made.json()
    answer = mo.post("campaigns/VIP/versions/1/publish/")
    assert answer.status_code == 200, answer.json()


def test_from_draft_to_claim_to_reversal(
    world: World, marla: Caller, mo: Caller, ann: Caller
) -> None:
    published(marla, mo)
    assert ann.get("campaigns/VIP/").json()["version"] == 1
    [asked] = ann.get("qualify/").json()["results"]
    assert (asked["qualifies"], asked["code"]) == (False, "rule_not_met")
    assert asked["misses"] == [
        {"pointer": "#/rule", "leaf": "segment", "detail": "Needs: in segment vip."}
    ]
    added = marla.post("segments/vip/members/", {"add": ["@Ann"]})
    assert added.json() == {"added": 1, "removed": 0}
    assert ann.get("campaigns/VIP/qualify/").json()["qualifies"]
    made = ann.post("campaigns/VIP/claims/", {"channel": "app"}, key="once")
    assert made.status_code == 201
    claim = made.json()
    assert (claim["payments"][0]["amount"], claim["payments"][0]["to"]) == (10, "person")
    again = ann.post("campaigns/VIP/claims/", {"channel": "app"}, key="once")
    assert (again.json(), again["Idempotent-Replayed"]) == (claim, "true")
    assert code_of(ann.post("campaigns/VIP/claims/", {})) == (422, "limit_person")
    assert ann.get("claims/").json()["results"] == [claim]
    assert ann.get(f"claims/{claim['id']}/").json() == claim
    assert code_of(Caller(world.ben).get(f"claims/{claim['id']}/")) == (404, "claim_unknown")
    undone = marla.post(f"claims/{claim['id']}/reverse/", {"reason": "A mistake"})
    assert undone.json()["taken"][0]["taken"] == 10
    assert world.balance(world.ann) == 0


def test_refused_claim_is_told_with_every_leaf_and_replayed(
    world: World, marla: Caller, mo: Caller, ann: Caller
) -> None:
    published(marla, mo)
    before = everything()
    refused = ann.post("campaigns/VIP/claims/", {}, key="once")
    assert code_of(refused) == (422, "rule_not_met")
    assert refused.json()["misses"][0]["pointer"] == "#/rule"
    again = ann.post("campaigns/VIP/claims/", {}, key="once")
    assert (again.json(), again["Idempotent-Replayed"]) == (refused.json(), "true")
    assert everything() == before


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"rule": {"is": "segment", "any_of": ["nobody"]}}, "#/terms/rule/any_of",
         "unknown_reference"),
        ({"rule": {"is": "magic"}}, "#/terms/rule/is", "malformed"),
        ({"rule": {"is": "claimed", "campaign": "VIP"}}, "#/terms/rule", "contradiction"),
        ({"budgets": {}}, "#/terms/budgets", "budget_missing"),
        ({"budgets": {"POINTS": 5}}, "#/terms/budgets/POINTS", "never_matches"),
        ({"ends_at": "2026-10-01T00:00:00Z"}, "#/terms/ends_at", "never_matches"),
        ({"ends_at": "2026-11-02T00:00:00Z"}, "#/terms/ends_at", "never_matches"),
        ({"starts_at": "2026-11-01T00:00:00"}, "#/terms/starts_at", "offset_missing"),
        ({"time_zone": "Mars/Base"}, "#/terms/time_zone", "unknown_reference"),
        ({"effects": []}, "#/terms/effects", "never_matches"),
        ({"effects": [{"is": "points", "asset": "DRINK", "amount": 1}]},
         "#/terms/effects/0/asset", "unknown_reference"),
        ({"effects": [{"is": "points", "asset": "POINTS", "amount": 0}]},
         "#/terms/effects/0/amount", "malformed"),
        ({"effects": [{"is": "cashback", "asset": "EUR", "bps": 100}]}, "#/terms/effects/0",
         "contradiction"),
        ({"limits": [{"per": "person", "most": 5}, {"per": "campaign", "most": 3}]},
         "#/terms/limits/0/most", "contradiction"),
        ({"variants": [{"code": "a", "share": 1}]}, "#/terms/effects", "contradiction"),
        ({"surprise": 1}, "#/terms", "malformed"),
    ],
)  # fmt: skip
def test_bad_terms_are_refused_with_the_path_to_the_fault(
    world: World, marla: Caller, change: dict[str, Any], pointer: str, code: str
) -> None:
    marla.post("campaigns/", {"code": "VIP", "title": "For VIPs"})
    for dry_run in (True, False):
        body = {"terms": TERMS | change, "dry_run": dry_run}
        refused = marla.post("campaigns/VIP/versions/", body)
        assert code_of(refused) == (422, "terms_invalid")
        assert (pointer, code) in [(e["pointer"], e["code"]) for e in refused.json()["errors"]]
    assert marla.get("campaigns/VIP/versions/").json()["results"] == []


def test_four_eyes_publish(world: World, marla: Caller, mo: Caller) -> None:
    marla.post("campaigns/", {"code": "VIP", "title": "For VIPs"})
    marla.post("campaigns/VIP/versions/", {"terms": TERMS})
    own = marla.post("campaigns/VIP/versions/1/publish/")
    assert code_of(own) == (403, "version_needs_another_person")
    assert mo.post("campaigns/VIP/versions/1/reject/", {"reason": "No"}).json()["note"] == "No"
    assert code_of(mo.post("campaigns/VIP/versions/1/publish/")) == (409, "version_decided")
    assert code_of(mo.post("campaigns/VIP/versions/9/publish/")) == (404, "version_unknown")


def test_pause_resume_end(world: World, marla: Caller, mo: Caller) -> None:
    published(marla, mo)
    assert code_of(marla.post("campaigns/VIP/resume/", {"reason": "?"})) == (
        409,
        "campaign_state_differs",
    )
    for verb, state in (("pause", "paused"), ("resume", "live"), ("end", "ended")):
        answer = marla.post(f"campaigns/VIP/{verb}/", {"reason": "Because"})
        assert answer.json()["state"] == state
    assert code_of(marla.post("campaigns/VIP/end/", {})) == (400, "invalid_request")


WRITES: list[tuple[str, Any]] = [
    ("campaigns/", {"code": "X", "title": "X"}),
    ("campaigns/VIP/versions/", {"terms": TERMS}),
    ("campaigns/VIP/versions/1/publish/", {}),
    ("campaigns/VIP/end/", {"reason": "x"}),
    ("fact-names/", {"kind": "segment", "code": "x"}),
    ("segments/vip/members/", {"add": ["ann"]}),
    ("people/ann/attributes/", {"values": {"age": 3}}),
    ("activities/", {"activities": [{"key": "k", "kind": "order", "person": "ann",
                                     "asset": "EUR", "amount": 5}]}),
    ("campaigns/VIP/versions/1/simulations/", {}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body"), WRITES)
def test_only_marketing_writes(
    world: World, marla: Caller, mo: Caller, path: str, body: Any
) -> None:
    published(marla, mo)
    before = everything()
    assert code_of(Caller(world.ann).post(path, body)) == (403, "forbidden")
    assert code_of(Caller(None).post(path, body)) == (401, "unauthenticated")
    assert code_of(Caller(world.marla, "rewards:read").post(path, body)) == (403, "scope_missing")
    assert everything() == before


@pytest.mark.parametrize(
    "path",
    ["campaigns/VIP/report/", "campaigns/VIP/versions/", "fact-names/", "people/ann/campaigns/",
     "campaign-liability/?asset=POINTS"],
)  # fmt: skip
def test_fans_do_not_read_what_is_not_theirs(
    world: World, marla: Caller, mo: Caller, path: str
) -> None:
    published(marla, mo)
    assert code_of(Caller(world.ann).get(path)) == (403, "forbidden")
    assert marla.get(path).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"channel": "a b"}, 400, "invalid_request"),
        ({"order": "x" * 61}, 400, "invalid_request"),
        ({"surprise": 1}, 400, "invalid_request"),
        ({"channel": 5, "order": None}, 400, "invalid_request"),
        ([], 400, "invalid_request"),
    ],
)
def test_bad_claim_is_refused(
    world: World, marla: Caller, mo: Caller, ann: Caller, body: Any, status: int, code: str
) -> None:
    published(marla, mo)
    assert code_of(ann.post("campaigns/VIP/claims/", body)) == (status, code)
    assert not Claim.objects.exists()


def test_strange_addresses_are_not_found(world: World, ann: Caller) -> None:
    for path in ("campaigns/%00/", "campaigns/" + "x" * 500 + "/", "campaigns/%F0%9F%98%80/"):
        assert ann.get(path).status_code in {400, 404}, path
        assert ann.post(f"{path}claims/", {}).status_code in {400, 404}, path
    marla = Caller(world.marla)
    for odd in ("%00", "%F0%9F%98%80", "x" * 500, "%2e%2e", "a%0ab"):
        assert marla.get(f"people/{odd}/campaigns/").status_code in {400, 404, 422}, odd
        assert marla.post(f"segments/{odd}/members/", {"add": []}).status_code in {400, 404, 422}
        assert marla.get(f"campaign-liability/?asset={odd}").status_code in {400, 422}, odd
        assert ann.get(f"qualify/?referrer={odd}").status_code in {200, 400, 422}, odd
    assert marla.get(f"campaigns/VIP/versions/{10**30}/").status_code == 404
    assert code_of(ann.get("claims/0/")) == (404, "not_found")
    assert code_of(ann.get("campaigns/NOPE/qualify/")) == (404, "campaign_unknown")
    assert code_of(ann.get("qualify/?channel=a%20b")) == (400, "invalid_request")


def test_draft_campaign_is_not_there_for_fans(world: World, marla: Caller, ann: Caller) -> None:
    marla.post("campaigns/", {"code": "VIP", "title": "For VIPs"})
    assert ann.get("campaigns/").json()["results"] == []
    assert code_of(ann.get("campaigns/VIP/")) == (404, "campaign_unknown")
    assert code_of(ann.post("campaigns/VIP/claims/", {})) == (404, "campaign_unknown")


def test_activities_attributes_and_orders(
    world: World, marla: Caller, mo: Caller, ann: Caller
) -> None:
    rule = {"is": "all", "of": [
        {"is": "attribute", "name": "age", "op": "ge", "value": 18},
        {"is": "did", "event": "check_in", "times": 2},
    ]}  # fmt: skip
    published(marla, mo, rule=rule, needs_order=True)
    assert marla.post("people/ann/attributes/", {"values": {"age": 20}}).status_code == 204
    wrong = marla.post("people/ann/attributes/", {"values": {"age": "20"}})
    assert code_of(wrong) == (422, "value_invalid")
    deeds: list[dict[str, Any]] = [
        {"key": "o-1", "kind": "order", "person": "ann", "asset": "EUR", "amount": 900},
        {"key": "c-1", "kind": "check_in", "person": "ann"},
    ]
    assert marla.post("activities/", {"activities": deeds}).json() == {"reported": 2, "repeated": 0}
    assert marla.post("activities/", {"activities": deeds}).json() == {"reported": 0, "repeated": 2}
    changed = [deeds[0] | {"amount": 901}]
    assert code_of(marla.post("activities/", {"activities": changed})) == (
        422,
        "activity_key_reused",
    )
    asked = ann.get("campaigns/VIP/qualify/?order=o-1").json()
    assert asked["progress"] == [
        {"pointer": "#/rule/of/1", "event": "check_in", "done": 1, "needed": 2}
    ]
    marla.post("activities/", {"activities": [deeds[1] | {"key": "c-2"}]})
    assert ann.post("campaigns/VIP/claims/", {"order": "o-1"}).status_code == 201


def test_reports_story_and_liability(world: World, marla: Caller, mo: Caller, ann: Caller) -> None:
    published(marla, mo, rule={"is": "all"})
    ann.post("campaigns/VIP/claims/", {})
    ann.post("campaigns/VIP/claims/", {})
    report = marla.get("campaigns/VIP/report/").json()
    assert report["budgets"] == [{"asset": "POINTS", "funded": 1000, "left": 990}]
    assert (report["granted"], report["refusals"]) == (1, {"limit_person": 1})
    story = marla.get("people/ann/campaigns/").json()
    assert [claim["campaign"] for claim in story["claims"]] == ["VIP"]
    assert [row["code"] for row in story["refusals"]] == ["limit_person"]
    owed = marla.get("campaign-liability/?asset=POINTS").json()
    [row] = owed["rows"]
    assert (owed["wallets"], row["campaign"], row["outstanding"]) == (10, "VIP", 10)
    assert row["cohort"] == timezone.now().strftime("%Y-%m")
    assert code_of(marla.get("campaign-liability/?asset=NOPE")) == (422, "asset_unknown")


def test_simulation_is_a_job_with_progress(world: World, marla: Caller, mo: Caller) -> None:
    published(marla, mo)
    before = everything()
    made = marla.post("campaigns/VIP/versions/1/simulations/", {"people": 50, "runs": 20})
    assert (made.status_code, made.json()["state"]) == (202, "waiting")
    trial = Simulation.objects.get()
    assert (made["Location"], trial.job_id is not None) == (
        f"/api/v1/simulations/{trial.pk}/",
        True,
    )
    first = simulate({}, simulation_id=trial.pk)
    seen = marla.get(f"simulations/{trial.pk}/").json()
    assert (first.is_last, seen["state"], seen["runs_done"]) == (False, "running", 10)
    assert simulate(first.notes, simulation_id=trial.pk).is_last
    report = marla.get(f"simulations/{trial.pk}/").json()["report"]
    assert report["people"] == 50
    assert 0 < report["cost"]["POINTS"]["p50"] <= report["cost"]["POINTS"]["worst"] == 500
    assert everything() == before


def test_tiers_say_what_is_earned_and_needed(
    world: World, marla: Caller, mo: Caller, ann: Caller
) -> None:
    levels = [{"code": "bronze", "title": "Bronze", "threshold": 5},
              {"code": "gold", "title": "Gold", "threshold": 50}]  # fmt: skip
    body = {"code": "club", "title": "Club", "levels": levels}
    assert marla.post("tier-programs/", body).json()["asset"] == "TIER-CLUB"
    assert code_of(marla.post("tier-programs/", body)) == (409, "program_exists")
    wrong = body | {"code": "other", "levels": levels[::-1]}
    assert code_of(marla.post("tier-programs/", wrong)) == (422, "program_invalid")
    published(
        marla, mo, rule={"is": "all"},
        effects=[{"is": "tier_points", "program": "club", "amount": 7}], budgets={},
    )  # fmt: skip
    assert ann.get("tiers/").json()["results"][0]["level"] is None
    assert ann.post("campaigns/VIP/claims/", {}).status_code == 201
    [tier] = ann.get("tiers/").json()["results"]
    assert (tier["level"], tier["earned"], tier["needed_to_rise"]) == ("bronze", 7, 43)


def test_qualify_costs_the_same_however_many_campaigns_are_live(
    world: World, ann: Caller, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        world.campaign(f"C-{number}", rule={"is": "segment", "any_of": ["vip"]})
    ann.get("qualify/")
    with django_assert_max_num_queries(12):
        assert len(ann.get("qualify/").json()["results"]) == 30


def test_every_operation_has_a_name_and_examples() -> None:
    from drf_spectacular.generators import SchemaGenerator

    generator = SchemaGenerator(urlconf="rewards.campaigns.urls")  # type: ignore[no-untyped-call]
    schema = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    every = [each for methods in schema["paths"].values() for each in methods.values()]
    # The gateway's own operations are in every description.
    own = (["orders"], ["waiting rooms"])
    operations = [each for each in every if each["tags"] not in own]
    assert len({each["operationId"] for each in operations}) == len(operations) == 30
    for operation in operations:
        [success] = [s for s in operation["responses"] if s in {"200", "201", "202", "204"}][:1]
        content = operation["responses"][success].get("content", {})
        assert all(body["examples"] for body in content.values()), operation["operationId"]


def test_a_waiting_room_guards_claims_on_the_web_too(
    world: World, marla: Caller, mo: Caller, ann: Caller
) -> None:
    published(marla, mo)
    marla.post("segments/vip/members/", {"add": ["@Ann"]})
    room = open_room(new_room(path_prefix="/api/v1/campaigns/VIP/"), by=None)
    refused = ann.post("campaigns/VIP/claims/", {}, key="once")
    assert code_of(refused) == (403, "waiting_room_pass_required")
    assert refused.json()["page_url"] == "/waiting/drop/"
    assert ann.get("campaigns/VIP/qualify/").json()["qualifies"], "looking needs no pass"
    close_room(room.name, by=None, reason="over")
    assert ann.post("campaigns/VIP/claims/", {}, key="once").status_code == 201
