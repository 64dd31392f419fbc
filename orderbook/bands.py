"""Price bands: how far from a reference a market trades before it stops to think.

Pure: no Django, clock, database, network or random. Prices are whole ticks.

    band = band_around(reference_ticks, bps)
    if is_beyond(band, side, price_ticks): …        # refuse the order: price_beyond_band
    report, halts = place_within(book, command, band)
    within = Within(band, via=enter); report = amend(book, command, via=within); within.halts

A market may have two. The *static* band lies around the last auction's price and refuses
orders whose limit is beyond it: buys above, sells below. The *dynamic* band lies around the
last trade; an order that would trade beyond it trades up to its edge, what is left of it is
cancelled, and the market halts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from orderbook.book import Book, Side
from orderbook.matching import MOST_FILLS, Cause, Place, Report, TimeInForce, place

WHOLE_BPS = 10_000
WIDEST_BPS = 100_000
"""A band of ten times the reference: beyond this it protects nobody."""
_BUY = Side.BUY


class Band(NamedTuple):
    """The lowest and the highest price that are within."""

    lowest_ticks: int
    highest_ticks: int


def band_around(reference_ticks: int, bps: int) -> Band | None:
    """The prices at most so many basis points away, at least one tick; None without a band."""
    if not reference_ticks or not bps:
        return None
    width = max(1, reference_ticks * bps // WHOLE_BPS)
    return Band(max(1, reference_ticks - width), reference_ticks + width)


def is_beyond(band: Band | None, side: Side, price_ticks: int) -> bool:
    """Say whether an order of this limit could trade beyond the band."""
    if band is None:
        return False
    if side is _BUY:
        return price_ticks > band.highest_ticks
    return price_ticks < band.lowest_ticks


def place_within(
    book: Book,
    command: Place,
    band: Band | None,
    most_fills: int = MOST_FILLS,
    via: Callable[[Book, Place, int], Report] = place,
) -> tuple[Report, bool]:
    """Match a new order, but never beyond the band; say whether the market must halt.

    Where all that it can take lies within, it is matched like any other. Otherwise it takes
    what is within and the rest is cancelled (`Cause.VOLATILITY`); a fill-or-kill order that
    would need more is refused, and halts nothing, because nothing was traded. `via` matches.
    """
    in_force, price_ticks = command.time_in_force, command.price_ticks
    if in_force is TimeInForce.POST_ONLY or not is_beyond(band, command.side, price_ticks):
        return via(book, command, most_fills), False
    assert band is not None
    edge = band.highest_ticks if command.side is _BUY else band.lowest_ticks
    if not _would_pass(book, command, edge):
        return via(book, command, most_fills), False
    if in_force is not TimeInForce.FILL_OR_KILL:
        in_force = TimeInForce.IMMEDIATE_OR_CANCEL
    clipped = msgspec.structs.replace(command, price_ticks=edge, time_in_force=in_force)
    report = via(book, clipped, most_fills)
    if report.refusal or report.cause is not Cause.IMMEDIATE:
        return report, False
    return msgspec.structs.replace(report, cause=Cause.VOLATILITY), True


class Within:
    """Matches as `place_within` does where others match; `halts` says what came of it."""

    def __init__(self, band: Band | None, via: Callable[[Book, Place, int], Report]) -> None:
        self.halts = False
        self._band = band
        self._via = via

    def __call__(self, book: Book, command: Place, most_fills: int = MOST_FILLS) -> Report:
        report, self.halts = place_within(book, command, self._band, most_fills, self._via)
        return report


def _would_pass(book: Book, command: Place, edge_ticks: int) -> bool:
    """Say whether the order would trade at a price past the edge. Cost: a step a level."""
    ladder, sign = (book.asks, 1) if command.side is _BUY else (book.bids, -1)
    missing = command.quantity_lots
    for level in ladder:
        if missing <= 0 or level.key > sign * command.price_ticks:
            return False
        if level.key > sign * edge_ticks:
            return True
        missing -= level.lots
    return False
