"""The money behind codes against a plain model: random days of an issuer, a fan and support."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.problems import Refusal
from rewards.disputes import actions, guarantees
from rewards.disputes.rules import MOST_A_DAY, MOST_OPEN, NEXT, State, Step, after
from rewards.models import Dispute, Reveal
from tests.rewards.disputes.conftest import (
    ANSWER_S,
    EVIDENCE,
    REFUND,
    WINDOW_S,
    Court,
    fund,
    make_court,
)

pytestmark = pytest.mark.django_db
DEEDS = ["reveal", "dispute", "accept", "contest", "refund", "reject", "withdraw", "pass",
         "settle", "silence", "issue"]  # fmt: skip


def test_ends_are_ends() -> None:
    for state in (State.REFUNDED, State.REJECTED, State.WITHDRAWN):
        assert all(after(state, step) is None for step in Step)
    assert {state for state, _ in NEXT} == {State.ASKED, State.CONTESTED}


class Model:
    """Where each cent should be: counted, never read."""

    def __init__(self, codes: int) -> None:
        self.issuer = self.holder = 0
        self.codes = codes
        self.covers: dict[int, str] = {}
        self.closes: dict[int, float] = {}
        self.answer_by: dict[int, float] = {}
        self.now = 0.0
        self.opened = 0

    @property
    def secured(self) -> tuple[int, int]:
        states = Counter(self.covers.values())
        frozen = states["asked"] + states["contested"]
        return REFUND * (self.codes + states["open"] + frozen), REFUND * frozen

    def end(self, key: int, *, is_refund: bool) -> None:
        self.covers[key] = "refunded" if is_refund else "released"
        if is_refund:
            self.holder += REFUND
        else:
            self.issuer += REFUND


def pick(model: Model, *states: str) -> int | None:
    return next((key for key, state in model.covers.items() if state in states), None)


class Days:
    """The same deeds done to the platform and to the model."""

    def __init__(self, court: Court) -> None:
        self.court, self.model, self.start = court, Model(10), timezone.now()
        self.reveals: dict[int, Reveal] = {}
        self.disputes: dict[int, Dispute] = {}

    def now(self) -> object:
        return self.start + timedelta(seconds=self.model.now)

    def do(self, deed: str) -> None:
        getattr(self, f"do_{deed}")()
        model, court = self.model, self.court
        assert court.secured == model.secured
        assert (court.money(court.ann), court.money(court.iris)) == (model.holder, model.issuer)

    def do_reveal(self) -> None:
        if self.model.codes:
            found = self.court.reveal(at=self.now())  # type: ignore[arg-type]
            self.reveals[found.pk] = found
            self.model.codes -= 1
            self.model.covers[found.pk] = "open"
            self.model.closes[found.pk] = self.model.now + WINDOW_S

    def do_dispute(self) -> None:
        model = self.model
        key = pick(model, "open")
        if key is None:
            return
        waiting = sum(state in ("asked", "contested") for state in model.covers.values())
        may = (
            model.closes[key] > model.now and waiting < MOST_OPEN and model.opened < MOST_A_DAY
            and self.rejected() < 3
        )  # fmt: skip
        try:
            made = self.court.dispute(self.reveals[key], now=self.now())  # type: ignore[arg-type]
        except Refusal:
            assert not may
            return
        assert may
        self.disputes[key] = made
        model.covers[key], model.opened = "asked", model.opened + 1
        model.answer_by[key] = model.now + ANSWER_S

    def rejected(self) -> int:
        return Dispute.objects.filter(state=Dispute.State.REJECTED).count()

    def do_accept(self) -> None:
        self._answer(accepts=True)

    def do_contest(self) -> None:
        self._answer(accepts=False)

    def _answer(self, *, accepts: bool) -> None:
        key = pick(self.model, "asked")
        if key is None or self.model.answer_by[key] <= self.model.now:
            return
        actions.answer(
            self.disputes[key].pk, issuer=self.court.iris, accepts=accepts, words=EVIDENCE,
            now=self.now(),  # type: ignore[arg-type]
        )  # fmt: skip
        if accepts:
            self.model.end(key, is_refund=True)
        else:
            self.model.covers[key] = "contested"

    def do_refund(self) -> None:
        self._decide(refunds=True)

    def do_reject(self) -> None:
        self._decide(refunds=False)

    def _decide(self, *, refunds: bool) -> None:
        if (key := pick(self.model, "contested")) is not None:
            actions.decide(
                self.disputes[key].pk, actor=self.court.sue, refunds=refunds, reason="so it is",
                now=self.now(),  # type: ignore[arg-type]
            )  # fmt: skip
            self.model.end(key, is_refund=refunds)

    def do_withdraw(self) -> None:
        if (key := pick(self.model, "asked", "contested")) is not None:
            actions.withdraw(self.disputes[key].pk, holder=self.court.ann, now=self.now())  # type: ignore[arg-type]
            self.model.end(key, is_refund=False)

    def do_pass(self) -> None:
        self.model.now += 1_000

    def do_settle(self) -> None:
        due = [
            key for key, state in self.model.covers.items()
            if state == "open" and self.model.closes[key] <= self.model.now
        ]  # fmt: skip
        assert guarantees.release_due(self.now()) == len(due)  # type: ignore[arg-type]
        for key in due:
            self.model.end(key, is_refund=False)

    def do_silence(self) -> None:
        due = [
            key for key, state in self.model.covers.items()
            if state == "asked" and self.model.answer_by[key] <= self.model.now
        ]  # fmt: skip
        assert actions.end_silences(self.now()) == len(due)  # type: ignore[arg-type]
        for key in due:
            self.model.end(key, is_refund=True)

    def do_issue(self) -> None:
        if self.model.issuer < REFUND:
            return
        name = f"MORE-{len(self.reveals)}-{self.model.codes}-{self.model.now}-{self.model.issuer}"
        self.court.world.offer(f"code,expires_at\n{name},2036-01-01\n", owner=self.court.ann)
        self.model.issuer -= REFUND
        self.model.codes += 1


@given(deeds=st.lists(st.sampled_from(DEEDS), min_size=5, max_size=30))
@settings(
    max_examples=15, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
def test_every_cent_is_where_the_model_says(deeds: list[str]) -> None:
    with transaction.atomic():
        days = Days(make_court())
        for deed in ("reveal", "dispute", *deeds):
            days.do(deed)
        days.court.check()
        transaction.set_rollback(True)


def test_a_long_story_ends_with_everybody_paid(db: None) -> None:
    court = make_court(codes=4)
    for accepts in (True, False):
        made = court.dispute(court.reveal())
        actions.answer(made.pk, issuer=court.iris, accepts=accepts, words=EVIDENCE)
    for _ in range(2):
        court.reveal()
    later = timezone.now() + timedelta(days=1)
    assert guarantees.release_due(later) == 2
    actions.decide(made.pk, actor=court.sue, refunds=False, reason="it works")
    assert court.secured == (0, 0)
    assert (court.money(court.ann), court.money(court.iris)) == (REFUND, 3 * REFUND)
    fund(court.iris, 1)
    court.check()
