"""Prices as lines in an SVG: steps over time, and small sparks without axes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

WIDTH = 1000
HEIGHT = 300
MARGIN = 12
"""Room above and below the line, so that its ends are not cut off."""


class Chart(NamedTuple):
    """A price line in a box of `WIDTH` by `HEIGHT`, and what its axes say."""

    line: str
    area: str
    low: int
    high: int
    first: int
    last: int
    start: datetime
    end: datetime


def price_chart(trades: Sequence[tuple[datetime, int]], *, end: datetime) -> Chart | None:
    """Draw trades (time and price, oldest first) up to `end`; `None` when there are none.

    A price holds until the next trade, so the line goes in steps.
    """
    if not trades:
        return None
    start = trades[0][0]
    end = max(end, trades[-1][0], start + timedelta(seconds=1))
    prices = [price for _, price in trades]
    low, high = min(prices), max(prices)
    steps: list[str] = []
    for at, price in trades:
        x = round((at - start) / (end - start) * WIDTH, 1)
        y = _height_of(price, low, high, HEIGHT, MARGIN)
        steps.append(f"M{x:g} {y:g}" if not steps else f"H{x:g}V{y:g}")
    line = "".join((*steps, f"H{WIDTH}"))
    area = f"{line}V{HEIGHT}H0Z"
    return Chart(line, area, low, high, prices[0], prices[-1], start, end)


def spark(prices: Sequence[int], *, width: int = 100, height: int = 28) -> str:
    """Draw the newest prices (oldest first) as a small line; empty when there are too few."""
    if len(prices) < 2:
        return ""
    low, high = min(prices), max(prices)
    points = (
        f"{round(number / (len(prices) - 1) * width, 1):g} "
        f"{_height_of(price, low, high, height, 2):g}"
        for number, price in enumerate(prices)
    )
    return "M" + "L".join(points)


def _height_of(price: int, low: int, high: int, height: int, margin: int) -> float:
    if low == high:
        return height / 2
    return round(margin + (high - price) / (high - low) * (height - 2 * margin), 1)
