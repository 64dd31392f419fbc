"""Which campaign's points are still owed: every transfer folded into tagged lots. Pure.

A credit to a person's wallet is a lot with a tag, the campaign and the month that gave it. A
debit takes the soonest-expiring lots first and then the oldest, and what goes to another
person keeps its tags. So what is outstanding by tag sums to what the wallets hold, always.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple


class Tag(NamedTuple):
    """Who gave something, and in which month. An empty campaign: anything else."""

    campaign: str
    cohort: str


class Moved(NamedTuple):
    """One transfer that touches a wallet. `out_as` says what leaving the wallets means."""

    transfer_id: int
    amount: int
    expires_at: datetime | None
    reverses_id: int | None
    payer: int | None
    receiver: int | None
    tag: Tag
    out_as: str


class Lot(NamedTuple):
    """A part of a wallet. Sorts as it is spent: what never lapses last."""

    never_lapses: bool
    expires_at: float
    transfer_id: int
    tag: Tag


class Cohorts:
    """Lots of all wallets of one asset, and what became of each tag's grants."""

    def __init__(self) -> None:
        self._lots: dict[int, dict[Lot, int]] = defaultdict(dict)
        self.columns: dict[Tag, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def apply(self, moved: Moved) -> None:
        """Fold in the next transfer; they come in the order of their ids."""
        if moved.payer is None:
            assert moved.receiver is not None
            self._put(moved.receiver, self._fresh(moved), moved.amount)
            column = self.columns[moved.tag]
            column["granted"] += moved.amount
            return
        for lot, amount in self._take(moved.payer, moved.amount, moved.reverses_id):
            if moved.receiver is not None:
                self._put(moved.receiver, lot, amount)
            else:
                self.columns[lot.tag][moved.out_as] += amount

    def outstanding(self) -> dict[Tag, int]:
        """What is left of each tag in all wallets."""
        left: dict[Tag, int] = defaultdict(int)
        for lots in self._lots.values():
            for lot, amount in lots.items():
                left[lot.tag] += amount
        return left

    def _fresh(self, moved: Moved) -> Lot:
        lapses = moved.expires_at
        at = lapses.timestamp() if lapses is not None else 0.0
        return Lot(lapses is None, at, moved.transfer_id, moved.tag)

    def _put(self, account: int, lot: Lot, amount: int) -> None:
        lots = self._lots[account]
        lots[lot] = lots.get(lot, 0) + amount

    def _take(
        self, account: int, amount: int, reverses_id: int | None
    ) -> Iterable[tuple[Lot, int]]:
        """Take from a wallet; what a reversal undoes comes out of its own lot first."""
        lots = self._lots[account]
        order = sorted(lots, key=lambda lot: (lot.transfer_id != reverses_id, lot))
        taken = []
        for lot in order:
            part = min(amount, lots[lot])
            amount -= part
            lots[lot] -= part
            if not lots[lot]:
                del lots[lot]
            taken.append((lot, part))
            if not amount:
                break
        if amount:
            # An overdrawn wallet: the rest belongs to nobody's grant.
            lot = Lot(True, 0.0, 0, Tag("", ""))
            self._put(account, lot, -amount)
            taken.append((lot, amount))
        return taken
