"""CSV as RFC 4180 has it, safe to open in a spreadsheet. Pure.

Lines end in CR LF, fields are quoted where they must be, the text is UTF-8. Text that
people typed is guarded: a spreadsheet would run a cell that starts with `=` or one of its
friends as a formula, so such a cell gets an apostrophe in front.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

FORMULA_STARTS = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
CHUNK_CHARACTERS = 1 << 16


def guarded(text: str) -> str:
    """Make typed text harmless in a spreadsheet; other text stays as it is."""
    shown = text.lstrip(" \u00a0\u3000")
    return f"'{text}" if shown and shown[0] in FORMULA_STARTS else text


def moment(value: datetime | None) -> str:
    """Write a moment as RFC 3339 in UTC, to the microsecond; nothing for none."""
    return "" if value is None else f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def csv_chunks(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[bytes]:
    """Write rows as CSV, handed over in chunks of about 64 kB. `None` is an empty field."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(row)
        if text.tell() >= CHUNK_CHARACTERS:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    if text.tell():
        yield text.getvalue().encode()
