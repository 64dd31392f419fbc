"""Points in accounts that are closed, limited or must wait: that holds nobody else up."""

from __future__ import annotations

import pytest

from accounts.models import User
from tests.finance.ledgers import Ledger, day
from tests.finance.test_points import MAY, balance, give
from wallet import freezing, points
from wallet.accounts import Purpose, open_accounts
from wallet.expiry import expire_due
from wallet.models import Account, Code, Transfer

LATER = day("05-03")


@pytest.fixture
def ledger(transactional_db: None) -> Ledger:
    made = Ledger("PTS", expires=True)
    made.open("ann", "ben")
    return made


@pytest.fixture
def clerk(transactional_db: None) -> User:
    return User.objects.create_user("olga@example.com", handle="olga")


def limit(
    account_id: int, clerk: User, *, ceiling: int | None = None, debit: int | None = None
) -> None:
    freezing.change_limits(
        account_id, floor=0, ceiling=ceiling, largest_debit=debit, actor=clerk, reason="Licence"
    )


def owed_by(ledger: Ledger, name: str) -> int:
    debt = Purpose(ledger.owners[name], ledger.asset.pk, "owed")
    return -Account.objects.get(pk=open_accounts([debt])[debt]).balance


def test_points_that_cannot_lapse_keep_no_others_from_it(ledger: Ledger, clerk: User) -> None:
    """Sweep after sweep, in the same batch: a retired asset's breakage account is closed."""
    retired = Ledger("OLD", expires=True)
    retired.open("ann", "ben", "cid")
    give(retired, "cid", 30, day("04-01"))
    give(ledger, "ben", 40, MAY)
    give(ledger, "ben", 7, day("05-02"))
    freezing.close(retired.ids["breakage"], actor=clerk, reason="The asset is retired")
    assert expire_due(now=MAY).amount == 40
    assert expire_due(now=LATER).amount == 7
    assert (balance(ledger, "ben"), balance(retired, "cid")) == (0, 30)


def test_points_that_could_not_lapse_do_once_they_can(ledger: Ledger, clerk: User) -> None:
    give(ledger, "ann", 30, day("04-01"))
    limit(ledger.ids["breakage"], clerk, ceiling=10)
    for _ in range(2):
        assert expire_due(now=MAY).amount == 0
    limit(ledger.ids["breakage"], clerk)
    assert expire_due(now=LATER).amount == 30


def test_who_waits_keeps_nobody_from_a_limited_sweep(ledger: Ledger, clerk: User) -> None:
    give(ledger, "ann", 30, day("04-01"))
    give(ledger, "ben", 40, MAY)
    freezing.freeze(ledger.ids["ann"], actor=clerk, reason="Stolen phone")
    assert expire_due(now=LATER, limit=1).waiting_count == 1
    assert (balance(ledger, "ann"), balance(ledger, "ben")) == (30, 0)


def test_a_grant_above_the_largest_debit_is_taken_back_and_the_rest_is_owed(
    ledger: Ledger, clerk: User
) -> None:
    granted = give(ledger, "ann", 30, None)
    limit(ledger.ids["ann"], clerk, debit=10)
    taken_back = points.clawback(granted, actor=clerk, reason="Fraud")
    assert (taken_back.taken, taken_back.owed, owed_by(ledger, "ann")) == (10, 20, 20)


def test_a_debt_is_paid_within_the_largest_debit(ledger: Ledger, clerk: User) -> None:
    granted = give(ledger, "ann", 30, None)
    ledger.move("ann", "redeemed", 30, Code.REDEMPTION)
    points.clawback(granted, actor=clerk, reason="Fraud")
    limit(ledger.ids["ann"], clerk, debit=10)
    give(ledger, "ann", 50, None)
    assert (balance(ledger, "ann"), owed_by(ledger, "ann")) == (40, 20)


def test_the_reason_of_a_clawback_may_be_long_and_is_not_told(ledger: Ledger, clerk: User) -> None:
    granted = give(ledger, "ann", 30, None)
    points.clawback(granted, actor=clerk, reason="x" * 500)
    assert Transfer.objects.get(reverses_id=granted).memo == f"takes back {granted}"
