"""What a trader is told: the order as JSON, or why it was refused."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from edge.ids import time_of
from edge.problems import Refusal, answer
from orderbook.models import OrderState
from orderbook.rows import NewOrder, StoredOrder
from sequencer.commands import Answer, Command

SIDES = {1: "buy", 2: "sell"}
TIMES_IN_FORCE = {0: "gtc", 1: "ioc", 2: "fok", 3: "post_only"}
STATES = {state: state.name.lower() for state in OrderState}


class Terms(Protocol):
    """What of a market is needed to speak of its orders."""

    code: str
    quote_code: str

    @property
    def tick_minor(self) -> int: ...
    @property
    def lot_units(self) -> int: ...


class OrderAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a new order: what it asked, and what it took from the book on entry.

    The same for ever, whatever happened to the order later.
    """

    order_id: str
    client_order_id: str
    market: str
    side: str
    price: int
    quantity: int
    time_in_force: str
    status: str
    filled_quantity: int
    filled_amount: int
    fee: int
    quote_asset: str
    created_at: str


class CancelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a cancellation."""

    order_id: str
    market: str
    status: str


class OrderRefused(Refusal):
    """The market did not take the order; the code says why."""


REFUSALS: dict[str, tuple[str, int]] = {
    "insufficient_funds": ("There is not enough available to pay for the order", 422),
    "account_frozen": ("The account is frozen: nothing new may go out", 403),
    "account_closed": ("The account is closed", 403),
    "amount_exceeds_limit": ("The amount is over the account's limit", 422),
    "ceiling_exceeded": ("The account may not hold so much", 422),
    "balance_overflow": ("The amount is too large", 422),
    "client_order_id_reused": ("The client order id already names another order", 409),
    "wrong_shard": ("The market is moving to another shard: ask again", 503),
    "too_many_open_orders": ("There are as many orders waiting as you may have", 422),
    "open_notional_exceeded": ("Your waiting orders would come to more than they may", 422),
    "unknown_order": ("There is no such order", 404),
    "order_already_filled": ("The order is filled already", 409),
    "market_moved": ("The market moved meanwhile: ask again with the same id", 503),
    "order_already_refused": ("The order was refused", 409),
}
"""Codes that the engine itself gives; the market's rules bring their own titles."""


def order_answer(
    command: Command, row: NewOrder | StoredOrder, terms: Terms, *, replayed: bool = False
) -> Answer:
    """Tell a trader what became of a new order, or of the same order asked for again."""
    if row.entry_state == OrderState.REFUSED:
        return refused_answer(command, row.refusal, replayed=replayed, order_id=str(row.id))
    body = OrderAnswer(
        order_id=str(row.id),
        client_order_id=row.client_order_id,
        market=terms.code,
        side=SIDES[row.side],
        price=row.price_ticks * terms.tick_minor,
        quantity=row.quantity_lots * terms.lot_units,
        time_in_force=TIMES_IN_FORCE[row.time_in_force],
        status=STATES[OrderState(row.entry_state)],
        filled_quantity=row.taken_lots * terms.lot_units,
        filled_amount=row.taken_minor,
        fee=row.taken_fee_minor,
        quote_asset=terms.quote_code,
        created_at=time_of(row.id).isoformat().replace("+00:00", "Z"),
    )
    return Answer(command.id, 201, msgspec.json.encode(body), replayed)


def cancel_answer(
    command: Command, order_id: int, terms: Terms, *, replayed: bool = False
) -> Answer:
    """Tell a trader that the order is off the book."""
    body = CancelAnswer(
        order_id=str(order_id),
        market=terms.code,
        status=STATES[OrderState.CANCELLED],
    )
    return Answer(command.id, 200, msgspec.json.encode(body), replayed)


def refused_answer(
    command: Command, code: str, *, replayed: bool = False, order_id: str = ""
) -> Answer:
    """Tell a trader why not, as problem+json; `order_id` if the refusal is kept as an order."""
    title, status = REFUSALS.get(code, (code.replace("_", " ").capitalize(), 422))
    members: dict[str, Any] = {"order_id": order_id} if order_id else {}
    refusal = OrderRefused(code=code, title=title, status=status, **members)
    status, _, body = answer(refusal)
    return Answer(command.id, status, body, replayed)
