"""What may stand in a file of codes, and how each thing wrong with it is told."""

from __future__ import annotations

import io
import random
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.code_files import BLOCK, NEVER, CodeRow, RowRules, parse_expiry, read_codes
from rewards.codes import CheckScheme
from rewards.reports import LONGEST_LINE, MESSAGES, Dialect, Fault, Report

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
RULES = RowRules(now=NOW)
Told = list[tuple[int, str, str]]


def read(content: bytes, rules: RowRules = RULES) -> tuple[list[CodeRow], Report]:
    report = Report()
    return list(read_codes(io.BytesIO(content), rules, report)), report


def codes(content: bytes) -> list[tuple[int, str]]:
    """The good rows of a file without a fault."""
    rows, report = read(content)
    assert report.faults == []
    return [(row.line, row.code) for row in rows]


def faults(content: bytes, rules: RowRules = RULES) -> Told:
    return [(fault.line, fault.column, str(fault.code)) for fault in read(content, rules)[1].faults]


# -- what is read ------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_header_decides_the_delimiter(delimiter: str) -> None:
    content = f"expires_at{delimiter}code\n2027-01-31{delimiter}AAAA\n{delimiter}BBBB\n".encode()
    rows, report = read(content)
    assert rows == [
        CodeRow(2, "AAAA", datetime(2027, 2, 1, tzinfo=UTC)),
        CodeRow(3, "BBBB", NEVER),
    ]
    assert report.dialect == Dialect(delimiter, False, ("expires_at", "code"))


@pytest.mark.parametrize(
    ("content", "line_ends"),
    [
        (b"code\nAAAA\nBBBB\n", {"LF"}),
        (b"code\r\nAAAA\r\nBBBB", {"CRLF"}),
        (b"code\rAAAA\rBBBB\r", {"CR"}),
        (b"code\r\nAAAA\nBBBB\r", {"CRLF", "LF", "CR"}),
        (b"\xef\xbb\xbfcode\nAAAA\nBBBB\n", {"LF"}),
        (b'"code"\n"AAAA"\n" BBBB "\n', {"LF"}),
        (b" Code \nAAAA  \n\tBBBB\n".replace(b"\t", b"  "), {"LF"}),
    ],
)
def test_line_ends_marks_quotes_and_blanks_make_no_difference(
    content: bytes, line_ends: set[str]
) -> None:
    assert codes(content) == [(2, "AAAA"), (3, "BBBB")]
    assert read(content)[1].line_ends == line_ends


def test_blank_lines_count_as_lines_and_hold_no_code() -> None:
    assert codes(b"\n\ncode\n\nAAAA\r\n\r\nBBBB\n\n") == [(5, "AAAA"), (7, "BBBB")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("shift", range(-3, 4))
def test_lines_across_blocks_stay_whole(end: bytes, shift: int) -> None:
    filler = b"A" * 100 + end
    head = b"code" + end
    lines = (BLOCK + shift - len(head)) // len(filler)
    short = BLOCK + shift - len(head) - lines * len(filler)
    content = head + filler * lines + b"B" * short + end + b"CCCC" + end
    rows, _ = read(content)
    assert (rows[-1].code, rows[-1].line) == ("CCCC", lines + 3)


def test_expiry_defaults_to_the_series() -> None:
    default = datetime(2026, 12, 31, tzinfo=UTC)
    rows, _ = read(b"code\nAAAA\n", RowRules(now=NOW, default_expires_at=default))
    assert rows[0].expires_at == default


# -- what is refused -----------------------------------------------------------------------

FILES = [
    # file; line, column and code of every fault
    (b"", [(0, "", "file_empty")]),
    (b"\xef\xbb\xbf", [(0, "", "file_empty")]),
    (b"\n \r\n", [(0, "", "file_empty")]),
    (b"code", [(1, "", "file_without_codes")]),
    (b"\ncode\n\n", [(2, "", "file_without_codes")]),
    ("code\nAAAA\n".encode("utf-16"), [(0, "", "encoding_utf16")]),
    ("code\nAAAA\n".encode("utf-16-le"), [(0, "", "encoding_utf16")]),
    ("code\nAAAA\n".encode("utf-16-be"), [(0, "", "encoding_utf16")]),
    ("code\nAAAA\n".encode("utf-32"), [(0, "", "encoding_utf16")]),
    ("code\nAAAA\nBÜBB\n".encode("latin-1"), [(3, "", "encoding_invalid")]),
    (b"code\nAA\0AA\nBBBB\n", [(2, "", "nul_byte")]),
    (b"AAAA\nBBBB\n", [(1, "", "header_missing")]),
    (b"code:expires_at\nAAAA:2027-01-31\n", [(1, "", "header_missing")]),
    (b"voucher,expires_at\nAAAA,\n", [(1, "", "header_missing")]),
    (b'"code\nAAAA\n', [(1, "", "header_missing")]),
    (b"code,code\nAAAA,AAAA\n", [(1, "code", "header_duplicate")]),
    (b"code,expires_at,expires_at\n", [(1, "expires_at", "header_duplicate")]),
    (b"code,price\nAAAA,5\n", [(1, "2", "column_unknown")]),
    (b"code,\nAAAA,\n", [(1, "2", "column_unknown")]),
    (b"code,expires_at\nAAAA\nBBBB,,\n", [(2, "", "column_count"), (3, "", "column_count")]),
    (b"code,expires_at\nAAAA;2027-01-31\n", [(2, "", "column_count")]),
    (b"code\nAAAA;2027-01-31\n", [(2, "code", "code_delimiter")]),
    (b'code\nAAAA\n"BBBB\nCCCC\n', [(3, "", "quote_broken")]),
    (b'code\n"AAAA"X\nBBBB\n', [(2, "", "quote_broken")]),
    (b'code\n"' + b"A\n" * 40, [(2, "", "record_too_long")]),
    (b'code\n"AAAA\nBBBB"\n', [(2, "code", "code_characters")]),
    (b'code\n"AA""AA"\n', [(2, "code", "code_delimiter")]),
    (b'code,expires_at\n"",\n,\n', [(2, "code", "code_missing"), (3, "code", "code_missing")]),
    (b"code\nAAA\nAAAA\n", [(2, "code", "code_too_short")]),
    (b"code\n" + b"A" * 128 + b"\n" + b"A" * 129, [(3, "code", "code_too_long")]),
    ("code\nAA\u200bAA\n".encode(), [(2, "code", "code_characters")]),
    ("code\nAAA\u202eA\n".encode(), [(2, "code", "code_characters")]),
    ("code\n\u0410AAA\n".encode(), [(2, "code", "code_not_ascii")]),
    (b"code,expires_at\nAAAA,2026-06-01T11:59:59Z\n", [(2, "expires_at", "expiry_past")]),
    (
        b"code,expires_at\nAA,2026-05-31\n",
        [(2, "code", "code_too_short"), (2, "expires_at", "expiry_past")],
    ),
    (b"code,expires_at\nAAAA,soon\n", [(2, "expires_at", "expiry_invalid")]),
]  # fmt: skip


@pytest.mark.parametrize(("content", "expected"), FILES)
def test_each_fault_is_told_with_its_line_and_column(content: bytes, expected: Told) -> None:
    assert faults(content) == expected


def test_code_that_expires_before_the_series_starts_is_told() -> None:
    rules = RowRules(now=NOW, valid_from=datetime(2027, 1, 1, tzinfo=UTC))
    assert faults(b"code,expires_at\nAAAA,2026-12-30\nBBBB,2027-01-01\n", rules) == [
        (2, "expires_at", "expiry_before_start")
    ]


def test_wrong_check_character_is_told() -> None:
    rules = RowRules(now=NOW, check_scheme=CheckScheme.LUHN)
    assert faults(b"code\n7992-7398-713\n7992-7398-710\n", rules) == [
        (3, "code", "code_check_wrong")
    ]


@pytest.mark.parametrize(
    "text", ["2027-01-31", "2027-01-31T18:00:00Z", "2027-01-31 18:00:00+02:00"]
)
def test_expiry_is_a_date_or_a_time_with_offset(text: str) -> None:
    assert parse_expiry(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "2027-13-01", "2027-02-30", "31.01.2027", "20270131", "2027-W05-7", "2027-01-31T18:00:00",
        "2027-01-31T25:00:00Z", "9999-12-31", "9999-12-30T23:59:59-23:59", "0000-01-01",
        "0001-01-01T00:00:00+23:59", "\uff12\uff10\uff12\uff17-01-31", "2027-01-31Z", "never",
    ],
)  # fmt: skip
def test_any_other_expiry_is_none(text: str) -> None:
    assert parse_expiry(text) is None


# -- limits ------------------------------------------------------------------------------


class Endless(io.RawIOBase):
    """A file that is made while it is read, so that only its reader takes memory."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self.parts = parts

    def read(self, size: int = -1) -> bytes:
        return next(self.parts, b"")


@pytest.mark.parametrize("quote", [b"", b'"'])
def test_field_of_ten_million_characters_is_refused_by_its_line_and_never_held(
    quote: bytes,
) -> None:
    parts = iter([b"code\nAAAA\n" + quote, *[b"X" * 100_000] * 100, quote + b"\nBBBB\n"])
    report = Report()
    tracemalloc.start()
    rows = list(read_codes(Endless(parts), RULES, report))  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [row.code for row in rows] == ["AAAA", "BBBB"]
    assert report.faults == [Fault(3, "", "line_too_long", MESSAGES["line_too_long"])]
    assert peak < 3_000_000


def test_line_at_the_limit_is_read_and_one_beyond_is_not() -> None:
    for extra, code in ((0, "code_too_long"), (1, "line_too_long")):
        content = b"code\n" + b"A" * (LONGEST_LINE - 1 + extra) + b"\n"
        assert [fault[2] for fault in faults(content)] == [code]


def test_memory_does_not_grow_with_the_file() -> None:
    def file(lines: int) -> Iterator[bytes]:
        yield b"code\n"
        for block in range(lines // 1_000):
            yield b"".join(b"AAAA%08d\n" % (block * 1_000 + line) for line in range(1_000))

    peaks = []
    for lines in (10_000, 60_000):
        tracemalloc.start()
        rows = read_codes(Endless(file(lines)), RULES, Report())  # type: ignore[arg-type]
        assert sum(1 for _ in rows) == lines
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2


def test_row_limit_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewards.code_files.MOST_ROWS", 2)
    rows, report = read(b"code\nAAAA\nBBBB\nCCCC\nDD\n")
    assert len(rows) == 2
    assert (report.stopped_at_line, report.counts) == (4, {"too_many_rows": 1})


# -- whatever comes ------------------------------------------------------------------------

PIECES = st.sampled_from(
    [b"code", b"expires_at", b",", b";", b"\t", b"|", b"\n", b"\r", b"\r\n", b'"', b'""', b" ",
     b"AAAA", b"BBBB-1", b"2027-01-31", b"2020-01-01", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe",
     "É".encode(), b"X" * 200]
)  # fmt: skip


@given(st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=40).map(b"".join)))
def test_any_bytes_are_read_without_an_exception(content: bytes) -> None:
    rows, report = read(content)
    assert len(rows) <= report.row_count
    assert rows or report.fault_count
    assert all(4 <= len(row.code) <= 128 and row.expires_at > NOW for row in rows)
    assert all(
        0 <= fault.line <= content.count(b"\n") + content.count(b"\r") + 1
        for fault in report.faults
    )


@given(st.data())
def test_report_never_repeats_what_stood_in_the_file(data: st.DataObject) -> None:
    secret = "Q7" + "".join(random.Random(data.draw(st.integers(0, 99))).choices("WXYZ89", k=8))
    pieces = data.draw(st.lists(st.one_of(PIECES, st.just(secret.encode())), max_size=40))
    _, report = read(b"".join(pieces))
    assert secret not in repr(report)
    assert secret not in "".join(map(str, report.faults))


@given(st.lists(st.text("ABCDEFGH23456789-", min_size=4, max_size=20), min_size=1, max_size=30))
def test_plain_codes_come_back_as_they_were(texts: list[str]) -> None:
    content = "code\r\n" + "\r\n".join(texts)
    assert codes(content.encode()) == list(enumerate(texts, 2))


def test_every_fault_is_explained_in_the_docs() -> None:
    docs = (Path(__file__).resolve().parents[2] / "docs" / "vouchers.md").read_text()
    assert [code for code in MESSAGES if f"`{code}`" not in docs] == []
