"""What a trader may ask of a market, as it travels from the gateway to the writer. Pure."""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b
from typing import Annotated

import msgspec

PLACE = "order.place"
CANCEL = "order.cancel"
LARGEST_NUMBER = 1 << 53
"""Prices and quantities in JSON stay exact in every language's numbers."""

Positive = Annotated[int, msgspec.Meta(ge=1, le=LARGEST_NUMBER)]
ClientOrderId = Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]{1,64}\Z")]


class Side(StrEnum):
    """Which way the base asset goes."""

    BUY = "buy"
    SELL = "sell"


class TimeInForce(StrEnum):
    """How long an order lives: see `docs/api/trading.md`."""

    GOOD_TILL_CANCELLED = "gtc"
    IMMEDIATE_OR_CANCEL = "ioc"
    FILL_OR_KILL = "fok"
    POST_ONLY = "post_only"


class OrderRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The JSON body of a new order: `price` in quote minor units for one lot, `quantity` in
    base units."""

    side: Side
    price: Positive
    quantity: Positive
    time_in_force: TimeInForce = TimeInForce.GOOD_TILL_CANCELLED
    client_order_id: ClientOrderId | None = None


class CancelRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The JSON body of a cancellation within a batch: one of the two names."""

    order_id: str | None = None
    client_order_id: str | None = None


class PlaceOrder(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A new order on its way to the writer."""

    market_id: int
    client_order_id: str
    side: Side
    price: int
    quantity: int
    time_in_force: TimeInForce


class CancelOrder(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A cancellation on its way to the writer: by our order id, or by the client's own."""

    market_id: int
    order_id: int
    client_order_id: str


CANCEL_REQUEST = msgspec.json.Decoder(CancelRequest)
ORDER_REQUEST = msgspec.json.Decoder(OrderRequest)
_encoder = msgspec.msgpack.Encoder()
_place = msgspec.msgpack.Decoder(PlaceOrder)
_cancel = msgspec.msgpack.Decoder(CancelOrder)

encode = _encoder.encode
decode_place = _place.decode
decode_cancel = _cancel.decode


def client_order_digest(user_id: int, client_order_id: str) -> bytes:
    """Shorten a person's own order id to 16 bytes, unique over all people and for ever."""
    name = f"{user_id}:{client_order_id}".encode()
    return blake2b(name, digest_size=16).digest()
