"""What a dispute does to a code that partners redeem with us, and to codes that never go out."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from rewards.actions import SeriesTerms, create_series, hand_out
from rewards.bulk.changing import deactivate_code
from rewards.disputes import actions
from rewards.disputes.guarantees import faults_of, give_guarantee
from rewards.models import Guarantee, Reveal, Voucher, VoucherCode
from rewards.redemption import money
from rewards.redemption.expiry import break_expired
from rewards.redemption.rules import Use
from rewards.redemption.verifying import verify_money
from rewards.revealing import reveal
from tests.rewards.disputes.conftest import EVIDENCE, Court, fund
from wallet.models import Account

pytestmark = pytest.mark.django_db
FACE = 700


@pytest.fixture
def lunch(court: Court) -> Guarantee:
    """A series worth 7 euros that partners redeem with us, with three codes."""
    terms = SeriesTerms(
        code="LUNCH", title="A lunch", issuer_name="Iris", face_value_minor=FACE,
        face_value_currency="EUR", is_redeemed_here=True,
    )  # fmt: skip
    create_series(terms, actor=None)
    made = give_guarantee(
        "LUNCH", issuer=court.iris, asset_code="EUR", refund_minor=500, window_s=3_600,
        answer_s=3_600, actor=None,
    )  # fmt: skip
    fund(court.iris, 1_500)
    rows = "".join(f"LUNCH-{number},2036-01-01\n" for number in range(3))
    assert court.world.offer("code,expires_at\n" + rows, owner=None, series_code="LUNCH").is_clean
    return Guarantee.objects.select_related("series__asset", "asset").get(pk=made.pk)


def lunch_of(court: Court) -> Reveal:
    hand_out("LUNCH", owner=court.ann, amount=1, reference=str(uuid4()), actor=None)
    return reveal(series_code="LUNCH", owner=court.ann, request=uuid4()).reveal


def owed(guarantee: Guarantee) -> tuple[int, int]:
    """What we owe for the series' codes, and what broke."""
    purse = money.purse_of(guarantee.series)
    found = Account.objects.in_bulk([purse.liability, purse.breakage])
    return found[purse.liability].balance, found[purse.breakage].balance


def test_a_refunded_code_is_owed_no_longer(court: Court, lunch: Guarantee) -> None:
    assert owed(lunch) == (3 * FACE, 0)
    found = lunch_of(court)
    actions.answer(court.dispute(found).pk, issuer=court.iris, accepts=True)
    assert owed(lunch) == (2 * FACE, 0)
    assert Voucher.objects.get(pk=found.code_id).use == Use.DEACTIVATED
    assert faults_of(lunch) == []


def test_a_code_that_expired_while_it_was_disputed_becomes_breakage(
    court: Court, lunch: Guarantee
) -> None:
    found = lunch_of(court)
    made = court.dispute(found)
    VoucherCode.objects.filter(pk=found.code_id).update(expires_at=timezone.now())
    actions.answer(made.pk, issuer=court.iris, accepts=False, words=EVIDENCE)
    after = timezone.now() + timedelta(seconds=5)
    actions.decide(made.pk, actor=court.sue, refunds=False, reason="it worked", now=after)
    assert owed(lunch) == (2 * FACE, FACE)
    assert Voucher.objects.get(pk=found.code_id).use == Use.EXPIRED
    assert faults_of(lunch) == []


def test_face_value_of_an_expired_code_breaks_once_however_its_dispute_ends(
    court: Court, lunch: Guarantee
) -> None:
    refunded, withdrawn = lunch_of(court), lunch_of(court)
    expire_and_break(lunch)
    assert owed(lunch) == (0, 3 * FACE)
    actions.answer(court.dispute(refunded).pk, issuer=court.iris, accepts=True)
    actions.withdraw(court.dispute(withdrawn).pk, holder=court.ann)
    assert owed(lunch) == (0, 3 * FACE)
    assert court.money(court.ann) == 500
    assert verify_money(lunch.series) == faults_of(lunch) == []


def test_code_disputed_after_it_expired_breaks_later(court: Court, lunch: Guarantee) -> None:
    found = lunch_of(court)
    VoucherCode.objects.filter(series=lunch.series).update(expires_at=timezone.now())
    made = court.dispute(found)
    actions.answer(made.pk, issuer=court.iris, accepts=True)
    expire_and_break(lunch)
    assert not made.is_voucher_held
    assert owed(lunch) == (0, 3 * FACE)
    assert verify_money(lunch.series) == []


def expire_and_break(guarantee: Guarantee) -> None:
    """Let all codes expire a day and more ago, and post their breakage."""
    codes = VoucherCode.objects.filter(series=guarantee.series)
    codes.update(expires_at=timezone.now() - timedelta(hours=25))
    while break_expired():
        pass


def test_a_code_taken_out_of_use_gives_the_issuer_the_money_back(
    court: Court, lunch: Guarantee
) -> None:
    before = court.money(court.iris)
    code = VoucherCode.objects.filter(series=lunch.series, state=0).earliest("pk")
    deactivate_code(code.pk, actor=court.world.marla, reason="a misprint")
    assert court.money(court.iris) == before + 500
    assert faults_of(lunch) == []
