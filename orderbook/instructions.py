"""What an order asks for, in ticks and lots, whatever its type. Pure.

Place(order_id, owner_id, Side.BUY, price_ticks, quantity_lots)                  # limit
Place(…, TimeInForce.IMMEDIATE_OR_CANCEL)                  # market, at the worst price
Place(…, conditions=Conditions(stop_ticks=120))            # stop: waits for a trade there
Place(…, conditions=Conditions(peak_lots=10))              # iceberg: shows 10 at a time
"""

from __future__ import annotations

from enum import IntEnum

import msgspec


class Side(IntEnum):
    """Which way the order goes."""

    BUY = 1
    SELL = 2


class OrderType(IntEnum):
    """What a client called the order. The numbers are stored; the book goes by the rest."""

    LIMIT = 0
    MARKET = 1
    STOP = 2
    STOP_LIMIT = 3


class TimeInForce(IntEnum):
    """How long an order lives, and whether it may take or wait. The numbers are stored.

    `GOOD_TILL_DATE` waits until the instant in its conditions; somebody with a clock ends it.
    """

    GOOD_TILL_CANCELLED = 0
    IMMEDIATE_OR_CANCEL = 1
    FILL_OR_KILL = 2
    POST_ONLY = 3
    GOOD_TILL_DATE = 4


class SelfTrade(IntEnum):
    """What happens where a person's order would trade with another of their own.

    The newer order's choice counts. `DECREMENT` takes the smaller quantity off both.
    """

    CANCEL_NEWEST = 0
    CANCEL_OLDEST = 1
    CANCEL_BOTH = 2
    DECREMENT = 3


class Conditions(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What few orders ask for; 0 means that it is not asked.

    `stop_ticks`: wait unseen until a trade prints at this price or beyond it (a buy: at or
    above; a sell: at or below). `minimum_lots`: trade at least so much on entry, or nothing.
    `peak_lots`: show so much at a time. `expires_us`: when it ends, microseconds since 1970.
    """

    stop_ticks: int = 0
    minimum_lots: int = 0
    peak_lots: int = 0
    expires_us: int = 0


class Place(msgspec.Struct, frozen=True, gc=False):
    """A new order. The order id must be new to the market; the market's rules accept the rest."""

    order_id: int
    owner_id: int
    side: Side
    price_ticks: int
    quantity_lots: int
    time_in_force: TimeInForce = TimeInForce.GOOD_TILL_CANCELLED
    self_trade: SelfTrade = SelfTrade.CANCEL_NEWEST
    conditions: Conditions | None = None


NO_CONDITIONS = Conditions()
