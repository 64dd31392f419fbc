"""What a batch of claims writes: grants, refusals and events, each in one statement."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from struct import Struct
from typing import TYPE_CHECKING, Any

import msgspec

from edge.postgres import (
    NULL,
    copying,
    int64_field,
    json_field,
    raw_cursor,
    text_field,
    timestamp_field,
)
from live.events import Event
from rewards.campaigns.claiming import risen
from rewards.campaigns.counting import Rows
from rewards.campaigns.deciding import Ask, Counter, Grant, Refused, Version
from rewards.campaigns.directory import Compiled
from rewards.campaigns.events import TOPIC, announce
from rewards.campaigns.models import Claim
from rewards.campaigns.paying import Row

if TYPE_CHECKING:
    from rewards.campaigns.rush.batch import Wish

COPY_CLAIMS = """
COPY campaigns_claim (id, campaign_id, version_id, owner_id, request, at, channel, order_key,
    referrer_id, variant, payments, drawn, counted, state, reversed_at, reason)
FROM STDIN WITH (FORMAT binary)
"""
COPY_REFUSALS = """
COPY campaigns_claimrefusal (campaign_id, owner_id, version_id, at, channel, order_key, code,
    misses)
FROM STDIN WITH (FORMAT binary)
"""
_CLAIM_HEAD = Struct("!h iq iq iq iq i16s").pack
_REFUSAL_HEAD = Struct("!h iq iq").pack
_encode = msgspec.json.Encoder().encode
_GRANTED, _NO_WORDS = text_field(Claim.State.GRANTED), text_field("")


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
    counters: Rows = field(default_factory=dict)
    risen: list[Grant] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    _at: bytes = b""

    def __post_init__(self) -> None:
        self._at = timestamp_field(self.at)

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
            b"".join(
                (
                    _REFUSAL_HEAD(8, 8, campaign, 8, wish.person),
                    int64_field(version.id if version else None),
                    self._at,
                    text_field(wish.channel),
                    text_field(wish.order_key),
                    text_field(no.code),
                    json_field(_encode(no.misses)),
                )
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
        """Pack one row of `campaigns_claim`, in the order of the COPY statement."""
        return b"".join(
            (
                _CLAIM_HEAD(
                    16, 8, made.pk, 8, made.campaign_id, 8, made.version_id, 8, made.owner_id,
                    16, made.request,
                ),
                self._at,
                text_field(made.channel),
                text_field(made.order_key),
                int64_field(made.referrer_id),
                text_field(made.variant),
                json_field(payments),
                json_field(_encode(made.drawn)),
                json_field(counted),
                _GRANTED,
                NULL,
                _NO_WORDS,
            )
        )  # fmt: skip


def write(rows: Written) -> None:
    """Write everything, the events last of all."""
    with raw_cursor() as cursor, copying(cursor) as copies:
        if rows.claims:
            copies.add(COPY_CLAIMS, rows.claims)
        if rows.refusals:
            copies.add(COPY_REFUSALS, rows.refusals)
    announce(*risen(rows.risen, rows.at), *rows.events)
