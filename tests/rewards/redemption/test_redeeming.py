"""What happens at the till, case by case: what moves, and what is refused and why."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from edge.idempotency_keys import KeyReused
from edge.models import AuditEvent
from edge.problems import Refusal
from live.models import OutboxEvent
from rewards.actions import set_closed, withdraw
from rewards.models import GenericCode, Partner, Series, Voucher
from rewards.redemption import actions, generics
from rewards.redemption.actions import Wish, confirm, qualify, redeem, reverse, roll_back
from rewards.redemption.expiry import break_expired, lapse_reservations
from rewards.redemption.problems import GenericInvalid
from rewards.redemption.rules import LONGEST_RESERVATION, Reason, State, Use
from rewards.redemption.verifying import verify_money
from tests.rewards.conftest import World
from tests.rewards.redemption.conftest import LATER, NOW, Till, everything
from wallet.holds import expire_holds


def refused(till: Till, code: str, **asked: object) -> str:
    """Redeem, be refused, and see that nothing moved; the refusal's code."""
    before = everything()
    with pytest.raises(Refusal) as refusal:
        till.use(code, **asked)  # type: ignore[arg-type]
    assert everything() == before
    return refusal.value.code


def test_amount_moves_from_liability_to_the_partner(till: Till) -> None:
    till.given("TENOFF", "AAAA-1", "AAAA-2")
    assert (till.euros("voucher_liability"), till.euros("voucher_cost")) == (2_000, -2_000)
    made = till.use("AAAA-1").redemption
    assert (made.state, made.value_minor, made.rest_minor) == (State.CONFIRMED, 1_000, 0)
    assert (till.euros("voucher_liability"), till.euros("settlement")) == (1_000, 1_000)
    assert refused(till, "AAAA-1") == "voucher_used"
    assert verify_money(till.series["TENOFF"]) == []


def test_generic_code_of_a_series_that_was_closed_and_opened_again_is_used(till: Till) -> None:
    till.generic("TENOFF", "WELCOME10", 5)
    set_closed("TENOFF", True, actor=None, reason="the season is over")
    till.use("WELCOME10")
    set_closed("TENOFF", False, actor=None, reason="one more match")
    till.use("WELCOME10")
    assert Series.objects.get(pk=till.series["TENOFF"].pk).state == Series.State.ISSUED
    assert till.euros("settlement") == 2_000


def test_amount_beyond_the_order_is_breakage(till: Till) -> None:
    till.given("TENOFF", "AAAA-1")
    assert till.use("AAAA-1", order_minor=700).redemption.value_minor == 700
    assert (till.euros("settlement"), till.euros("breakage")) == (700, 300)


def test_percentage_is_of_the_order_rounded_down_and_capped(till: Till) -> None:
    till.given("FIFTH", "AAAA-1", "AAAA-2")
    assert till.use("AAAA-1", order_minor=999).redemption.value_minor == 199
    assert till.use("AAAA-2", order_minor=1_000_000).redemption.value_minor == 500
    # What a percentage did not take never cost anything: 199 and 500 remain of 1,000.
    assert (till.euros("settlement"), till.euros("voucher_cost")) == (699, -699)


def test_item_is_counted_and_moves_no_money(till: Till) -> None:
    till.given("SCARF", "AAAA-1")
    assert till.use("AAAA-1").redemption.value_minor == 0
    assert till.euros("settlement") == 0


def test_gift_balance_is_spent_in_parts(till: Till) -> None:
    till.given("CARD", "AAAA-1")
    till.use("AAAA-1", amount_minor=1_999)
    till.use("AAAA-1", order_minor=2_000)
    assert refused(till, "AAAA-1", amount_minor=1_002) == "balance_too_small"
    assert till.use("AAAA-1", order_minor=9_000).redemption.value_minor == 1_001
    assert refused(till, "AAAA-1", order_minor=1) == "balance_too_small"
    assert (till.euros("settlement"), till.euros("gift_balance")) == (5_000, 0)
    assert verify_money(till.series["CARD"]) == []


def test_reservation_keeps_others_off_until_it_is_rolled_back(till: Till) -> None:
    till.given("TENOFF", "AAAA-1")
    made = till.use("AAAA-1", reserve_s=60).redemption
    assert refused(till, "AAAA-1") == "voucher_reserved"
    assert roll_back(made.pk, partner=till.shop, actor=till.clerk, now=NOW).redemption.state == 2
    assert roll_back(made.pk, partner=till.shop, actor=till.clerk, now=NOW).is_replay
    assert till.use("AAAA-1").redemption.state == State.CONFIRMED


def test_reserved_part_of_a_balance_is_confirmed_in_part(till: Till) -> None:
    till.given("CARD", "AAAA-1")
    made = till.use("AAAA-1", amount_minor=4_000, reserve_s=60).redemption
    assert refused(till, "AAAA-1", amount_minor=1_001) == "balance_too_small"
    done = confirm(made.pk, partner=till.shop, actor=till.clerk, amount_minor=2_500, now=NOW)
    assert (done.redemption.value_minor, till.euros("settlement")) == (2_500, 2_500)
    assert till.use("AAAA-1", amount_minor=2_500).redemption.value_minor == 2_500


def test_lapsed_reservation_frees_the_voucher_without_a_sweep(till: Till) -> None:
    till.given("TENOFF", "AAAA-1")
    till.given("CARD", "BBBB-1")
    old = till.use("AAAA-1", reserve_s=60).redemption
    held = till.use("BBBB-1", amount_minor=5_000, reserve_s=60).redemption
    with pytest.raises(Refusal) as refusal:
        confirm(old.pk, partner=till.shop, actor=till.clerk, now=LATER)
    assert refusal.value.code == "reservation_lapsed"
    till.use("AAAA-1", now=LATER)
    till.use("BBBB-1", amount_minor=5_000, now=LATER)
    for each in (old, held):
        each.refresh_from_db()
        assert each.state == State.LAPSED


@pytest.mark.parametrize("is_swept", [False, True])
def test_lapsed_part_of_a_gift_balance_counts_once(till: Till, is_swept: bool) -> None:
    till.given("CARD", "AAAA-1")
    till.use("AAAA-1", amount_minor=3_000, reserve_s=60)
    if is_swept:
        expire_holds(LATER)  # the ledger came before `lapse_reservations`
    wish = Wish(typed="AAAA-1", order_minor=9_000)
    found = qualify(till.shop, wish, actor=till.clerk, now=LATER)
    assert (found.balance_minor, found.value_minor) == (5_000, 5_000)
    assert till.use("AAAA-1", order_minor=9_000, now=LATER).redemption.value_minor == 5_000
    assert verify_money(till.series["CARD"]) == []


def test_lapsed_use_of_a_generic_code_counts_once(till: Till) -> None:
    till.generic("TENOFF", "WELCOME", 2)
    till.use("WELCOME")
    till.use("WELCOME", reserve_s=60)
    expire_holds(LATER)
    till.use("WELCOME", now=LATER)
    wish = Wish(typed="WELCOME")
    assert qualify(till.shop, wish, actor=till.clerk, now=LATER).reasons == [Reason.USED_UP]
    assert refused(till, "WELCOME", now=LATER) == "voucher_used_up"


def test_sweep_lapses_what_is_due_once(till: Till) -> None:
    till.given("CARD", "AAAA-1")
    till.generic("TENOFF", "WELCOME", 1)
    till.use("AAAA-1", amount_minor=5_000, reserve_s=60)
    till.use("WELCOME", reserve_s=60)
    assert [lapse_reservations(NOW), lapse_reservations(LATER)] == [0, 2]
    assert lapse_reservations(LATER) == 0
    assert till.use("WELCOME", now=LATER).redemption.value_minor == 1_000


def test_confirm_twice_pays_once(till: Till) -> None:
    till.given("TENOFF", "AAAA-1")
    made = till.use("AAAA-1", reserve_s=60).redemption
    first = confirm(made.pk, partner=till.shop, actor=till.clerk, now=NOW)
    again = confirm(made.pk, partner=till.shop, actor=till.clerk, now=LATER)
    assert (first.is_replay, again.is_replay, till.euros("settlement")) == (False, True, 1_000)
    with pytest.raises(Refusal) as refusal:
        roll_back(made.pk, partner=till.shop, actor=till.clerk, now=NOW)
    assert refusal.value.members["state"] == "confirmed"


def test_same_key_brings_the_same_redemption_for_ever(till: Till) -> None:
    till.given("TENOFF", "AAAA-1")
    key = uuid4()
    made, again = till.use("AAAA-1", key=key), till.use("AAAA-1", key=key, now=LATER)
    assert (again.is_replay, again.redemption.pk) == (True, made.redemption.pk)
    before = everything()
    with pytest.raises(KeyReused):
        till.use("AAAA-1", key=key, order_minor=5)
    assert everything() == before


def test_key_of_a_redemption_at_one_shop_is_refused_at_another(till: Till) -> None:
    kiosk = Partner.objects.create(code="kiosk", name="Kiosk")
    kiosk.series.add(till.series["TENOFF"])
    till.given("TENOFF", "AAAA-1")
    key = uuid4()
    till.use("AAAA-1", key=key)
    before = everything()
    with pytest.raises(KeyReused):
        redeem(kiosk, Wish(typed="AAAA-1"), request=key, actor=till.clerk, now=NOW)
    assert everything() == before


def test_reversal_gives_the_voucher_back(till: Till) -> None:
    till.given("TENOFF", "AAAA-1")
    till.given("CARD", "BBBB-1")
    made = till.use("AAAA-1", order_minor=300).redemption
    spent = till.use("BBBB-1", amount_minor=5_000).redemption
    for each in (made, spent):
        reverse(each.pk, partner=till.shop, actor=till.clerk, reason="wrong till", now=LATER)
    again = reverse(made.pk, partner=till.shop, actor=till.clerk, reason="twice", now=LATER)
    assert again.is_replay
    assert (till.euros("settlement"), till.euros("breakage")) == (0, 0)
    till.use("AAAA-1", now=LATER)
    till.use("BBBB-1", amount_minor=5_000, now=LATER)
    assert till.euros("settlement") == 6_000


def test_reversal_after_expiry_is_breakage(till: Till) -> None:
    till.given("TENOFF", "AAAA-1", expires_at="2026-06-02")
    made = till.use("AAAA-1").redemption
    late = NOW + timedelta(days=5)
    reverse(made.pk, partner=till.shop, actor=till.clerk, reason="returned", now=late)
    assert (till.euros("breakage"), till.euros("voucher_liability")) == (1_000, 0)
    assert refused(till, "AAAA-1", now=late) == "voucher_expired"


def test_partner_reverses_for_a_month_and_an_operator_for_ever(till: Till) -> None:
    till.given("TENOFF", "AAAA-1")
    made = till.use("AAAA-1").redemption
    late = NOW + timedelta(days=32)
    with pytest.raises(Refusal) as refusal:
        reverse(made.pk, partner=till.shop, actor=till.clerk, reason="late", now=late)
    assert refusal.value.code == "reversal_too_late"
    reverse(made.pk, partner=None, actor=till.clerk, reason="court order", now=late)
    assert till.euros("settlement") == 0


# -- generic codes ---------------------------------------------------------------------------


def test_generic_code_is_used_as_often_as_it_says(till: Till) -> None:
    till.generic("TENOFF", "welcome", 3)
    for number in range(3):
        assert till.use("Welcome").redemption.value_minor == 1_000, number
    assert refused(till, "WELCOME") == "voucher_used_up"
    assert (till.euros("settlement"), till.euros("voucher_liability")) == (3_000, 0)


def test_generic_code_is_limited_for_each_person(till: Till) -> None:
    till.generic("TENOFF", "WELCOME", 10, each=1)
    assert refused(till, "WELCOME") == "customer_missing"
    made = till.use("WELCOME", customer=till.ann).redemption
    assert refused(till, "WELCOME", customer=till.ann) == "person_limit_reached"
    till.use("WELCOME", customer=till.ben)
    reverse(made.pk, partner=till.shop, actor=till.clerk, reason="oops", now=NOW)
    till.use("WELCOME", customer=till.ann)
    assert till.euros("settlement") == 2_000


def test_generic_reservation_takes_a_use_and_rollback_returns_it(till: Till) -> None:
    till.generic("TENOFF", "WELCOME", 1)
    made = till.use("WELCOME", reserve_s=60).redemption
    assert refused(till, "WELCOME") == "voucher_used_up"
    roll_back(made.pk, partner=till.shop, actor=till.clerk, now=NOW)
    done = till.use("WELCOME", reserve_s=60).redemption
    confirm(done.pk, partner=till.shop, actor=till.clerk, now=NOW)
    assert till.euros("settlement") == 1_000


def test_deactivated_generic_code_is_owed_no_longer(till: Till) -> None:
    code = till.generic("TENOFF", "WELCOME", 5)
    till.use("WELCOME")
    assert generics.deactivate(code.pk, actor=None, reason="abuse")
    assert not generics.deactivate(code.pk, actor=None, reason="again")
    assert refused(till, "WELCOME") == "voucher_deactivated"
    assert (till.euros("voucher_liability"), till.euros("voucher_cost")) == (0, -1_000)


# -- who reads what ----------------------------------------------------------------------------


def test_typos_are_told_from_unknown_codes(till: Till) -> None:
    till.given("SCARF", "ABC-0123")
    assert refused(till, "abc-0123") == "code_case_differs"
    assert refused(till, "ABC-9999") == "code_unknown"
    assert refused(till, "AB") == "code_too_short"
    assert refused(till, "AB;CDEFG") == "code_delimiter"


def test_own_pattern_is_read_by_its_looks_and_checked(till: Till) -> None:
    pattern = till.series["OURS"].pattern
    assert pattern is not None
    code = next(pattern.draw(bytes(range(64))))
    till.given("OURS", code)
    other = "1" if code[-1] != "1" else "2"
    till.shop.series.set([till.series["OURS"]])
    assert refused(till, code[:-1] + other) == "code_check_wrong"
    assert refused(till, "MOON-1234") == "code_too_short"
    typed = code.lower().replace("-", " ").replace("0", "o").replace("1", "l").replace("2", "z")
    assert till.use(typed).redemption.state == State.CONFIRMED


def test_code_of_another_partner_is_as_unknown_as_none(till: Till) -> None:
    till.given("SCARF", "ABC-0123")
    till.shop.series.remove(till.series["SCARF"])
    assert refused(till, "ABC-0123") == refused(till, "ABC-9999") == "code_unknown"


def test_code_not_given_to_anybody_is_refused(till: Till) -> None:
    till.given("SCARF", "ABC-0123")
    World(till.series["SCARF"], till.clerk, till.ann, till.ben).offer(
        "code\nABC-0777\n", series_code="SCARF"
    )
    assert refused(till, "ABC-0777") == "code_not_given"


def test_personal_voucher_is_its_owners_alone(till: Till) -> None:
    till.given("MINE", "AAAA-1")
    assert refused(till, "AAAA-1") == "customer_missing"
    assert refused(till, "AAAA-1", customer=till.ben) == "voucher_of_another"
    assert till.use("AAAA-1", customer=till.ann).redemption.customer == till.ann


def test_guessing_is_stopped_without_looking(till: Till) -> None:
    told = [refused(till, f"GUESS-{number}") for number in range(21)]
    assert told == ["code_unknown"] * 20 + ["too_many_guesses"]
    till.given("SCARF", "ABC-0123")
    assert refused(till, "ABC-0123") == "too_many_guesses"


def test_dry_run_lists_every_reason_and_changes_nothing(till: Till) -> None:
    till.given("MINE", "AAAA-1", expires_at="2026-06-02")
    till.given("CARD", "BBBB-1")
    before = everything()
    late = NOW + timedelta(days=9)
    said = qualify(till.shop, Wish(typed="AAAA-1", amount_minor=1), actor=till.clerk, now=late)
    assert said.reasons == [Reason.EXPIRED, Reason.CUSTOMER_MISSING, Reason.AMOUNT_NOT_TAKEN]
    card = qualify(till.shop, Wish(typed="BBBB-1", order_minor=70), actor=till.clerk, now=NOW)
    assert (card.reasons, card.value_minor, card.balance_minor) == ([], 70, 5_000)
    assert everything() == before


def test_redemption_of_another_partner_is_unknown(till: Till) -> None:
    till.given("SCARF", "AAAA-1")
    made = till.use("AAAA-1", reserve_s=60).redemption
    other = Partner.objects.create(code="cafe", name="Café")
    for step in (confirm, roll_back):
        with pytest.raises(Refusal) as refusal:
            step(made.pk, partner=other, actor=till.clerk, now=NOW)
        assert refusal.value.code == "redemption_unknown"


@pytest.mark.parametrize("seconds", [0, -1, 86_401])
def test_reservation_has_a_limit(till: Till, seconds: int) -> None:
    till.given("SCARF", "AAAA-1")
    assert refused(till, "AAAA-1", reserve_s=seconds) == "reservation_too_long"


# -- expiry --------------------------------------------------------------------------------------


def test_what_expires_is_breakage_once(till: Till) -> None:
    till.given("TENOFF", "AAAA-1", "AAAA-2", "AAAA-3", expires_at="2026-06-02")
    till.given("CARD", "BBBB-1", "BBBB-2", expires_at="2026-06-02")
    till.given("CARD", "CCCC-1")
    code = till.generic("TENOFF", "WELCOME", 4)
    GenericCode.objects.filter(pk=code.pk).update(expires_at=NOW + timedelta(hours=1))
    till.use("AAAA-1")
    till.use("BBBB-1", amount_minor=1_500)
    till.use("WELCOME")
    late = NOW + timedelta(days=2) + LONGEST_RESERVATION
    while break_expired(late):
        pass
    # Two of ten euros, one card whole, one less 15 euros, three uses of ten euros.
    assert till.euros("breakage") == 2_000 + 5_000 + 3_500 + 3_000
    assert till.euros("voucher_liability") == 5_000
    assert break_expired(late + timedelta(days=1)) == 0
    assert refused(till, "BBBB-1", amount_minor=1, now=late) == "voucher_expired"
    for name in ("TENOFF", "CARD"):
        assert verify_money(till.series[name]) == []


def test_breakage_waits_until_no_reservation_can_be_open(till: Till) -> None:
    till.given("TENOFF", "AAAA-1", expires_at="2026-06-01T13:00:00Z")
    made = till.use("AAAA-1", reserve_s=86_400).redemption
    while break_expired(LATER + timedelta(hours=20)):
        pass
    late = NOW + timedelta(hours=23)
    assert confirm(made.pk, partner=till.shop, actor=till.clerk, now=late).redemption.state == 1
    assert till.euros("settlement") == 1_000


def test_every_step_is_audited_and_told(till: Till) -> None:
    till.given("TENOFF", "AAAA-1")
    made = till.use("AAAA-1", reserve_s=60).redemption
    confirm(made.pk, partner=till.shop, actor=till.clerk, now=NOW)
    reverse(made.pk, partner=till.shop, actor=till.clerk, reason="returned", now=NOW)
    trail = AuditEvent.objects.filter(object_type="redemption", object_id=str(made.pk))
    assert list(trail.order_by("id").values_list("action", "reason")) == [
        ("rewards.reserve", ""),
        ("rewards.confirm_redemption", ""),
        ("rewards.reverse_redemption", "returned"),
    ]
    events = OutboxEvent.objects.filter(key="TENOFF").order_by("id")
    kinds = [bytes(event.payload) for event in events]
    told = [payload for payload in kinds if b"redemption_" in payload]
    assert len(told) == 3
    assert not any(b"AAAA" in payload for payload in kinds)


def test_used_voucher_is_marked(till: Till) -> None:
    till.given("SCARF", "AAAA-1")
    till.use("AAAA-1")
    assert Voucher.objects.get().use == Use.USED
    assert actions.LONGEST_REFERENCE == 80


def test_withdrawal_after_breakage_takes_back_what_is_still_owed(till: Till) -> None:
    world = World(till.series["TENOFF"], till.clerk, till.ann, till.ben)
    lines = "code,expires_at\nAAAA-1,2026-06-02\nAAAA-2,2027-01-31\n"
    world.offer(lines, series_code="TENOFF")
    late = NOW + timedelta(days=2) + LONGEST_RESERVATION
    while break_expired(late):
        pass
    assert (till.euros("breakage"), till.euros("voucher_liability")) == (1_000, 1_000)
    withdraw(till.series["TENOFF"].imports.get().pk, actor=None, reason="wrong file")
    assert (till.euros("voucher_liability"), till.euros("voucher_cost")) == (0, -1_000)
    assert verify_money(till.series["TENOFF"]) == []


def test_generic_code_is_extended_while_it_is_valid(till: Till) -> None:
    code = till.generic("TENOFF", "WELCOME", 5)
    GenericCode.objects.filter(pk=code.pk).update(expires_at=LATER)
    later = LATER + timedelta(days=1)
    assert generics.extend(code.pk, later, actor=None, reason="longer", now=NOW)
    assert not generics.extend(code.pk, LATER, actor=None, reason="shorter", now=NOW)
    with pytest.raises(GenericInvalid):
        late = later + timedelta(days=9)
        generics.extend(code.pk, late, actor=None, reason="too late", now=later)


def test_use_given_back_after_the_end_of_a_generic_code_is_broken(till: Till) -> None:
    code = till.generic("TENOFF", "WELCOME", 2)
    GenericCode.objects.filter(pk=code.pk).update(expires_at=LATER)
    made = till.use("WELCOME", reserve_s=60).redemption
    generics.deactivate(code.pk, actor=None, reason="abuse")
    roll_back(made.pk, partner=till.shop, actor=till.clerk, now=NOW)
    assert (till.euros("voucher_liability"), till.euros("voucher_cost")) == (1_000, -1_000)
    while break_expired(LATER + LONGEST_RESERVATION):
        pass
    assert (till.euros("voucher_liability"), till.euros("breakage")) == (0, 1_000)
    assert verify_money(till.series["TENOFF"]) == []
