"""An event: something that happened and is durable. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec

LARGEST_PAYLOAD_BYTES = 256 * 1024
EVENTS_PER_RECORD = 4096


class Event(msgspec.Struct, frozen=True, gc=False):
    """What happened, told to whoever listens.

    `topic` is the kind of story ("market.12", "wallet"), `key` the thing it is about (an
    account, an order), `payload` one JSON value, already encoded.
    """

    topic: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    key: Annotated[str, msgspec.Meta(max_length=80)]
    payload: bytes
