"""Checks that codes, reveals and the ledger agree, and says where they do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from django.db import connection, transaction

from rewards import units
from rewards.disputes import guarantees
from rewards.models import CodeImport, Guarantee, Series, VoucherCode
from rewards.redemption.verifying import verify_money
from rewards.sealing import CannotOpen, Sealer, sealer

CODES_AT_ONCE = 2_000
MOST_TOLD = 20
"""Codes that do not open are named up to here, and counted."""

COUNTS = """
SELECT count(*) FILTER (WHERE code.state = 0), count(*) FILTER (WHERE code.state = 1),
       count(*) FILTER (WHERE code.state = 2), count(reveal.id),
       count(*) FILTER (WHERE code.export_id IS NOT NULL),
       count(*) FILTER (WHERE (code.state = 1) <> ((reveal.id IS NOT NULL)::int
                                                  + (code.export_id IS NOT NULL)::int = 1)),
       count(*) FILTER (WHERE reveal.id IS NOT NULL AND NOT EXISTS (
           SELECT FROM wallet_transfer
            WHERE id = reveal.transfer_id AND reference = 'reveal:' || reveal.id))
  FROM rewards_vouchercode AS code LEFT JOIN rewards_reveal AS reveal ON reveal.code_id = code.id
 WHERE code.series_id = %s
"""


class CodeCounts(NamedTuple):
    """What the tables say of one series."""

    available: int
    revealed: int
    deactivated: int
    reveals: int
    exported: int
    mismatched: int
    without_transfer: int


def verify(series: Series, *, opens_codes: bool = False) -> list[str]:
    """List what does not add up in a series; an empty list is good.

    Units in circulation must equal the codes available, units burnt the codes revealed, and
    codes the rows of their imports. Reads every code of the series in one snapshot;
    `opens_codes` also decrypts each (some 5 µs) and checks its digest.
    """
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return faults_of(series, opens_codes=opens_codes)


def faults_of(series: Series, *, opens_codes: bool = False) -> list[str]:
    """List what does not add up, as the caller's transaction sees it."""
    with connection.cursor() as cursor:
        cursor.execute(COUNTS, [series.pk])
        counts = CodeCounts(*cursor.fetchone())
    faults = [*_disagreements(series, counts), *verify_money(series)]
    for guarantee in Guarantee.objects.filter(pk=series.pk).select_related("series__asset"):
        faults += guarantees.faults_of(guarantee)
    return faults + _unopenable(series, sealer()) if opens_codes else faults


def _disagreements(series: Series, counts: CodeCounts) -> Iterator[str]:
    balances = units.counts_of([series.asset_id]).get(series.asset_id)
    balances = balances or units.UnitCounts(0, 0, 0)
    imported = sum(
        CodeImport.objects.filter(series=series)
        .filter(state__in=(CodeImport.State.IMPORTED, CodeImport.State.WITHDRAWN))
        .values_list("code_count", flat=True)
    )
    pairs = [
        ("units in circulation", balances.available, "codes available", counts.available),
        ("units burnt", balances.revealed, "codes revealed", counts.revealed),
        (
            "reveals and codes exported",
            counts.reveals + counts.exported,
            "codes revealed",
            counts.revealed,
        ),
        ("rows imported", imported, "codes stored", sum(counts[:3])),
        ("codes and reveals that disagree", counts.mismatched, "none", 0),
        ("reveals without their transfer", counts.without_transfer, "none", 0),
    ]
    for left, count, right, other in pairs:
        if count != other:
            yield f"{series.code}: {count} {left}, {other} {right}"


def _unopenable(series: Series, sealer: Sealer) -> list[str]:
    codes = VoucherCode.objects.filter(series=series).order_by("pk")
    bad = [
        code.pk
        for code in codes.iterator(chunk_size=CODES_AT_ONCE)
        if not _opens(series.pk, code, sealer)
    ]
    if not bad:
        return []
    told = ", ".join(map(str, bad[:MOST_TOLD]))
    return [f"{series.code}: {len(bad)} codes do not open, with ids {told}"]


def _opens(series_id: int, code: VoucherCode, sealer: Sealer) -> bool:
    try:
        plain = sealer.open(series_id, code.digest.bytes, bytes(code.sealed))
    except CannotOpen:
        return False
    return sealer.digest(series_id, plain.for_its_owner()) == code.digest.bytes
