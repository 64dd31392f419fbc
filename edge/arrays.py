"""Spelling arrays for PostgreSQL whose texts are mostly the same few."""

from __future__ import annotations

from collections.abc import Sequence

from edge.postgres import text_array


def repeated_texts(values: Sequence[str]) -> str:
    """Spell an array of texts, quoting each different one once: a batch names few of them."""
    spelt = {value: text_array([value])[1:-1] for value in set(values)}
    return "{" + ",".join([spelt[value] for value in values]) + "}"
