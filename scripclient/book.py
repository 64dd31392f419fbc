"""A book of one's own: a snapshot, kept up with by the market's changes, and checked.

    book = LocalBook(scrip.book(market, levels=1000))
    for change in scrip.changes(market, after=book.sequence):
        book.apply(change)          # OutOfStep: take a new snapshot
    book.best_bid, book.best_ask, book.bids(20)

Every change carries the market's sequence, which has no gap, and a checksum of the book after
it. So a book that took all changes is the market's own, and one that missed something knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from zlib import crc32

CHECKED_LEVELS = 10

Level = tuple[int, int]


class OutOfStep(Exception):
    """The book cannot follow: a change is missing, or what it knows is wrong or too little."""


def checksum_of(bids: Iterable[Level], asks: Iterable[Level]) -> int:
    """CRC-32 of the best ten levels of each side, `price:quantity,…|price:quantity,…`."""
    return crc32(f"{_text(bids)}|{_text(asks)}".encode())


def _text(levels: Iterable[Level]) -> str:
    return ",".join(f"{price}:{quantity}" for price, quantity in levels)


class LocalBook:
    """A market's book by price, made of a snapshot and the changes after it.

    Of a side that goes on beyond the snapshot it knows the prices up to the snapshot's last
    one and passes over what lies beyond.
    """

    def __init__(self, snapshot: Mapping[str, Any]) -> None:
        self.sequence: int = snapshot["sequence"]
        self._sides = {
            side: {level["price"]: level["quantity"] for level in snapshot[side]}
            for side in ("bids", "asks")
        }
        self._borders = {
            side: snapshot[side][-1]["price"]
            for side in ("bids", "asks")
            if snapshot[f"has_more_{side}"] and snapshot[side]
        }
        self._check(snapshot["checksum"])

    def apply(self, change: Mapping[str, Any]) -> None:
        """Take in the next change; one that is known already is passed over.

        Raises `OutOfStep` if changes are missing between, or the checksum differs.
        """
        if change["sequence"] <= self.sequence:
            return
        if change["sequence"] != self.sequence + 1:
            raise OutOfStep(f"after {self.sequence} came {change['sequence']}")
        self.sequence = change["sequence"]
        for level in change["levels"]:
            self._set(f"{'bid' if level['side'] == 'buy' else 'ask'}s", level)
        self._check(change["checksum"])

    def bids(self, levels: int | None = None) -> list[Level]:
        """What people pay, best first: (price, quantity)."""
        return sorted(self._sides["bids"].items(), reverse=True)[:levels]

    def asks(self, levels: int | None = None) -> list[Level]:
        """What people ask, best first: (price, quantity)."""
        return sorted(self._sides["asks"].items())[:levels]

    @property
    def best_bid(self) -> int | None:
        """The highest price that somebody pays; None if nobody does."""
        return max(self._sides["bids"], default=None)

    @property
    def best_ask(self) -> int | None:
        """The lowest price that somebody asks; None if nobody does."""
        return min(self._sides["asks"], default=None)

    def _set(self, side: str, level: Mapping[str, Any]) -> None:
        price, border = level["price"], self._borders.get(side)
        if border is not None and (price < border if side == "bids" else price > border):
            return
        if level["quantity"]:
            self._sides[side][price] = level["quantity"]
        else:
            self._sides[side].pop(price, None)

    def _check(self, checksum: int) -> None:
        if any(len(self._sides[side]) < CHECKED_LEVELS for side in self._borders):
            raise OutOfStep("too few levels are known")
        if checksum != checksum_of(self.bids(CHECKED_LEVELS), self.asks(CHECKED_LEVELS)):
            raise OutOfStep(f"the checksum after {self.sequence} differs")
