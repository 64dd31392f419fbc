"""Proving the books: everything that is stored twice is computed again and compared.

Balances, what is held and incoming, holds, entries, references and seals all follow from
the journal; `verify` rebuilds each by set-based SQL in one snapshot and names every row
that differs, with what it should be. Nothing is changed and nobody is blocked. Rows stream
and PostgreSQL sorts on its disk, so memory stays flat at any size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from edge.postgres import uuid_array
from wallet import seal
from wallet.exports.snapshot import Snapshot, taken
from wallet.items import Hold, Kind, Transfer
from wallet.laws import LAWS
from wallet.models import Asset
from wallet.references import digest_of, fingerprint_of

MOST_DIFFERENCES = 100
"""The most differences listed for one law; there may be more."""
REFERENCES_AT_ONCE = 5_000

TRANSFERS_WITH_REFERENCE = """
SELECT id, kind, asset_id, debit_account_id, credit_account_id, amount, code, memo,
       effective_at, expires_at, reverses_id, reference
  FROM wallet_transfer
 WHERE reference <> '' AND (%(asset_id)s::int IS NULL OR asset_id = %(asset_id)s)
 ORDER BY id
"""
REFERENCES = """
SELECT digest, transfer_id, fingerprint FROM wallet_reference
 WHERE digest = ANY(%s::uuid[]) AND refusal = 0
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """A stored value that is not what the journal says it should be."""

    where: str
    field: str
    expected: str
    found: str


@dataclass(slots=True)
class Finding:
    """How one law fared. `is_cut` says that more differences were found than are listed."""

    law: str
    says: str
    seconds: float = 0.0
    differences: list[Difference] = field(default_factory=list)
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a run of `verify` found, law by law."""

    asset: str | None
    findings: list[Finding]

    @property
    def is_clean(self) -> bool:
        return not any(finding.differences for finding in self.findings)


def verify(
    asset: Asset | None = None, *, on_law: Callable[[Finding], None] | None = None
) -> Report:
    """Compute everything anew from the journal, of one asset or of all, and say what differs.

    All laws but the seals see one snapshot; sealed windows cannot change. `on_law` hears of
    each law when it is done. Batches, seals and used references span assets and are left
    out when one asset is asked for.
    """
    findings = []
    with taken() as snapshot:
        for name, says, rows in _checks(snapshot, asset):
            findings.append(_finding(name, says, rows))
            if on_law is not None:
                on_law(findings[-1])
    return Report(asset.code if asset else None, findings)


def _checks(
    snapshot: Snapshot, asset: Asset | None
) -> Iterator[tuple[str, str, Iterable[tuple[object, ...]]]]:
    scope = {"asset_id": asset.pk if asset else None}
    for law in LAWS:
        if law.is_per_asset or asset is None:
            yield law.name, law.says, map(tuple, snapshot.rows(law.sql, scope))
    says = "a transfer's reference is used up by it, with its content"
    yield "references", says, _reference_faults(snapshot, scope)
    if asset is None:
        yield "seals", "what was sealed is unchanged", _seal_faults()


def _finding(name: str, says: str, rows: Iterable[tuple[object, ...]]) -> Finding:
    finding, started = Finding(name, says), time.monotonic()
    for row in islice(rows, MOST_DIFFERENCES + 1):
        where, what, expected, found = map(_word, row)
        finding.differences.append(Difference(where, what, expected, found))
    finding.is_cut = len(finding.differences) > MOST_DIFFERENCES
    del finding.differences[MOST_DIFFERENCES:]
    finding.seconds = round(time.monotonic() - started, 3)
    return finding


def _word(value: object) -> str:
    return "nothing" if value is None else str(value)


def _seal_faults() -> Iterator[tuple[object, ...]]:
    for number, what, expected, found in seal.faults():
        yield f"seal {number}", what, expected, found


# -- references: their digests are ours, not PostgreSQL's, so they are computed here -----------


def _reference_faults(
    snapshot: Snapshot, scope: dict[str, int | None]
) -> Iterator[tuple[object, ...]]:
    transfers = snapshot.rows(TRANSFERS_WITH_REFERENCE, scope)
    while chunk := list(islice(transfers, REFERENCES_AT_ONCE)):
        digests = [digest_of(row[-1]) for row in chunk]
        used = snapshot.rows(REFERENCES, [uuid_array(digests)])
        found = {digest.bytes: (transfer_id, mark) for digest, transfer_id, mark in used}
        for digest, row in zip(digests, chunk, strict=True):
            yield from _compared(row, found.get(digest))


def _compared(row: Sequence[Any], found: tuple[int, int] | None) -> Iterator[tuple[object, ...]]:
    where = f"reference of transfer {row[0]}"
    if found is None or found[0] != row[0]:
        yield where, "transfer", row[0], found and found[0]
        return
    item = _item(row)
    if item is not None and fingerprint_of(item) != found[1]:
        yield where, "fingerprint", fingerprint_of(item), found[1]


def _item(row: Sequence[Any]) -> Transfer | Hold | None:
    """What was asked for, as far as the journal still knows: posts and voids may leave it open."""
    kind, asset_id, debit, credit, amount, code, memo = row[1:8]
    if kind == Kind.TRANSFER:
        return Transfer(
            reference=row[-1],
            asset_id=asset_id,
            debit_account_id=debit,
            credit_account_id=credit,
            amount=amount,
            code=code,
            memo=memo,
            effective_at=row[8],
            expires_at=row[9],
            reverses_id=row[10],
        )
    if kind == Kind.HOLD:
        return Hold(
            reference=row[-1],
            asset_id=asset_id,
            debit_account_id=debit,
            credit_account_id=credit,
            amount=amount,
            code=code,
            memo=memo,
            expires_at=row[9],
        )
    return None
