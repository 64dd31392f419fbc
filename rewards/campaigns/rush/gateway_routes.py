"""What the gateway accepts for campaigns: a claim."""

from __future__ import annotations

import re

from edge.problems import Refusal
from rewards.campaigns.rush.commands import (
    CLAIM,
    CLAIM_REQUEST,
    MakeClaim,
    encode,
    request_of,
    shard_of,
)
from sequencer.admission import Priority
from sequencer.routes import Draft, Request, Route, read_json

CLAIMS = "/api/v1/campaigns/{campaign}/claims/"
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,59}\Z")
_KEY = re.compile(rb"[\x21-\x7e]{1,255}\Z")


class KeyMissing(Refusal):
    """A claim came without a key, so a repeat could not be told apart."""

    code = "idempotency_key_required"
    title = "The header Idempotency-Key is missing"
    status = 400


class KeyInvalid(Refusal):
    """The key is empty, too long, or not printable ASCII."""

    code = "idempotency_key_invalid"
    title = "Idempotency-Key is 1 to 255 visible ASCII characters"
    status = 400


class CampaignUnknown(Refusal):
    """No campaign can have this code."""

    code = "campaign_unknown"
    title = "There is no such campaign"
    status = 404


def routes(shard_count: int) -> list[Route]:
    """The claims' one route. A campaign's claims all go to one of the writers."""

    def claim(request: Request) -> Draft:
        campaign = request.path_values["campaign"]
        if not _CODE.match(campaign):
            raise CampaignUnknown
        key = request.headers.get(b"idempotency-key")
        if key is None:
            raise KeyMissing
        if not _KEY.match(key):
            raise KeyInvalid
        asked = read_json(request.body, CLAIM_REQUEST)
        path = CLAIMS.format(campaign=campaign)
        name = request_of(request.principal.user_id, path, key.decode())
        command = MakeClaim(campaign, name.bytes, asked.channel, asked.order, asked.referrer)
        return Draft(CLAIM, shard_of(campaign, shard_count), encode(command))

    return [
        Route("POST", CLAIMS, scope="rewards:write", draft=claim, priority=Priority.CLAIM),
    ]
