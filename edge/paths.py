"""Ids in addresses: `path("holds/<id:hold_id>/", …)` matches ids alone, the rest is 404."""

from __future__ import annotations

from edge.ids import LARGEST_ID


class IdConverter:
    """A positive 63-bit integer without leading zeros."""

    regex = "[1-9][0-9]{0,18}"

    def to_python(self, value: str) -> int:
        """Read the digits; Django takes ValueError for "no such address"."""
        number = int(value)
        if number > LARGEST_ID:
            raise ValueError(value)
        return number

    def to_url(self, value: int) -> str:
        return str(value)
