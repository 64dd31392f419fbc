"""Prices as candles in an SVG, and small sparks without axes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from orderbook.candles import Candle

WIDTH = 1000
HEIGHT = 300
MARGIN = 12
"""Room above and below the prices, so that their ends are not cut off."""
VOLUME_HEIGHT = 50
"""The part at the bottom in which the bars of volume stand."""
BODY_SHARE = 0.7
THINNEST = 1.5


class Chart(NamedTuple):
    """Candles in a box of `WIDTH` by `HEIGHT`, as paths, and what its axes say.

    `rising` and `falling` are the bodies; `flat` marks the price where nothing traded. `drawn`
    is how many candles there are.
    """

    wicks_rising: str
    wicks_falling: str
    rising: str
    falling: str
    flat: str
    volume: str
    low: int
    high: int
    first: int
    last: int
    start: datetime
    end: datetime
    drawn: int


def candle_chart(candles: Sequence[Candle], *, interval_s: int, count: int) -> Chart | None:
    """Draw candles (oldest first, without gaps) at the right of a box for `count` of them.

    `None` when there are none.
    """
    if not candles:
        return None
    low, high = min(each.low for each in candles), max(each.high for each in candles)
    most = max(each.volume for each in candles) or 1
    step = WIDTH / count
    paths: dict[str, list[str]] = {name: [] for name in Chart._fields[:6]}
    for number, candle in enumerate(candles, count - len(candles)):
        _draw(paths, candle, (number + 0.5) * step, step * BODY_SHARE, low, high)
        if candle.volume:
            tall = max(THINNEST, VOLUME_HEIGHT * candle.volume / most)
            paths["volume"].append(_box((number + 0.5) * step, step * BODY_SHARE, HEIGHT, -tall))
    return Chart(
        **{name: "".join(parts) for name, parts in paths.items()},
        low=low,
        high=high,
        first=candles[0].open,
        last=candles[-1].close,
        start=_at(candles[-1].start_s - (count - 1) * interval_s),
        end=_at(candles[-1].start_s + interval_s),
        drawn=len(candles),
    )


def _draw(
    paths: dict[str, list[str]], candle: Candle, x: float, width: float, low: int, high: int
) -> None:
    def y(price: int) -> float:
        return _height_of(price, low, high, HEIGHT - VOLUME_HEIGHT, MARGIN)

    if not candle.trades:
        paths["flat"].append(_box(x, width, y(candle.close) - THINNEST / 2, THINNEST))
        return
    way = "rising" if candle.close >= candle.open else "falling"
    top, bottom = y(max(candle.open, candle.close)), y(min(candle.open, candle.close))
    tall = max(THINNEST, bottom - top)
    paths[way].append(_box(x, width, (top + bottom - tall) / 2, tall))
    if candle.high > candle.low:
        paths[f"wicks_{way}"].append(f"M{x:.1f} {y(candle.high):g}V{y(candle.low):g}")


def _box(x: float, width: float, y: float, height: float) -> str:
    """A box around `x`, from `y` down by `height`."""
    return f"M{x - width / 2:.1f} {y:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z"


def _at(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


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
