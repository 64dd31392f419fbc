"""What a client may ask of a market, as JSON: each order type with the fields it has.

`read_order` and `read_amendment` check the shape: which fields there are, and which go
together. What a market allows is the engine's to say (`orderbook.matching.check`).
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

import msgspec

from edge.problems import Refusal
from orderbook.commands import (
    AmendOrder,
    ClientOrderId,
    GuardOrder,
    OrderType,
    PlaceOrder,
    Positive,
    SelfTrade,
    Side,
    TimeInForce,
)
from sequencer.routes import read_json

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


class GuardRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The stop of a pair: with a `worst_price` it takes what it can, with a `price` it may wait."""

    stop_price: Positive
    price: Positive | None = None
    worst_price: Positive | None = None


class OrderRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The JSON body of a new order: prices in quote minor units for one lot, quantities in base
    units."""

    side: Side
    quantity: Positive
    type: OrderType = OrderType.LIMIT
    price: Positive | None = None
    worst_price: Positive | None = None
    stop_price: Positive | None = None
    display_quantity: Positive | None = None
    min_quantity: Positive | None = None
    time_in_force: TimeInForce | None = None
    expires_at: Moment | None = None
    self_trade: SelfTrade = SelfTrade.CANCEL_NEWEST
    oco: GuardRequest | None = None
    client_order_id: ClientOrderId | None = None


class AmendRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The JSON body of an amendment: what it does not name stays."""

    price: Positive | None = None
    remaining_quantity: Positive | None = None
    stop_price: Positive | None = None


class NamedAmendment(AmendRequest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An amendment within a batch: by one of the order's two names."""

    order_id: Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,18}\Z")] | None = None
    client_order_id: ClientOrderId | None = None


class Shape(NamedTuple):
    """The fields of one order type: those it must have and may have, and its times in force."""

    required: AbstractSet[str]
    allowed: AbstractSet[str]
    times_in_force: tuple[TimeInForce, ...]


_WAITING = (TimeInForce.GOOD_TILL_CANCELLED, TimeInForce.GOOD_TILL_DATE, TimeInForce.POST_ONLY)
_TAKING = (TimeInForce.IMMEDIATE_OR_CANCEL, TimeInForce.FILL_OR_KILL)
_ANY = (*_WAITING, *_TAKING)
# The first time in force is the one that counts when none is given.
SHAPES = {
    OrderType.LIMIT: Shape({"price"}, {"display_quantity", "min_quantity", "oco"}, _ANY),
    OrderType.MARKET: Shape({"worst_price"}, {"min_quantity"}, _TAKING),
    OrderType.STOP: Shape({"worst_price", "stop_price"}, {"min_quantity", "expires_at"}, _TAKING),
    OrderType.STOP_LIMIT: Shape(
        {"price", "stop_price"}, {"display_quantity", "min_quantity", "expires_at"}, _ANY
    ),
}
_OPTIONAL = (
    "price", "worst_price", "stop_price", "display_quantity", "min_quantity", "expires_at", "oco",
)  # fmt: skip
_ORDER = msgspec.json.Decoder(OrderRequest)
_AMENDMENT = msgspec.json.Decoder(AmendRequest)
_NAMED_AMENDMENT = msgspec.json.Decoder(NamedAmendment)


def read_order(body: bytes, market_id: int, request_id: str) -> PlaceOrder:
    """Read the body of a new order. Refused with 400 and a pointer: fields that do not fit."""
    asked = read_json(body, _ORDER)
    shape = SHAPES[asked.type]
    in_force = asked.time_in_force or shape.times_in_force[0]
    if in_force not in shape.times_in_force:
        raise _fault("time_in_force", "not_allowed", f"A {asked.type} order takes, or ends.")
    allowed = shape.required | _allowed(asked, shape, in_force)
    for name in _OPTIONAL:
        value = getattr(asked, name)
        if value is not None and name not in allowed:
            raise _fault(name, "not_allowed", f"It does not go with {asked.type} and {in_force}.")
        if value is None and name in shape.required:
            raise _fault(name, "missing", f"A {asked.type} order needs it.")
    if asked.expires_at is None and in_force is TimeInForce.GOOD_TILL_DATE:
        raise _fault("expires_at", "missing", "An order that is good till a date needs one.")
    return PlaceOrder(
        market_id,
        asked.client_order_id or request_id,
        asked.side,
        asked.price or asked.worst_price or 0,
        asked.quantity,
        in_force,
        asked.type,
        asked.stop_price or 0,
        asked.display_quantity or 0,
        asked.min_quantity or 0,
        _microseconds(asked.expires_at),
        asked.self_trade,
        _guard(asked.oco),
    )


def read_amendment(
    body: bytes, market_id: int, order_id: int = 0, client_order_id: str = ""
) -> AmendOrder:
    """Read the body of an amendment of an order that the address names."""
    return _amendment(read_json(body, _AMENDMENT), market_id, order_id, client_order_id)


def read_named_amendment(body: bytes, market_id: int) -> AmendOrder:
    """Read an amendment that names its order itself."""
    asked = read_json(body, _NAMED_AMENDMENT)
    if (asked.order_id is None) == (asked.client_order_id is None):
        raise _fault("", "missing", "Name the order by `order_id` or by `client_order_id`.")
    order_id, name = int(asked.order_id or 0), asked.client_order_id or ""
    return _amendment(asked, market_id, order_id, name)


def _amendment(
    asked: AmendRequest, market_id: int, order_id: int, client_order_id: str
) -> AmendOrder:
    if asked.price is asked.remaining_quantity is asked.stop_price is None:
        raise _fault("", "missing", "Name `price`, `remaining_quantity` or `stop_price`.")
    return AmendOrder(
        market_id, order_id, client_order_id, asked.price or 0, asked.remaining_quantity or 0,
        asked.stop_price or 0,
    )  # fmt: skip


def _allowed(asked: OrderRequest, shape: Shape, in_force: TimeInForce) -> set[str]:
    """What the order may have, given how long it lives."""
    allowed = set(shape.allowed)
    if in_force in {TimeInForce.GOOD_TILL_DATE, TimeInForce.POST_ONLY}:
        allowed.add("expires_at")
    if in_force not in _WAITING:
        allowed -= {"display_quantity", "oco"}
    if in_force in {TimeInForce.POST_ONLY, TimeInForce.FILL_OR_KILL}:
        allowed.discard("min_quantity")
    if asked.oco is not None:
        allowed -= {"display_quantity", "min_quantity"}
    return allowed


def _guard(asked: GuardRequest | None) -> GuardOrder | None:
    if asked is None:
        return None
    if (asked.price is None) == (asked.worst_price is None):
        problem = "missing" if asked.price is None else "not_allowed"
        raise _fault("oco/worst_price", problem, "Name one of `price` and `worst_price`.")
    if asked.price is None:
        kind, in_force = OrderType.STOP, TimeInForce.IMMEDIATE_OR_CANCEL
    else:
        kind, in_force = OrderType.STOP_LIMIT, TimeInForce.GOOD_TILL_CANCELLED
    return GuardOrder(kind, asked.price or asked.worst_price or 0, asked.stop_price, in_force)


def _microseconds(moment: datetime | None) -> int:
    """An instant as microseconds since 1970; one long past is still an instant, not 0."""
    if moment is None:
        return 0
    if moment > LATEST:
        raise _fault("expires_at", "not_allowed", "The date is too far.")
    microseconds = (moment - EPOCH) // timedelta(microseconds=1)
    return max(1, microseconds)


def _fault(name: str, code: str, detail: str) -> Refusal:
    pointer = f"#/{name}" if name else "#"
    return Refusal(
        "The request does not validate; `errors` says where.",
        code="invalid_request",
        title="The request is not valid",
        status=400,
        errors=[{"pointer": pointer, "code": code, "detail": detail}],
    )
