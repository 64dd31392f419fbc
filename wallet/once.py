"""Each reference once, for actions that pass through the door themselves.

`wallet.actions.post` does the same for batches that are known beforehand. Here an action
decides on locked accounts what it asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import psycopg
from django.db import IntegrityError, transaction

from wallet.door import Posting
from wallet.items import Item, Refusal, Result, check_item
from wallet.references import ReferenceRow, digest_of, fingerprint_of, replayed

ATTEMPTS = 3
Answer = TypeVar("Answer")


def apply_once(posting: Posting, item: Item) -> Result:
    """Decide one item, or answer it as the first time if its reference is used up.

    The door must have been opened with the digests of all references that may be.
    """
    refusal = check_item(item) if item.reference else Refusal.REFERENCE_INVALID
    if refusal:
        return Result(refusal, 0)
    digest, fingerprint = digest_of(item.reference), fingerprint_of(item)
    if (before := posting.used.get(digest)) is not None:
        return replayed(before, fingerprint)
    [result] = posting.apply([item])
    if result.is_created or result.refusal.depends_on_state:
        _use_up(posting, item, result)
    return result


def apply_new(posting: Posting, item: Item) -> Result:
    """Decide one item whose reference is its own, so that it cannot be used up.

    What is refused uses nothing up: it can be tried again, by the same reference.
    """
    [result] = posting.apply([item])
    if result.is_created:
        _use_up(posting, item, result)
    return result


def _use_up(posting: Posting, item: Item, result: Result) -> None:
    digest = digest_of(item.reference)
    row = ReferenceRow(digest, result.transfer_id, fingerprint_of(item), result.refusal)
    posting.used[digest] = row
    posting.references.append(row)


def retried(attempt: Callable[[], Answer]) -> Answer:
    """Run an attempt in a transaction; again, if another one used its reference meanwhile.

    Or drew its batch id: the next attempt looks again.
    """
    for number in range(1, ATTEMPTS + 1):
        try:
            with transaction.atomic():
                return attempt()
        except IntegrityError as error:
            lost_race = isinstance(error.__cause__, psycopg.errors.UniqueViolation)
            if not lost_race or number == ATTEMPTS:
                raise
    raise AssertionError("unreachable")
