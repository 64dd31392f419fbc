"""A claim as it travels from the gateway to the writer. Pure."""

from __future__ import annotations

from typing import Annotated
from zlib import crc32

import msgspec

CLAIM = "claim.make"

Channel = Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.:-]{0,59})?\Z")]
OrderKey = Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]{0,60}\Z")]
Handle = Annotated[str, msgspec.Meta(max_length=60)]


class ClaimRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The JSON body of a claim; all of it may be left out."""

    channel: Channel = ""
    order: OrderKey = ""
    referrer: Handle = ""


class MakeClaim(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A claim on its way to the writer. `request` is the claim's own name, once and for ever."""

    campaign: str
    request: bytes
    channel: str
    order_key: str
    referrer: str


CLAIM_REQUEST = msgspec.json.Decoder(ClaimRequest)
encode = msgspec.msgpack.Encoder().encode
decode_claim = msgspec.msgpack.Decoder(MakeClaim).decode


def shard_of(campaign: str, shard_count: int) -> int:
    """Say which writer a campaign's claims go to: always the same one."""
    return crc32(campaign.encode()) % shard_count
