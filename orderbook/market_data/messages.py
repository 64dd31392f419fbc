"""The messages of a market's feed, as they lie in the outbox. Pure.

Prices are minor units of the quote asset for one lot; quantities are base units.
"""

from __future__ import annotations

import msgspec


class Trade(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One fill on the public tape: nobody is named. `amount` is in quote minor units."""

    fill_id: str
    taker_side: str
    price: int
    quantity: int
    amount: int


class Level(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What waits at one price now; quantity 0 means the level is gone."""

    side: str
    price: int
    quantity: int


class MarketChange(msgspec.Struct, frozen=True):
    """All that one commit did to one market, in order. `state` is the market's after it.

    `sequence` counts a market's changes from 1 without a gap. `checksum` is that of the book
    after the change (`checksum.py`). `batch` is the first order id of the commit.
    """

    market: str
    sequence: int
    batch: str
    checksum: int
    trades: list[Trade]
    levels: list[Level]
    state: str = ""


class OrderMoved(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one commit did to one order, for its owner alone.

    `remaining_lots` is what waits of it now. `filled_*` and `fee_minor` are this commit's
    share: the sum over an order's events is what it filled. `is_new` marks its entry. `cause`
    says why it was cancelled (`matching.Cause`).
    """

    order_id: str
    user_id: int
    market_id: int
    is_new: bool
    state: str
    remaining_lots: int
    filled_lots: int
    filled_minor: int
    fee_minor: int
    cause: int = 0


read_change = msgspec.json.Decoder(MarketChange).decode
read_moves = msgspec.json.Decoder(list[OrderMoved]).decode
