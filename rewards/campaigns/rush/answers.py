"""What the gateway answers a claim with: the same JSON as the web's, made faster."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from edge import fields
from edge.problems import Refusal, answer
from rewards.campaigns.deciding import Refused
from rewards.campaigns.models import Claim
from rewards.campaigns.problems import claim_refused
from rewards.campaigns.rush.writing import Made
from sequencer.commands import Answer, Command

# Of a batch, all claims have the same moment, and most refusals the same words.
format_time = lru_cache(maxsize=64)(fields.format_time)
_encode = msgspec.json.Encoder().encode


def claim_json(claim: Claim | Made, campaign: str, version: int) -> dict[str, Any]:
    """Spell a claim as `ClaimOut` describes it."""
    own = str(claim.owner_id)
    request = claim.request.hex() if isinstance(claim, Made) else claim.request.hex
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
        "draw_name": f"{claim.version_id}:{own}:{request}",
        "reversed_at": format_time(claim.reversed_at) if claim.reversed_at else None,
    }


def granted(
    command: Command, claim: Claim | Made, campaign: str, version: int, *, again: bool
) -> Answer:
    """Tell a person what they got."""
    return Answer(command.id, 201, _encode(claim_json(claim, campaign, version)), again)


def denied(command: Command, refused: Refused) -> Answer:
    """Tell a person by which of the campaign's terms they got nothing."""
    return Answer(command.id, *_refusal_of(refused))


@lru_cache(maxsize=1_024)
def _refusal_of(refused: Refused) -> tuple[int, bytes]:
    status, _, body = answer(claim_refused(refused))
    return status, body


def turned_down(command: Command, refusal: Refusal) -> Answer:
    """Tell a person why they got nothing."""
    status, _, body = answer(refusal)
    return Answer(command.id, status, body)
