"""Reads a marketer's CSV of codes: bytes in, rows and faults out, in constant memory. Pure.

The file is UTF-8 with or without a byte order mark; its lines end in LF, CRLF or CR, even
mixed. The header names `code` and perhaps `expires_at`; it decides the delimiter, one of
comma, semicolon, tab and vertical bar. What is wrong goes to a `Report` with its line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import BinaryIO, NamedTuple

from rewards.codes import (
    DELIMITERS,
    CheckScheme,
    CodeProblem,
    carries_check,
    cleaned,
    problem_with,
)
from rewards.patterns import Pattern
from rewards.reports import (
    CODE_COLUMN,
    EXPIRY_COLUMN,
    LONGEST_LINE,
    LONGEST_RECORD,
    MOST_ROWS,
    Dialect,
    FaultCode,
    Report,
)

BLOCK = 256 * 1024
BOM = b"\xef\xbb\xbf"
NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""How a code without expiry is stored: a real time, so that one index range orders all."""
TEMPLATE = "code,expires_at\r\nEXAMPLE-7KQ4-01,2030-12-31\r\nEXAMPLE-7KQ4-02,\r\n"
_EXPIRY = re.compile(
    r"(\d{4}-\d\d-\d\d)([Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d))?", re.ASCII
)


class CodeRow(NamedTuple):
    """One good row. The code is plain text: seal it at once, and print it never."""

    line: int
    code: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class RowRules:
    """What the series asks of every row."""

    now: datetime
    valid_from: datetime | None = None
    default_expires_at: datetime | None = None
    check_scheme: CheckScheme = CheckScheme.NONE
    pattern: Pattern | None = None


@dataclass(slots=True)
class Place:
    """How far a file was read: bytes, lines, and what its header said. It fits in JSON."""

    offset: int = 0
    line: int = 0
    delimiter: str = ""
    columns: dict[str, int] = field(default_factory=dict)


def read_codes(
    stream: BinaryIO, rules: RowRules, report: Report, place: Place | None = None
) -> Iterator[CodeRow]:
    """Give the good rows of a file, in order; note everything else in the report.

    Holds one block of 256 kB and one record at a time. Stops where the rest cannot be
    understood (a bad header, a broken quote), and says so. `place` says from where to go on,
    and is kept up to date: after each row it stands behind it.
    """
    place = place or Place()
    if place.offset:
        stream.seek(place.offset)
    lines = _Lines(stream, report, place)
    if place.columns:
        records = csv.reader(lines, delimiter=place.delimiter, strict=True)
        yield from _rows(_records(records, lines, report), place.columns, rules, report)
        return
    header = next((line for line in lines if line.strip()), None)
    header_line = lines.number
    if header is None:
        if not report.fault_count:
            report.stop(0, FaultCode.FILE_EMPTY)
        return
    columns = _read_header(header, header_line, lines.has_bom, report)
    if columns is None:
        return
    assert report.dialect is not None
    place.columns, place.delimiter = columns, report.dialect.delimiter
    records = csv.reader(chain([header], lines), delimiter=report.dialect.delimiter, strict=True)
    next(records)
    yield from _rows(_records(records, lines, report), columns, rules, report)
    if not report.row_count and not report.fault_count:
        report.add(header_line, FaultCode.FILE_WITHOUT_CODES)


# -- lines -----------------------------------------------------------------------------


class _RecordTooLong(Exception):
    pass


class _Lines:
    """The lines of a file as text, counted. A line that cannot be read is given as empty."""

    def __init__(self, stream: BinaryIO, report: Report, place: Place) -> None:
        self.number = place.line
        self.record_start = place.line
        self.has_bom = False
        self.place = place
        self._offset = place.offset
        self._report = report
        self._left_out = [0]
        self._cut = _cut(stream, report, self._left_out, is_first=not place.offset)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = next(self._cut)
        self.number += 1
        self._offset += len(raw)
        if self._left_out[0]:
            self._offset += self._left_out[0]
            self._left_out[0] = 0
        if self.number - self.record_start > LONGEST_RECORD:
            raise _RecordTooLong
        if self.number == 1 and raw.startswith(BOM):
            self.has_bom = True
            raw = raw[len(BOM) :]
        self._report.line_count = self.number
        return self._text(raw)

    def note_place(self) -> None:
        """Remember that everything up to here has been read."""
        self.place.offset, self.place.line = self._offset, self.number

    def _text(self, raw: bytes) -> str:
        if len(raw) > LONGEST_LINE:
            self._report.add(self.number, FaultCode.LINE_TOO_LONG)
        elif b"\0" in raw:
            self._report.add(self.number, FaultCode.NUL_BYTE)
        else:
            try:
                return raw.decode()
            except UnicodeDecodeError:
                self._report.add(self.number, FaultCode.ENCODING_INVALID)
        return "\n"


def _cut(
    stream: BinaryIO, report: Report, left_out: list[int], *, is_first: bool
) -> Iterator[bytes]:
    """Cut a stream after LF, CRLF and CR. A line over the limit arrives shortened, still over,
    and how many of its bytes were left out."""
    rest = b""
    while block := stream.read(BLOCK):
        block = rest + block
        if is_first and _is_wide(block):
            report.stop(0, FaultCode.ENCODING_UTF16)
            return
        is_first = False
        lines = block.splitlines(keepends=True)
        # The last line may go on in the next block; after a CR an LF may follow.
        rest = b"" if block.endswith(b"\n") else lines.pop()
        _note_line_ends(block, len(block) - len(rest), report)
        yield from lines
        if len(rest) > LONGEST_LINE + 2:
            left_out[0] += len(rest) - LONGEST_LINE - 2
            rest = rest[: LONGEST_LINE + 1] + rest[-1:]
    if rest:
        _note_line_ends(rest, len(rest), report)
        yield rest


def _is_wide(start: bytes) -> bool:
    """Tell UTF-16 and UTF-32 by their byte order mark, or by the NUL in every other byte."""
    marked = start.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff"))
    return marked or (len(start) >= 4 and (start[0] == start[2] == 0 or start[1] == start[3] == 0))


def _note_line_ends(block: bytes, end: int, report: Report) -> None:
    crlf = block.count(b"\r\n", 0, end)
    if crlf:
        report.line_ends.add("CRLF")
    if block.count(b"\n", 0, end) > crlf:
        report.line_ends.add("LF")
    if block.count(b"\r", 0, end) > crlf:
        report.line_ends.add("CR")


# -- header and records ----------------------------------------------------------------


def _read_header(header: str, line: int, has_bom: bool, report: Report) -> dict[str, int] | None:
    """Find the delimiter and where each column stands; `None` after a fault."""
    for delimiter in DELIMITERS:
        names = _header_names(header, delimiter)
        if CODE_COLUMN in names:
            break
    else:
        report.stop(line, FaultCode.HEADER_MISSING)
        return None
    report.dialect = Dialect(delimiter, has_bom, tuple(names))
    for position, name in enumerate(names, 1):
        if name not in (CODE_COLUMN, EXPIRY_COLUMN):
            report.stop(line, FaultCode.COLUMN_UNKNOWN, column=str(position))
        elif name in names[: position - 1]:
            report.stop(line, FaultCode.HEADER_DUPLICATE, column=name)
    return None if report.stopped_at_line else {name: at for at, name in enumerate(names)}


def _header_names(header: str, delimiter: str) -> list[str]:
    try:
        fields = next(csv.reader([header], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return []
    return [column_name(field) for field in fields]


def column_name(field: str) -> str:
    """Read the name of a column as people write it: capitals, blanks and hyphens do not matter."""
    return re.sub("[ -]", "_", field.strip().lower())


def _records(
    records: Iterator[list[str]], lines: _Lines, report: Report
) -> Iterator[tuple[int, list[str]]]:
    """Give each record that is not blank with the line it starts in."""
    while True:
        lines.record_start = lines.number
        try:
            fields = next(records)
        except StopIteration:
            return
        except csv.Error:
            report.stop(lines.record_start + 1, FaultCode.QUOTE_BROKEN)
            return
        except _RecordTooLong:
            report.stop(lines.record_start + 1, FaultCode.RECORD_TOO_LONG)
            return
        lines.note_place()
        if fields:
            yield lines.record_start + 1, fields


# -- rows ------------------------------------------------------------------------------


def _rows(
    records: Iterator[tuple[int, list[str]]],
    columns: dict[str, int],
    rules: RowRules,
    report: Report,
) -> Iterator[CodeRow]:
    width, code_at, expiry_at = len(columns), columns[CODE_COLUMN], columns.get(EXPIRY_COLUMN)
    default = rules.default_expires_at or NEVER
    for line, fields in records:
        report.row_count += 1
        if report.row_count > MOST_ROWS:
            report.stop(line, FaultCode.TOO_MANY_ROWS)
            return
        if len(fields) != width:
            report.add(line, FaultCode.COLUMN_COUNT, found=len(fields), wanted=width)
            continue
        code = cleaned(fields[code_at])
        is_good = _check_code(line, code, rules, report)
        expires_at: datetime | None = default
        if expiry_at is not None and (text := fields[expiry_at].strip()):
            expires_at = _checked_expiry(line, text, rules, report)
        if is_good and expires_at is not None:
            yield CodeRow(line, code, expires_at)


def _check_code(line: int, code: str, rules: RowRules, report: Report) -> bool:
    problem = problem_with(code)
    if problem is not None:
        report.add(line, problem, column=CODE_COLUMN)
        if problem is not CodeProblem.NOT_ASCII:
            return False
    scheme = rules.check_scheme
    if scheme is not CheckScheme.NONE and not carries_check(code, scheme):
        report.add(line, CodeProblem.CHECK_WRONG, column=CODE_COLUMN)
        return False
    if rules.pattern is not None and rules.pattern.read(code) != code:
        report.add(line, CodeProblem.PATTERN, column=CODE_COLUMN)
        return False
    return True


def _checked_expiry(line: int, text: str, rules: RowRules, report: Report) -> datetime | None:
    moment = parse_expiry(text)
    if moment is None:
        fault = FaultCode.EXPIRY_INVALID
    elif moment <= rules.now:
        fault = FaultCode.EXPIRY_PAST
    elif rules.valid_from is not None and moment <= rules.valid_from:
        fault = FaultCode.EXPIRY_BEFORE_START
    else:
        return moment
    report.add(line, fault, column=EXPIRY_COLUMN)
    return None


@lru_cache(maxsize=4096)
def parse_expiry(text: str) -> datetime | None:
    """Read when a code expires: a date counts to its end in UTC, a time says its offset."""
    found = _EXPIRY.fullmatch(text)
    if not found:
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
        if found[2] is None:
            moment = moment.replace(tzinfo=UTC) + timedelta(days=1)
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if moment < NEVER else None
