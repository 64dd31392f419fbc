"""What a file of codes gets wrong: faults with their lines, the first kept, all counted. Pure.

A message never repeats what stands in the file: with a wrong delimiter or a missing header,
any field may be a code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from rewards.codes import LONGEST_CODE, SHORTEST_CODE, CodeProblem

MOST_KEPT = 1_000
"""Faults kept of one file, and as many warnings; the counts are complete."""
MOST_ROWS = 2_000_000
LONGEST_LINE = 16_384
"""Bytes of one line; a longer one is never held."""
LONGEST_RECORD = 20
"""Lines that one record may span by quoted line ends."""
CODE_COLUMN = "code"
EXPIRY_COLUMN = "expires_at"


class FaultCode(StrEnum):
    """Why a file is refused; the values are stable, clients compare them."""

    FILE_EMPTY = "file_empty"
    FILE_WITHOUT_CODES = "file_without_codes"
    ENCODING_UTF16 = "encoding_utf16"
    ENCODING_INVALID = "encoding_invalid"
    NUL_BYTE = "nul_byte"
    LINE_TOO_LONG = "line_too_long"
    QUOTE_BROKEN = "quote_broken"
    RECORD_TOO_LONG = "record_too_long"
    HEADER_MISSING = "header_missing"
    HEADER_DUPLICATE = "header_duplicate"
    COLUMN_UNKNOWN = "column_unknown"
    COLUMN_COUNT = "column_count"
    TOO_MANY_ROWS = "too_many_rows"
    EXPIRY_INVALID = "expiry_invalid"
    EXPIRY_PAST = "expiry_past"
    EXPIRY_BEFORE_START = "expiry_before_start"
    CODE_REPEATED = "code_repeated"
    CODE_STORED = "code_stored"
    CODE_LOOKS_LIKE = "code_looks_like"


MESSAGES: dict[str, str] = {
    FaultCode.FILE_EMPTY: "The file is empty.",
    FaultCode.FILE_WITHOUT_CODES: "The file has a header and no codes.",
    FaultCode.ENCODING_UTF16: "The file is UTF-16 or UTF-32. Save it as UTF-8.",
    FaultCode.ENCODING_INVALID: "The line is not UTF-8. Save the file as UTF-8.",
    FaultCode.NUL_BYTE: "The line holds a NUL character.",
    FaultCode.LINE_TOO_LONG: f"The line is longer than {LONGEST_LINE:,} bytes.",
    FaultCode.QUOTE_BROKEN: "A quoted field is not closed, or goes on after its closing quote. "
    "The file was not read beyond here.",
    FaultCode.RECORD_TOO_LONG: f"A quoted field runs over more than {LONGEST_RECORD} lines. "
    "The file was not read beyond here.",
    FaultCode.HEADER_MISSING: "The first line must name the columns: `code`, and `expires_at` if "
    "there is one, separated by a comma, semicolon, tab or vertical bar.",
    FaultCode.HEADER_DUPLICATE: "The header names this column twice.",
    FaultCode.COLUMN_UNKNOWN: "The header names a column that is neither `code` nor `expires_at`.",
    FaultCode.COLUMN_COUNT: "The line has {found} fields where the header names {wanted}.",
    FaultCode.TOO_MANY_ROWS: f"The file has more than {MOST_ROWS:,} codes. Cut it in parts.",
    FaultCode.EXPIRY_INVALID: "An expiry is a date, as in 2027-01-31, or a time with its offset, "
    "as in 2027-01-31T18:00:00Z.",
    FaultCode.EXPIRY_PAST: "The code has expired already.",
    FaultCode.EXPIRY_BEFORE_START: "The code expires before its series becomes valid.",
    FaultCode.CODE_REPEATED: "The same code stands in line {other}.",
    FaultCode.CODE_STORED: "The series has this code already.",
    FaultCode.CODE_LOOKS_LIKE: "The code is easily taken for the one in line {other}: they differ "
    "only by case, separators or characters such as O and 0.",
    CodeProblem.MISSING: "The code is missing.",
    CodeProblem.TOO_SHORT: f"The code is shorter than {SHORTEST_CODE} characters.",
    CodeProblem.TOO_LONG: f"The code is longer than {LONGEST_CODE} characters.",
    CodeProblem.CHARACTERS: "The code holds a line end or an invisible character.",
    CodeProblem.DELIMITER: "The code holds a quote or a character that separates fields. "
    "Does the header use another delimiter than the lines?",
    CodeProblem.CHECK_WRONG: "The check character of the code does not agree with the others.",
    CodeProblem.PATTERN: "The code does not follow the pattern of its series.",
    CodeProblem.NOT_ASCII: "The code holds letters beyond A to Z; some look like others.",
}
WARNINGS: frozenset[str] = frozenset({CodeProblem.NOT_ASCII, FaultCode.CODE_LOOKS_LIKE})
"""What is told and does not stop an import."""


def counted(count: int, noun: str) -> str:
    """Write a count with its noun: 1 fault, 2,000 faults."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


class Fault(NamedTuple):
    """One thing wrong (or merely odd) in one place. Line 0 means the whole file."""

    line: int
    column: str
    code: str
    message: str

    @property
    def is_warning(self) -> bool:
        return self.code in WARNINGS


class Dialect(NamedTuple):
    """How the file turned out to be written."""

    delimiter: str
    has_bom: bool
    columns: tuple[str, ...]


@dataclass(slots=True)
class Report:
    """What was found in one file. It fits in memory, however long the file is.

    `kept_before` counts the faults and warnings that an earlier part of the file left.
    """

    row_count: int = 0
    line_count: int = 0
    line_ends: set[str] = field(default_factory=set)
    dialect: Dialect | None = None
    stopped_at_line: int | None = None
    kept_before: tuple[int, int] = (0, 0)
    counts: Counter[str] = field(default_factory=Counter)
    _faults: list[Fault] = field(default_factory=list)
    _warnings: list[Fault] = field(default_factory=list)

    def add(self, line: int, code: str, *, column: str = "", **numbers: int) -> None:
        """Note one fault or warning. `numbers` fill its message."""
        self.counts[code] += 1
        is_warning = code in WARNINGS
        kept = self._warnings if is_warning else self._faults
        if len(kept) + self.kept_before[is_warning] < MOST_KEPT:
            kept.append(Fault(line, column, code, MESSAGES[code].format(**numbers)))

    def stop(self, line: int, code: str, *, column: str = "") -> None:
        """Note a fault after which the rest of the file cannot be read."""
        self.add(line, code, column=column)
        self.stopped_at_line = line

    def merge(self, code: str, found: Iterable[Fault], total: int) -> None:
        """Add faults of one kind found in another pass: the first of them, and how many."""
        if total:
            self.counts[code] += total
        for fault in found:
            kept = self._warnings if fault.is_warning else self._faults
            kept.append(fault)
        for kept, before in zip((self._faults, self._warnings), self.kept_before, strict=True):
            kept.sort()
            del kept[max(0, MOST_KEPT - before) :]

    @property
    def fault_count(self) -> int:
        return sum(count for code, count in self.counts.items() if code not in WARNINGS)

    @property
    def warning_count(self) -> int:
        return sum(count for code, count in self.counts.items() if code in WARNINGS)

    @property
    def faults(self) -> list[Fault]:
        """The first faults and the first warnings, in the order of their lines."""
        return sorted(self._faults + self._warnings)
