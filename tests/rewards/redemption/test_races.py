"""Many tills at once. Every race comes with its control: the guard taken away, and it fails."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from edge.problems import Refusal
from rewards import units
from rewards.models import Redemption, Voucher, VoucherCode
from rewards.redemption import actions, rules, standing
from rewards.redemption.actions import confirm, roll_back
from rewards.redemption.lookup import find
from rewards.redemption.rules import State
from rewards.redemption.verifying import verify_money
from rewards.revealing import reveal
from tests.rewards.redemption.conftest import NOW, Till, make_till
from wallet.models import Account

pytestmark = pytest.mark.django_db(transaction=True)
TILLS = 12


@pytest.fixture
def till(transactional_db: None) -> Till:
    return make_till()


def at_once(*deeds: Callable[[], object]) -> Counter[str]:
    """Do all at the same moment; how often each ended how."""
    start = threading.Barrier(len(deeds))

    def one(deed: Callable[[], object]) -> str:
        try:
            start.wait()
            deed()
        except Refusal as refusal:
            return refusal.code
        except Exception as error:
            return type(error).__name__
        else:
            return "done"
        finally:
            connection.close()

    with ThreadPoolExecutor(len(deeds)) as pool:
        return Counter(pool.map(one, deeds))


def confirmed() -> int:
    return Redemption.objects.filter(state=State.CONFIRMED).count()


# -- one voucher -----------------------------------------------------------------------------


def test_one_voucher_at_twelve_tills_is_used_once(till: Till) -> None:
    till.given("TENOFF", "AAAA-1")
    ends = at_once(*[partial(till.use, "AAAA-1")] * TILLS)
    assert ends == {"done": 1, "voucher_used": TILLS - 1}
    assert (confirmed(), till.euros("settlement")) == (1, 1_000)
    assert verify_money(till.series["TENOFF"]) == []


@contextmanager
def without_guards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take away the lock of a voucher and the index that keeps its use single."""

    def unlocked(code_id: int) -> Voucher:
        with connection.cursor() as cursor:
            cursor.execute(standing.TOUCH, [code_id])
        return Voucher.objects.get(pk=code_id)

    once = next(c for c in Redemption._meta.constraints if c.name == "rewards_redemption_once")
    with connection.schema_editor() as editor:
        editor.remove_constraint(Redemption, once)
    monkeypatch.setattr(standing, "lock_voucher", unlocked)
    slow_down(monkeypatch)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE rewards_redemption CASCADE")
        with connection.schema_editor() as editor:
            editor.add_constraint(Redemption, once)


def slow_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everybody decide before anybody writes, as a slow machine would."""
    meeting = threading.Barrier(TILLS)

    def decided(facts: rules.Facts, ask: rules.Ask) -> list[rules.Reason]:
        found = faults(facts, ask)
        with_patience(meeting)
        return found

    faults = rules.faults
    monkeypatch.setattr(rules, "faults", decided)


def with_patience(meeting: threading.Barrier) -> None:
    try:
        meeting.wait(2)
    except threading.BrokenBarrierError:
        return


def test_control_without_lock_and_index_a_voucher_is_used_twice(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    till.given("SCARF", "AAAA-1")
    # The first touch of a voucher makes its row, and waits for whoever makes it too.
    Voucher.objects.create(code=VoucherCode.objects.get())
    with without_guards(monkeypatch):
        ends = at_once(*[partial(till.use, "AAAA-1")] * TILLS)
        assert ends["done"] > 1
        assert confirmed() > 1


def test_confirm_and_roll_back_at_once_end_one_way(till: Till) -> None:
    till.given("TENOFF", "AAAA-1")
    made = till.use("AAAA-1", reserve_s=600).redemption
    steps = [
        partial(step, made.pk, partner=till.shop, actor=till.clerk, now=NOW)
        for step in (confirm, roll_back) * 6
    ]
    at_once(*steps)
    made.refresh_from_db()
    settled = till.euros("settlement")
    assert (made.state, settled) in {(State.CONFIRMED, 1_000), (State.ROLLED_BACK, 0)}
    assert verify_money(till.series["TENOFF"]) == []


def test_same_key_at_once_is_one_redemption(till: Till) -> None:
    till.given("CARD", "AAAA-1")
    key = uuid4()
    ends = at_once(*[partial(till.use, "AAAA-1", key=key, amount_minor=100)] * TILLS)
    assert ends == {"done": TILLS}
    assert (confirmed(), till.euros("settlement")) == (1, 100)


def same_key_everywhere(till: Till, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """One wish at twelve tills under one key, when nobody has found an earlier one."""
    till.given("TENOFF", "AAAA-1")
    key, meeting = uuid4(), threading.Barrier(TILLS)

    def found(*args: Any, **kwargs: Any) -> Any:
        meeting.wait(10)
        return find(*args, **kwargs)

    monkeypatch.setattr(actions, "find", found)
    return at_once(*[partial(till.use, "AAAA-1", key=key)] * TILLS)


def test_same_key_at_once_brings_the_redemption_that_used_the_voucher(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert same_key_everywhere(till, monkeypatch) == {"done": TILLS}
    assert (confirmed(), till.euros("settlement")) == (1, 1_000)


def test_control_without_a_second_look_the_others_are_refused(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "Refusal", IntegrityError)
    assert same_key_everywhere(till, monkeypatch) == {"done": 1, "voucher_used": TILLS - 1}


# -- one gift balance --------------------------------------------------------------------------


def test_one_gift_balance_at_twelve_tills_is_spent_once(till: Till) -> None:
    till.given("CARD", "AAAA-1")
    ends = at_once(*[partial(till.use, "AAAA-1", amount_minor=1_000)] * TILLS)
    assert ends == {"done": 5, "balance_too_small": TILLS - 5}
    assert (till.euros("gift_balance"), till.euros("settlement")) == (0, 5_000)
    assert verify_money(till.series["CARD"]) == []


def test_control_without_lock_and_floor_a_gift_balance_is_overspent(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    till.given("CARD", "AAAA-1")
    till.use("AAAA-1", amount_minor=1)
    Account.objects.filter(kind="gift_balance").update(floor=None)
    with without_guards(monkeypatch):
        ends = at_once(*[partial(till.use, "AAAA-1", amount_minor=1_000)] * TILLS)
    assert ends["done"] > 4
    assert till.euros("gift_balance") < 0
    assert till.euros("settlement") > 5_000


# -- the last uses of a generic code -----------------------------------------------------------


def test_last_uses_of_a_generic_code_are_used_once_each(till: Till) -> None:
    till.generic("TENOFF", "WELCOME", 5)
    ends = at_once(*[partial(till.use, "WELCOME")] * TILLS)
    assert ends == {"done": 5, "voucher_used_up": TILLS - 5}
    assert (confirmed(), till.euros("settlement")) == (5, 5_000)
    assert verify_money(till.series["TENOFF"]) == []


def test_control_without_the_floor_a_generic_code_is_used_too_often(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = till.generic("SCARF", "WELCOME", 5)
    left = Account.objects.filter(label=f"generic:{code.pk}")
    left.update(floor=None)
    slow_down(monkeypatch)
    ends = at_once(*[partial(till.use, "WELCOME")] * TILLS)
    assert ends["done"] > 5
    assert left.get().balance < 0


def test_person_uses_a_generic_code_as_often_as_one_may(till: Till) -> None:
    till.generic("TENOFF", "WELCOME", 100, each=2)
    ends = at_once(*[partial(till.use, "WELCOME", customer=till.ann)] * TILLS)
    assert ends == {"done": 2, "person_limit_reached": TILLS - 2}


def test_control_without_the_lock_a_person_uses_it_too_often(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    till.generic("TENOFF", "WELCOME", 100, each=2)
    monkeypatch.setattr(standing, "lock_person", lambda *_: None)
    slow_down(monkeypatch)
    ends = at_once(*[partial(till.use, "WELCOME", customer=till.ann)] * TILLS)
    assert ends["done"] > 2


# -- reveals of one series do not wait for each other --------------------------------------------


def held_up(till: Till) -> bool:
    """Leave one reveal uncommitted and let somebody else reveal meanwhile: had they to wait?"""
    fill(till)
    others: list[str] = []

    def other() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '500ms'")
            reveal(series_code="SCARF", owner=till.ben, request=uuid4(), now=NOW)

    with transaction.atomic():
        reveal(series_code="SCARF", owner=till.ann, request=uuid4(), now=NOW)
        others += at_once(other)
    return others != ["done"]


def fill(till: Till) -> None:
    import io

    from rewards.actions import hand_out
    from rewards.importing import CodeFile, import_codes

    file = CodeFile(io.BytesIO(b"code\nAAAA-1\nAAAA-2\n"), "codes.csv")
    import_codes(series_code="SCARF", file=file, actor=None, now=NOW)
    for owner in (till.ann, till.ben):
        hand_out("SCARF", owner=owner, amount=1, reference=str(owner.pk), actor=None)


def test_reveal_does_not_wait_for_another_of_its_series(till: Till) -> None:
    assert not held_up(till)


def test_control_with_one_stripe_it_waits(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "STRIPES", 1)
    assert held_up(till)


def test_twelve_reversals_give_back_once(till: Till) -> None:
    till.given("CARD", "AAAA-1")
    made = till.use("AAAA-1", amount_minor=700).redemption
    undo = partial(
        actions.reverse, made.pk, partner=till.shop, actor=till.clerk, reason="oops", now=NOW
    )
    assert at_once(*[undo] * TILLS) == {"done": TILLS}
    assert (till.euros("settlement"), till.euros("gift_balance")) == (0, 5_000)
