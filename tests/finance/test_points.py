"""Points that are granted, paid on, lapse and are taken back."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from django.db import connection

from edge.models import AuditEvent
from tests.finance.ledgers import Ledger, day, done
from wallet import expiry, items, points
from wallet.actions import post
from wallet.expiry import Sweep, expire_due
from wallet.freezing import ReasonMissing
from wallet.items import Refusal, Status
from wallet.lot_upkeep import fold_all, rebuild, verify
from wallet.models import Account, Code, Transfer
from wallet.problems import LedgerRefusal

MAY, JUNE, JULY = day("05-01"), day("06-01"), day("07-01")


@pytest.fixture
def ledger(transactional_db: None) -> Ledger:
    made = Ledger("PTS", expires=True)
    made.open("ann", "ben", "cid")
    return made


def give(
    ledger: Ledger, name: str, amount: int, expires_at: datetime | None, at: str = "03-01"
) -> int:
    [result] = points.grant([grant_of(ledger, name, amount, expires_at)], now=day(at))
    assert result.is_created, result
    return result.transfer_id


def grant_of(
    ledger: Ledger, name: str, amount: int, expires_at: datetime | None = None, reference: str = ""
) -> points.Grant:
    return points.Grant(
        reference=reference or f"grant {ledger.transfer('ann', 'ben', 1).reference}",
        owner_id=ledger.owners[name],
        asset_id=ledger.asset.pk,
        amount=amount,
        expires_at=expires_at,
    )


def lots(ledger: Ledger, name: str) -> list[tuple[str, int]]:
    return [(f"{part.expires_at:%m-%d}", part.amount) for part in points.expiring(ledger.ids[name])]


def balance(ledger: Ledger, name: str) -> int:
    return Account.objects.get(pk=ledger.ids[name]).balance


def all_that_moved(ledger: Ledger) -> tuple[object, ...]:
    accounts = Account.objects.order_by("pk").values_list("pk", "balance", "held", "entry_count")
    return (list(accounts), Transfer.objects.count(), AuditEvent.objects.count())


# -- what is left ------------------------------------------------------------------------------


def test_spending_takes_what_lapses_soonest(ledger: Ledger) -> None:
    give(ledger, "ann", 30, JULY)
    give(ledger, "ann", 10, MAY)
    give(ledger, "ann", 5, None)
    ledger.move("ann", "redeemed", 15, Code.REDEMPTION)
    assert lots(ledger, "ann") == [("07-01", 25)]
    assert balance(ledger, "ann") == 30


def test_points_keep_their_expiry_from_hand_to_hand(ledger: Ledger) -> None:
    give(ledger, "ann", 30, MAY)
    give(ledger, "ann", 30, JULY)
    ledger.move("ann", "ben", 40)
    ledger.move("ben", "cid", 35)
    ledger.move("cid", "ann", 2)
    assert lots(ledger, "ann") == [("05-01", 2), ("07-01", 20)]
    assert lots(ledger, "ben") == [("07-01", 5)]
    assert lots(ledger, "cid") == [("05-01", 28), ("07-01", 5)]


def test_points_paid_out_of_a_hold_keep_their_expiry(ledger: Ledger) -> None:
    """The shape of a trade: an order's hold without a receiver, filled in two parts."""
    give(ledger, "ann", 30, MAY)
    hold = items.Hold(
        reference="order", asset_id=ledger.asset.pk, debit_account_id=ledger.ids["ann"],
        credit_account_id=None, amount=25, code=Code.ORDER_HOLD,
    )  # fmt: skip
    [held] = done([hold])
    for name, amount in (("ben", 10), ("cid", 15)):
        done(
            [
                items.Post(
                    reference=f"fill {name}", hold_id=held.transfer_id, code=Code.TRADE_PRICE,
                    amount=amount, credit_account_id=ledger.ids[name], rest_is_kept=True,
                )
            ]
        )  # fmt: skip
    assert lots(ledger, "ann") == [("05-01", 5)]
    assert lots(ledger, "ben") == [("05-01", 10)]
    assert lots(ledger, "cid") == [("05-01", 15)]


def test_a_reversed_redemption_gives_the_same_lots_back(ledger: Ledger) -> None:
    give(ledger, "ann", 10, MAY)
    give(ledger, "ann", 10, JUNE)
    spent = ledger.move("ann", "redeemed", 15, Code.REDEMPTION)
    assert lots(ledger, "ann") == [("06-01", 5)]
    fold_all()
    ledger.move("redeemed", "ann", 15, Code.REVERSAL, reverses_id=spent)
    assert lots(ledger, "ann") == [("05-01", 10), ("06-01", 10)]


def test_a_reversed_payment_gives_both_their_lots_back(ledger: Ledger) -> None:
    give(ledger, "ann", 10, JUNE)
    give(ledger, "ben", 10, MAY)
    paid = ledger.move("ann", "ben", 6)
    ledger.move("ben", "ann", 6, Code.REVERSAL, reverses_id=paid)
    assert lots(ledger, "ann") == [("06-01", 10)]
    assert lots(ledger, "ben") == [("05-01", 10)]


def test_long_chains_of_payments_are_followed_in_rounds(ledger: Ledger) -> None:
    """Each of forty people is paid by the one before; the last is asked first."""
    names = [f"p{number}" for number in range(40)]
    ledger.open(*names)
    give(ledger, "p0", 100, MAY)
    for payer, paid in pairwise(names):
        ledger.move(payer, paid, 100)
    assert lots(ledger, "p39") == [("05-01", 100)]
    assert lots(ledger, "p0") == []


def test_people_who_trade_with_each_other_for_long_are_followed(ledger: Ledger) -> None:
    give(ledger, "ann", 100, MAY)
    give(ledger, "ben", 100, JULY)
    for _ in range(150):
        ledger.move("ann", "ben", 7)
        ledger.move("ben", "ann", 7)
    assert lots(ledger, "ann") == [("05-01", 100)]
    assert lots(ledger, "ben") == [("07-01", 100)]


def test_an_asset_that_does_not_expire_has_no_lots(transactional_db: None) -> None:
    money = Ledger("EUR")
    money.open("ann", "ben")
    money.move("issuance", "ann", 10, expires_at=MAY)
    assert points.expiring(money.ids["ann"]) == []
    with pytest.raises(points.ExpiryNotKept):
        points.grant([grant_of(money, "ann", 1, MAY)])


# -- the sweep ---------------------------------------------------------------------------------


def test_what_is_left_of_a_lapsed_lot_becomes_breakage(ledger: Ledger) -> None:
    give(ledger, "ann", 30, MAY)
    give(ledger, "ann", 8, JULY)
    ledger.move("ann", "redeemed", 12, Code.REDEMPTION)
    assert expire_due(now=MAY - timedelta(seconds=1)) == Sweep()
    assert expire_due(now=MAY) == Sweep(account_count=1, expiry_count=1, amount=18)
    assert balance(ledger, "ann") == 8
    assert balance(ledger, "breakage") == 18
    assert lots(ledger, "ann") == [("07-01", 8)]
    posted = Transfer.objects.get(code=Code.EXPIRY)
    assert posted.effective_at == MAY


def test_a_sweep_that_runs_again_moves_nothing(ledger: Ledger) -> None:
    give(ledger, "ann", 30, MAY)
    expire_due(now=MAY)
    assert expire_due(now=JUNE) == Sweep()
    assert balance(ledger, "breakage") == 30


def test_lots_lapse_wherever_they_went(ledger: Ledger) -> None:
    """Nobody ever derived Ben's and Cid's lots before: the sweep finds them by itself."""
    give(ledger, "cid", 1, JULY)
    give(ledger, "ann", 30, MAY)
    ledger.move("ann", "ben", 30)
    ledger.move("ben", "cid", 20)
    swept = expire_due(now=MAY)
    assert (swept.expiry_count, swept.amount) == (2, 30)
    assert [balance(ledger, name) for name in ("ann", "ben", "cid")] == [0, 0, 1]


def test_lots_that_went_backwards_through_the_accounts_lapse_too(ledger: Ledger) -> None:
    give(ledger, "cid", 30, MAY)
    ledger.move("cid", "ben", 30)
    ledger.move("ben", "ann", 30)
    assert expire_due(now=MAY).amount == 30
    assert balance(ledger, "ann") == 0


def test_two_lots_lapse_each_on_its_own_date(ledger: Ledger) -> None:
    give(ledger, "ann", 3, MAY)
    give(ledger, "ann", 4, JUNE)
    assert expire_due(now=JULY) == Sweep(account_count=1, expiry_count=2, amount=7)
    expiries = Transfer.objects.filter(code=Code.EXPIRY).order_by("id")
    assert [(e.amount, e.effective_at) for e in expiries] == [(3, MAY), (4, JUNE)]


def test_points_on_hold_lapse_when_they_are_released(ledger: Ledger) -> None:
    give(ledger, "ann", 30, MAY)
    hold = items.Hold(
        reference="hold", asset_id=ledger.asset.pk, debit_account_id=ledger.ids["ann"],
        credit_account_id=None, amount=20, code=Code.HOLD,
    )  # fmt: skip
    [held] = done([hold])
    assert expire_due(now=MAY) == Sweep(1, 1, 10, waiting_count=1)
    assert expire_due(now=MAY) == Sweep(1, 0, 0, waiting_count=1)
    done([items.Void(reference="void", hold_id=held.transfer_id, code=Code.RELEASE)], MAY)
    assert expire_due(now=MAY) == Sweep(1, 1, 20)
    assert balance(ledger, "ann") == 0


def test_a_frozen_wallet_waits(ledger: Ledger) -> None:
    give(ledger, "ann", 30, MAY)
    Account.objects.filter(pk=ledger.ids["ann"]).update(status=Status.FROZEN)
    assert expire_due(now=MAY) == Sweep(1, 0, 0, waiting_count=1)
    assert balance(ledger, "ann") == 30
    Account.objects.filter(pk=ledger.ids["ann"]).update(status=Status.OPEN)
    assert expire_due(now=MAY).amount == 30


def test_an_expiry_keeps_to_the_wallets_limit_and_goes_on_next_time(ledger: Ledger) -> None:
    give(ledger, "ann", 30, MAY)
    give(ledger, "ann", 5, JUNE)
    Account.objects.filter(pk=ledger.ids["ann"]).update(largest_debit=20)
    assert expire_due(now=JULY) == Sweep(1, 1, 20, waiting_count=1)
    assert expire_due(now=JULY) == Sweep(1, 2, 15)
    assert balance(ledger, "ann") == 0


def test_a_limited_sweep_does_so_many_accounts_and_the_next_one_the_rest(ledger: Ledger) -> None:
    for name in ("ann", "ben", "cid"):
        give(ledger, name, 10, MAY)
    assert expire_due(now=MAY, limit=2) == Sweep(2, 2, 20)
    assert expire_due(now=MAY, limit=2) == Sweep(1, 1, 10)


def test_points_that_came_in_lapsed_are_found_by_the_next_sweep(ledger: Ledger) -> None:
    """Held when they lapsed, paid out of the hold later: the receiver's lot is a lapsed one."""
    give(ledger, "ann", 30, MAY)
    hold = items.Hold(
        reference="hold", asset_id=ledger.asset.pk, debit_account_id=ledger.ids["ann"],
        credit_account_id=None, amount=30, code=Code.ORDER_HOLD,
    )  # fmt: skip
    [held] = done([hold])
    expire_due(now=JUNE)
    pay = items.Post(
        reference="fill", hold_id=held.transfer_id, code=Code.TRADE_PRICE,
        credit_account_id=ledger.ids["ben"],
    )  # fmt: skip
    done([pay], JUNE)
    assert lots(ledger, "ben") == [("05-01", 30)]
    assert expire_due(now=JULY).amount == 30
    assert balance(ledger, "ben") == 0


def test_a_sweep_under_way_in_a_transaction_is_a_bug(db: None) -> None:
    with pytest.raises(AssertionError):
        expire_due()


# -- what is remembered ------------------------------------------------------------------------


def busy(ledger: Ledger) -> dict[str, list[tuple[str, int]]]:
    give(ledger, "ann", 50, MAY)
    give(ledger, "ben", 50, JULY)
    ledger.move("ann", "ben", 20)
    ledger.move("ben", "cid", 60)
    ledger.move("cid", "redeemed", 5, Code.REDEMPTION)
    return {name: lots(ledger, name) for name in ("ann", "ben", "cid")}


def test_rebuilt_lots_are_the_same(ledger: Ledger) -> None:
    before = busy(ledger)
    assert fold_all() == 3
    assert fold_all() == 0
    assert verify() == []
    assert rebuild() == 3
    assert {name: lots(ledger, name) for name in before} == before
    assert verify() == []


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE wallet_lot_position SET undated = undated + 10, lots = '[]' WHERE lots <> '[]'",
        "DELETE FROM wallet_lot_move",
        "UPDATE wallet_lot_move SET expires_at = expires_at + interval '1 day'",
    ],
)
def test_damage_to_what_is_remembered_is_found_and_mended(ledger: Ledger, damage: str) -> None:
    before = busy(ledger)
    fold_all()
    with connection.cursor() as cursor:
        cursor.execute(damage)
    assert ledger.ids["ann"] in verify()
    rebuild()
    assert verify() == []
    assert {name: lots(ledger, name) for name in before} == before


def test_an_entry_is_read_once_however_often_it_is_asked_for(ledger: Ledger) -> None:
    busy(ledger)
    fold_all()
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(xmin::text::bigint) FROM wallet_lot_position")
        before = cursor.fetchone()
        assert lots(ledger, "ann") == [("05-01", 30)]
        fold_all()
        cursor.execute("SELECT sum(xmin::text::bigint) FROM wallet_lot_position")
        assert cursor.fetchone() == before


# -- grants and clawbacks ----------------------------------------------------------------------


def test_a_grant_happens_once_and_says_so_again(ledger: Ledger) -> None:
    asked = grant_of(ledger, "ann", 10, MAY, reference="once")
    [first] = points.grant([asked], now=day("03-01"))
    [second] = points.grant([asked], now=day("03-02"))
    assert (second.transfer_id, second.is_replay) == (first.transfer_id, True)
    other = grant_of(ledger, "ann", 11, MAY, reference="once")
    [refused] = points.grant([other], now=day("03-02"))
    assert refused.refusal is Refusal.REFERENCE_REUSED
    assert balance(ledger, "ann") == 10


def test_grants_are_answered_one_by_one(ledger: Ledger) -> None:
    asked = [
        grant_of(ledger, "ann", 10),
        grant_of(ledger, "ben", 0),
        grant_of(ledger, "cid", 5, day("01-01")),
        points.Grant(
            reference="from budget", owner_id=ledger.owners["cid"], asset_id=ledger.asset.pk,
            amount=5, source_id=ledger.ids["budget"],
        ),
    ]  # fmt: skip
    results = points.grant(asked, now=day("03-01"))
    assert [result.refusal for result in results] == [
        Refusal.CREATED,
        Refusal.AMOUNT_NOT_POSITIVE,
        Refusal.EXPIRY_IN_PAST,
        Refusal.INSUFFICIENT_FUNDS,
    ]
    assert [balance(ledger, name) for name in ("ann", "ben", "cid")] == [10, 0, 0]


def owed(ledger: Ledger, name: str) -> int:
    return Account.objects.get(kind_id="owed", owner_id=ledger.owners[name]).balance


def test_a_grant_that_is_still_there_is_taken_back_whole(ledger: Ledger) -> None:
    give(ledger, "ann", 50, MAY)
    granted = give(ledger, "ann", 30, JULY)
    back = points.clawback(granted, actor=None, reason="fraud", now=day("04-02"))
    assert (back.taken, back.owed) == (30, 0)
    assert lots(ledger, "ann") == [("05-01", 50)]
    [event] = AuditEvent.objects.filter(action="wallet.clawback")
    assert (event.reason, event.after) == ("fraud", {"taken": 30, "owed": 0})


def test_a_grant_that_was_spent_becomes_a_debt_that_later_grants_pay(ledger: Ledger) -> None:
    granted = give(ledger, "ann", 100, MAY)
    ledger.move("ann", "redeemed", 70, Code.REDEMPTION)
    back = points.clawback(granted, actor=None, reason="refunded", now=day("04-02"))
    assert (back.taken, back.owed) == (30, 70)
    assert (balance(ledger, "ann"), owed(ledger, "ann")) == (0, -70)
    give(ledger, "ann", 50, JUNE, at="04-03")
    assert (balance(ledger, "ann"), owed(ledger, "ann")) == (0, -20)
    give(ledger, "ann", 50, JUNE, at="04-04")
    assert (balance(ledger, "ann"), owed(ledger, "ann")) == (30, 0)
    assert lots(ledger, "ann") == [("06-01", 30)]
    repaid = Transfer.objects.filter(code=Code.REPAYMENT).values_list("amount", flat=True)
    assert sorted(repaid) == [20, 50]


def test_several_grants_at_once_pay_a_debt_once(ledger: Ledger) -> None:
    granted = give(ledger, "ann", 100, MAY)
    ledger.move("ann", "redeemed", 100, Code.REDEMPTION)
    points.clawback(granted, actor=None, reason="refunded", now=day("04-02"))
    points.grant([grant_of(ledger, "ann", 80), grant_of(ledger, "ann", 80)], now=day("04-03"))
    assert (balance(ledger, "ann"), owed(ledger, "ann")) == (60, 0)


def test_part_of_a_grant_can_be_taken_back(ledger: Ledger) -> None:
    granted = give(ledger, "ann", 30, MAY)
    points.clawback(granted, actor=None, reason="half", amount=15, now=day("04-02"))
    assert lots(ledger, "ann") == [("05-01", 15)]


def test_what_is_on_hold_is_not_taken_back_but_owed(ledger: Ledger) -> None:
    granted = give(ledger, "ann", 30, MAY)
    hold = items.Hold(
        reference="hold", asset_id=ledger.asset.pk, debit_account_id=ledger.ids["ann"],
        credit_account_id=None, amount=20, code=Code.HOLD,
    )  # fmt: skip
    done([hold])
    back = points.clawback(granted, actor=None, reason="fraud", now=day("04-02"))
    assert (back.taken, back.owed) == (10, 20)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"transfer_id": 0}, points.GrantUnknown),
        ({"reason": " "}, ReasonMissing),
        ({"amount": 31}, LedgerRefusal),
        ({"amount": 0}, LedgerRefusal),
    ],
)
def test_a_clawback_that_makes_no_sense_moves_nothing(
    ledger: Ledger, changes: dict[str, object], refusal: type[Exception]
) -> None:
    granted = give(ledger, "ann", 30, MAY)
    before = all_that_moved(ledger)
    asked = {"transfer_id": granted, "actor": None, "reason": "fraud", "now": day("04-02")}
    with pytest.raises(refusal):
        points.clawback(**{**asked, **changes})  # type: ignore[arg-type]
    ledger_now = all_that_moved(ledger)
    assert ledger_now[1:] == before[1:]


def test_a_payment_is_no_grant(ledger: Ledger) -> None:
    give(ledger, "ann", 30, MAY)
    paid = ledger.move("ann", "ben", 10)
    with pytest.raises(points.GrantUnknown):
        points.clawback(paid, actor=None, reason="fraud")


def test_a_grant_is_taken_back_once_and_not_reversed_too(ledger: Ledger) -> None:
    granted = give(ledger, "ann", 30, MAY)
    points.clawback(granted, actor=None, reason="fraud", now=day("04-02"))
    before = all_that_moved(ledger)
    with pytest.raises(points.GrantTakenBack):
        points.clawback(granted, actor=None, reason="fraud", now=day("04-03"))
    [reversal] = post(
        [
            ledger.transfer(
                "ann", "issuance", 30, Code.REVERSAL,
                reference=f"reversal:{granted}", reverses_id=granted,
            )
        ]
    )  # fmt: skip
    assert reversal.refusal is Refusal.REFERENCE_REUSED
    assert all_that_moved(ledger) == before


def test_a_frozen_wallet_gives_nothing_back(ledger: Ledger) -> None:
    granted = give(ledger, "ann", 30, MAY)
    Account.objects.filter(pk=ledger.ids["ann"]).update(status=Status.FROZEN)
    with pytest.raises(LedgerRefusal) as refused:
        points.clawback(granted, actor=None, reason="fraud", now=day("04-02"))
    assert refused.value.code == "debit_account_frozen"
    assert balance(ledger, "ann") == 30
    assert owed(ledger, "ann") == 0


def test_a_sweep_that_is_stopped_has_done_what_it_did_and_the_next_one_goes_on(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "ACCOUNTS_AT_ONCE", 1)
    for name in ("ann", "ben", "cid"):
        give(ledger, name, 10, MAY)

    def stop(sweep: Sweep) -> None:
        if sweep.account_count == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        expire_due(now=MAY, on_progress=stop)
    assert balance(ledger, "breakage") == 20
    assert expire_due(now=MAY) == Sweep(1, 1, 10)
    assert verify() == []
