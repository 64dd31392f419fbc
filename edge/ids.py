"""Ids that sort by time: one 63-bit number says when a row was written.

An id is `tick (45 bits) | sequence (5 bits) | index (12 bits)`. A tick is 64 µs since
2025-01-01 UTC. Tick and sequence together are the *batch*: all rows of one commit share
it, and the index counts them. Ids of a batch are therefore contiguous, tables can be cut
into months by id alone, and "as of" a time is a range of ids.

Pure: no clock, no database.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
EPOCH_US = int(EPOCH.timestamp()) * 1_000_000
TICK_US = 64
SEQUENCE_BITS = 5
INDEX_BITS = 12
SEQUENCES = 1 << SEQUENCE_BITS
ROWS_PER_BATCH = 1 << INDEX_BITS
"""The most rows of one kind that one commit may write: 4,096."""
LARGEST_ID = (1 << 62) - 1


def batch_at(unix_us: int, *, sequence: int, after_id: int = 0) -> int:
    """Name the batch of a commit: later than the clock says and later than `after_id`.

    `unix_us` is microseconds since 1970. `after_id` is the newest id on any account the
    batch touches, so ids only grow along every account even when a clock steps back.
    """
    tick = max(0, unix_us - EPOCH_US) // TICK_US
    newest = after_id >> (SEQUENCE_BITS + INDEX_BITS)
    if after_id and newest >= tick:
        tick = newest + 1
    return tick << SEQUENCE_BITS | (sequence & (SEQUENCES - 1))


def first_id(batch: int) -> int:
    """Say the first id of a batch; the others follow by counting."""
    return batch << INDEX_BITS


def batch_of(row_id: int) -> int:
    """Say which batch wrote the row."""
    return row_id >> INDEX_BITS


def time_of(row_id: int) -> datetime:
    """Say when the row was written, to 64 µs."""
    tick = row_id >> (SEQUENCE_BITS + INDEX_BITS)
    return EPOCH + timedelta(microseconds=tick * TICK_US)


def us_of(row_id: int) -> int:
    """Say when the row was written: microseconds since 1970, to 64 µs; 0 for no row."""
    return EPOCH_US + (row_id >> (SEQUENCE_BITS + INDEX_BITS)) * TICK_US if row_id else 0


def first_id_at(moment: datetime) -> int:
    """Say the smallest id a row written at or after `moment` can have.

    Rows written before `moment` have smaller ids. `moment` must know its time zone.
    """
    assert moment.tzinfo is not None
    since = moment - EPOCH
    ticks = -(-(since // timedelta(microseconds=1)) // TICK_US)
    return max(0, ticks) << (SEQUENCE_BITS + INDEX_BITS)
