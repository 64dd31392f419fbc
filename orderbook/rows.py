"""Orders and fills as one batch writes them: COPY for what is new, one UPDATE for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from struct import Struct
from typing import Any, TypeVar

import psycopg

from edge.postgres import array, copying, int64_field, text_field
from orderbook.instructions import NO_CONDITIONS, Conditions, OrderType, SelfTrade
from orderbook.models import OrderState

COPY_ORDERS = """
COPY orderbook_order (id, market_id, user_id, side, time_in_force, price_ticks, quantity_lots,
    entry_state, taken_lots, taken_minor, taken_fee_minor, state, remaining_lots, made_minor,
    made_fee_minor, kind, self_trade, client_order_id, refusal, hold_id, ended_id, key_id)
FROM STDIN WITH (FORMAT binary)
"""
COPY_FILLS = """
COPY orderbook_fill (id, market_id, taker_side, price_ticks, quantity_lots, amount_minor,
    maker_order_id, taker_order_id, maker_user_id, taker_user_id, maker_fee_minor,
    taker_fee_minor, ledger_batch_id, is_auction)
FROM STDIN WITH (FORMAT binary)
"""
COPY_CLIENT_ORDERS = """
COPY orderbook_clientorder (digest, order_id) FROM STDIN WITH (FORMAT binary)
"""
CHANGE_ORDERS = """
UPDATE orderbook_order AS o
   SET remaining_lots = o.remaining_lots - u.lots - u.reduced,
       made_minor = o.made_minor + u.minor,
       made_fee_minor = o.made_fee_minor + u.fee,
       state = u.state,
       ended_id = u.ended_id,
       hold_id = coalesce(u.hold_id, o.hold_id)
  FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
              %s::smallint[], %s::bigint[], %s::bigint[])
    AS u(id, lots, reduced, minor, fee, state, ended_id, hold_id)
 WHERE o.id = u.id AND o.state = 0 AND o.id = ANY(%s::bigint[])
"""
"""The ids come twice: a join alone does not tell PostgreSQL which months to leave out."""

Told = TypeVar("Told")

_ORDER = Struct("!h iq ii iq ih ih iq iq ih iq iq iq ih iq iq iq ih ih").pack
_FILL = Struct("!h iq ii ih iq iq iq iq iq iq iq iq iq iq i?").pack
_CLIENT_ORDER = Struct("!h i16s iq").pack


@dataclass(slots=True)
class NewOrder:
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

    @property
    def content(self) -> tuple[object, ...]:
        """All that its client asked for: the same again is no other order."""
        return (*_content(self), self.guard and _content(self.guard))

    def packed(self) -> bytes:
        """The row for COPY."""
        head = _ORDER(
            22, 8, self.id, 4, self.market_id, 8, self.user_id, 2, self.side,
            2, self.time_in_force, 8, self.price_ticks, 8, self.quantity_lots,
            2, self.entry_state, 8, self.taken_lots, 8, self.taken_minor,
            8, self.taken_fee_minor, 2, self.state, 8, self.remaining_lots, 8, self.made_minor,
            8, self.made_fee_minor, 2, self.kind, 2, self.self_trade,
        )  # fmt: skip
        return b"".join(
            (
                head, text_field(self.client_order_id), text_field(self.refusal),
                int64_field(self.hold_id), int64_field(self.ended_id), int64_field(self.key_id),
            )
        )  # fmt: skip


@dataclass(slots=True)
class StoredOrder:
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


def _content(row: NewOrder | StoredOrder) -> tuple[object, ...]:
    return (
        row.market_id, row.side, row.kind, row.price_ticks, row.quantity_lots, row.time_in_force,
        row.self_trade, row.conditions,
    )  # fmt: skip


@dataclass(slots=True)
class OrderChange:
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


@dataclass(frozen=True, slots=True)
class NewFill:
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
        """The row for COPY."""
        return _FILL(
            14, 8, self.id, 4, self.market_id, 2, self.taker_side, 8, self.price_ticks,
            8, self.quantity_lots, 8, self.amount_minor, 8, self.maker_order_id,
            8, self.taker_order_id, 8, self.maker_user_id, 8, self.taker_user_id,
            8, self.maker_fee_minor, 8, self.taker_fee_minor, 8, self.ledger_batch_id,
            1, self.is_auction,
        )  # fmt: skip


def write_rows(
    cursor: psycopg.Cursor[Any],
    orders: Sequence[NewOrder],
    fills: Sequence[NewFill],
    changes: Sequence[OrderChange],
    *,
    meanwhile: Callable[[], Told],
) -> Told:
    """Write what a batch decided: at most three COPYs and one UPDATE.

    Calls `meanwhile` while the server takes in the orders, and gives back what that gave.
    """
    if changes:
        with cursor.connection.pipeline():
            _change_orders(cursor, changes)
            packed = [order.packed() for order in orders]
        assert cursor.rowcount == len(changes), "an order changed that was not open"
    else:
        packed = [order.packed() for order in orders]
    with copying(cursor) as copies:
        if orders:
            copies.add(COPY_ORDERS, packed)
        told = meanwhile()
        if orders:
            named = (
                _CLIENT_ORDER(2, 16, order.digest, 8, order.id)
                for order in orders
                if order.digest is not None
            )
            copies.add(COPY_CLIENT_ORDERS, named)
        if fills:
            copies.add(COPY_FILLS, (fill.packed() for fill in fills))
    return told


def _change_orders(cursor: psycopg.Cursor[Any], changes: Sequence[OrderChange]) -> None:
    changes = sorted(changes, key=attrgetter("id"))
    ids = array(c.id for c in changes)
    cursor.execute(
        CHANGE_ORDERS,
        (
            ids,
            array(c.lots for c in changes),
            array(c.reduced_lots for c in changes),
            array(c.made_minor for c in changes),
            array(c.made_fee_minor for c in changes),
            array(c.state for c in changes),
            _nullable(c.ended_id for c in changes),
            _nullable(c.hold_id for c in changes),
            ids,
        ),
        prepare=True,
    )


def _nullable(values: Iterable[int | None]) -> str:
    return "{" + ",".join("NULL" if value is None else str(value) for value in values) + "}"
