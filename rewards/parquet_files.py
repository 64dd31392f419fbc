"""Reads a Parquet file of codes as the CSV it stands for, so that one reader judges both.

Row n of the table is line n + 1 of the CSV, below its header; every fault is then found, worded
and numbered as for a CSV. What would be too large is refused before it is unpacked.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from edge.problems import Refusal
from rewards.code_files import column_name
from rewards.reports import CODE_COLUMN, EXPIRY_COLUMN, LONGEST_LINE, MOST_ROWS

MAGIC = b"PAR1"
ROWS_AT_ONCE = 4_096
MOST_COLUMNS = 20
MOST_UNPACKED = 400_000_000
"""Bytes of columns once unpacked, and of the CSV that they become."""


class ParquetUnreadable(Refusal):
    """The file begins like Parquet, and is none, or none that holds codes."""

    code = "parquet_unreadable"
    title = "The Parquet file cannot be read"
    status = 422


def readable(stream: BinaryIO) -> BinaryIO:
    """Give the CSV that a Parquet file stands for; any other file as it is.

    Raises `ParquetUnreadable` for what is broken, nested, too large once unpacked, or of a type
    that no code or expiry has.
    """
    head = stream.read(len(MAGIC))
    stream.seek(0)
    if head != MAGIC:
        return stream
    try:
        texts = [each.name for each in pq.read_schema(stream) if pa.types.is_string(each.type)]
        # Repeated texts stay one text in memory, however often the file says them.
        return _as_csv(pq.ParquetFile(stream, read_dictionary=texts))
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise ParquetUnreadable(str(error).partition("\n")[0][:200]) from None


def _as_csv(file: pq.ParquetFile) -> BinaryIO:
    _check(file.metadata, file.schema_arrow)
    lines = tempfile.TemporaryFile()  # noqa: SIM115  # whoever reads the codes closes it
    text = io.TextIOWrapper(lines, "utf-8", errors="replace", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(file.schema_arrow.names)
    for batch in file.iter_batches(ROWS_AT_ONCE):
        writer.writerows(_rows(batch))
        if lines.tell() > MOST_UNPACKED:
            raise ParquetUnreadable("Unpacked, it is too large. Cut it in parts.")
    text.detach()
    lines.seek(0)
    return lines


def _check(metadata: pq.FileMetaData, schema: pa.Schema) -> None:
    unpacked = sum(metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups))
    if metadata.num_rows > MOST_ROWS or unpacked > MOST_UNPACKED:
        raise ParquetUnreadable(f"It holds more than {MOST_ROWS:,} codes. Cut it in parts.")
    nested = [each.name for each in schema if pa.types.is_nested(each.type)]
    if nested or len(schema) > MOST_COLUMNS:
        raise ParquetUnreadable("Its columns are code and expires_at, of plain values.")
    for each in schema:
        _check_type(column_name(each.name), each.type)


def _check_type(name: str, kind: pa.DataType) -> None:
    """Refuse what has no spelling of its own in a CSV: bytes, fractions, truth values."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if name == CODE_COLUMN and not (_is_text(kind) or pa.types.is_integer(kind)):
        raise ParquetUnreadable(f"Its codes are texts or whole numbers, not {kind}.")
    is_expiry = pa.types.is_date(kind) or pa.types.is_timestamp(kind) or pa.types.is_null(kind)
    if name == EXPIRY_COLUMN and not (_is_text(kind) or is_expiry):
        raise ParquetUnreadable(f"Its expiries are texts, dates or timestamps, not {kind}.")


def _is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.large_string(), pa.string_view())


def _rows(batch: pa.RecordBatch) -> Iterable[tuple[str, ...]]:
    columns = [_texts(column) for column in batch.columns]
    return zip(*columns, strict=True)


def _texts(column: pa.Array) -> list[str]:
    """A column as a CSV would spell it. Of a dictionary, each value is spelt once."""
    if pa.types.is_dictionary(column.type):
        spelt = _texts(column.dictionary)
        places = column.indices.to_pylist()
        return ["" if place is None else spelt[place] for place in places]
    return [_text(value) for value in column.to_pylist()]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        # A time without an offset counts as UTC, as in the files that we write ourselves.
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    return str(value)[: LONGEST_LINE + 1]
