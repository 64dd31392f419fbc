"""Amounts as people write them: minor units to decimals, exactly. Pure."""

from __future__ import annotations


def decimal(amount: int, scale: int) -> str:
    """Write minor units with `scale` decimal places: 12345 at scale 2 is `123.45`."""
    if scale == 0:
        return str(amount)
    digits = str(abs(amount)).rjust(scale + 1, "0")
    sign = "-" if amount < 0 else ""
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}"
