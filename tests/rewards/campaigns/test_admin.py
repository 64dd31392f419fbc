"""The admin: operators see campaigns, people and reasons, and change nothing without one."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from edge.models import AuditEvent
from rewards.campaigns import publishing
from rewards.campaigns.models import Campaign, CampaignVersion, Claim
from tests.rewards.campaigns.conftest import TEN_POINTS, World
from tests.rewards.conftest import person
from tests.rewards.test_admin import signed_in, text_of

CAMPAIGNS = "/admin/campaigns/campaign/"
VERSIONS = "/admin/campaigns/campaignversion/"
CLAIMS = "/admin/campaigns/claim/"


@pytest.fixture
def marla(world: World) -> Client:
    return signed_in(world.marla)


@pytest.fixture
def mo(world: World) -> Client:
    return signed_in(world.mo)


def act(client: Client, place: str, action: str, pk: int, **more: str) -> Any:
    form = {"action": action, "_selected_action": str(pk), **more}
    return client.post(place, form, follow=True)


def test_marketer_sets_a_campaign_up(world: World, marla: Client) -> None:
    form = {"code": "NEW", "title": "New", "description": "", "partner": "",
            "versions-TOTAL_FORMS": "0", "versions-INITIAL_FORMS": "0"}  # fmt: skip
    text_of(marla.post(f"{CAMPAIGNS}add/", form, follow=True))
    made = Campaign.objects.get(code="NEW")
    assert (made.state, made.created_by) == ("draft", world.marla)
    assert "New" in text_of(marla.get(f"{CAMPAIGNS}{made.pk}/change/"))


def test_list_and_page_show_budget_and_claims(world: World, marla: Client) -> None:
    row = world.campaign()
    world.claim(world.ann)
    assert "990 of 1,000 POINTS" in text_of(marla.get(CAMPAIGNS))
    page = text_of(marla.get(f"{CAMPAIGNS}{row.pk}/change/"))
    assert "1 claims of 1 people" in page


def test_version_is_published_by_another_after_a_second_look(
    world: World, marla: Client, mo: Client
) -> None:
    publishing.create(code="X", title="X", actor=world.marla)
    data = {"starts_at": "2026-11-01T00:00:00Z", "effects": TEN_POINTS, "budgets": {"POINTS": 50}}
    publishing.draft("X", data, actor=world.marla)
    version = CampaignVersion.objects.get()
    address = f"{VERSIONS}{version.pk}/publish/"
    assert "Publish version 1 of X?" in text_of(mo.get(address))
    assert CampaignVersion.objects.get().state == "draft"
    assert "Somebody else must decide" in text_of(marla.post(address, follow=True))
    assert CampaignVersion.objects.get().state == "draft"
    assert "Published; its budgets are funded." in text_of(mo.post(address, follow=True))
    assert world.budget("X") == 50


def test_pause_and_end_ask_for_a_reason(world: World, marla: Client) -> None:
    row = world.campaign()
    asked = text_of(act(marla, CAMPAIGNS, "pause", row.pk))
    assert "Stop claims of these campaigns for now?" in asked
    assert Campaign.objects.get().state == "live"
    act(marla, CAMPAIGNS, "pause", row.pk, reason="Looks odd")
    assert Campaign.objects.get().state == "paused"
    act(marla, CAMPAIGNS, "end", row.pk, reason="Over")
    assert Campaign.objects.get().state == "ended"
    reasons = AuditEvent.objects.filter(object_id="WELCOME").values_list("action", "reason")
    assert {("campaigns.pause", "Looks odd"), ("campaigns.end", "Over")} <= set(reasons)


def test_claim_is_reversed_with_a_reason(world: World, marla: Client) -> None:
    world.campaign()
    made = world.claim(world.ann).claim
    assert made is not None
    act(marla, CLAIMS, "reverse_claims", made.pk, reason="Fraud")
    assert (Claim.objects.get().state, world.balance(world.ann)) == ("reversed", 0)
    again = text_of(act(marla, CLAIMS, "reverse_claims", made.pk, reason="Fraud"))
    assert "This claim is reversed already" in again


def test_one_page_tells_a_persons_whole_story(world: World, marla: Client) -> None:
    world.campaign(rule={"is": "segment", "any_of": ["vip"]})
    world.campaign("OPEN")
    world.claim(world.ann)
    world.claim(world.ann, "OPEN")
    world.did(world.ann, "check_in", world.ann.date_joined, key="gate-7")
    page = text_of(marla.get(f"{CLAIMS}person/?handle=@Ann"))
    for said in ("rule_not_met", "Needs: in segment vip.", "10 POINTS", "gate-7"):
        assert said in page, said
    assert "Nobody active has this handle." in text_of(marla.get(f"{CLAIMS}person/?handle=zzz"))


def test_support_reads_and_changes_nothing(world: World) -> None:
    row = world.campaign()
    support = signed_in(person("sue", "support", is_staff=True))
    for place in (CAMPAIGNS, VERSIONS, CLAIMS, f"{CLAIMS}person/"):
        assert support.get(place).status_code == 200, place
    assert support.get(f"{CAMPAIGNS}add/").status_code == 403
    act(support, CAMPAIGNS, "end", row.pk, reason="Mischief")
    version = CampaignVersion.objects.get()
    assert support.post(f"{VERSIONS}{version.pk}/publish/").status_code in {302, 403}
    assert Campaign.objects.get().state == "live"


def test_every_list_opens(world: World, marla: Client) -> None:
    for name in ("claimrefusal", "simulation", "factname", "tierprogram"):
        assert marla.get(f"/admin/campaigns/{name}/").status_code == 200, name
