"""Freezing, closing and limits: what each deed stops, and that it leaves a trace."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.db import connection, transaction

from edge.models import AuditEvent
from edge.problems import Refusal
from tests.walletapi.conftest import World, money
from wallet import freezing, items
from wallet.actions import post
from wallet.items import Status
from wallet.models import Account, AccountKind, Code

pytestmark = pytest.mark.django_db


def transfer(world: World, reference: str, amount: int = 10) -> items.Transfer:
    return items.Transfer(
        reference=reference,
        asset_id=world.euro.pk,
        debit_account_id=world.wallet(world.ann).pk,
        credit_account_id=world.wallet(world.ben).pk,
        amount=amount,
        code=Code.PAYMENT,
    )


def refused(code: str, deed: Any, *args: Any, **kwargs: Any) -> Refusal:
    """The deed is refused with this code, moves nothing and leaves no audit row."""
    before = (money(), AuditEvent.objects.count(), list(Account.objects.values()))
    with pytest.raises(Refusal) as caught:
        deed(*args, **kwargs)
    assert caught.value.code == code
    assert before == (money(), AuditEvent.objects.count(), list(Account.objects.values()))
    return caught.value


def test_frozen_account_takes_money_but_pays_none(world: World) -> None:
    wallet = world.wallet(world.ann)
    freezing.freeze(wallet.pk, actor=world.clara, reason="stolen card", ip="10.0.0.9")
    [result] = post([transfer(world, "a")])
    assert result.refusal is items.Refusal.DEBIT_ACCOUNT_FROZEN
    world.give(world.ann, 5)
    assert world.wallet(world.ann).balance == 1005
    event = AuditEvent.objects.get()
    assert (event.actor_name, event.action, event.object_id) == (
        "clara@example.com", "wallet.freeze", str(wallet.pk),
    )  # fmt: skip
    assert (event.reason, event.before, event.after, event.ip) == (
        "stolen card", {"status": 0}, {"status": 1}, "10.0.0.9",
    )  # fmt: skip


def test_unfrozen_account_pays_again(world: World) -> None:
    wallet = world.wallet(world.ann)
    freezing.freeze(wallet.pk, actor=world.clara, reason="x")
    freezing.unfreeze(wallet.pk, actor=world.clara, reason="owner called")
    [result] = post([transfer(world, "a")])
    assert result.is_created


def test_hold_still_posts_after_freeze(world: World) -> None:
    hold_id = world.hold(world.ann, 300)
    freezing.freeze(world.wallet(world.ann).pk, actor=world.clara, reason="x")
    to = world.wallet(world.ben).pk
    [result] = post(
        [items.Post(reference="p", hold_id=hold_id, code=Code.PAYMENT, credit_account_id=to)]
    )
    assert result.is_created
    assert world.wallet(world.ben).balance == 300


def test_deed_that_does_not_fit_the_condition_is_refused(world: World) -> None:
    wallet_id = world.wallet(world.ann).pk
    refused("account_status_differs", freezing.unfreeze, wallet_id, actor=world.clara, reason="x")
    freezing.freeze(wallet_id, actor=world.clara, reason="x")
    refused("account_status_differs", freezing.freeze, wallet_id, actor=world.clara, reason="x")


def test_unknown_account_is_refused(world: World) -> None:
    for deed in (freezing.freeze, freezing.unfreeze, freezing.close):
        refused("account_unknown", deed, 987654321, actor=world.clara, reason="x")


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 501, "a\x00b"])
def test_deed_without_a_reason_is_refused(world: World, reason: str) -> None:
    wallet_id = world.wallet(world.ann).pk
    for deed in (freezing.freeze, freezing.close):
        refused("reason_required", deed, wallet_id, actor=world.clara, reason=reason)


def test_account_with_money_held_or_promised_is_not_closed(world: World) -> None:
    error = refused(
        "account_not_empty",
        freezing.close,
        world.wallet(world.ann).pk,
        actor=world.clara,
        reason="left us",
    )
    assert error.members == {"balance": 1000, "held": 0, "incoming": 0}


def test_closed_account_takes_part_in_nothing(world: World) -> None:
    wallet = world.wallet(world.ben)
    freezing.close(wallet.pk, actor=world.clara, reason="left us")
    assert world.wallet(world.ben).status == Status.CLOSED
    [result] = post([transfer(world, "a")])
    assert result.refusal is items.Refusal.CREDIT_ACCOUNT_CLOSED
    for deed in (freezing.freeze, freezing.unfreeze, freezing.close):
        refused("account_status_differs", deed, wallet.pk, actor=world.clara, reason="x")


def test_limits_hold_from_now_on(world: World) -> None:
    wallet = world.wallet(world.ann)
    freezing.change_limits(
        wallet.pk, floor=100, ceiling=2000, largest_debit=500, actor=world.clara, reason="risk"
    )
    assert post([transfer(world, "a", 501)])[0].refusal is items.Refusal.AMOUNT_EXCEEDS_LIMIT
    assert post([transfer(world, "b", 500)])[0].is_created
    assert post([transfer(world, "c", 401)])[0].refusal is items.Refusal.INSUFFICIENT_FUNDS
    event = AuditEvent.objects.get()
    assert event.before == {"floor": 0, "ceiling": None, "largest_debit": None}
    assert event.after == {"floor": 100, "ceiling": 2000, "largest_debit": 500}


@pytest.mark.parametrize(
    ("floor", "ceiling", "largest_debit"),
    [
        (1001, None, None),
        (0, 999, None),
        (10, 9, None),
        (0, None, 0),
        (0, None, -5),
        (-(2**62) - 1, None, None),
        (0, 2**62 + 1, None),
    ],
)
def test_limits_that_cannot_be_are_refused(
    world: World, floor: int, ceiling: int | None, largest_debit: int | None
) -> None:
    refused(
        "limit_invalid",
        freezing.change_limits,
        world.wallet(world.ann).pk,
        floor=floor,
        ceiling=ceiling,
        largest_debit=largest_debit,
        actor=world.clara,
        reason="x",
    )


def test_kind_limits_are_for_accounts_opened_later(world: World) -> None:
    freezing.change_kind_limits(
        "wallet", floor=0, ceiling=700, largest_debit=None, actor=world.clara, reason="licence"
    )
    assert world.wallet(world.ann).ceiling is None
    assert world.wallet(world.dora).ceiling == 700
    assert AccountKind.objects.get(pk="wallet").ceiling == 700
    event = AuditEvent.objects.get()
    assert (event.action, event.object_id) == ("wallet.change_kind_limits", "wallet")


def test_kind_limits_an_empty_account_would_break_are_refused(world: World) -> None:
    for floor, ceiling in ((1, None), (None, -1)):
        refused(
            "limit_invalid",
            freezing.change_kind_limits,
            "wallet",
            floor=floor,
            ceiling=ceiling,
            largest_debit=None,
            actor=world.clara,
            reason="x",
        )


@pytest.mark.django_db(transaction=True)
def test_close_waits_for_a_payment_on_its_way(world: World) -> None:
    """Ben's account is being paid into while finance closes it: the close sees the money."""
    outcome: list[object] = []

    def close() -> None:
        try:
            freezing.close(ben.pk, actor=world.clara, reason="x")
        except Refusal as error:
            outcome.append(error.code)
        finally:
            connection.close()

    ben = world.wallet(world.ben)
    with transaction.atomic():
        post([transfer(world, "a")])
        closing = threading.Thread(target=close)
        closing.start()
        time.sleep(0.2)
        assert not outcome
    closing.join(10)
    assert outcome == ["account_not_empty"]
    assert world.wallet(world.ben).status == Status.OPEN


@pytest.mark.django_db(transaction=True)
def test_close_without_the_lock_would_strand_money(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: read without the lock, the close runs into PostgreSQL's last check."""
    monkeypatch.setattr(freezing, "locked", lambda pk: Account.objects.get(pk=pk))
    outcome: list[str] = []

    def close() -> None:
        try:
            freezing.close(ben.pk, actor=world.clara, reason="x")
        except Exception as error:
            outcome.append(type(error).__name__)
        finally:
            connection.close()

    ben = world.wallet(world.ben)
    with transaction.atomic():
        post([transfer(world, "a")])
        closing = threading.Thread(target=close)
        closing.start()
        time.sleep(0.3)
    closing.join(10)
    assert outcome == ["IntegrityError"]
