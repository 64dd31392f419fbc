"""An uploaded file in the database, in encrypted blocks, so that any worker can read it."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from rewards.models import BulkJob, UploadBlock
from rewards.sealing import sealer

BLOCK_BYTES = 1 << 20


def keep(bulk: BulkJob, stream: BinaryIO) -> int:
    """Store a file beside the work that will read it; say how many bytes."""
    stream.seek(0)
    number = size = 0
    while content := stream.read(BLOCK_BYTES):
        UploadBlock.objects.create(
            bulk_job=bulk, number=number, sealed=sealer().seal_bytes(_name(bulk, number), content)
        )
        number += 1
        size += len(content)
    return size


def drop(bulk: BulkJob) -> None:
    """Forget a file."""
    UploadBlock.objects.filter(bulk_job=bulk).delete()


def _name(bulk: BulkJob, number: int) -> bytes:
    return b"%d\0%d" % (bulk.pk, number)


class KeptFile(io.RawIOBase):
    """Reads a stored file block by block; only one is in memory."""

    def __init__(self, bulk: BulkJob) -> None:
        self._bulk = bulk
        self._at = 0
        self._number = -1
        self._block = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        assert whence == io.SEEK_SET
        self._at = offset
        return offset

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most up to the end of a block; none at the end of the file."""
        number, start = divmod(self._at, BLOCK_BYTES)
        if number != self._number:
            self._block, self._number = self._opened(number), number
        found = self._block[start : start + size if size >= 0 else None]
        self._at += len(found)
        return found

    def _opened(self, number: int) -> bytes:
        found: Any = UploadBlock.objects.filter(bulk_job=self._bulk, number=number).first()
        if found is None:
            return b""
        return sealer().open_bytes(_name(self._bulk, number), bytes(found.sealed))
