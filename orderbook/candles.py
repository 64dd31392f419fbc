"""Candles: what a market's trades in one stretch of time came to. Pure.

    fold(candles, at_s=second_of(fill_id), price=118, quantity=2, amount=236)
    page = fill_gaps(rows, interval_s=60, first_s=…, last_s=…, close_before=118)

Prices are minor units of the quote asset for one lot, `volume` base units, `turnover` quote
minor units. A candle starts at a whole multiple of its length since 1970, in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge.ids import EPOCH_US, INDEX_BITS, SEQUENCE_BITS, TICK_US

INTERVALS = {"1s": 1, "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "1d": 86_400}
"""The lengths there are, by the names that clients use, in seconds."""


@dataclass(slots=True)
class Candle:
    """The trades of one stretch of time. `trades` 0: nothing traded, the price just held."""

    start_s: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    turnover: int = 0
    trades: int = 0

    def add(self, price: int, quantity: int, amount: int) -> None:
        """Count the next trade in."""
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.close = price
        self.volume += quantity
        self.turnover += amount
        self.trades += 1


Candles = dict[tuple[int, int], Candle]
"""Candles of one market by (interval in seconds, start)."""


def second_of(fill_id: int) -> int:
    """The second, since 1970, in which a fill was made."""
    return (EPOCH_US + (fill_id >> (SEQUENCE_BITS + INDEX_BITS)) * TICK_US) // 1_000_000


def start_of(at_s: int, interval_s: int) -> int:
    """The start of the candle that a second belongs to."""
    return at_s - at_s % interval_s


def fold(candles: Candles, *, at_s: int, price: int, quantity: int, amount: int) -> None:
    """Count one trade into the candle of each length. Trades come in their order."""
    for interval_s in INTERVALS.values():
        key = interval_s, start_of(at_s, interval_s)
        candle = candles.get(key)
        if candle is None:
            candle = candles[key] = Candle(key[1], price, price, price, price)
        candle.add(price, quantity, amount)


def fill_gaps(
    rows: Iterable[Candle], *, interval_s: int, first_s: int, last_s: int, close_before: int | None
) -> list[Candle]:
    """Lay out every candle from `first_s` to `last_s`, both included, oldest first.

    `rows` are those with trades, oldest first. Where nothing traded the price holds; before
    the first trade ever (`close_before` is None) there is no price and so no candle.
    """
    filled: list[Candle] = []
    known = {row.start_s: row for row in rows}
    close = close_before
    for start_s in range(first_s, last_s + 1, interval_s):
        candle = known.get(start_s)
        if candle is not None:
            close = candle.close
        elif close is not None:
            candle = Candle(start_s, close, close, close, close)
        if candle is not None:
            filled.append(candle)
    return filled
