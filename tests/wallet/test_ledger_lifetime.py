"""What a batch decided dies with it, by itself: Python's collector has nothing to look for."""

from __future__ import annotations

import gc
import weakref
from datetime import UTC, datetime

from wallet.items import Transfer
from wallet.ledger import Account, Ledger


def test_a_ledger_dies_with_its_batch() -> None:
    accounts = {
        id: Account(id, 1, 100, 0, 0, 0, None, None, 0, 0, 0) for id in (1, 2)
    }  # fmt: skip
    ledger = Ledger(
        first_id=4096, now=datetime(2026, 1, 1, tzinfo=UTC), accounts=accounts, holds={}
    )
    item = Transfer(
        reference="", asset_id=1, debit_account_id=1, credit_account_id=2, amount=5, code=4
    )
    assert ledger.apply([item])[0].is_created
    alive = weakref.ref(ledger)
    gc.disable()
    try:
        del ledger
        assert alive() is None
    finally:
        gc.enable()
