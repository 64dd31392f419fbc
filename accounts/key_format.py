"""How an API key is written: `scrip_live_<prefix>_<secret>_<check>`. Pure.

The prefix is public and names the key in lists and logs. The secret is 256 bits, kept
only as its SHA-256. The check lets a typing error be refused before anything is looked
up, and lets scanners tell a real key from a look-alike.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import NamedTuple

BRAND = "scrip_live"
PREFIX_LENGTH = 8
SECRET_BYTES = 32
SECRET_LENGTH = 43
CHECK_LENGTH = 6
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TOKEN = re.compile(
    rf"{BRAND}_([0-9A-Za-z]{{{PREFIX_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})"
    rf"_([0-9A-Za-z]{{{CHECK_LENGTH}}})",
    re.ASCII,
)
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
PREFIXES = len(_ALPHABET) ** PREFIX_LENGTH


class KeyToken(NamedTuple):
    """What a written key says: its public prefix, and the digest its secret is known by."""

    prefix: str
    digest: bytes


def write_token(*, prefix_number: int, secret: bytes) -> str:
    """Write a key from a random number below `PREFIXES` and 32 random bytes."""
    assert 0 <= prefix_number < PREFIXES and len(secret) == SECRET_BYTES
    prefix = _base62(prefix_number, PREFIX_LENGTH)
    body = f"{BRAND}_{prefix}_{_base62(int.from_bytes(secret, 'big'), SECRET_LENGTH)}"
    return f"{body}_{_check(body)}"


def read_token(text: str) -> KeyToken | None:
    """Read a key, or `None` when it was mistyped or is something else. Looks nothing up."""
    match = _TOKEN.fullmatch(text)
    if match is None or _check(text[: -CHECK_LENGTH - 1]) != match[3]:
        return None
    return KeyToken(match[1], hashlib.sha256(match[2].encode()).digest())


def _check(body: str) -> str:
    """Six digits, two at a time: every request at the gateway computes this."""
    high, rest = divmod(zlib.crc32(body.encode()), 62**4)
    middle, low = divmod(rest, 62**2)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
