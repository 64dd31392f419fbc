"""What is told of a cancellation of all one's orders, from one shard or added up. Pure."""

from __future__ import annotations

import msgspec


class CancelAllAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How many orders ended, and how many are left for another call."""

    cancelled: int
    remaining: int
