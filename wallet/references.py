"""References: how a caller's own name for a transfer makes it idempotent for ever. Pure.

A reference is stored as a 128-bit digest beside a 64-bit fingerprint of what was asked.
The same reference with the same content gets the first answer again; with other content
it is refused. Digests cannot be made to collide by accident: the chance at 10^12
references is below 10^-14.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple

from wallet.items import Hold, Item, Post, Refusal, Result, Transfer


class ReferenceRow(NamedTuple):
    """What a used reference made: a transfer, or a refusal that stays."""

    digest: bytes
    transfer_id: int
    fingerprint: int
    refusal: int


def digest_of(reference: str) -> bytes:
    """Shorten a reference to 16 bytes."""
    return blake2b(reference.encode(errors="surrogatepass"), digest_size=16).digest()


def fingerprint_of(item: Item) -> int:
    """Shorten everything an item asks for to a signed 64-bit number."""
    content = "|".join(map(str, _content(item)))
    return int.from_bytes(blake2b(content.encode(), digest_size=8).digest(), signed=True)


def _content(item: Item) -> tuple[object, ...]:
    if isinstance(item, Transfer):
        return (
            "transfer", item.asset_id, item.debit_account_id, item.credit_account_id,
            item.amount, item.code, _iso(item.effective_at), _iso(item.expires_at),
            item.reverses_id, item.memo,
        )  # fmt: skip
    if isinstance(item, Hold):
        return (
            "hold", item.asset_id, item.debit_account_id, item.credit_account_id,
            item.amount, item.code, _iso(item.expires_at), item.memo,
        )  # fmt: skip
    if isinstance(item, Post):
        return (
            "post", item.hold_id, item.amount, item.credit_account_id, item.rest_is_kept,
            item.code, item.memo,
        )  # fmt: skip
    return ("void", item.hold_id, item.amount, item.code, item.memo)


def _iso(moment: datetime | None) -> str:
    return "" if moment is None else str(moment.timestamp())


def replayed(used: ReferenceRow, fingerprint: int) -> Result:
    """Answer an item whose reference is used up: as the first time, or refuse the reuse."""
    if used.fingerprint != fingerprint:
        return Result(Refusal.REFERENCE_REUSED, 0)
    return Result(Refusal(used.refusal), used.transfer_id, is_replay=True)
