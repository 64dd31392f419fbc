"""Examples of bodies, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

TERMS: dict[str, Any] = {
    "starts_at": "2026-12-01T00:00:00Z",
    "ends_at": "2027-01-01T00:00:00Z",
    "time_zone": "Europe/Madrid",
    "rule": {
        "is": "all",
        "of": [
            {"is": "segment", "any_of": ["members"]},
            {"is": "weekday", "days": ["sat", "sun"], "time_zone": "Europe/Madrid"},
        ],
    },
    "effects": [{"is": "points", "asset": "POINTS", "amount": 50, "expires_after_days": 90}],
    "limits": [{"per": "person", "window": "day", "most": 1}],
    "budgets": {"POINTS": 100000},
}
CAMPAIGN_IN = {"code": "WEEKEND", "title": "Weekend points"}
CAMPAIGN = {
    "code": "WEEKEND", "title": "Weekend points", "description": "", "state": "live",
    "version": 1, "starts_at": "2026-12-01T00:00:00.000000Z",
    "ends_at": "2027-01-01T00:00:00.000000Z", "effects": TERMS["effects"], "odds": [],
    "commitment": "9f2b…",
}  # fmt: skip
VERSION = {
    "campaign": "WEEKEND", "number": 1, "state": "draft", "terms": TERMS,
    "starts_at": "2026-12-01T00:00:00.000000Z", "ends_at": "2027-01-01T00:00:00.000000Z",
    "commitment": "9f2b…", "proposed_by": "marla", "decided_by": None, "decided_at": None,
    "note": "",
}  # fmt: skip
CLAIM = {
    "id": "4711", "campaign": "WEEKEND", "version": 1, "at": "2026-12-05T12:00:00.000064Z",
    "state": "granted", "variant": "", "order": "",
    "payments": [
        {"kind": "points", "asset": "POINTS", "amount": 50, "to": "person",
         "transfer_id": "981234567890123", "expires_at": "2027-03-05T12:00:00.000064Z"},
    ],
    "drawn": [], "draw_name": "7:42:0f3c…", "reversed_at": None,
}  # fmt: skip
ANSWER = {
    "campaign": "WEEKEND", "version": 1, "qualifies": False, "variant": "",
    "code": "rule_not_met", "detail": "The conditions of the campaign are not met.",
    "misses": [
        {"pointer": "#/rule/of/0", "leaf": "segment", "detail": "Needs: in segment members."}
    ],
    "progress": [],
}  # fmt: skip
TIER = {
    "program": "club", "title": "The Club", "level": "bronze", "earned": 120,
    "next_level": "silver", "needed_to_rise": 380, "needed_to_keep": 0,
    "period_ends_at": "2027-01-01T00:00:00.000000Z", "keeps_until": "2028-01-01T00:00:00.000000Z",
}  # fmt: skip
PROGRAM_IN = {
    "code": "club", "title": "The Club", "every": "year", "time_zone": "Europe/Madrid",
    "levels": [
        {"code": "bronze", "title": "Bronze", "threshold": 100},
        {"code": "silver", "title": "Silver", "threshold": 500},
    ],
}  # fmt: skip
PROGRAM = PROGRAM_IN | {"asset": "TIER-CLUB"}
NAME = {"kind": "segment", "code": "members", "title": "Members of the club", "type": ""}
MEMBERS_IN = {"add": ["ada", "ben"], "remove": []}
ATTRIBUTES_IN = {"values": {"age": 34, "newsletter": True, "city": None}}
ACTIVITIES_IN = {
    "activities": [
        {"key": "shop-1001", "kind": "order", "person": "ada", "asset": "EUR", "amount": 4200},
        {"key": "gate-7-ada", "kind": "check_in", "person": "ada"},
    ]
}
SIMULATION = {
    "id": "12", "campaign": "WEEKEND", "version": 1, "state": "running", "runs_done": 10,
    "parameters": {"crowd": "synthetic", "people": 1000, "runs": 50, "seed": 1, "days": 30},
    "report": None,
}  # fmt: skip
REPORT = {
    "campaign": "WEEKEND", "state": "live",
    "budgets": [{"asset": "POINTS", "funded": 100000, "left": 91250}],
    "granted": 175, "reversed": 2, "people": 140, "refusals": {"rule_not_met": 31},
    "variants": [],
}  # fmt: skip
LIABILITY = {
    "asset": "POINTS", "as_of": "2026-12-31T00:00:00.000000Z", "wallets": 12000,
    "rows": [
        {"campaign": "WEEKEND", "cohort": "2026-12", "granted": 8750, "taken_back": 100,
         "expired": 0, "redeemed": 1650, "outstanding": 7000},
    ],
}  # fmt: skip
STORY = {
    "handle": "ada", "segments": ["members"], "attributes": {"age": 34}, "tiers": [TIER],
    "claims": [CLAIM],
    "refusals": [{"campaign": "WEEKEND", "code": "limit_person", "at": "2026-12-05T12:01:00Z",
                  "version": 1, "misses": []}],
    "activities": [{"key": "shop-1001", "kind": "order", "at": "2026-12-05T11:59:00Z",
                    "asset": "EUR", "amount": 4200}],
}  # fmt: skip
