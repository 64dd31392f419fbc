"""One fan by the API alone: referred, on a mission, up a tier, paid, undone, accounted for."""

from __future__ import annotations

from typing import Any

from accounts.models import User
from tests.rewards.campaigns.conftest import World
from tests.rewards.test_api import Caller, code_of

START = {"starts_at": "2026-11-01T00:00:00Z"}
LEVELS = [{"code": "bronze", "title": "Bronze", "threshold": 10},
          {"code": "silver", "title": "Silver", "threshold": 30}]  # fmt: skip


def points(amount: int, **more: Any) -> dict[str, Any]:
    return {"is": "points", "asset": "POINTS", "amount": amount, **more}


def live(world: World, code: str, **terms: Any) -> None:
    marla, mo = Caller(world.marla), Caller(world.mo)
    assert marla.post("campaigns/", {"code": code, "title": code.title()}).status_code == 201
    made = marla.post(f"campaigns/{code}/versions/", {"terms": START | terms})
    assert made.status_code == 201, made.json()
    assert mo.post(f"campaigns/{code}/versions/1/publish/").status_code == 200


def test_from_referral_to_refund_and_every_point_is_accounted_for(world: World) -> None:
    ann, ben, marla = Caller(world.ann), Caller(world.ben), Caller(world.marla)
    User.objects.filter(pk=world.ann.pk).update(date_joined=world.ben.date_joined)
    program = {"code": "club", "title": "Club", "levels": LEVELS}
    assert marla.post("tier-programs/", program).status_code == 201
    live(world, "FRIENDS", referral={"joined_within_days": 3_000}, budgets={"POINTS": 100},
         effects=[points(20), points(5, to="referrer")])  # fmt: skip
    live(world, "GATES", rule={"is": "did", "event": "check_in", "times": 2, "since_claim": True},
         budgets={"POINTS": 100},
         effects=[points(7), {"is": "tier_points", "program": "club", "amount": 30}])  # fmt: skip
    live(world, "SILVER", rule={"is": "tier", "program": "club", "at_least": "silver"},
         needs_order=True, budgets={"EUR": 1_000},
         effects=[{"is": "cashback", "asset": "EUR", "bps": 1_000}])  # fmt: skip

    assert ann.post("campaigns/FRIENDS/claims/", {"referrer": "ben"}).status_code == 201
    assert code_of(ann.post("campaigns/GATES/claims/", {})) == (422, "rule_not_met")
    deeds = [{"key": f"gate-{number}", "kind": "check_in", "person": "ann"} for number in (1, 2)]
    order = {"key": "shop-1", "kind": "order", "person": "ann", "asset": "EUR", "amount": 4_200}
    assert marla.post("activities/", {"activities": [*deeds, order]}).status_code == 200
    assert code_of(ann.post("campaigns/SILVER/claims/", {"order": "shop-1"})) == (
        422,
        "rule_not_met",
    )
    assert ann.post("campaigns/GATES/claims/", {}).status_code == 201
    [tier] = ann.get("tiers/").json()["results"]
    assert (tier["level"], tier["earned"]) == ("silver", 30)
    paid = ann.post("campaigns/SILVER/claims/", {"order": "shop-1"}).json()
    assert paid["payments"][0]["amount"] == 420
    assert code_of(ann.post("campaigns/SILVER/claims/", {"order": "shop-1"})) == (422, "order_used")

    undone = marla.post(f"claims/{paid['id']}/reverse/", {"reason": "The order was returned"})
    assert undone.json()["taken"][0] == {
        "asset": "EUR", "person": str(world.ann.pk), "taken": 420, "owed": 0,
    }  # fmt: skip
    rows = marla.get("campaign-liability/?asset=POINTS").json()["rows"]
    owed = {row["campaign"]: row["outstanding"] for row in rows}
    assert owed == {"FRIENDS": 25, "GATES": 7}
    assert ben.get("claims/").json()["results"] == []
    assert (world.balance(world.ann), world.balance(world.ben)) == (27, 5)
    left = {code: marla.get(f"campaigns/{code}/report/").json()["budgets"][0]["left"]
            for code in ("FRIENDS", "GATES", "SILVER")}  # fmt: skip
    assert left == {"FRIENDS": 75, "GATES": 93, "SILVER": 1_000}
