"""What a batch tells the world: one public event a market, one event with its orders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import msgspec

from live.events import Event
from orderbook.memory import Memory
from orderbook.models import OrderState
from orderbook.outcome import Outcome
from orderbook.rows import NewOrder, OrderChange


class Trade(msgspec.Struct, frozen=True, array_like=True):
    """One fill on the public tape: nobody is named."""

    fill_id: str
    taker_side: str
    price: int
    quantity: int


class Level(msgspec.Struct, frozen=True, array_like=True):
    """What waits at one price now; quantity 0 means the level is gone."""

    side: str
    price: int
    quantity: int


class MarketChange(msgspec.Struct, frozen=True):
    """All that one commit did to one market, in order."""

    market: str
    batch: str
    trades: list[Trade]
    levels: list[Level]


class OrderMoved(msgspec.Struct, frozen=True):
    """What one commit did to one order, for its owner: `filled_lots` by others since its entry."""

    order_id: str
    user_id: int
    market_id: int
    state: str
    filled_lots: int


def events_of(outcome: Outcome, memory: Memory) -> list[Event]:
    """Tell a batch: for each market `market.<code>`, and `orders` for the orders' owners."""
    batch = str(outcome.first_order_id)
    events = [
        Event(f"market.{change.market}", batch, msgspec.json.encode(change))
        for change in _market_changes(outcome, memory, batch)
    ]
    moved = list(_orders_moved(outcome))
    for start in range(0, len(moved), ORDERS_PER_EVENT):
        part = moved[start : start + ORDERS_PER_EVENT]
        events.append(Event("orders", batch, msgspec.json.encode(part)))
    return events


ORDERS_PER_EVENT = 1000


def _market_changes(outcome: Outcome, memory: Memory, batch: str) -> Iterator[MarketChange]:
    trades: dict[int, list[Trade]] = defaultdict(list)
    levels: dict[int, list[Level]] = defaultdict(list)
    for fill in outcome.fills:
        terms = memory.markets[fill.market_id].terms
        side = "buy" if fill.taker_side == 1 else "sell"
        trades[fill.market_id].append(
            Trade(
                str(fill.id), side, fill.price_ticks * terms.tick_minor,
                fill.quantity_lots * terms.lot_units,
            )
        )  # fmt: skip
    for market_id, side, price_ticks, lots in outcome.level_changes():
        terms = memory.markets[market_id].terms
        levels[market_id].append(
            Level(side, price_ticks * terms.tick_minor, lots * terms.lot_units)
        )
    for market_id in sorted(levels):
        yield MarketChange(
            memory.markets[market_id].code, batch, trades[market_id], levels[market_id]
        )


def _orders_moved(outcome: Outcome) -> Iterator[OrderMoved]:
    rows: list[NewOrder | OrderChange] = [*outcome.orders.values(), *outcome.changes.values()]
    for row in rows:
        if isinstance(row, NewOrder):
            order_id, filled = row.id, row.quantity_lots - row.remaining_lots
        else:
            order_id, filled = row.order_id, row.lots
        state = OrderState(row.state).name.lower()
        yield OrderMoved(str(order_id), row.user_id, row.market_id, state, filled)
