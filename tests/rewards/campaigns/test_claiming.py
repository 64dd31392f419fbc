"""Claims as their people meet them: granted once, refused with the true reason, undone whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from edge.problems import Refusal
from rewards.campaigns import names, publishing
from rewards.campaigns.models import (
    Activity,
    CampaignVersion,
    Claim,
    ClaimRefusal,
    FactName,
)
from tests.rewards.campaigns.conftest import NOW, TEN_POINTS, World, everything, refusals
from tests.rewards.conftest import person
from wallet.models import Asset

DAY = timedelta(days=1)


def test_claim_pays_points_out_of_the_budget(world: World) -> None:
    world.campaign()
    outcome = world.claim(world.ann)
    assert outcome.claim is not None
    assert (world.balance(world.ann), world.budget()) == (10, 990)
    assert outcome.claim.payments[0]["amount"] == 10
    assert outcome.claim.version.number == 1


def test_same_request_is_granted_once_for_ever(world: World) -> None:
    world.campaign()
    request = uuid4()
    first = world.claim(world.ann, request=request)
    again = world.claim(world.ann, request=request, now=NOW + 400 * DAY)
    assert (again.is_replay, again.claim) == (True, first.claim)
    assert world.balance(world.ann) == 10


def test_name_of_another_persons_claim_is_never_answered(world: World) -> None:
    world.campaign()
    request = uuid4()
    world.claim(world.ann, request=request)
    before = everything()
    with pytest.raises(IntegrityError), transaction.atomic():
        world.claim(world.ben, request=request)
    assert everything() == before


def test_one_claim_gives_points_units_money_and_tier_points(world: World) -> None:
    from rewards.campaigns.standings import create_program

    world.vouchers.offer("code\nAAAA-1\nBBBB-2\n")
    levels = [{"code": "bronze", "title": "Bronze", "threshold": 5}]
    create_program(
        code="club", title="Club", levels=levels, every="year", time_zone="UTC", actor=None
    )
    effects = [
        *TEN_POINTS,
        {"is": "units", "series": "DRINK"},
        {"is": "cashback", "asset": "EUR", "bps": 250},
        {"is": "discount", "asset": "EUR", "bps": 1_000, "at_most": 300},
        {"is": "tier_points", "program": "club", "amount": 7},
    ]
    budgets = {"POINTS": 1_000, "DRINK": 2, "EUR": 5_000}
    world.campaign(effects=effects, budgets=budgets, needs_order=True)
    world.order(world.ann, "o-1", 9_999)
    outcome = world.claim(world.ann, order_key="o-1")
    assert outcome.claim is not None
    paid = {each["kind"]: each["amount"] for each in outcome.claim.payments}
    assert paid == {"points": 10, "units": 1, "cashback": 249, "discount": 300, "tier_points": 7}
    assert world.vouchers.units(world.ann) == 1
    assert world.balance(world.ann, "EUR") == 249
    assert world.balance(world.ann, "TIER-CLUB", "status") == 7
    assert (world.budget(asset="EUR"), world.budget(asset="DRINK")) == (5_000 - 549, 1)


def test_points_of_a_claim_lapse_when_the_version_says(world: World) -> None:
    effects = [{"is": "points", "asset": "POINTS", "amount": 10, "expires_after_days": 30}]
    world.campaign(effects=effects)
    outcome = world.claim(world.ann)
    assert outcome.claim is not None
    assert outcome.claim.payments[0]["expires_at"] == "2026-12-20T12:00:00.000000Z"


# -- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"rule": {"is": "segment", "any_of": ["vip"]}}, "rule_not_met"),
        ({"starts_at": "2026-11-20T12:00:01Z"}, "campaign_not_started"),
        ({"needs_order": True}, "order_missing"),
        ({"referral": {}}, "referrer_missing"),
        ({"rule": {"is": "place", "any_of": ["stadium"]}}, "rule_not_met"),
    ],
)
def test_refused_claim_says_why_and_moves_nothing(
    world: World, terms: dict[str, Any], reason: str
) -> None:
    world.campaign(**terms)
    before = everything()
    assert world.says(world.ann) == reason
    assert everything() == before
    assert refusals() == [reason]


def test_refusal_keeps_the_leaf_that_decided(world: World) -> None:
    rule = {"is": "all", "of": [{"is": "channel", "any_of": ["app"]},
                                {"is": "segment", "any_of": ["vip"]}]}  # fmt: skip
    world.campaign(rule=rule)
    world.claim(world.ann, channel="app")
    [miss] = ClaimRefusal.objects.get().misses
    assert (miss[0], miss[1]) == ("/rule/of/1", "segment")
    names.change_segment("vip", add=[world.ann], actor=None)
    assert world.says(world.ann, channel="app") == "granted"


def test_place_needs_evidence(world: World) -> None:
    world.campaign(rule={"is": "place", "any_of": ["stadium"]})
    assert world.says(world.ann, places=frozenset()) == "rule_not_met"
    assert world.says(world.ann, places=frozenset({"stadium"})) == "granted"


def test_campaign_ends_at_the_very_microsecond(world: World) -> None:
    world.campaign(ends_at=(NOW + DAY).isoformat())
    last = NOW + DAY - timedelta(microseconds=1)
    assert world.says(world.ann, now=last) == "granted"
    assert world.says(world.ben, now=NOW + DAY) == "campaign_ended"


def test_limits_count_by_person_and_by_the_day_of_the_zone(world: World) -> None:
    limits = [{"per": "person", "window": "day", "most": 1},
              {"per": "campaign", "window": "day", "most": 2}]  # fmt: skip
    world.campaign(limits=limits, time_zone="Europe/Madrid")
    late = datetime(2026, 11, 20, 22, 59, 59, tzinfo=UTC)
    assert world.says(world.ann, now=late) == "granted"
    assert world.says(world.ann, now=late) == "limit_person"
    assert world.says(world.ben, now=late) == "granted"
    assert world.says(world.marla, now=late) == "limit_campaign"
    assert world.says(world.ann, now=late + timedelta(seconds=1)) == "granted"


def test_day_of_25_hours_is_one_day(world: World) -> None:
    """Madrid sets its clocks back on 2026-10-25: that day runs from 22:00 to 23:00 UTC."""
    limits = [{"per": "person", "window": "day", "most": 1}]
    world.campaign(limits=limits, time_zone="Europe/Madrid", starts_at="2026-10-01T00:00:00Z")
    first = datetime(2026, 10, 24, 22, tzinfo=UTC)
    assert world.says(world.ann, now=first) == "granted"
    assert world.says(world.ann, now=first + timedelta(hours=24, minutes=59)) == "limit_person"
    assert world.says(world.ann, now=first + timedelta(hours=25)) == "granted"


def test_velocity_looks_back_from_every_moment(world: World) -> None:
    world.campaign(velocity={"most": 2, "within_s": 60})
    times = [0, 59, 59, 60, 100, 119]
    said = [world.says(world.ann, now=NOW + timedelta(seconds=second)) for second in times]
    assert said == ["granted", "granted", "too_fast", "granted", "too_fast", "granted"]


def test_group_lets_a_person_have_one_of_its_campaigns(world: World) -> None:
    world.campaign("A", group="hello")
    world.campaign("B", group="hello")
    assert world.says(world.ann, "A") == "granted"
    assert world.says(world.ann, "B") == "group_used"
    assert world.says(world.ben, "B") == "granted"


def test_order_counts_once_a_campaign_and_stacks_only_where_all_allow_it(world: World) -> None:
    for code, stacks in (("A", True), ("B", True), ("ALONE", False)):
        world.campaign(code, needs_order=True, stacks=stacks)
    world.order(world.ann, "o-1", 500)
    world.order(world.ann, "o-2", 500)
    assert world.says(world.ann, "A", order_key="o-1") == "granted"
    assert world.says(world.ann, "A", order_key="o-1") == "order_used"
    assert world.says(world.ann, "B", order_key="o-1") == "granted"
    assert world.says(world.ann, "ALONE", order_key="o-1") == "not_combinable"
    assert world.says(world.ann, "ALONE", order_key="o-2") == "granted"
    assert world.says(world.ann, "A", order_key="o-2") == "not_combinable"
    assert world.says(world.ben, "A", order_key="o-1") == "order_missing"


def test_first_order_is_the_first_reported(world: World) -> None:
    world.campaign(rule={"is": "first_order"}, needs_order=True)
    world.order(world.ann, "o-1", 500, at=NOW - DAY)
    world.order(world.ann, "o-2", 500)
    assert world.says(world.ann, order_key="o-2") == "rule_not_met"
    assert world.says(world.ann, order_key="o-1") == "granted"


def test_budget_that_cannot_pay_refuses(world: World) -> None:
    world.campaign(budgets={"POINTS": 15})
    assert [world.says(world.ann), world.says(world.ben)] == ["granted", "budget_exhausted"]
    assert (world.balance(world.ben), world.budget()) == (0, 5)


def test_money_is_given_for_orders_in_its_own_currency(world: World) -> None:
    Asset.objects.create(code="JPY", name="Yen", kind=Asset.Kind.CURRENCY)
    deed = names.Deed(key="yen", kind="order", person=world.ann, at=NOW, asset="JPY", amount=10_000)
    names.report(deed, actor=None, now=NOW)
    budgets = {"EUR": 100_000}
    tenth = {"is": "cashback", "asset": "EUR", "bps": 1_000}
    world.campaign(effects=[tenth], budgets=budgets, needs_order=True)
    off = {"is": "discount", "asset": "EUR", "amount": 500}
    world.campaign("OFF", effects=[off], budgets=budgets, needs_order=True)
    before = everything()
    for code in ("WELCOME", "OFF"):
        assert world.says(world.ann, code, order_key="yen") == "nothing_to_grant"
    assert everything() == before
    points = {"is": "points", "asset": "POINTS", "amount": 1, "every": 1_000}
    both = {**budgets, "POINTS": 100}
    world.campaign("POINTS", effects=[points, tenth], budgets=both, needs_order=True)
    assert world.says(world.ann, "POINTS", order_key="yen") == "granted"
    assert (world.balance(world.ann), world.balance(world.ann, "EUR")) == (10, 0)


# -- referral, missions, streaks ------------------------------------------------------------


BOTH_SIDES: dict[str, Any] = {
    "referral": {"joined_within_days": 30, "referrer_most": 2},
    "effects": [*TEN_POINTS, {"is": "points", "asset": "POINTS", "amount": 25, "to": "referrer"}],
}


def test_referral_pays_both_sides_once(world: World) -> None:
    world.campaign(**BOTH_SIDES)
    assert world.says(world.ann, referrer="ben") == "granted"
    assert (world.balance(world.ann), world.balance(world.ben)) == (10, 25)
    assert world.says(world.ann, referrer="marla") == "already_referred"
    assert world.says(world.ben, referrer="ann") == "self_referral"


def test_self_referral_is_refused_even_under_another_tag(world: World) -> None:
    world.campaign(**BOTH_SIDES)
    assert world.says(world.ann, referrer="ann") == "self_referral"
    double = person("double")
    double.email = "ann+2@example.com"
    double.date_joined = NOW
    double.save()
    assert world.says(double, referrer="ann") == "self_referral"


def test_referrer_has_a_limit_and_old_members_cannot_be_referred(world: World) -> None:
    world.campaign(**BOTH_SIDES)
    assert world.says(world.ann, referrer="ben") == "granted"
    assert world.says(world.marla, referrer="ben") == "granted"
    assert world.says(world.mo, referrer="ben") == "referrer_limit"
    assert world.says(world.mo, referrer="ann", now=NOW + 40 * DAY) == "referred_too_late"


def test_mission_counts_deeds_since_the_last_grant(world: World) -> None:
    world.campaign(rule={"is": "did", "event": "check_in", "times": 2, "since_claim": True})
    for hours in (5, 4):
        assert world.says(world.ann) == "rule_not_met"
        world.did(world.ann, "check_in", NOW - timedelta(hours=hours))
    assert world.says(world.ann) == "granted"
    assert world.says(world.ann) == "rule_not_met"
    for hours in (1, 2):
        world.did(world.ann, "check_in", NOW + timedelta(hours=hours))
    assert world.says(world.ann, now=NOW + timedelta(hours=3)) == "granted"


def test_what_will_be_done_does_not_count_yet(world: World) -> None:
    world.campaign(rule={"is": "did", "event": "check_in"}, velocity={"most": 3, "within_s": 60})
    world.did(world.ann, "check_in", NOW + timedelta(minutes=1))
    assert world.says(world.ann) == "rule_not_met"
    later = NOW + timedelta(minutes=1)
    said = [world.says(world.ann, now=later) for _ in range(4)]
    assert said == ["granted", "granted", "granted", "too_fast"]


def test_streak_counts_days_of_the_zone_in_a_row(world: World) -> None:
    world.campaign(rule={"is": "streak", "event": "check_in", "days": 3, "time_zone": "Asia/Tokyo"})
    for days in (1, 2):
        world.did(world.ann, "check_in", NOW - days * DAY)
    assert world.says(world.ann) == "rule_not_met"
    world.did(world.ann, "check_in", NOW - 3 * DAY)
    assert world.says(world.ann) == "granted"
    assert world.says(world.ann, now=NOW + 2 * DAY) == "rule_not_met"


def test_streak_of_somebody_busy_is_as_long_as_of_anybody(world: World) -> None:
    """40 times a day, the last one just before midnight; the other once a day, just after it."""
    rule = {"is": "streak", "event": "check_in", "days": 30, "time_zone": "Asia/Kathmandu"}
    world.campaign(rule=rule)
    kind = FactName.objects.get(code="check_in")
    midnight = datetime(2026, 11, 19, 18, 15, tzinfo=UTC)
    times = {world.ann: [midnight - timedelta(minutes=1 + n) for n in range(40)],
             world.ben: [midnight]}  # fmt: skip
    for who, first in times.items():
        Activity.objects.bulk_create(
            Activity(person=who, kind=kind, key=f"{who.pk}-{day}-{at:%H%M}", at=at - day * DAY)
            for at in first
            for day in range(29)
        )
        assert world.says(who) == "rule_not_met"
        world.did(who, "check_in", first[-1] - 29 * DAY)
        assert world.says(who) == "granted"


def test_streak_and_mission_of_one_kind_count_days_and_deeds(world: World) -> None:
    parts = [{"is": "streak", "event": "check_in", "days": 2, "time_zone": "UTC",
              "since_claim": True},
             {"is": "did", "event": "check_in", "times": 3}]  # fmt: skip
    world.campaign(rule={"is": "all", "of": parts})
    for ago in (timedelta(0), timedelta(minutes=1), DAY):
        assert world.says(world.ann) == "rule_not_met"
        world.did(world.ann, "check_in", NOW - ago)
    assert world.says(world.ann) == "granted"
    assert world.says(world.ann) == "rule_not_met"


# -- versions ---------------------------------------------------------------------------------


def test_new_version_changes_what_comes_and_nothing_that_was(world: World) -> None:
    world.campaign()
    first = world.claim(world.ann).claim
    effects = [{"is": "points", "asset": "POINTS", "amount": 3}]
    world.publish("WELCOME", effects=effects, starts_at=(NOW + DAY).isoformat())
    assert world.claim(world.ben).claim.payments[0]["amount"] == 10  # type: ignore[union-attr]
    later = world.claim(world.ben, now=NOW + DAY).claim
    assert later is not None and first is not None
    assert (later.payments[0]["amount"], later.version.number) == (3, 2)
    first.refresh_from_db()
    assert (first.version.number, first.payments[0]["amount"]) == (1, 10)


def test_limit_of_a_person_ever_knows_earlier_versions_and_other_new_ones_do_not(
    world: World,
) -> None:
    world.campaign()
    assert (world.says(world.ann), world.says(world.ben)) == ("granted", "granted")
    again = (NOW - DAY).isoformat()
    world.publish("WELCOME", starts_at=again, limits=[{"per": "person", "most": 1}])
    assert world.says(world.ann) == "limit_person"
    world.publish("WELCOME", starts_at=again, limits=[{"per": "campaign", "most": 1}])
    assert (world.says(world.ann), world.says(world.ann)) == ("granted", "limit_campaign")


def test_content_of_a_version_cannot_change(world: World) -> None:
    world.campaign()
    version = CampaignVersion.objects.get()
    changes: list[dict[str, Any]] = [{"terms": {}}, {"starts_at": NOW}, {"state": "draft"}]
    for change in changes:
        with pytest.raises(DatabaseError), transaction.atomic():
            CampaignVersion.objects.filter(pk=version.pk).update(**change)
    with pytest.raises(DatabaseError), transaction.atomic():
        version.delete()


def test_nobody_publishes_their_own_version(world: World) -> None:
    publishing.create(code="X", title="X", actor=world.marla)
    data = {"starts_at": "2026-11-01T00:00:00Z", "effects": TEN_POINTS, "budgets": {"POINTS": 50}}
    publishing.draft("X", data, actor=world.marla, now=NOW)
    with pytest.raises(Refusal, match="Somebody else"):
        publishing.publish("X", 1, actor=world.marla, now=NOW)
    publishing.reject("X", 1, actor=world.mo, note="Too dear.", now=NOW)
    with pytest.raises(Refusal, match="rejected"):
        publishing.publish("X", 1, actor=world.mo, now=NOW)


def test_publishing_tops_budgets_up_and_takes_what_is_unspent(world: World) -> None:
    world.campaign()
    world.claim(world.ann)
    world.publish("WELCOME", budgets={"POINTS": 1_500})
    assert world.budget() == 1_490
    world.publish("WELCOME", budgets={"POINTS": 10})
    assert world.budget() == 0
    data = {"starts_at": "2026-11-01T00:00:00Z", "effects": [{"is": "points", "asset": "POINTS",
            "amount": 1}], "budgets": {"POINTS": 9}}  # fmt: skip
    version = publishing.draft("WELCOME", data, actor=world.marla, now=NOW)
    with pytest.raises(Refusal) as refused:
        publishing.publish("WELCOME", version.number, actor=world.mo, now=NOW)
    assert refused.value.code == "budget_below_spent"


def test_series_that_has_too_few_units_funds_no_campaign(world: World) -> None:
    publishing.create(code="X", title="X", actor=world.marla)
    effects = [{"is": "units", "series": "DRINK"}]
    data = {"starts_at": "2026-11-01T00:00:00Z", "effects": effects, "budgets": {"DRINK": 5}}
    publishing.draft("X", data, actor=world.marla, now=NOW)
    before = everything()
    with pytest.raises(Refusal) as refused:
        publishing.publish("X", 1, actor=world.mo, now=NOW)
    assert refused.value.code == "insufficient_funds"
    assert everything() == before
    assert CampaignVersion.objects.get().state == "draft"


def test_pause_resume_and_end(world: World) -> None:
    world.campaign()
    publishing.pause("WELCOME", actor=world.mo, reason="Looks odd")
    assert world.says(world.ann) == "campaign_paused"
    publishing.resume("WELCOME", actor=world.mo, reason="All well")
    assert world.says(world.ann) == "granted"
    publishing.end("WELCOME", actor=world.mo, reason="Over")
    assert world.says(world.ben) == "campaign_ended"
    assert world.budget() == 0
    with pytest.raises(Refusal, match="ended"):
        publishing.resume("WELCOME", actor=world.mo, reason="Once more")


# -- what stays -------------------------------------------------------------------------------


def test_story_of_a_claim_cannot_change(world: World) -> None:
    world.campaign()
    world.claim(world.ann)
    with pytest.raises(DatabaseError), transaction.atomic():
        Claim.objects.update(payments=[])
    with pytest.raises(DatabaseError), transaction.atomic():
        Claim.objects.get().delete()


def test_points_that_end_on_a_day_lapse_then_whenever_they_were_granted(world: World) -> None:
    end = NOW + timedelta(days=20)
    effect = {"is": "points", "asset": "POINTS", "amount": 10, "expires_at": end.isoformat()}
    world.campaign(effects=[effect], ends_at=end.isoformat())
    both = {**effect, "expires_after_days": 5}
    world.campaign("SOONER", effects=[both], ends_at=end.isoformat())
    for now in (NOW, NOW + timedelta(days=19)):
        made = world.claim(world.ann, now=now).claim
        assert made is not None and made.payments[0]["expires_at"].startswith("2026-12-10T12:00")
    sooner = world.claim(world.ann, "SOONER").claim
    assert sooner is not None and sooner.payments[0]["expires_at"].startswith("2026-11-25T12:00")
