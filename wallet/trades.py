"""The transfers that settled trades: read in their order, and undone together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from django.db import transaction

from edge.ids import ROWS_PER_BATCH
from wallet.actions import post
from wallet.items import Result
from wallet.models import Code, Transfer
from wallet.reversals import LEG_CODES, reversals_of


class Leg(NamedTuple):
    """One movement of a trade. `receiver` is the account that would give it back."""

    transfer_id: int
    is_units: bool
    amount: int
    receiver: int


def legs_of_commit(ledger_batch_id: int) -> list[Leg]:
    """List the legs of all trades that one commit settled, in the order they were settled."""
    of_batch = Transfer.objects.filter(
        pk__gte=ledger_batch_id, pk__lt=ledger_batch_id + ROWS_PER_BATCH, code__in=LEG_CODES
    )
    rows = of_batch.order_by("pk").values_list("pk", "code", "amount", "credit_account_id")
    return [Leg(pk, code == Code.TRADE_UNITS, amount, to) for pk, code, amount, to in rows if to]


def reverse_together(legs: Sequence[Leg]) -> list[Result]:
    """Undo the legs of a trade: all of them or none. In the caller's transaction, last.

    A refusal is not kept, so the same may be tried again later. What was reversed by itself
    before is refused as a reused reference.
    """
    chain = [
        msgspec.structs.replace(item, linked=True)
        for item in reversals_of([leg.transfer_id for leg in legs])
    ]
    chain[-1] = msgspec.structs.replace(chain[-1], linked=False)
    with transaction.atomic():
        results = post(chain)
        if not all(result.is_created for result in results):
            transaction.set_rollback(True)
    return results
