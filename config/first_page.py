"""The back office's first page: what waits for a person, and whether everything runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from config.health import NEEDED, check_parts
from jobs.models import Job
from orderbook.bust_models import Bust
from rewards.campaigns.models import CampaignVersion
from rewards.disputes.models import Dispute
from sequencer.models import DeadLetter
from wallet.models import ReversalRequest

MOST_COUNTED = 100
"""Counting ends here: to somebody with so much to do the exact number says nothing more."""
SEES_HEALTH = "sequencer.view_shard"
PART_NAMES = {
    "database": "Database",
    "redis": "Redis",
    "writers": "Order writers",
    "relay": "Relay",
    "jobs": "Job sweeper",
    "market_data": "Market data",
}


@dataclass(frozen=True)
class Waiting:
    """One kind of thing that waits for a person: who sees to it, which rows, which list."""

    title: str
    right: str
    list_name: str
    rows: Callable[[], QuerySet[Any]]
    query: str = ""

    def card(self) -> dict[str, Any]:
        """What the page shows of it. Costs one count of at most a hundred rows."""
        count = self.rows()[:MOST_COUNTED].count()
        return {
            "title": self.title,
            "count": f"{count - 1}+" if count == MOST_COUNTED else str(count),
            "waits": count > 0,
            "address": reverse(f"admin:{self.list_name}_changelist") + self.query,
        }


WAITING = (
    Waiting(
        "Reversals to approve", "wallet.change_reversalrequest", "wallet_reversalrequest",
        lambda: ReversalRequest.objects.filter(state=ReversalRequest.State.OPEN),
        "?state__exact=0",
    ),
    Waiting(
        "Busts to approve", "orderbook.bust_trade", "orderbook_bust",
        lambda: Bust.objects.filter(state=Bust.State.OPEN), "?state__exact=0",
    ),
    Waiting(
        "Open disputes", "rewards.view_dispute", "rewards_dispute",
        Dispute.objects.undecided,
    ),
    Waiting(
        "Campaign versions to publish", "campaigns.change_campaignversion",
        "campaigns_campaignversion",
        lambda: CampaignVersion.objects.filter(state=CampaignVersion.State.DRAFT),
        "?state__exact=draft",
    ),
    Waiting(
        "Jobs given up", "jobs.change_job", "jobs_job",
        lambda: Job.objects.filter(state=Job.State.DEAD), f"?state__exact={Job.State.DEAD}",
    ),
    Waiting(
        "Commands that broke the engine", "sequencer.change_deadletter", "sequencer_deadletter",
        DeadLetter.objects.all,
    ),
)  # fmt: skip


def first_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add to the theme's page what its reader may see; the theme calls this."""
    may = request.user.has_perm
    return context | {
        "waiting": [each.card() for each in WAITING if may(each.right)],
        "parts": _parts() if may(SEES_HEALTH) else [],
        # The sidebar holds no link that its reader may not follow.
        "rooms": [room for room in context["sidebar_navigation"] if room["items"]],
    }


def _parts() -> list[dict[str, Any]]:
    """Each part of the installation, well or not, as /readyz has it."""
    return [
        {
            "name": PART_NAMES.get(name, name),
            "is_ready": part["is_ready"],
            "is_needed": name in NEEDED,
            "note": _note(part),
        }
        for name, part in check_parts().items()
    ]


def _note(part: dict[str, Any]) -> str:
    """What there is to say of a part in few words: how far behind it is, or its error."""
    if error := part.get("error"):
        return str(error)
    if (lag := part.get("lag_ms")) is not None:
        return f"{lag} ms behind"
    if (behind := part.get("behind_changes")) is not None:
        return f"{behind} changes behind"
    if "shards" in part:
        return f"{sum(each['waiting_entries'] for each in part['shards'])} entries wait"
    return f"answered in {part['took_ms']} ms"
