"""Orders and fills as one batch writes them: an INSERT for what is new, one UPDATE for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from struct import Struct

import msgspec

from edge.journey import NO_TEXT, Journey, Rows, int8, row, text
from edge.postgres import array
from orderbook.instructions import NO_CONDITIONS, Conditions, OrderType, SelfTrade
from orderbook.matching import Cause
from orderbook.models import OrderState

WRITE_ORDERS = """
INSERT INTO orderbook_order (id, market_id, user_id, side, time_in_force, price_ticks,
    quantity_lots, entry_state, taken_lots, taken_minor, taken_fee_minor, state, remaining_lots,
    made_minor, made_fee_minor, kind, self_trade, client_order_id, refusal, hold_id, ended_id,
    key_id)
SELECT * FROM unnest($1::orderbook_order_row[])
"""
WRITE_FILLS = """
INSERT INTO orderbook_fill (id, market_id, taker_side, price_ticks, quantity_lots, amount_minor,
    maker_order_id, taker_order_id, maker_user_id, taker_user_id, maker_fee_minor,
    taker_fee_minor, ledger_batch_id, is_auction)
SELECT * FROM unnest($1::orderbook_fill_row[])
"""
WRITE_CLIENT_ORDERS = """
INSERT INTO orderbook_clientorder (digest, order_id)
SELECT * FROM unnest($1::orderbook_clientorder_row[])
"""
CHANGE_ORDERS = """
UPDATE orderbook_order AS o
   SET remaining_lots = o.remaining_lots - u.lots - u.reduced,
       made_minor = o.made_minor + u.minor,
       made_fee_minor = o.made_fee_minor + u.fee,
       state = CASE WHEN o.state = 0 THEN u.state END,
       ended_id = u.ended_id,
       hold_id = coalesce(u.hold_id, o.hold_id)
  FROM unnest((SELECT $1::orderbook_order_change[])) AS u
 WHERE o.id = u.id AND o.id = ANY($2::bigint[]) RETURNING 1
"""
"""The ids come twice: a join alone does not tell PostgreSQL which months to leave out. An order
that is not open gets no state, which its column forbids: as a condition, `state = 0` made the
planner compare each order with each change."""

_ORDER = Struct("!i iiq iii iiq iih iih iiq iiq iih iiq iiq iiq iih iiq iiq iiq iih iih ii").pack
_FILL = Struct("!ii iiq iii iih iiq iiq iiq iiq iiq iiq iiq iiq iiq iiq ii?").pack
_FILL_BYTES = 4 + 11 * 16 + 12 + 10 + 9
_CHANGE = Struct("!i iiq iiq iiq iiq iiq iih").pack
_CLIENT_ORDER = Struct("!ii ii16s iiq").pack
_CLIENT_ORDER_BYTES = 4 + 24 + 16


class NewOrder(msgspec.Struct):
    """A row of `orderbook_order` that this batch adds; changes until the batch is written.

    `guard` is the stop of a pair, which has no client order id of its own.
    """

    id: int
    market_id: int
    user_id: int
    side: int
    time_in_force: int
    price_ticks: int
    quantity_lots: int
    client_order_id: str
    digest: bytes | None
    entry_state: int
    state: int
    remaining_lots: int
    refusal: str = ""
    taken_lots: int = 0
    taken_minor: int = 0
    taken_fee_minor: int = 0
    made_minor: int = 0
    made_fee_minor: int = 0
    hold_id: int | None = None
    ended_id: int | None = None
    key_id: int | None = None
    kind: int = OrderType.LIMIT
    self_trade: int = SelfTrade.CANCEL_NEWEST
    conditions: Conditions = NO_CONDITIONS
    guard: NewOrder | None = None
    reduced_lots: int = 0
    cause: int = 0

    @property
    def content(self) -> tuple[object, ...]:
        """All that its client asked for: the same again is no other order."""
        return (*_content(self), self.guard and _content(self.guard))

    def packed(self) -> bytes:
        """An `orderbook_order_row`."""
        name = self.client_order_id.encode()
        head = _ORDER(
            22, 20, 8, self.id, 23, 4, self.market_id, 20, 8, self.user_id, 21, 2, self.side,
            21, 2, self.time_in_force, 20, 8, self.price_ticks, 20, 8, self.quantity_lots,
            21, 2, self.entry_state, 20, 8, self.taken_lots, 20, 8, self.taken_minor,
            20, 8, self.taken_fee_minor, 21, 2, self.state, 20, 8, self.remaining_lots,
            20, 8, self.made_minor, 20, 8, self.made_fee_minor, 21, 2, self.kind,
            21, 2, self.self_trade, 25, len(name),
        )  # fmt: skip
        beside = text(self.refusal) if self.refusal else NO_TEXT
        return row(
            b"".join(
                (head, name, beside, int8(self.hold_id), int8(self.ended_id), int8(self.key_id))
            )
        )


class StoredOrder(msgspec.Struct):
    """An order of an earlier batch, as far as an answer needs it."""

    id: int
    market_id: int
    user_id: int
    side: int
    time_in_force: int
    price_ticks: int
    quantity_lots: int
    client_order_id: str
    entry_state: int
    refusal: str
    taken_lots: int
    taken_minor: int
    taken_fee_minor: int
    state: int
    kind: int
    self_trade: int
    stop_ticks: int
    minimum_lots: int
    peak_lots: int
    expires_us: int
    partner_id: int
    cause: int
    guard: StoredOrder | None = None

    @property
    def conditions(self) -> Conditions:
        return Conditions(
            stop_ticks=self.stop_ticks,
            minimum_lots=self.minimum_lots,
            peak_lots=self.peak_lots,
            expires_us=self.expires_us,
        )

    @property
    def content(self) -> tuple[object, ...]:
        """All that its client asked for: the same again is no other order."""
        return (*_content(self), self.guard and _content(self.guard))


def unsaid_cause(entry_state: int) -> Cause:
    """Why an order was cancelled of which no cause is kept: it goes without saying.

    What ended on entry was not to wait; what ended later did so because its owner asked.
    """
    return Cause.IMMEDIATE if entry_state == OrderState.CANCELLED else Cause.REQUESTED


def _content(row: NewOrder | StoredOrder) -> tuple[object, ...]:
    return (
        row.market_id, row.side, row.kind, row.price_ticks, row.quantity_lots, row.time_in_force,
        row.self_trade, row.conditions,
    )  # fmt: skip


class OrderChange(msgspec.Struct):
    """What a batch does to an order of an earlier batch: what it traded, and what it lost else.

    A negative `reduced_lots` was added to it.
    """

    id: int
    user_id: int
    market_id: int
    lots: int = 0
    reduced_lots: int = 0
    made_minor: int = 0
    made_fee_minor: int = 0
    state: int = OrderState.OPEN
    ended_id: int | None = None
    hold_id: int | None = None

    def packed(self) -> bytes:
        """An `orderbook_order_change`."""
        head = _CHANGE(
            8, 20, 8, self.id, 20, 8, self.lots, 20, 8, self.reduced_lots,
            20, 8, self.made_minor, 20, 8, self.made_fee_minor, 21, 2, self.state,
        )  # fmt: skip
        return row(head + int8(self.ended_id) + int8(self.hold_id))


class NewFill(msgspec.Struct, frozen=True):
    """A row of `orderbook_fill` that this batch adds."""

    id: int
    market_id: int
    taker_side: int
    price_ticks: int
    quantity_lots: int
    amount_minor: int
    maker_order_id: int
    taker_order_id: int
    maker_user_id: int
    taker_user_id: int
    maker_fee_minor: int
    taker_fee_minor: int
    ledger_batch_id: int
    is_auction: bool = False

    def packed(self) -> bytes:
        """An `orderbook_fill_row`."""
        return _FILL(
            _FILL_BYTES, 14, 20, 8, self.id, 23, 4, self.market_id, 21, 2, self.taker_side,
            20, 8, self.price_ticks, 20, 8, self.quantity_lots, 20, 8, self.amount_minor,
            20, 8, self.maker_order_id, 20, 8, self.taker_order_id, 20, 8, self.maker_user_id,
            20, 8, self.taker_user_id, 20, 8, self.maker_fee_minor, 20, 8, self.taker_fee_minor,
            20, 8, self.ledger_batch_id, 16, 1, self.is_auction,
        )  # fmt: skip


def write_rows(
    journey: Journey,
    orders: Iterable[NewOrder],
    fills: Sequence[NewFill],
    changes: Iterable[OrderChange],
) -> None:
    """Put on a journey what a batch decided: at most three INSERTs and one UPDATE."""
    if changed := sorted(changes, key=attrgetter("id")):
        rows = Rows("orderbook_order_change", [change.packed() for change in changed])
        ids = array(change.id for change in changed)
        journey.write(CHANGE_ORDERS, rows, ids, changes=(len(changed), "orders"))
    if placed := list(orders):
        rows = Rows("orderbook_order_row", [order.packed() for order in placed])
        journey.write(WRITE_ORDERS, rows)
        named = [
            _CLIENT_ORDER(_CLIENT_ORDER_BYTES, 2, 2950, 16, order.digest, 20, 8, order.id)
            for order in placed
            if order.digest is not None
        ]
        journey.write(WRITE_CLIENT_ORDERS, Rows("orderbook_clientorder_row", named))
    if fills:
        rows = Rows("orderbook_fill_row", [fill.packed() for fill in fills])
        journey.write(WRITE_FILLS, rows)
