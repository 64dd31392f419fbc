"""Hundreds of campaigns at once."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from rewards.campaigns import publishing
from rewards.campaigns.models import Campaign, CampaignBudget, CampaignVersion
from rewards.campaigns.terms import stored
from tests.rewards.campaigns.conftest import NOW, START, TEN_POINTS, World
from tests.rewards.campaigns.test_rules import TWELVE
from tests.rewards.test_api import Caller
from wallet.accounts import Purpose, open_accounts

LIVE = 200
LIMITS = [
    {"per": "person", "window": "day", "most": 1},
    {"per": "campaign", "window": "month", "most": 1_000},
]


def many_live(world: World) -> None:
    """199 more live campaigns, each with its budget account; every other one asks twelve things."""
    account = CampaignBudget.objects.get()
    data: dict[str, Any] = {
        "starts_at": START.isoformat(),
        "effects": TEN_POINTS,
        "budgets": {"POINTS": 1_000},
        "limits": LIMITS,
    }
    terms = [
        stored(publishing.check("X", data | {"rule": rule}, now=NOW))
        for rule in ({"is": "all"}, TWELVE | {"of": [p for p in TWELVE["of"] if p["is"] != "any"]})
    ]
    rows = Campaign.objects.bulk_create(
        Campaign(code=f"C-{number}", title="x", state="live") for number in range(LIVE - 1)
    )
    CampaignVersion.objects.bulk_create(
        CampaignVersion(
            campaign=row, number=1, terms=terms[number % 2], starts_at=START, nonce=b"x",
            commitment="x", state="published", proposed_by=world.marla, decided_by=world.mo,
            decided_at=NOW,
        )
        for number, row in enumerate(rows)
    )  # fmt: skip
    purposes = [Purpose(None, world.points.pk, "budget", f"campaign:{row.pk}") for row in rows]
    opened = open_accounts(purposes)
    CampaignBudget.objects.bulk_create(
        CampaignBudget(
            campaign=row, asset=world.points, account_id=opened[purpose], source_id=account.pk
        )
        for row, purpose in zip(rows, purposes, strict=True)
    )


def asked_for(ann: Caller, live: int) -> int:
    """How many statements one look over so many campaigns takes."""
    with CaptureQueriesContext(connection) as asked:
        answer = ann.get("qualify/")
    assert len(answer.json()["results"]) == live
    return len(asked)


def test_one_person_is_checked_against_200_live_campaigns_as_against_one(world: World) -> None:
    """The database is asked as often; what it takes, `make bench` measures."""
    world.campaign("FIRST")
    ann = Caller(world.ann)
    ann.get("qualify/")  # what is remembered from one request to the next is asked for once
    alone = asked_for(ann, 1)
    many_live(world)
    ann.get("qualify/")
    assert asked_for(ann, LIVE) <= alone
