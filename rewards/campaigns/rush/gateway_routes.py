"""What the gateway accepts for campaigns: a claim."""

from __future__ import annotations

import re

from edge.idempotency_keys import checked_key, name_of
from rewards.campaigns.problems import CampaignUnknown
from rewards.campaigns.rush.commands import (
    CLAIM,
    CLAIM_REQUEST,
    MakeClaim,
    encode,
    shard_of,
)
from sequencer.admission import Priority
from sequencer.routes import Draft, Request, Route, read_json

CLAIMS = "/api/v1/campaigns/{campaign}/claims/"
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,59}\Z")


def routes(shard_count: int) -> list[Route]:
    """The claims' one route. A campaign's claims all go to one of the writers."""

    def claim(request: Request) -> Draft:
        campaign = request.path_values["campaign"]
        if not _CODE.match(campaign):
            raise CampaignUnknown
        sent = request.headers.get(b"idempotency-key")
        key = checked_key(None if sent is None else sent.decode("latin-1"))
        asked = read_json(request.body, CLAIM_REQUEST)
        path = CLAIMS.format(campaign=campaign)
        name = name_of(request.principal.user_id, "POST", path, key)
        command = MakeClaim(campaign, name.bytes, asked.channel, asked.order, asked.referrer)
        return Draft(CLAIM, shard_of(campaign, shard_count), encode(command))

    return [
        Route("POST", CLAIMS, scope="rewards:write", draft=claim, priority=Priority.CLAIM),
    ]
