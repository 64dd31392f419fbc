"""The ledger that most tests of finance's files read."""

from __future__ import annotations

import pytest

from tests.finance.ledgers import Ledger, day
from wallet.models import Code


@pytest.fixture
def ledger(transactional_db: None) -> Ledger:
    """A quarter of points in two decimals: issued, paid, redeemed, expired, dated back."""
    made = Ledger("PTS", scale=2)
    made.open("ann", "ben")
    made.move("issuance", "ann", 10_000, Code.GRANT, at=day("01-05"), memo="welcome")
    made.move("issuance", "budget", 5_000, Code.ISSUE, at=day("01-06"))
    made.move("ann", "ben", 2_500, at=day("02-03"), reference="=cmd", memo='+1 "beer"; thanks')
    made.move("budget", "ben", 1_000, Code.CLAIM, at=day("02-04"))
    made.move("ben", "redeemed", 700, Code.REDEMPTION, at=day("02-20"))
    made.move("ann", "breakage", 5, Code.EXPIRY, at=day("03-02"))
    made.move("issuance", "ben", 40, Code.ADJUSTMENT, at=day("03-03"), effective_at=day("02-10"))
    return made
