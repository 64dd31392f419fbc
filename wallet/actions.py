"""Writes to the ledger for everyone but the order engine: `post(items)` and what it serves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from edge.ids import ROWS_PER_BATCH
from wallet.door import Posting, Used, opened
from wallet.items import (
    Item,
    Post,
    Refusal,
    Result,
    Void,
    chains,
    check_item,
)
from wallet.once import retried
from wallet.references import ReferenceRow, digest_of, fingerprint_of, replayed


class BatchTooLarge(ValueError):
    """More items than one commit may hold (4,096)."""


def post(items: Sequence[Item], *, now: datetime | None = None) -> list[Result]:
    """Do a batch of transfers, holds, posts and voids; answer each item by itself, in order.

    Items are decided in sequence, so a later one sees what an earlier one moved; linked
    items happen all or not at all. Every item has a reference, at most 100 characters and
    never empty: asked again with the same content it gets its first answer, for ever, even
    a refusal that depended on the state of the ledger; with other content it is refused.

    Locks every account it touches, in id order, until the caller's transaction ends, so a
    transaction calls it once and calls it last. Raises `BatchTooLarge` over 4,096 items.
    """
    if len(items) > ROWS_PER_BATCH:
        raise BatchTooLarge(f"{len(items)} items; one batch holds {ROWS_PER_BATCH}")
    if not items:
        return []
    return retried(lambda: _Batch(items, now).post())


class _Batch:
    """One attempt at a batch: what is known of each item before it is decided."""

    def __init__(self, items: Sequence[Item], now: datetime | None) -> None:
        self.items = items
        self.now = now
        self.results: list[Result | None] = [_checked(item) for item in items]
        self.digests = [digest_of(item.reference) for item in items]

    def post(self) -> list[Result]:
        if all(self.results):
            return [result for result in self.results if result]
        account_ids, hold_ids = _touched_by(self.items)
        with opened(account_ids, hold_ids, digests=self.digests, now=self.now) as posting:
            for start, end in chains(self.items):
                self._decide(posting, start, end)
        return [result for result in self.results if result]

    def _decide(self, posting: Posting, start: int, end: int) -> None:
        seen: set[bytes] = set()
        used = posting.used
        settled = [self._settled(index, seen, used) for index in range(start, end)]
        if any(settled):
            self.results[start:end] = _with_chain_refused(settled)
            return
        decided = posting.apply(self.items[start:end])
        for index, result in enumerate(decided, start):
            self.results[index] = result
            if result.is_created or result.refusal.depends_on_state:
                self._use_reference(posting, index, result)

    def _settled(self, index: int, seen: set[bytes], used: Used) -> Result | None:
        """What is known of the item without deciding it: it is malformed, or a replay.

        `seen` are the references of the same chain so far: none may come twice in it.
        """
        if (malformed := self.results[index]) is not None:
            return malformed
        if index == len(self.items) - 1 and self.items[index].linked:
            return Result(Refusal.CHAIN_OPEN, 0)
        digest = self.digests[index]
        if digest in seen:
            return Result(Refusal.REFERENCE_REUSED, 0)
        seen.add(digest)
        before = used.get(digest)
        return before and replayed(before, fingerprint_of(self.items[index]))

    def _use_reference(self, posting: Posting, index: int, result: Result) -> None:
        digest = self.digests[index]
        row = posting.used[digest] = ReferenceRow(
            digest, result.transfer_id, fingerprint_of(self.items[index]), result.refusal
        )
        posting.references.append(row)


def _checked(item: Item) -> Result | None:
    refusal = check_item(item) if item.reference else Refusal.REFERENCE_INVALID
    return Result(refusal, 0) if refusal else None


def _with_chain_refused(settled: list[Result | None]) -> list[Result]:
    """A chain happened before as a whole, or it is refused as a whole.

    An item of it that did happen, without the others, has used its reference up.
    """
    if all(result is not None and result.is_created for result in settled):
        return [result for result in settled if result]
    return [_refused_in_chain(result) for result in settled]


def _refused_in_chain(settled: Result | None) -> Result:
    if settled is None:
        return Result(Refusal.CHAIN_REFUSED, 0)
    return Result(Refusal.REFERENCE_REUSED, 0) if settled.is_created else settled


def _touched_by(items: Sequence[Item]) -> tuple[set[int], set[int]]:
    account_ids: set[int] = set()
    hold_ids: set[int] = set()
    for item in items:
        if isinstance(item, Post | Void):
            hold_ids.add(item.hold_id)
        else:
            account_ids.add(item.debit_account_id)
        if not isinstance(item, Void) and item.credit_account_id is not None:
            account_ids.add(item.credit_account_id)
    return account_ids, hold_ids
