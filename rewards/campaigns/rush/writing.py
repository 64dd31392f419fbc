"""What a batch of claims writes: grants, refusals and events, with its payments in one journey."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from struct import Struct
from typing import TYPE_CHECKING, Any

import msgspec

from edge.journey import Journey, Rows, int8, jsonb, row, text, timestamp
from live.events import Event
from live.outbox import record_on
from rewards.campaigns import counting
from rewards.campaigns.claiming import risen
from rewards.campaigns.deciding import Ask, Counter, Grant, Refused, Version
from rewards.campaigns.directory import Compiled
from rewards.campaigns.events import TOPIC, announce
from rewards.campaigns.models import Claim
from rewards.campaigns.paying import Row

if TYPE_CHECKING:
    from rewards.campaigns.rush.reading import Wish

WRITE_CLAIMS = """
INSERT INTO campaigns_claim (id, campaign_id, version_id, owner_id, request, at, channel,
    order_key, referrer_id, variant, payments, drawn, counted, state, reason)
SELECT * FROM unnest($1::campaigns_claim_row[])
"""
WRITE_REFUSALS = """
INSERT INTO campaigns_claimrefusal (campaign_id, owner_id, version_id, at, channel, order_key,
    code, misses)
SELECT * FROM unnest($1::campaigns_refusal_row[])
"""
_CLAIM_HEAD = Struct("!i iiq iiq iiq iiq ii16s").pack
_REFUSAL_HEAD = Struct("!i iiq iiq").pack
_encode = msgspec.json.Encoder().encode
_END = text(Claim.State.GRANTED) + text("")


class Made(msgspec.Struct, kw_only=True, gc=False):
    """A claim just granted, as far as a row, an event and an answer tell of it."""

    pk: int
    campaign_id: int
    version_id: int
    owner_id: int
    request: bytes
    at: datetime
    channel: str
    order_key: str
    referrer_id: int | None
    variant: str
    payments: list[Row]
    drawn: list[dict[str, Any]]
    counted: tuple[Counter, ...]
    state: str = Claim.State.GRANTED.value
    reversed_at: None = None


class _GrantTold(msgspec.Struct, tag_field="type", tag="claim_granted", kw_only=True, gc=False):
    """The event of a grant; the same as `claiming.claim_event` tells of one claim alone."""

    key: str
    claim_id: str
    version: int
    person: str
    variant: str
    payments: msgspec.Raw
    counted: msgspec.Raw


class _RefusalTold(msgspec.Struct, tag_field="type", tag="claim_refused", kw_only=True, gc=False):
    key: str
    person: str
    version: int | None
    reason: str


@dataclass(slots=True)
class Written:
    """The rows of one batch, packed, until they are written."""

    at: datetime
    claims: list[bytes] = field(default_factory=list)
    refusals: list[bytes] = field(default_factory=list)
    counters: counting.Rows = field(default_factory=dict)
    risen: list[Grant] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    _at: bytes = b""

    def __post_init__(self) -> None:
        self._at = timestamp(self.at)

    def grant(
        self,
        wish: Wish,
        entry: Compiled,
        version: Version,
        ask: Ask,
        grant: Grant,
        claim_id: int,
        payments: list[Row],
    ) -> Made:
        """Note a claim that was granted and paid."""
        made = Made(
            pk=claim_id,
            campaign_id=entry.id,
            version_id=version.id,
            owner_id=wish.person,
            request=wish.request,
            at=self.at,
            channel=wish.channel,
            order_key=wish.order_key,
            referrer_id=ask.referrer.person if ask.referrer else None,
            variant=grant.variant,
            payments=payments,
            drawn=msgspec.to_builtins(grant.drawn) if grant.drawn else [],
            counted=grant.counted,
        )
        paid, counted = _encode(payments), _encode(grant.counted)
        self.claims.append(self._claim_bytes(made, paid, counted))
        self.risen.append(grant)
        told = _GrantTold(
            key=entry.code,
            claim_id=str(claim_id),
            version=version.number,
            person=str(wish.person),
            variant=grant.variant,
            payments=msgspec.Raw(paid),
            counted=msgspec.Raw(counted),
        )
        self.events.append(Event(TOPIC, entry.code, _encode(told)))
        return made

    def deny(self, wish: Wish, campaign: int, version: Version | None, no: Refused) -> None:
        """Note a claim that was refused, and why."""
        self.refusals.append(
            row(
                _REFUSAL_HEAD(8, 20, 8, campaign, 20, 8, wish.person)
                + int8(version.id if version else None)
                + self._at
                + text(wish.channel)
                + text(wish.order_key)
                + text(no.code)
                + jsonb(_encode(no.misses))
            )
        )
        told = _RefusalTold(
            key=wish.campaign,
            person=str(wish.person),
            version=version.number if version else None,
            reason=no.code,
        )
        self.events.append(Event(TOPIC, wish.campaign, _encode(told)))

    def _claim_bytes(self, made: Made, payments: bytes, counted: bytes) -> bytes:
        """Pack one `campaigns_claim_row`."""
        return row(
            _CLAIM_HEAD(
                15, 20, 8, made.pk, 20, 8, made.campaign_id, 20, 8, made.version_id,
                20, 8, made.owner_id, 2950, 16, made.request,
            )
            + self._at
            + text(made.channel)
            + text(made.order_key)
            + int8(made.referrer_id)
            + text(made.variant)
            + jsonb(payments)
            + jsonb(_encode(made.drawn))
            + jsonb(counted)
            + _END
        )  # fmt: skip

    def write(self, journey: Journey, meanwhile: Callable[[], object]) -> None:
        """Write everything beside what is on the journey already, the events last of all.

        `meanwhile` is called while PostgreSQL works.
        """
        if self.claims:
            journey.write(WRITE_CLAIMS, Rows("campaigns_claim_row", self.claims))
        if self.refusals:
            journey.write(WRITE_REFUSALS, Rows("campaigns_refusal_row", self.refusals))
        if any(paid.kind == "tier_points" for grant in self.risen for paid in grant.payments):
            # Whether a level is reached shows in the ledger, once the points are there.
            journey.run(meanwhile)
            announce(*risen(self.risen, self.at), *self.events)
        else:
            record_on(journey, self.events)
            journey.run(meanwhile)
