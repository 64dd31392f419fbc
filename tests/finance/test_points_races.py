"""Points in races, each with its control."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from tests.finance.ledgers import Ledger, day, done
from tests.wallet.threads import at_once
from wallet import door, expiry, points
from wallet.door import Posting
from wallet.expiry import Sweep, expire_due
from wallet.items import Refusal
from wallet.lot_history import LotHistory
from wallet.lot_upkeep import verify
from wallet.lots import Lots, LotsDoNotTie
from wallet.models import Account, Code, Transfer

MAY, JULY = day("05-01"), day("07-01")


@pytest.fixture
def ledger(transactional_db: None) -> Ledger:
    made = Ledger("PTS", expires=True)
    made.open("ann", "ben", "cid")
    for name in ("ann", "ben", "cid"):
        give(made, name, 30, "05-01")
        give(made, name, 30, "07-01")
    return made


def give(ledger: Ledger, name: str, amount: int, expires_on: str) -> int:
    [result] = points.grant(
        [
            points.Grant(
                reference=f"{name} {expires_on}", owner_id=ledger.owners[name],
                asset_id=ledger.asset.pk, amount=amount, expires_at=day(expires_on),
            )
        ],
        now=day("03-01"),
    )  # fmt: skip
    return result.transfer_id


def spend_before_the_locks(monkeypatch: pytest.MonkeyPatch, ledger: Ledger, amount: int) -> None:
    """Let Ann spend once the sweep has derived her lots, and before it has locked them."""
    door_opened = door.opened

    @contextmanager
    def opened(*arguments: Any, **more: Any) -> Iterator[Posting]:
        spend = ledger.transfer("ann", "redeemed", amount, Code.REDEMPTION)
        at_once([partial(done, [spend])])
        with door_opened(*arguments, **more) as posting:
            yield posting

    monkeypatch.setattr(expiry, "opened", opened)


def test_a_spend_before_the_locks_makes_the_expiry_smaller(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    spend_before_the_locks(monkeypatch, ledger, 25)
    assert expire_due(now=MAY) == Sweep(3, 3, 65)
    [lot] = points.expiring(ledger.ids["ann"])
    assert lot == (JULY, 30)


def test_control_without_deriving_under_the_lock_the_expiry_is_too_large(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take July's points too. What follows it notices: the lots no longer tie."""
    spend_before_the_locks(monkeypatch, ledger, 25)
    bring_up = LotHistory.bring_up
    first: dict[int, Lots] = {}

    def bring_up_once(history: LotHistory, targets: dict[int, int]) -> dict[int, Lots]:
        if not first:
            first.update(bring_up(history, targets))
        return first

    monkeypatch.setattr(LotHistory, "bring_up", bring_up_once)
    with pytest.raises(LotsDoNotTie, match="lots 30, balance 5"):
        expire_due(now=MAY)
    assert not Transfer.objects.filter(code=Code.EXPIRY).exists()


def test_two_sweeps_and_many_spends_at_once_expire_each_lot_once(ledger: Ledger) -> None:
    """Whatever the order: what lapses is May's, less what was spent of it before."""
    for turn in range(4):
        works: list[Callable[[], object]] = [
            partial(_spend, ledger, name, random.Random(turn * 10 + number).randint(1, 5))
            for number, name in enumerate(("ann", "ben", "cid", "ann", "ben", "cid"))
        ]
        works += [partial(expire_due, now=MAY), partial(expire_due, now=MAY)]
        told = at_once(works)
        assert not [each for each in told if isinstance(each, BaseException)]
    assert verify() == []
    for name in ("ann", "ben", "cid"):
        _replay(ledger.ids[name])
        [lot] = points.expiring(ledger.ids[name])
        balance = Account.objects.get(pk=ledger.ids[name]).balance
        assert lot == (JULY, balance)


def _spend(ledger: Ledger, name: str, amount: int) -> None:
    done([ledger.transfer(name, "redeemed", amount, Code.REDEMPTION)], MAY)


def _replay(account_id: int) -> None:
    """Go through an account's debits in order: each expiry is all that is left of May's lot."""
    may = july = 30
    for debit in Transfer.objects.filter(debit_account_id=account_id).order_by("id"):
        if debit.code == Code.EXPIRY:
            assert debit.amount == may
        of_may = min(debit.amount, may)
        may -= of_may
        july -= debit.amount - of_may
    assert may == 0
    assert july == Account.objects.get(pk=account_id).balance


def test_grants_at_once_pay_a_debt_once(ledger: Ledger) -> None:
    assert _raced_grants(ledger) == (60 + 3 * 40 - 90, 0)


def test_control_without_the_lock_a_debt_is_paid_again_and_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlocked = door.LOCK_ACCOUNTS.replace("FOR NO KEY UPDATE", "")
    assert unlocked != door.LOCK_ACCOUNTS
    monkeypatch.setattr(door, "LOCK_ACCOUNTS", unlocked)
    _raced_grants(ledger)
    repaid = Transfer.objects.filter(code=Code.REPAYMENT).values_list("amount", flat=True)
    assert sum(repaid) > 90


def _raced_grants(ledger: Ledger) -> tuple[int, int]:
    """Ann owes 90 of a grant she spent; three grants of 40 come at the same time."""
    granted = give(ledger, "ann", 90, "06-01")
    done([ledger.transfer("ann", "redeemed", 90, Code.REDEMPTION)])
    Account.objects.filter(pk=ledger.ids["ann"]).update(held=60)
    back = points.clawback(granted, actor=None, reason="refunded", now=day("04-03"))
    assert back == points.Clawback(taken=0, owed=90)
    Account.objects.filter(pk=ledger.ids["ann"]).update(held=0)
    write = door.write_to

    def slow_write(*arguments: Any) -> None:
        time.sleep(0.05)
        write(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(door, "write_to", slow_write)
        grants = [
            points.Grant(
                reference=f"raced {number}", owner_id=ledger.owners["ann"],
                asset_id=ledger.asset.pk, amount=40,
            )
            for number in range(3)
        ]  # fmt: skip
        at_once([partial(points.grant, [grant], now=day("04-04")) for grant in grants])
    debt = Account.objects.get(kind_id="owed", owner_id=ledger.owners["ann"])
    return Account.objects.get(pk=ledger.ids["ann"]).balance, debt.balance


def test_a_grant_asked_for_many_times_at_once_is_given_once(ledger: Ledger) -> None:
    asked = points.Grant(
        reference="same", owner_id=ledger.owners["ann"], asset_id=ledger.asset.pk, amount=40
    )
    told = at_once([partial(points.grant, [asked], now=day("04-04")) for _ in range(6)])
    results = [each[0] for each in told if isinstance(each, list)]
    assert len(results) == 6, told
    assert {result.refusal for result in results} == {Refusal.CREATED}
    assert len({result.transfer_id for result in results}) == 1
    assert Account.objects.get(pk=ledger.ids["ann"]).balance == 100
