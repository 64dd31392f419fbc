"""Two things happen to one revealed code at once. Every race comes with its control."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection

from edge.problems import Refusal
from rewards.disputes import actions, guarantees
from rewards.models import Cover, Dispute, Voucher
from rewards.redemption import standing
from rewards.verifying import verify
from tests.rewards.disputes.conftest import (
    AFTER_ANSWER,
    AFTER_WINDOW,
    EVIDENCE,
    REFUND,
    Court,
    later,
    make_court,
)

pytestmark = pytest.mark.django_db(transaction=True)
Deed = Callable[[], Any]


@pytest.fixture
def court(transactional_db: None) -> Court:
    return make_court()


def outcome(deed: Deed) -> str:
    """What became of a deed in a thread of its own: `done`, a refusal's code, an error's name."""
    try:
        return "done" if deed() is not False else "nothing"
    except Refusal as refusal:
        return refusal.code
    except Exception as error:
        return type(error).__name__
    finally:
        connection.close()


def at_once(*deeds: Deed) -> list[str]:
    """Do all of it at the same moment."""
    start = threading.Barrier(len(deeds))

    def one(deed: Deed) -> str:
        start.wait()
        return outcome(deed)

    with ThreadPoolExecutor(len(deeds)) as pool:
        return list(pool.map(one, deeds))


def one_behind_another(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, first: Deed, second: Deed
) -> list[str]:
    """Begin the second deed while the first stands before `where.name`, and wait for both."""
    entered, go_on = threading.Event(), threading.Event()
    real, main = getattr(where, name), threading.local()

    def slow(*args: Any, **kwargs: Any) -> Any:
        if getattr(main, "is_first", False):
            entered.set()
            go_on.wait(10)
        return real(*args, **kwargs)

    def as_first() -> Any:
        main.is_first = True
        return first()

    monkeypatch.setattr(where, name, slow)
    with ThreadPoolExecutor(2) as pool:
        ahead = pool.submit(outcome, as_first)
        assert entered.wait(10)
        behind = pool.submit(outcome, second)
        threading.Timer(0.4, go_on.set).start()
        return [ahead.result(), behind.result()]


# -- two disputes of one code ----------------------------------------------------------------


def two_disputes(court: Court) -> Counter[str]:
    found = court.reveal()
    return Counter(at_once(*[lambda: court.dispute(found)] * 4))


def test_a_code_is_disputed_once(court: Court) -> None:
    assert two_disputes(court) == {"done": 1, "already_disputed": 3}
    assert court.secured == (10 * REFUND, REFUND)
    court.check()


def one_wish_four_times(court: Court, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """One dispute asked for four times at once, when nobody has found an earlier one."""
    found, request = court.reveal(), uuid4()
    text, meeting = actions._text, threading.Barrier(4)

    def met(words: str) -> str:
        meeting.wait(10)
        return text(words)

    monkeypatch.setattr(actions, "_text", met)
    return Counter(at_once(*[lambda: court.dispute(found, request=request)] * 4))


def test_same_request_at_once_brings_one_dispute(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert one_wish_four_times(court, monkeypatch) == {"done": 4}
    assert Dispute.objects.count() == 1


def test_control_without_a_second_look_it_is_disputed_already(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "Refusal", IntegrityError)
    assert one_wish_four_times(court, monkeypatch) == {"done": 1, "already_disputed": 3}


def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "locked_cover", lambda pk: Cover.objects.get(pk=pk))
    monkeypatch.setattr(actions, "ONE_PERSON", "SELECT %s")
    real = standing.lock_voucher

    def unlocked(code_id: int) -> Any:
        found = Voucher.objects.filter(pk=code_id).first()
        return found or real(code_id)

    monkeypatch.setattr(actions, "lock_voucher", unlocked)


def test_control_without_locks_the_tables_must_stop_it(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = court.reveal()
    Voucher.objects.create(code_id=found.code_id)
    without_locks(monkeypatch)
    seen = one_behind_another(
        monkeypatch, actions, "record_of", lambda: court.dispute(found),
        lambda: court.dispute(found),
    )  # fmt: skip
    assert sorted(seen) == ["IntegrityError", "done"]
    court.check()


# -- a dispute when its window ends ----------------------------------------------------------


def dispute_while_released(court: Court, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found = court.reveal()
    return one_behind_another(
        monkeypatch, guarantees, "_post_back",
        lambda: guarantees.release_due(later(AFTER_WINDOW)), lambda: court.dispute(found),
    )  # fmt: skip


def test_a_dispute_behind_the_end_of_its_window_is_refused(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dispute_while_released(court, monkeypatch) == ["done", "claim_window_over"]
    assert court.secured == (9 * REFUND, 0)
    court.check()


def test_control_without_locks_it_runs_into_the_trigger(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_locks(monkeypatch)
    first, second = dispute_while_released(court, monkeypatch)
    assert first == "done"
    assert second not in ("done", "claim_window_over")


def test_the_end_of_a_window_passes_by_a_code_that_is_being_disputed(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = court.reveal()
    seen = one_behind_another(
        monkeypatch, actions, "record_of", lambda: court.dispute(found),
        lambda: guarantees.release_due(later(AFTER_WINDOW)) or False,
    )  # fmt: skip
    assert seen == ["done", "nothing"]
    assert court.secured == (10 * REFUND, REFUND)
    court.check()


# -- the issuer's answer when its time ends --------------------------------------------------


def test_an_answer_and_its_deadline_end_a_dispute_once(court: Court) -> None:
    made = court.dispute(court.reveal())
    seen = at_once(
        lambda: actions.answer(made.pk, issuer=court.iris, accepts=True),
        lambda: actions.end_silences(later(AFTER_ANSWER)) == 1,
        lambda: actions.withdraw(made.pk, holder=court.ann),
    )
    assert seen.count("done") == 1
    assert Dispute.objects.get().ended_at is not None
    assert court.money(court.ann) + court.money(court.iris) == REFUND
    court.check()


def test_two_decisions_pay_once(court: Court) -> None:
    made = court.dispute(court.reveal())
    actions.answer(made.pk, issuer=court.iris, accepts=False, words=EVIDENCE)
    seen = at_once(
        lambda: actions.decide(made.pk, actor=court.sue, refunds=True, reason="refund"),
        lambda: actions.decide(made.pk, actor=court.tom, refunds=False, reason="reject"),
    )
    assert sorted(seen) == ["dispute_moved_on", "done"]
    assert court.money(court.ann) + court.money(court.iris) == REFUND
    court.check()


def test_the_series_verifies_and_says_what_is_missing(court: Court) -> None:
    court.dispute(court.reveal())
    assert verify(court.world.drink) == []
    Cover.objects.update(state=Cover.State.OPEN)
    [fault] = verify(court.world.drink)
    assert "frozen" in fault
