"""What the gateway answers a claim with: the same JSON as the web's, made faster."""

from __future__ import annotations

from typing import Any

import msgspec

from edge.fields import format_time
from edge.problems import Refusal, answer
from rewards.campaigns.models import Claim
from sequencer.commands import Answer, Command


def claim_json(claim: Claim, campaign: str, version: int) -> dict[str, Any]:
    """Spell a claim as `ClaimOut` describes it."""
    own = str(claim.owner_id)
    return {
        "id": str(claim.pk),
        "campaign": campaign,
        "version": version,
        "at": format_time(claim.at),
        "state": claim.state,
        "variant": claim.variant,
        "order": claim.order_key,
        "payments": [
            {
                "kind": row["kind"],
                "asset": row["asset"],
                "amount": row["amount"],
                "transfer_id": row["transfer_id"],
                "to": "person" if row["person"] == own else "referrer",
                "expires_at": row.get("expires_at"),
            }
            for row in claim.payments
        ],
        "drawn": claim.drawn,
        "draw_name": f"{claim.version_id}:{own}:{claim.request.hex}",
        "reversed_at": format_time(claim.reversed_at) if claim.reversed_at else None,
    }


def granted(command: Command, claim: Claim, campaign: str, version: int, *, again: bool) -> Answer:
    """Tell a person what they got."""
    body = msgspec.json.encode(claim_json(claim, campaign, version))
    return Answer(command.id, 201, body, again)


def turned_down(command: Command, refusal: Refusal) -> Answer:
    """Tell a person why they got nothing."""
    status, _, body = answer(refusal)
    return Answer(command.id, status, body)
