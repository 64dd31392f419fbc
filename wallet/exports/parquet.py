"""The journal as Parquet, for tools that read columns."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

from wallet.exports.journal import CODES, Line, lines
from wallet.exports.scope import Scope
from wallet.exports.snapshot import Snapshot

ROWS_PER_GROUP = 20_000
MOMENT = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        pa.field("transfer_id", pa.int64(), nullable=False),
        pa.field("written_at", MOMENT, nullable=False),
        pa.field("effective_at", MOMENT),
        pa.field("code", pa.string(), nullable=False),
        pa.field("asset", pa.string(), nullable=False),
        pa.field("scale", pa.int8(), nullable=False),
        pa.field("account_id", pa.int64(), nullable=False),
        pa.field("account_kind", pa.string(), nullable=False),
        pa.field("owner_id", pa.int64()),
        pa.field("account_label", pa.string(), nullable=False),
        pa.field("amount_minor", pa.int64(), nullable=False),
        pa.field("balance_after_minor", pa.int64(), nullable=False),
        pa.field("counter_account_id", pa.int64(), nullable=False),
        pa.field("expires_at", MOMENT),
        pa.field("hold_id", pa.int64()),
        pa.field("reverses_id", pa.int64()),
        pa.field("reference", pa.string(), nullable=False),
        pa.field("memo", pa.string(), nullable=False),
    ]
)


class _Sink:
    """A file that is only written to, and gives up what it has when asked."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.closed = False

    def write(self, part: bytes) -> int:
        self._parts.append(bytes(part))
        return len(part)

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        self.closed = True

    def drained(self) -> bytes:
        written = b"".join(self._parts)
        self._parts.clear()
        return written


def journal_parquet(snapshot: Snapshot, scope: Scope) -> Iterator[bytes]:
    """Write the journal of the slice as Parquet: 20,000 rows a group, a chunk for each."""
    sink = _Sink()
    remaining = lines(snapshot, scope)
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), SCHEMA, compression="zstd") as writer:
        while group := list(islice(remaining, ROWS_PER_GROUP)):
            writer.write_batch(_columns(group))
            yield sink.drained()
    yield sink.drained()


def _columns(group: list[Line]) -> pa.RecordBatch:
    rows = (
        (
            line.transfer_id, line.written_at, line.effective_at,
            CODES.get(line.code, str(line.code)), line.asset, line.scale, line.account_id,
            line.account_kind, line.owner_id, line.account_label, line.amount,
            line.balance_after, line.counter_account_id, line.expires_at, line.hold_id,
            line.reverses_id, line.reference, line.memo,
        )
        for line in group
    )  # fmt: skip
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)
