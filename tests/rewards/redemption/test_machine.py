"""Random days at the till against the plain model: states, reasons and every cent agree."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from edge.problems import Refusal
from rewards.bulk import changing
from rewards.models import Redemption, VoucherCode
from rewards.redemption import actions, expiry
from rewards.redemption.rules import State
from rewards.redemption.verifying import verify_money
from tests.rewards.redemption.conftest import NOW, Till, make_till
from tests.rewards.redemption.plain import DAY, Code, Plain

END = "2026-06-02T12:00:00Z"
CODES = {"AAAA-1": "TENOFF", "AAAA-2": "TENOFF", "CCCC-1": "CARD", "WELCOME": "TENOFF"}
_runs = count()
AMOUNTS = st.one_of(st.none(), st.sampled_from([1, 700, 1_000, 2_500, 5_000, 5_001]))
SECONDS = st.sampled_from([None, 60, 3_600, DAY])


class Days(RuleBasedStateMachine):
    """One till, and the model beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.open = ExitStack()
        self.open.enter_context(transaction.atomic())
        self.open.callback(transaction.set_rollback, True)

    @initialize()
    def set_up(self) -> None:
        self.till: Till = make_till("TENOFF", "CARD")
        self.till.given("TENOFF", "AAAA-1", "AAAA-2", expires_at=END)
        self.till.given("CARD", "CCCC-1", expires_at=END)
        self.till.generic("TENOFF", "WELCOME", 3, each=2)
        self.plain = Plain(
            {
                "AAAA-1": Code("TENOFF", DAY, 1),
                "AAAA-2": Code("TENOFF", DAY, 1),
                "CCCC-1": Code("CARD", DAY, 5_000),
                "WELCOME": Code("TENOFF", 10**9, 3, person_limit=2),
            }
        )
        self.made: list[int] = []

    def teardown(self) -> None:
        self.open.close()

    @property
    def now(self) -> Any:
        return NOW + timedelta(seconds=self.plain.now)

    def told(self, deed: Any, *args: Any, **named: Any) -> str:
        """What we answer: the state, or why not; and a refusal changes nothing."""
        try:
            outcome = deed(*args, now=self.now, **named)
        except Refusal as refusal:
            return refusal.code
        if outcome.redemption.pk not in self.made:
            self.made.append(outcome.redemption.pk)
        return State(outcome.redemption.state).name.lower()

    @rule(
        name=st.sampled_from(list(CODES)), amount=AMOUNTS, order=AMOUNTS,
        person=st.sampled_from([None, "ann", "ben"]), seconds=SECONDS,
    )  # fmt: skip
    def use(
        self, name: str, amount: int | None, order: int | None, person: str | None,
        seconds: int | None,
    ) -> None:  # fmt: skip
        before = Redemption.objects.count()
        said = self.told(
            self.till.use, name, key=uuid4(), amount_minor=amount, order_minor=order,
            customer=getattr(self.till, person) if person else None, reserve_s=seconds,
        )  # fmt: skip
        expected = self.plain.use(name, amount=amount, order=order, person=person, seconds=seconds)
        assert said == expected
        assert Redemption.objects.count() - before == (expected in ("confirmed", "reserved"))

    @precondition(lambda self: self.plain.uses)
    @rule(which=st.integers(0, 99), amount=AMOUNTS)
    def confirm(self, which: int, amount: int | None) -> None:
        at = which % len(self.plain.uses)
        said = self.told(actions.confirm, self.made[at], partner=self.till.shop,
                         actor=self.till.clerk, amount_minor=amount)  # fmt: skip
        assert said == self.plain.confirm(self.plain.uses[at], amount)

    @precondition(lambda self: self.plain.uses)
    @rule(which=st.integers(0, 99))
    def roll_back(self, which: int) -> None:
        at = which % len(self.plain.uses)
        said = self.told(actions.roll_back, self.made[at], partner=self.till.shop,
                         actor=self.till.clerk)  # fmt: skip
        assert said == self.plain.roll_back(self.plain.uses[at])

    @precondition(lambda self: self.plain.uses)
    @rule(which=st.integers(0, 99))
    def reverse(self, which: int) -> None:
        at = which % len(self.plain.uses)
        said = self.told(actions.reverse, self.made[at], partner=self.till.shop,
                         actor=self.till.clerk, reason="random")  # fmt: skip
        assert said == self.plain.reverse(self.plain.uses[at])

    @rule(seconds=st.sampled_from([1, 60, 3_600, DAY // 2, DAY]))
    def wait(self, seconds: int) -> None:
        self.plain.now += seconds

    @rule()
    def lapse(self) -> None:
        expiry.lapse_reservations(self.now)
        self.plain.lapse()

    @rule()
    def break_expired(self) -> None:
        while expiry.break_expired(self.now):
            pass
        self.plain.break_expired()

    @rule(name=st.sampled_from(["AAAA-1", "CCCC-1"]))
    def deactivate(self, name: str) -> None:
        series = self.till.series[CODES[name]]
        code = VoucherCode.objects.filter(series=series).order_by("pk")[0]
        try:
            changing.deactivate_code(code.pk, actor=self.till.clerk, reason="random", now=self.now)
            said = True
        except changing.CodeInUse:
            said = False
        assert said == self.plain.deactivate(name)

    @invariant()
    def every_cent_agrees(self) -> None:
        if not hasattr(self, "plain"):
            return
        till, plain = self.till, self.plain
        assert till.euros("settlement") == plain.settlement
        assert till.euros("breakage") == plain.breakage
        # Two vouchers and three uses of ten euros, and a card of fifty.
        assert till.euros("voucher_cost") == plain.cost_back - 10_000
        owed = till.euros("voucher_liability") + till.euros("gift_balance")
        assert owed == 10_000 - plain.settlement - plain.breakage - plain.cost_back
        for series in till.series.values():
            assert verify_money(series) == []

    @invariant()
    def states_agree(self) -> None:
        if not hasattr(self, "plain"):
            return
        ours = [State(each.state).name.lower() for each in Redemption.objects.order_by("pk")]
        for state, use in zip(ours, self.plain.uses, strict=True):
            self.settled(state, use)

    def settled(self, state: str, use: Any) -> None:
        """A reservation whose time is over may not have been noticed yet, here or there."""
        is_due = use.until <= self.plain.now
        same = state == use.state or (is_due and {state, use.state} == {"reserved", "lapsed"})
        assert same, (state, use)


@pytest.mark.django_db
@pytest.mark.timeout(900)
def test_random_days_agree_with_the_plain_model() -> None:
    run_state_machine_as_test(
        Days,
        settings=settings(
            max_examples=30,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
