"""Reversals: asked by one, approved by another, posted as a new transfer, or nothing moves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import QuerySet, Sum

from accounts.roles import Role
from edge.models import AuditEvent
from edge.problems import Refusal
from tests.walletapi.conftest import World, money, person
from wallet import door, items, points, reversals
from wallet.freezing import freeze
from wallet.models import Account, Code, Entry, ReversalRequest, Transfer

pytestmark = pytest.mark.django_db

OPEN, APPROVED, REJECTED = ReversalRequest.State


def refused(code: str, deed: Callable[[], Any]) -> None:
    before = (money(), list(ReversalRequest.objects.values()), AuditEvent.objects.count())
    with pytest.raises(Refusal) as caught:
        deed()
    assert caught.value.code == code
    after = (money(), list(ReversalRequest.objects.values()), AuditEvent.objects.count())
    assert before == after


def paid(world: World, amount: int = 400) -> int:
    """Ann has paid Ben."""
    return world.pay(world.wallet(world.ann), world.wallet(world.ben), amount)


def asked(world: World, transfer_id: int) -> ReversalRequest:
    return reversals.request_reversal(transfer_id, actor=world.clara, reason="sent twice")


def test_approved_reversal_moves_the_money_back(world: World) -> None:
    transfer_id = paid(world)
    request = asked(world, transfer_id)
    assert world.wallet(world.ben).balance == 400
    done = reversals.approve(request.pk, actor=world.dora)
    assert (done.state, done.decided_by_id) == (APPROVED, world.dora.pk)
    assert (world.wallet(world.ann).balance, world.wallet(world.ben).balance) == (1000, 0)
    reversal = Transfer.objects.get(pk=done.reversal_id or 0)
    assert (reversal.code, reversal.reverses_id, reversal.amount, reversal.reference) == (
        Code.REVERSAL, transfer_id, 400, f"reversal:{transfer_id}",
    )  # fmt: skip
    entries = Entry.objects.filter(account_id=world.wallet(world.ben).pk).order_by("transfer_id")
    assert [(e.amount, e.balance_after) for e in entries] == [(400, 400), (-400, 0)]


def test_every_step_is_audited_with_its_reason(world: World) -> None:
    request = asked(world, paid(world))
    reversals.approve(request.pk, actor=world.dora, ip="10.1.1.1")
    events = AuditEvent.objects.filter(object_type="reversal request").order_by("id")
    assert [(e.actor_name, e.action, e.reason, e.ip) for e in events] == [
        ("clara@example.com", "wallet.request_reversal", "sent twice", None),
        ("dora@example.com", "wallet.approve_reversal", "sent twice", "10.1.1.1"),
    ]


def test_who_asks_may_not_decide(world: World) -> None:
    request = asked(world, paid(world))
    needs_another = "reversal_needs_another_person"
    refused(needs_another, lambda: reversals.approve(request.pk, actor=world.clara))
    refused(needs_another, lambda: reversals.reject(request.pk, actor=world.clara, note="no"))


def test_database_refuses_one_pair_of_eyes(world: World) -> None:
    request = asked(world, paid(world))
    with pytest.raises(IntegrityError, match="wallet_reversal_four_eyes"), transaction.atomic():
        ReversalRequest.objects.filter(pk=request.pk).update(
            state=REJECTED, decided_by=world.clara, decided_at=request.requested_at
        )


def test_spent_funds_refuse_the_reversal_and_it_stays_open(world: World) -> None:
    request = asked(world, paid(world))
    world.pay(world.wallet(world.ben), world.wallet(world.dora), 1)
    before = money()
    answer = reversals.approve(request.pk, actor=world.dora)
    assert (answer.state, answer.refusal) == (OPEN, items.Refusal.INSUFFICIENT_FUNDS)
    assert money() == before
    world.give(world.ben, 1)
    answer = reversals.approve(request.pk, actor=world.dora)
    assert (answer.state, answer.refusal) == (APPROVED, None)
    assert world.wallet(world.ann).balance == 1000
    actions = AuditEvent.objects.order_by("id").values_list("action", "reason")
    assert list(actions) == [
        ("wallet.request_reversal", "sent twice"),
        ("wallet.refused_reversal", "insufficient_funds"),
        ("wallet.approve_reversal", "sent twice"),
    ]


def test_frozen_receiver_refuses_the_reversal(world: World) -> None:
    request = asked(world, paid(world))
    freeze(world.wallet(world.ben).pk, actor=world.clara, reason="x")
    answer = reversals.approve(request.pk, actor=world.dora)
    assert answer.refusal is items.Refusal.DEBIT_ACCOUNT_FROZEN


def test_transfer_is_reversed_once(world: World) -> None:
    transfer_id = paid(world)
    request = asked(world, transfer_id)
    refused("reversal_exists", lambda: asked(world, transfer_id))
    reversals.approve(request.pk, actor=world.dora)
    refused("reversal_exists", lambda: asked(world, transfer_id))
    refused("reversal_decided", lambda: reversals.approve(request.pk, actor=world.dora))


def test_reversal_is_not_reversed(world: World) -> None:
    request = reversals.approve(asked(world, paid(world)).pk, actor=world.dora)
    assert request.reversal_id
    refused("transfer_not_reversible", lambda: asked(world, request.reversal_id or 0))


def test_hold_and_unknown_transfer_are_not_reversed(world: World) -> None:
    hold_id = world.hold(world.ann, 10)
    refused("transfer_not_reversible", lambda: asked(world, hold_id))
    refused("transfer_unknown", lambda: asked(world, 12345))
    refused("reversal_unknown", lambda: reversals.approve(12345, actor=world.dora))


def test_grant_taken_back_is_not_reversed_as_well(world: World) -> None:
    [result] = points.grant(
        [points.Grant(reference="g", owner_id=world.ben.pk, asset_id=world.points.pk, amount=50)]
    )
    request = asked(world, result.transfer_id)
    points.clawback(result.transfer_id, actor=world.clara, reason="fraud")
    answer = reversals.approve(request.pk, actor=world.dora)
    assert (answer.state, answer.refusal) == (OPEN, items.Refusal.REFERENCE_REUSED)
    reversals.reject(request.pk, actor=world.dora, note="taken back")
    refused("reversal_exists", lambda: asked(world, result.transfer_id))


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501, "\x00"])
def test_reversal_needs_a_reason(world: World, reason: str) -> None:
    transfer_id = paid(world)
    refused(
        "reason_required",
        lambda: reversals.request_reversal(transfer_id, actor=world.clara, reason=reason),
    )


def test_rejected_reversal_may_be_asked_anew(world: World) -> None:
    transfer_id = paid(world)
    request = asked(world, transfer_id)
    before = money()
    rejected = reversals.reject(request.pk, actor=world.dora, note="customer withdrew")
    assert (rejected.state, rejected.note) == (REJECTED, "customer withdrew")
    assert money() == before
    asked(world, transfer_id)


def test_decided_request_cannot_be_changed_or_deleted(world: World) -> None:
    request = asked(world, paid(world))
    rows = ReversalRequest.objects.filter(pk=request.pk)
    for change in ({"reason": "other"}, {"transfer_id": 1}, {"requested_by": world.dora}):
        with pytest.raises(DatabaseError, match="decided once"), transaction.atomic():
            rows.update(**change)
    reversals.reject(request.pk, actor=world.dora, note="no")
    with pytest.raises(DatabaseError, match="decided once"), transaction.atomic():
        rows.update(note="changed my mind")
    with pytest.raises(DatabaseError, match="decided once"), transaction.atomic():
        rows.delete()


# -- races -------------------------------------------------------------------------------


def at_once(*deeds: Callable[[], Any]) -> list[Any]:
    """Run each deed in a thread of its own; say what came of each, in order."""
    outcomes: list[Any] = [None] * len(deeds)

    def run(index: int) -> None:
        try:
            outcomes[index] = deeds[index]()
        except Exception as error:
            outcomes[index] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(deeds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return outcomes


def meet_before_writing(monkeypatch: pytest.MonkeyPatch, timeout_s: float) -> None:
    """Let nobody write until both have decided, or the time-out shows that they cannot."""
    barrier = threading.Barrier(2)
    write = door.write_to

    def wait_and_write(*args: Any) -> None:
        with suppress(threading.BrokenBarrierError):
            barrier.wait(timeout_s)
        write(*args)

    monkeypatch.setattr(door, "write_to", wait_and_write)


def reversal_against_spend(
    world: World, monkeypatch: pytest.MonkeyPatch, timeout_s: float
) -> tuple[bool, bool]:
    """Ben spends what Ann's payment gave him, while that payment is reversed."""
    request = asked(world, paid(world))
    ben, dora = world.wallet(world.ben), world.wallet(world.dora)
    meet_before_writing(monkeypatch, timeout_s)
    reversed_, spent = at_once(
        lambda: reversals.approve(request.pk, actor=world.dora),
        lambda: world.pay(ben, dora, 400),
    )
    return getattr(reversed_, "state", None) == APPROVED, isinstance(spent, int)


def books_agree() -> bool:
    sums = dict(Entry.objects.values_list("account_id").annotate(Sum("amount")))
    return all(sums.get(a.pk, 0) == a.balance for a in Account.objects.all())


@pytest.mark.django_db(transaction=True)
def test_reversal_or_spend_wins_never_both(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sorted(reversal_against_spend(world, monkeypatch, 0.5)) == [False, True]
    assert world.wallet(world.ben).balance == 0
    assert books_agree()


@pytest.mark.django_db(transaction=True)
def test_reversal_and_spend_both_win_without_the_lock(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: with the row locks taken out, 400 is paid out twice."""
    monkeypatch.setattr(door, "LOCK_ACCOUNTS", door.LOCK_ACCOUNTS.replace("FOR NO KEY UPDATE", ""))
    assert reversal_against_spend(world, monkeypatch, 10) == (True, True)
    assert not books_agree()


@pytest.mark.django_db(transaction=True)
def test_two_approvals_post_one_reversal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = two_approvals(world, monkeypatch, 0.5)
    assert [type(o).__name__ for o in outcomes] == ["RequestDecided", "ReversalRequest"]
    assert world.wallet(world.ann).balance == 1000


@pytest.mark.django_db(transaction=True)
def test_two_approvals_collide_without_the_lock(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: both find the request open, and only the database's trigger stops one."""
    monkeypatch.setattr(QuerySet, "select_for_update", lambda self, **_: self)
    outcomes = two_approvals(world, monkeypatch, 10)
    assert [type(o).__name__ for o in outcomes] == ["IntegrityError", "ReversalRequest"]


def two_approvals(world: World, monkeypatch: pytest.MonkeyPatch, timeout_s: float) -> list[Any]:
    emil = person("emil", Role.FINANCE)
    request = asked(world, paid(world))
    barrier = threading.Barrier(2)
    post_reversal = reversals._post_reversal

    def wait_and_post(*args: Any) -> Any:
        with suppress(threading.BrokenBarrierError):
            barrier.wait(timeout_s)
        return post_reversal(*args)

    monkeypatch.setattr(reversals, "_post_reversal", wait_and_post)
    outcomes = at_once(
        lambda: reversals.approve(request.pk, actor=world.dora),
        lambda: reversals.approve(request.pk, actor=emil),
    )
    return sorted(outcomes, key=lambda outcome: type(outcome).__name__)
