"""What a batch of claims writes: grants, refusals, counters and events, each in one statement."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from struct import Struct
from typing import TYPE_CHECKING

import msgspec

from edge.postgres import (
    NULL,
    copy_rows,
    int64_field,
    json_field,
    raw_cursor,
    text_field,
    timestamp_field,
)
from live.events import Event
from rewards.campaigns import counting
from rewards.campaigns.claiming import claim_event, risen
from rewards.campaigns.deciding import Ask, Counter, Grant, Refused, Version
from rewards.campaigns.directory import Compiled
from rewards.campaigns.events import announce, event
from rewards.campaigns.models import Claim, ClaimRefusal
from rewards.campaigns.paying import Row

if TYPE_CHECKING:
    from rewards.campaigns.rush.batch import Wish

COPY_CLAIMS = """
COPY campaigns_claim (id, campaign_id, version_id, owner_id, request, at, channel, order_key,
    referrer_id, variant, payments, drawn, counted, state, reversed_at, reason)
FROM STDIN WITH (FORMAT binary)
"""
_HEAD = Struct("!h iq iq iq iq i16s").pack


@dataclass(slots=True)
class Written:
    """The rows of one batch, until they are written."""

    claims: list[Claim] = field(default_factory=list)
    refusals: list[ClaimRefusal] = field(default_factory=list)
    counters: dict[Counter, tuple[int, list[int]]] = field(default_factory=dict)
    risen: list[tuple[Grant, datetime]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def grant(
        self,
        wish: Wish,
        entry: Compiled,
        version: Version,
        ask: Ask,
        grant: Grant,
        claim_id: int,
        payments: list[Row],
        now: datetime,
    ) -> Claim:
        """Note a claim that was granted and paid."""
        made = Claim(
            id=claim_id,
            campaign_id=entry.id,
            version_id=version.id,
            owner_id=wish.person,
            request=wish.request,
            at=now,
            channel=wish.channel,
            order_key=wish.order_key,
            referrer_id=ask.referrer.person if ask.referrer else None,
            variant=grant.variant,
            payments=payments,
            drawn=msgspec.to_builtins(grant.drawn),
            counted=[list(counter) for counter in grant.counted],
        )
        self.claims.append(made)
        self.risen.append((grant, now))
        self.events.append(claim_event("claim_granted", entry.code, version.number, made))
        return made

    def deny(
        self, wish: Wish, campaign: int, version: Version | None, no: Refused, now: datetime
    ) -> None:
        """Note a claim that was refused, and why."""
        self.refusals.append(
            ClaimRefusal(
                campaign_id=campaign,
                version_id=version.id if version else None,
                owner_id=wish.person,
                at=now,
                channel=wish.channel,
                order_key=wish.order_key,
                code=no.code,
                misses=msgspec.to_builtins(no.misses),
            )
        )
        self.events.append(
            event(
                "claim_refused",
                wish.campaign,
                person=str(wish.person),
                version=version.number if version else None,
                reason=no.code,
            )
        )


def write(rows: Written) -> None:
    """Write everything, the events last of all."""
    counting.set_rows(rows.counters)
    if rows.claims:
        with raw_cursor() as cursor:
            copy_rows(cursor, COPY_CLAIMS, map(claim_bytes, rows.claims))
    ClaimRefusal.objects.bulk_create(rows.refusals)
    told = [each for grant, now in rows.risen for each in risen(grant, now)]
    announce(*told, *rows.events)


def claim_bytes(claim: Claim) -> bytes:
    """Pack one row of `campaigns_claim`, in the order of the COPY statement."""
    return b"".join(
        (
            _HEAD(
                16, 8, claim.pk, 8, claim.campaign_id, 8, claim.version_id, 8, claim.owner_id,
                16, claim.request.bytes,
            ),
            timestamp_field(claim.at),
            text_field(claim.channel),
            text_field(claim.order_key),
            int64_field(claim.referrer_id),
            text_field(claim.variant),
            json_field(msgspec.json.encode(claim.payments)),
            json_field(msgspec.json.encode(claim.drawn)),
            json_field(msgspec.json.encode(claim.counted)),
            text_field(claim.state),
            NULL,
            text_field(claim.reason),
        )
    )  # fmt: skip
