"""What a batch tells the world: one numbered public event a market, one event with its orders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import msgspec

from live.events import Event
from orderbook.book import Side
from orderbook.market_data.checksum import CHECKED_LEVELS, book_checksum
from orderbook.market_data.feed import Top
from orderbook.market_data.messages import Level, MarketChange, OrderMoved, Trade
from orderbook.memory import STATE_NAMES, Memory, Trading
from orderbook.models import OrderState
from orderbook.outcome import Outcome
from orderbook.rows import NewFill, NewOrder

ORDERS_PER_EVENT = 1000
_SIDES = {1: "buy", 2: "sell"}
_STATES = {state.value: state.name.lower() for state in OrderState}


def events_of(outcome: Outcome, memory: Memory) -> tuple[list[Event], list[Top]]:
    """Tell a batch: for each market `market.<code>`, and `orders` for the orders' owners.

    Numbers each market's change in memory: call it once a batch. Answers the events, and what
    the markets' feed rows become.
    """
    batch = str(outcome.first_order_id)
    changes, tops = _market_changes(outcome, memory, batch)
    events = [
        Event(f"market.{change.market}", batch, msgspec.json.encode(change)) for change in changes
    ]
    moved = list(_orders_moved(outcome, memory))
    for start in range(0, len(moved), ORDERS_PER_EVENT):
        part = moved[start : start + ORDERS_PER_EVENT]
        events.append(Event("orders", batch, msgspec.json.encode(part)))
    return events, tops


def _market_changes(
    outcome: Outcome, memory: Memory, batch: str
) -> tuple[list[MarketChange], list[Top]]:
    fills: dict[int, list[NewFill]] = defaultdict(list)
    levels: dict[int, list[Level]] = defaultdict(list)
    for fill in outcome.fills:
        fills[fill.market_id].append(fill)
    for market_id, side, price_ticks, lots in outcome.level_changes():
        terms = memory.markets[market_id].terms
        levels[market_id].append(
            Level(side, price_ticks * terms.tick_minor, lots * terms.lot_units)
        )
    touched = [memory.markets[id] for id in sorted(levels.keys() | outcome.turned)]
    memory.know_sequences(touched)
    changes: list[MarketChange] = []
    tops: list[Top] = []
    for trading in touched:
        assert trading.feed_sequence is not None
        trading.feed_sequence += 1
        tops.append(_top(trading, fills[trading.id]))
        changes.append(
            MarketChange(
                trading.code, trading.feed_sequence, batch, _checksum(trading),
                [_trade(fill, trading) for fill in fills[trading.id]], levels[trading.id],
                STATE_NAMES[trading.state],
            )
        )  # fmt: skip
    return changes, tops


def _top(trading: Trading, fills: list[NewFill]) -> Top:
    """The market's best prices as the batch leaves them, and its last trade if it had one."""
    tick, lot = trading.tick_minor, trading.lot_units
    bid = trading.book.best(Side.BUY) or (0, 0)
    ask = trading.book.best(Side.SELL) or (0, 0)
    last = (0, 0, 0)
    if fills:
        last = (fills[-1].price_ticks * tick, fills[-1].quantity_lots * lot, fills[-1].id)
    assert trading.feed_sequence is not None
    prices = (bid[0] * tick, bid[1] * lot, ask[0] * tick, ask[1] * lot)
    return Top(trading.id, trading.feed_sequence, *prices, *last)


def _checksum(trading: Trading) -> int:
    tick, lot = trading.tick_minor, trading.lot_units
    depth = trading.book.depth(CHECKED_LEVELS)
    return book_checksum(
        [(price * tick, lots * lot) for price, lots in depth.bids],
        [(price * tick, lots * lot) for price, lots in depth.asks],
    )


def _trade(fill: NewFill, trading: Trading) -> Trade:
    return Trade(
        str(fill.id), _SIDES[fill.taker_side], fill.price_ticks * trading.tick_minor,
        fill.quantity_lots * trading.lot_units, fill.amount_minor,
    )  # fmt: skip


def _orders_moved(outcome: Outcome, memory: Memory) -> Iterator[OrderMoved]:
    for row in outcome.orders.values():
        yield _entered(row, outcome)
    for change in outcome.changes.values():
        book = memory.markets[change.market_id].book
        left = book.lots_left(change.id) if book.is_live(change.id) else 0
        yield OrderMoved(
            str(change.id), change.user_id, change.market_id, False, _STATES[change.state],
            left, change.lots, change.made_minor, change.made_fee_minor,
            outcome.cause_of(change),
        )  # fmt: skip


def _entered(row: NewOrder, outcome: Outcome) -> OrderMoved:
    """A new order with all that befell it in its own batch, as maker too."""
    return OrderMoved(
        str(row.id), row.user_id, row.market_id, True, _STATES[row.state],
        row.remaining_lots if row.state == OrderState.OPEN else 0,
        row.quantity_lots - row.reduced_lots - row.remaining_lots, row.taken_minor + row.made_minor,
        row.taken_fee_minor + row.made_fee_minor, outcome.cause_of(row),
    )  # fmt: skip
