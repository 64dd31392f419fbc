"""Makes codes by the pattern of a series: drawn, sealed and stored in one stream, and issued.

Each step is one transaction: as many codes, as many units, and what they may cost. Codes come
from the operating system's source of randomness; nothing holds one in the clear for longer
than it takes to seal it. About seven microseconds a code, beside what PostgreSQL takes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from struct import Struct

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts.models import User
from edge.fields import format_time
from edge.postgres import copying, raw_cursor, timestamp_microseconds
from edge.problems import Refusal
from jobs import Step
from rewards.bulk import actions
from rewards.code_files import NEVER
from rewards.events import announce
from rewards.importing import SeriesClosed, SeriesExpired, issue
from rewards.models import BulkJob, CodeImport, Series
from rewards.patterns import SPACE_PER_CODE, Pattern
from rewards.sealing import Sealer, sealer

MOST_CODES = 10_000_000
CODES_PER_STEP = 50_000
CODES_PER_COPY = 4_096
TRIES = 4
"""Draws of a step, should it meet a code that exists; one in a million codes does."""

COPY_CODES = """
COPY rewards_vouchercode (series_id, code_import_id, expires_at, digest, state, sealed)
FROM STDIN WITH (FORMAT binary)
"""
# The codes to come of a series are counted by one request at a time.
ONE_SERIES = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
# field count, then the length and bytes of five fields, and the length of the sixth
_PACK = Struct("!h iq iq iq i16s ih i").pack


class PatternMissing(Refusal):
    """The series never said what its codes look like."""

    code = "series_without_pattern"
    title = "The series has no pattern to make codes by"
    status = 409


class TooManyCodes(Refusal):
    """Codes are made in portions of a size that can be watched."""

    code = "too_many_codes"
    title = f"At most {MOST_CODES:,} codes are made at once"
    status = 422


class PatternTooSmall(Refusal):
    """So many codes of this pattern could be guessed."""

    code = "pattern_too_small"
    title = "The pattern is too short for so many codes: they could be guessed"
    status = 422


class ExpiryPast(Refusal):
    """The codes would have expired already."""

    code = "expiry_past"
    title = "The codes would have expired already"
    status = 422


def generate(
    series_code: str,
    count: int,
    *,
    actor: User | None,
    owner: User | None = None,
    expires_at: datetime | None = None,
) -> BulkJob:
    """Start making codes, and units of them for `owner` or the treasury.

    Refused when the series has no pattern, is closed or expired, or when so many codes of
    its pattern could be guessed: there must be a million possible ones for each, those that
    other work will still make included.
    """
    if not 1 <= count <= MOST_CODES:
        raise TooManyCodes
    now = timezone.now()
    if expires_at is not None and expires_at <= now:
        raise ExpiryPast
    with transaction.atomic():
        bulk = actions.prepare(
            BulkJob.Kind.GENERATE,
            series_code,
            {
                "count": count,
                "owner_id": owner.pk if owner else None,
                "expires_at": format_time(expires_at) if expires_at else None,
            },
            actor=actor,
            total=count,
        )
        pattern, codes = _pattern_of(bulk.series, now), _codes_to_come(bulk)
        if pattern.space < SPACE_PER_CODE * codes:
            raise PatternTooSmall(space=pattern.space, codes=codes)
        return actions.launch(bulk)


def _codes_to_come(bulk: BulkJob) -> int:
    """Count the codes of a series, with those that work under way and this will still make."""
    with connection.cursor() as cursor:
        cursor.execute(ONE_SERIES, [f"generate:{bulk.series_id}"])
    # What is to be made is read first: what a step makes meanwhile counts twice, not never.
    under_way = BulkJob.objects.filter(
        series=bulk.series, kind=BulkJob.Kind.GENERATE, state=BulkJob.State.OPEN
    )
    to_make = sum((total or 0) - done for total, done in under_way.values_list("total", "done"))
    stored = CodeImport.objects.filter(series=bulk.series)
    return to_make + sum(stored.values_list("code_count", flat=True))


def _pattern_of(series: Series, now: datetime) -> Pattern:
    if series.state == Series.State.CLOSED:
        raise SeriesClosed
    if series.expires_at is not None and series.expires_at <= now:
        raise SeriesExpired
    if series.pattern is None:
        raise PatternMissing
    return series.pattern


def step(bulk: BulkJob) -> Step:
    """Make the next fifty thousand codes and their units.

    Ends as cancelled, with what it did so far, once its batch was withdrawn, its series closed,
    or its codes would have expired.
    """
    series = Series.objects.select_for_update(no_key=True).get(pk=bulk.series_id)
    series.asset, series.face_value_asset = bulk.series.asset, bulk.series.face_value_asset
    total = bulk.total or 0
    count = min(CODES_PER_STEP, total - bulk.done)
    expires_at = _expiry_of(bulk, series)
    code_import = None if _is_over(series, expires_at) else _batch_of(bulk, count)
    if code_import is None:
        actions.end(bulk, BulkJob.State.CANCELLED, codes=bulk.done)
        return Step(done=bulk.done, total=total, is_last=True)
    for attempt in range(1, TRIES + 1):
        try:
            with transaction.atomic():
                _make(series, code_import, count, expires_at)
            break
        except IntegrityError:
            if attempt == TRIES:
                raise
    bulk.done += count
    if series.state == Series.State.DRAFT:
        Series.objects.filter(pk=series.pk).update(state=Series.State.ISSUED)
    bulk.save(update_fields=["done"])
    reference = f"generate:{bulk.pk}:{bulk.done}"
    code_import.transfer_id = issue(series, code_import.owner_id, count, reference)
    code_import.save(update_fields=["transfer_id"])
    is_last = bulk.done >= total
    story = {"series": series.code, "codes": count, "import_id": str(code_import.pk)}
    announce("codes_generated", series.code, **story)
    if is_last:
        actions.end(bulk, BulkJob.State.DONE, import_id=str(code_import.pk), codes=total)
    return Step(done=bulk.done, total=total, is_last=is_last)


def _batch_of(bulk: BulkJob, count: int) -> CodeImport | None:
    """The batch that all steps of this work add to; `None` once it has been withdrawn."""
    name = hashlib.sha256(f"generated:{bulk.pk}".encode()).digest()
    made = CodeImport.objects.filter(series=bulk.series_id, sha256=name).first()
    if made is None:
        return CodeImport.objects.create(
            series_id=bulk.series_id,
            source=CodeImport.Source.GENERATED,
            file_name=f"generated {bulk.pk}",
            sha256=name,
            size_bytes=0,
            row_count=count,
            code_count=count,
            fault_count=0,
            warning_count=0,
            counts={},
            state=CodeImport.State.IMPORTED,
            owner_id=bulk.parameters["owner_id"],
            created_by=bulk.created_by,
        )
    if made.state != CodeImport.State.IMPORTED:
        return None
    made.row_count += count
    made.code_count += count
    made.save(update_fields=["row_count", "code_count"])
    return made


def _expiry_of(bulk: BulkJob, series: Series) -> datetime:
    said = bulk.parameters["expires_at"]
    return datetime.fromisoformat(said) if said else series.expires_at or NEVER


def _is_over(series: Series, expires_at: datetime) -> bool:
    ends = min(expires_at, series.expires_at or NEVER)
    return series.state == Series.State.CLOSED or ends <= timezone.now()


def _make(series: Series, code_import: CodeImport, count: int, expires_at: datetime) -> None:
    pattern = series.pattern
    assert pattern is not None
    codes = islice(_drawn(pattern), count)
    rows = _packed(codes, series.pk, code_import.pk, expires_at, sealer())
    with raw_cursor() as cursor:
        first = _newest_id(cursor)
        with copying(cursor) as copies:
            while chunk := list(islice(rows, CODES_PER_COPY)):
                copies.add(COPY_CODES, chunk)
        last = _newest_id(cursor)
    if code_import.first_code_id is None:
        code_import.first_code_id = first + 1
    code_import.last_code_id = last
    code_import.save(update_fields=["first_code_id", "last_code_id"])


def _newest_id(cursor: object) -> int:
    """The sequence's last number: the codes of a step lie between two looks at it."""
    row = cursor.execute(  # type: ignore[attr-defined]
        "SELECT last_value - (NOT is_called)::int FROM rewards_vouchercode_id_seq"
    ).fetchone()
    return int(row[0])


def _drawn(pattern: Pattern) -> Iterator[str]:
    """Codes without end, from the operating system's randomness."""
    while True:
        yield from pattern.draw(os.urandom(pattern.bytes_per_code * CODES_PER_COPY))


def _packed(
    codes: Iterator[str], series_id: int, import_id: int, expires_at: datetime, sealer: Sealer
) -> Iterator[bytes]:
    """Seal each code and pack its row for COPY."""
    digest_of, seal, pack = sealer.digest, sealer.seal, _PACK
    expires_us = timestamp_microseconds(expires_at)
    for code in codes:
        digest = digest_of(series_id, code)
        sealed = seal(series_id, digest, code)
        head = pack(
            6, 8, series_id, 8, import_id, 8, expires_us, 16, digest, 2, 0, len(sealed)
        )  # fmt: skip
        yield head + sealed
