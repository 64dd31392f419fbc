"""A code in vain: the money behind it, who gets it in the end, and who may not ask."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import InternalError, transaction
from django.db.utils import IntegrityError

from edge.models import AuditEvent
from edge.problems import Refusal
from live.models import OutboxEvent
from rewards.actions import SeriesTerms, create_series
from rewards.disputes import actions, guarantees
from rewards.disputes.problems import (
    AnotherMustAgree,
    CodesStillLeft,
    DisputeMovedOn,
    DisputeRefused,
    DisputeUnknown,
    EvidenceMissing,
    GuaranteeClosed,
    GuaranteeFixed,
    GuaranteeNotCovered,
    OwnDispute,
)
from rewards.disputes.rules import Fault
from rewards.models import Dispute, Guarantee, Voucher, VoucherCode
from rewards.redemption.rules import Use
from rewards.revealing import RevealUnknown, reveal
from tests.rewards.conftest import everything
from tests.rewards.disputes.conftest import (
    AFTER_ANSWER,
    AFTER_WINDOW,
    EVIDENCE,
    REFUND,
    Court,
    fund,
    later,
    make_court,
    settle,
)

pytestmark = pytest.mark.django_db


def refused(code: str, deed: object, *args: object, **kwargs: object) -> None:
    before = everything()
    with pytest.raises(Refusal) as caught:
        deed(*args, **kwargs)  # type: ignore[operator]
    assert caught.value.code == code
    assert everything() == before


# -- the money from the beginning --------------------------------------------------------------


def test_codes_come_in_with_their_issuers_money_behind_them(court: Court) -> None:
    assert court.secured == (10 * REFUND, 0)
    assert court.money(court.iris) == 0
    court.check()


def test_an_issuer_without_enough_money_issues_nothing(court: Court) -> None:
    with pytest.raises(GuaranteeNotCovered) as caught:
        court.world.offer("code\nLATE-0001\n", owner=court.ann)
    assert caught.value.members == {"needed": REFUND, "available": 0, "asset": "EUR"}
    assert (court.secured, VoucherCode.objects.count()) == ((10 * REFUND, 0), 10)


def test_withdrawn_codes_give_the_money_back(court: Court) -> None:
    from rewards.actions import withdraw
    from rewards.models import CodeImport

    court.reveal()
    withdraw(CodeImport.objects.get().pk, actor=court.world.marla, reason="a wrong file")
    assert court.money(court.iris) == 9 * REFUND
    court.check()


def test_an_undisputed_code_frees_the_money_when_its_window_closes(court: Court) -> None:
    court.reveal()
    assert settle(later(10)) == 0
    assert settle(later(AFTER_WINDOW)) == 1
    assert settle(later(AFTER_WINDOW)) == 0
    assert (court.money(court.iris), court.secured) == (REFUND, (9 * REFUND, 0))
    court.check()


def test_a_guarantee_is_given_once_and_before_the_codes(court: Court) -> None:
    terms = {"issuer": court.iris, "asset_code": "EUR", "refund_minor": 1, "window_s": 60,
             "answer_s": 60, "actor": None}  # fmt: skip
    with pytest.raises(GuaranteeFixed):
        guarantees.give_guarantee("DRINK", **terms)  # type: ignore[arg-type]
    with pytest.raises((InternalError, IntegrityError)), transaction.atomic():
        Guarantee.objects.update(refund_minor=1)


def test_a_guarantee_ends_after_the_last_code_that_can_be_given(court: Court) -> None:
    with pytest.raises(CodesStillLeft):
        guarantees.close_guarantee("DRINK", actor=None)
    court.reveal()
    VoucherCode.objects.filter(state=0).update(expires_at=later(-5))
    assert guarantees.close_guarantee("DRINK", actor=None) == 9 * REFUND
    assert court.secured == (REFUND, 0)
    court.check()
    with pytest.raises(GuaranteeClosed):
        court.world.offer("code,expires_at\nLATE-0001,2036-01-01\n", owner=court.ann)


# -- a dispute and its ends --------------------------------------------------------------------


def test_a_dispute_freezes_the_money_and_the_code(court: Court) -> None:
    found = court.reveal()
    made = court.dispute(found)
    assert (made.state, court.state(found)) == (Dispute.State.ASKED, "disputed")
    assert court.secured == (10 * REFUND, REFUND)
    assert Voucher.objects.get(pk=found.code_id).use == Use.DEACTIVATED
    assert settle(later(AFTER_WINDOW)) == 0
    court.check()


def test_issuer_who_agrees_refunds_the_holder(court: Court) -> None:
    made = court.dispute(court.reveal())
    actions.answer(made.pk, issuer=court.iris, accepts=True)
    assert (court.money(court.ann), court.secured) == (REFUND, (9 * REFUND, 0))
    court.check()


def test_issuer_who_says_nothing_loses(court: Court) -> None:
    made = court.dispute(court.reveal())
    assert actions.end_silences(later(10)) == 0
    assert actions.end_silences(later(AFTER_ANSWER)) == 1
    assert actions.end_silences(later(AFTER_ANSWER)) == 0
    made.refresh_from_db()
    assert (made.state, made.end) == (Dispute.State.REFUNDED, "silence")
    assert court.money(court.ann) == REFUND
    court.check()


def test_an_answer_after_its_time_is_no_answer(court: Court) -> None:
    made = court.dispute(court.reveal())
    with pytest.raises(DisputeMovedOn):
        actions.answer(
            made.pk, issuer=court.iris, accepts=False, words=EVIDENCE, now=later(AFTER_ANSWER)
        )
    assert actions.end_silences(later(AFTER_ANSWER)) == 1


def test_a_contested_dispute_waits_for_support_for_ever(court: Court) -> None:
    made = court.dispute(court.reveal())
    actions.answer(made.pk, issuer=court.iris, accepts=False, words=EVIDENCE)
    assert actions.end_silences(later(AFTER_ANSWER)) == 0
    assert court.secured == (10 * REFUND, REFUND)


def test_a_rejected_dispute_gives_the_issuer_the_money_and_the_holder_the_code(
    court: Court,
) -> None:
    found = court.reveal()
    made = court.dispute(found)
    actions.answer(made.pk, issuer=court.iris, accepts=False, words=EVIDENCE)
    actions.decide(made.pk, actor=court.sue, refunds=False, reason="it works")
    assert (court.money(court.ann), court.money(court.iris)) == (0, REFUND)
    assert Voucher.objects.get(pk=found.code_id).use == Use.FREE
    court.check()


def test_a_holder_may_withdraw(court: Court) -> None:
    made = court.dispute(court.reveal())
    actions.withdraw(made.pk, holder=court.ann)
    assert (court.money(court.ann), court.money(court.iris)) == (0, REFUND)
    with pytest.raises(DisputeMovedOn):
        actions.withdraw(made.pk, holder=court.ann)
    court.check()


def test_above_the_limit_two_people_decide(db: None) -> None:
    court = make_court(two_people_over=100)
    made = court.dispute(court.reveal())
    actions.answer(made.pk, issuer=court.iris, accepts=False, words=EVIDENCE)
    proposed = actions.decide(made.pk, actor=court.sue, refunds=True, reason="seen it")
    assert (proposed.state, court.money(court.ann)) == (Dispute.State.CONTESTED, 0)
    with pytest.raises(AnotherMustAgree):
        actions.decide(made.pk, actor=court.sue, refunds=True, reason="again")
    # Another word than the proposal is a new proposal.
    actions.decide(made.pk, actor=court.tom, refunds=False, reason="not so")
    assert court.money(court.ann) == 0
    ended = actions.decide(made.pk, actor=court.sue, refunds=False, reason="agreed")
    assert (ended.state, ended.decided_by, ended.proposed_by) == (
        Dispute.State.REJECTED, court.sue, court.tom,
    )  # fmt: skip
    court.check()


def test_nobody_decides_on_their_own_money(court: Court) -> None:
    made = court.dispute(court.reveal())
    actions.answer(made.pk, issuer=court.iris, accepts=False, words=EVIDENCE)
    for person in (court.ann, court.iris):
        with pytest.raises(OwnDispute):
            actions.decide(made.pk, actor=person, refunds=True, reason="mine")
    for stranger in (court.ann, court.sue):
        with pytest.raises(DisputeUnknown):
            actions.answer(made.pk, issuer=stranger, accepts=True)
    with pytest.raises(DisputeUnknown):
        actions.withdraw(made.pk, holder=court.iris)


# -- what is refused ---------------------------------------------------------------------------


def test_the_same_request_is_one_dispute(court: Court) -> None:
    found, request = court.reveal(), uuid4()
    wish = {"reveal_id": found.pk, "holder": court.ann, "problem": Dispute.Problem.USED,
            "evidence": EVIDENCE, "request": request}  # fmt: skip
    first = actions.open_dispute(**wish)  # type: ignore[arg-type]
    again = actions.open_dispute(**wish)  # type: ignore[arg-type]
    assert (again.is_replay, again.dispute.pk) == (True, first.dispute.pk)
    refused("idempotency_key_reused", actions.open_dispute, **wish | {"evidence": EVIDENCE[::-1]})
    refused("already_disputed", court.dispute, found)


def test_a_settled_code_cannot_be_disputed(court: Court) -> None:
    found = court.reveal()
    refused("claim_window_over", court.dispute, found, now=later(AFTER_WINDOW))
    settle(later(AFTER_WINDOW))
    refused("claim_window_over", court.dispute, found)


def test_anothers_code_cannot_be_disputed(court: Court) -> None:
    with pytest.raises(RevealUnknown):
        court.dispute(court.reveal(), court.world.ben)


def test_a_series_without_a_guarantee_has_no_disputes(court: Court) -> None:
    create_series(SeriesTerms(code="PLAIN", title="Plain", issuer_name="Nobody"), actor=None)
    assert court.world.offer("code\nPLAIN-1\n", owner=court.ann, series_code="PLAIN").is_clean
    found = reveal(series_code="PLAIN", owner=court.ann, request=uuid4()).reveal
    refused("no_guarantee", court.dispute, found)


@pytest.mark.parametrize("use", [Use.USED, Use.RESERVED, Use.DEACTIVATED])
def test_a_used_code_cannot_be_disputed(court: Court, use: Use) -> None:
    found = court.reveal()
    Voucher.objects.create(
        code_id=found.code_id, use=use, reserved_until=later(60) if use == Use.RESERVED else None
    )
    refused("code_was_used", court.dispute, found)


def test_evidence_is_needed(court: Court) -> None:
    found = court.reveal()
    for words in ("", "   ", "broken", "x" * 2_001, "ten letters \x00"):
        with pytest.raises(EvidenceMissing):
            actions.open_dispute(
                reveal_id=found.pk, holder=court.ann, problem=Dispute.Problem.OTHER,
                evidence=words, request=uuid4(),
            )  # fmt: skip


def test_a_person_has_three_open_disputes_at_most(court: Court) -> None:
    for _ in range(3):
        court.dispute(court.reveal())
    refused("too_many_open_disputes", court.dispute, court.reveal())


def test_a_person_has_five_disputes_a_day_at_most(court: Court) -> None:
    for _ in range(5):
        actions.withdraw(court.dispute(court.reveal()).pk, holder=court.ann)
    refused("too_many_disputes_today", court.dispute, court.reveal())


def test_who_lost_three_disputes_is_suspended(court: Court) -> None:
    for _ in range(3):
        made = court.dispute(court.reveal())
        actions.answer(made.pk, issuer=court.iris, accepts=False, words=EVIDENCE)
        actions.decide(made.pk, actor=court.sue, refunds=False, reason="it works")
    refused("disputes_suspended", court.dispute, court.reveal())


def test_a_decided_dispute_never_changes(court: Court) -> None:
    made = court.dispute(court.reveal())
    actions.answer(made.pk, issuer=court.iris, accepts=True)
    with pytest.raises((InternalError, IntegrityError)), transaction.atomic():
        Dispute.objects.update(state=Dispute.State.ASKED)


# -- the trail ---------------------------------------------------------------------------------


def test_every_step_is_audited_and_told(court: Court) -> None:
    made = court.dispute(court.reveal())
    actions.answer(made.pk, issuer=court.iris, accepts=False, words=EVIDENCE)
    actions.decide(made.pk, actor=court.sue, refunds=True, reason="the till's log shows it")
    trail = AuditEvent.objects.filter(object_type="dispute").order_by("pk")
    assert list(trail.values_list("action", "actor_id")) == [
        ("rewards.open_dispute", court.ann.pk),
        ("rewards.contest_dispute", court.iris.pk),
        ("rewards.refund_dispute", court.sue.pk),
    ]
    payloads = [bytes(row.payload) for row in OutboxEvent.objects.order_by("pk")]
    assert sum(b'"open_dispute"' in row for row in payloads) == 1
    assert sum(b'"refund_dispute"' in row for row in payloads) == 1
    assert not any(b"CODE-0" in row for row in payloads)


def test_more_codes_need_more_money(court: Court) -> None:
    fund(court.iris, 2 * REFUND)
    court.world.offer("code,expires_at\nMORE-1,2036-01-01\nMORE-2,2036-01-01\n", owner=court.ann)
    assert (court.secured, court.money(court.iris)) == ((12 * REFUND, 0), 0)
    court.check()


def test_a_refused_dispute_is_a_problem_with_a_status() -> None:
    statuses = {fault.value: DisputeRefused(fault).status for fault in Fault}
    assert statuses["no_guarantee"] == 404
    assert statuses["too_many_open_disputes"] == 429
    assert statuses["already_disputed"] == 409
