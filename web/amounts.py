"""Amounts as people read and write them: `1,234.50` for 123450 minor units of scale 2. Pure."""

from __future__ import annotations

import re

LARGEST_AMOUNT = 1 << 62
_WRITTEN = re.compile(r"(?P<whole>\d{1,3}(?:,\d{3})+|\d{1,19})(?:\.(?P<part>\d*))?", re.ASCII)


def format_amount(minor: int, scale: int) -> str:
    """Write minor units with thousands separators and all decimals of the asset."""
    whole, part = divmod(abs(minor), 10**scale)
    sign = "\u2212" if minor < 0 else ""
    return f"{sign}{whole:,}.{part:0{scale}d}" if scale else f"{sign}{whole:,}"


def plain_amount(minor: int, scale: int) -> str:
    """Write minor units as a person would type them into a field."""
    return format_amount(minor, scale).replace(",", "").replace("\u2212", "-")


def read_amount(text: str, scale: int) -> int:
    """Read what a person typed as minor units; `ValueError` says in words what is wrong."""
    match = _WRITTEN.fullmatch(text.strip())
    if match is None:
        raise ValueError("Write a number, such as 25 or 1,000.")
    part = (match["part"] or "").rstrip("0")
    if len(part) > scale:
        raise ValueError(
            f"At most {scale} decimals, please." if scale else "Whole numbers only, please."
        )
    minor = int(match["whole"].replace(",", "") + part.ljust(scale, "0"))
    if not 0 < minor <= LARGEST_AMOUNT:
        raise ValueError("Write an amount above zero." if minor == 0 else "That is too much.")
    return minor
