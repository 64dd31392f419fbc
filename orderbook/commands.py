"""What a trader may ask of a market, as it travels from the gateway to the writer. Pure."""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b
from typing import Annotated

import msgspec

PLACE = "order.place"
CANCEL = "order.cancel"
CANCEL_ALL = "order.cancel_all"
AMEND = "order.amend"
LARGEST_NUMBER = 1 << 53
"""Prices and quantities in JSON stay exact in every language's numbers."""

Positive = Annotated[int, msgspec.Meta(ge=1, le=LARGEST_NUMBER)]
ClientOrderId = Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]{1,64}\Z")]


class Side(StrEnum):
    """Which way the base asset goes."""

    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    """What kind of order it is: see `docs/api/trading.md`."""

    LIMIT = "limit"
    MARKET = "market"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"


class SelfTrade(StrEnum):
    """What happens where an order would trade with another of the same person."""

    CANCEL_NEWEST = "cancel_newest"
    CANCEL_OLDEST = "cancel_oldest"
    CANCEL_BOTH = "cancel_both"
    DECREMENT = "decrement"


class TimeInForce(StrEnum):
    """How long an order lives: see `docs/api/trading.md`."""

    GOOD_TILL_CANCELLED = "gtc"
    IMMEDIATE_OR_CANCEL = "ioc"
    FILL_OR_KILL = "fok"
    POST_ONLY = "post_only"
    GOOD_TILL_DATE = "gtd"


class CancelRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The JSON body of a cancellation within a batch: one of the two names."""

    order_id: str | None = None
    client_order_id: str | None = None


class GuardOrder(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The stop of a pair; its side, quantity and end are those of the order that it guards."""

    type: OrderType
    price: int
    stop_price: int
    time_in_force: TimeInForce


class PlaceOrder(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A new order on its way to the writer; 0 is what it does not ask for.

    `price` is the worst price of an order of any type.
    """

    market_id: int
    client_order_id: str
    side: Side
    price: int
    quantity: int
    time_in_force: TimeInForce
    type: OrderType = OrderType.LIMIT
    stop_price: int = 0
    display_quantity: int = 0
    min_quantity: int = 0
    expires_us: int = 0
    self_trade: SelfTrade = SelfTrade.CANCEL_NEWEST
    guard: GuardOrder | None = None


class AmendOrder(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A change of a live order; 0 leaves as it is."""

    market_id: int
    order_id: int
    client_order_id: str
    price: int = 0
    remaining_quantity: int = 0
    stop_price: int = 0


class CancelAll(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A cancellation of all one's orders: of one market or (0) all, of one side or both."""

    market_id: int
    side: Side | None = None


class CancelOrder(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A cancellation on its way to the writer: by our order id, or by the client's own."""

    market_id: int
    order_id: int
    client_order_id: str


CANCEL_REQUEST = msgspec.json.Decoder(CancelRequest)
_encoder = msgspec.msgpack.Encoder()
_place = msgspec.msgpack.Decoder(PlaceOrder)
_cancel = msgspec.msgpack.Decoder(CancelOrder)
_amend = msgspec.msgpack.Decoder(AmendOrder)
_cancel_all = msgspec.msgpack.Decoder(CancelAll)

encode = _encoder.encode
decode_place = _place.decode
decode_cancel = _cancel.decode
decode_amend = _amend.decode
decode_cancel_all = _cancel_all.decode


def client_order_digest(user_id: int, client_order_id: str) -> bytes:
    """Shorten a person's own order id to 16 bytes, unique over all people and for ever."""
    name = f"{user_id}:{client_order_id}".encode()
    return blake2b(name, digest_size=16).digest()
