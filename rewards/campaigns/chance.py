"""Draws that can be proven fair afterwards, and arms of a test that never change. Pure.

Before a version is published, the SHA-256 of its secret seed is shown (the commitment). A
draw is HMAC-SHA-256 of the seed over the version, the person and the request; the person
chose the request's key, so the house cannot pick a losing number, and without the seed the
person cannot pick a winning one. When the version is over the seed is shown: anybody can
check that it fits the commitment and count every draw again.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

SEED_BYTES = 32
_RANGE = 1 << 128


def commitment_of(seed: bytes) -> str:
    """What is shown before the first draw: the seed's SHA-256 in hex."""
    return hashlib.sha256(seed).hexdigest()


def seed_from(secret: bytes, nonce: bytes) -> bytes:
    """Make the seed of a version from the platform's secret and the version's own nonce."""
    return hmac.digest(secret, b"campaign seed\0" + nonce, "sha256")


def draw(seed: bytes, *, version: int, person: int, request: str, place: int = 0) -> int:
    """Draw a number of 128 bits. `place` tells several draws of one claim apart."""
    said = f"{version}:{person}:{request}:{place}"
    return int.from_bytes(hmac.digest(seed, said.encode(), "sha256")[:16], "big")


def pick(number: int, weights: Sequence[int]) -> int:
    """Say which outcome a drawn number means: by weight, in order.

    128 bits are spread over the weights without a remainder that could be felt (2^-90).
    """
    left = number * sum(weights) // _RANGE
    for index, weight in enumerate(weights):
        if left < weight:
            return index
        left -= weight
    raise AssertionError("unreachable")


def odds(weights: Sequence[int]) -> list[float]:
    """The chance of each outcome, as published."""
    total = sum(weights)
    return [weight / total for weight in weights]


def arm_of(campaign: str, person: int, shares: Sequence[int]) -> int:
    """Say which arm of a campaign's test a person is in: the same at every version."""
    digest = hashlib.sha256(f"arm\0{campaign}\0{person}".encode()).digest()
    return pick(int.from_bytes(digest[:16], "big"), shares)
