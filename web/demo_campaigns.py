"""The demo's campaigns: a welcome, a mission at the gate, and a tier program."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from accounts.models import User
from rewards.campaigns import names, publishing, standings

PROGRAM = "club"
LEVELS = [
    {"code": "bronze", "title": "Bronze", "threshold": 100},
    {"code": "silver", "title": "Silver", "threshold": 500},
    {"code": "gold", "title": "Gold", "threshold": 2_000},
]
WELCOME: dict[str, Any] = {
    "effects": [
        {"is": "points", "asset": "PTS", "amount": 100, "expires_after_days": 90},
        {"is": "tier_points", "program": PROGRAM, "amount": 20},
    ],
    "limits": [{"per": "person", "window": "ever", "most": 1}],
    "budgets": {"PTS": 1_000_000},
}
MATCHDAY: dict[str, Any] = {
    "rule": {"is": "did", "event": "check_in", "times": 3, "since_claim": True},
    "effects": [
        {"is": "units", "series": "STADIUM-DRINK"},
        {"is": "tier_points", "program": PROGRAM, "amount": 50},
    ],
    "limits": [{"per": "person", "window": "day", "most": 1}],
    "budgets": {"STADIUM-DRINK": 20},
}
CAMPAIGNS = (
    ("WELCOME", "Welcome: 100 points", WELCOME),
    ("MATCHDAY", "Three check-ins, one drink", MATCHDAY),
)


def make_campaigns(author: User, publisher: User) -> None:
    """Set up the tier program and the campaigns; one marketer writes, the other publishes."""
    names.declare(kind="activity", code="check_in", title="Came to the stadium", actor=author)
    standings.create_program(
        code=PROGRAM, title="The Club", levels=LEVELS, every="year",
        time_zone="Europe/Madrid", actor=author,
    )  # fmt: skip
    starts_at = (timezone.now() - timedelta(minutes=1)).isoformat()
    for code, title, terms in CAMPAIGNS:
        publishing.create(code=code, title=title, actor=author)
        version = publishing.draft(code, {"starts_at": starts_at, **terms}, actor=author)
        publishing.publish(code, version.number, actor=publisher)
