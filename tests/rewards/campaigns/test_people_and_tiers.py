"""Tiers up and down, arms compared, people who merge or leave, liability by campaign and month."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from live.models import OutboxEvent
from rewards.campaigns import names, people, reversing, standings
from rewards.campaigns.cohorts import Cohorts, Moved, Tag
from rewards.campaigns.facts import NO_TIER
from rewards.campaigns.models import Activity, Claim, ClaimRefusal, TierStanding
from rewards.campaigns.results import liability, report_of
from rewards.campaigns.tiers import Level, standing
from rewards.campaigns.uplift import Arm, compare
from rewards.campaigns.verifying import verify
from tests.rewards.campaigns.conftest import NOW, World, crowd
from wallet.models import Account, Entry

DAY = timedelta(days=1)
LEVELS = (Level("bronze", "Bronze", 10), Level("silver", "Silver", 50), Level("gold", "Gold", 200))


# -- tiers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("earned", "before", "rank", "rise", "keep", "keeps_until"),
    [
        (0, 0, NO_TIER, 10, 0, 2027),
        (10, 0, 0, 40, 0, 2028),
        (49, 0, 0, 1, 0, 2028),
        (50, 0, 1, 150, 0, 2028),
        (0, 60, 1, 200, 50, 2027),
        (49, 60, 1, 151, 1, 2027),
        (50, 60, 1, 150, 0, 2028),
        (500, 0, 2, None, 0, 2028),
    ],
)
def test_standing(
    earned: int, before: int, rank: int, rise: int | None, keep: int, keeps_until: int
) -> None:
    now = datetime(2026, 7, 1, tzinfo=UTC)
    found = standing(
        LEVELS, earned=earned, earned_before=before, now=now, every="year",
        time_zone="Europe/Madrid",
    )  # fmt: skip
    # Nobody is below a level that is not there: without a rank nothing is kept.
    if rank == NO_TIER:
        assert found.rank == NO_TIER
    assert (found.rank, found.needed_to_rise, found.needed_to_keep) == (rank, rise, keep)
    if rank != NO_TIER:
        assert found.keeps_until == datetime(keeps_until, 1, 1, tzinfo=ZoneInfo("Europe/Madrid"))


def test_level_is_told_when_it_rises_and_when_a_period_takes_it(world: World) -> None:
    levels = [{"code": each.code, "title": each.title, "threshold": each.threshold}
              for each in LEVELS]  # fmt: skip
    standings.create_program(
        code="club", title="Club", levels=levels, every="month", time_zone="UTC", actor=None
    )
    world.campaign(effects=[{"is": "tier_points", "program": "club", "amount": 30}], budgets={})
    world.campaign("GOLD", rule={"is": "tier", "program": "club", "at_least": "silver"})
    assert world.says(world.ann, "GOLD") == "rule_not_met"
    for _ in range(2):
        world.claim(world.ann)
    assert world.says(world.ann, "GOLD") == "granted"
    after_next = datetime(2027, 1, 1, tzinfo=UTC)
    assert TierStanding.objects.get().keeps_until == after_next
    assert world.says(world.ann, "GOLD", now=after_next - timedelta(seconds=1)) == "granted"
    assert world.says(world.ann, "GOLD", now=after_next) == "rule_not_met"
    assert standings.follow_due(after_next) == 1
    told = [bytes(row.payload).decode() for row in OutboxEvent.objects.filter(key="club")]
    kinds = [kind for text in told for kind in ("tier_raised", "tier_lowered") if kind in text]
    assert kinds == ["tier_raised", "tier_raised", "tier_lowered"]


def test_reversed_tier_points_lower_the_level(world: World) -> None:
    levels = [{"code": "bronze", "title": "Bronze", "threshold": 10}]
    standings.create_program(
        code="club", title="Club", levels=levels, every="year", time_zone="UTC", actor=None
    )
    world.campaign(effects=[{"is": "tier_points", "program": "club", "amount": 30}], budgets={})
    made = world.claim(world.ann).claim
    assert made is not None
    assert standings.ranks_of_many([world.ann.pk], NOW)[world.ann.pk] == {"club": 0}
    reversing.reverse(made.pk, actor=None, reason="Mistake")
    assert standings.ranks_of_many([world.ann.pk], NOW)[world.ann.pk] == {"club": NO_TIER}


# -- tests of two arms -------------------------------------------------------------------------


def test_arms_are_compared_with_the_first() -> None:
    control, better = compare([Arm("control", 1_000, 100), Arm("b", 1_000, 150)])
    assert (control.uplift, control.low) == (None, None)
    assert better.uplift == pytest.approx(0.5)
    assert better.low is not None and better.high is not None
    assert 0 < better.low < 0.05 < better.high < 0.1
    assert compare([Arm("a", 0, 0), Arm("b", 5, 5)])[1].uplift is None
    assert compare([]) == []


def test_people_stay_in_their_arm_and_the_goal_is_counted_after_the_claim(world: World) -> None:
    variants: list[dict[str, Any]] = [
        {"code": "nothing", "share": 1},
        {"code": "ten", "share": 1, "effects": [{"is": "points", "asset": "POINTS", "amount": 10}]},
    ]
    goal = {"event": "order", "within_days": 7}
    world.campaign(effects=[], variants=variants, goal=goal)
    fans = crowd(40)
    for fan in fans:
        first, second = world.claim(fan).claim, world.claim(fan).claim
        assert first is not None and second is not None
        assert first.variant == second.variant
        assert len(first.payments) == (first.variant == "ten")
    ten = [fan for fan in fans if Claim.objects.filter(owner=fan, variant="ten").exists()]
    world.order(ten[0], "soon", 100, at=NOW + DAY)
    world.order(ten[1], "late", 100, at=NOW + 8 * DAY)
    world.order(ten[2], "before", 100, at=NOW - DAY)
    nothing, some = report_of("WELCOME")["variants"]
    assert (nothing["people"] + some["people"], some["people"]) == (40, len(ten))
    assert (nothing["converted"], some["converted"]) == (0, 1)


# -- merging and leaving -------------------------------------------------------------------------


def test_merged_accounts_share_limits_and_missions(world: World) -> None:
    world.campaign(limits=[{"per": "person", "most": 1}])
    made = world.claim(world.ann).claim
    assert made is not None
    names.change_segment("vip", add=[world.ann], actor=None)
    names.set_attributes(world.ann, {"age": 20}, actor=None)
    world.did(world.ann, "check_in", NOW)
    people.merge(old=world.ann, new=world.ben, actor=world.marla, reason="One person")
    assert world.says(world.ben) == "limit_person"
    assert verify() == []
    story = people.story_of(world.ben)
    assert (story["segments"], story["attributes"]) == (["vip"], {"age": 20})
    assert len(story["activities"]) == 1
    reversing.reverse(made.pk, actor=None, reason="Mistake")
    assert world.says(world.ben) == "granted"
    assert verify() == []


def test_whoever_leaves_is_forgotten_and_the_ledger_is_not(world: World) -> None:
    world.campaign(rule={"is": "channel", "any_of": ["app"]}, needs_order=True)
    names.change_segment("vip", add=[world.ann], actor=None)
    names.set_attributes(world.ann, {"age": 20}, actor=None)
    world.order(world.ann, "o-1", 500)
    world.claim(world.ann, channel="app", order_key="o-1")
    world.claim(world.ann, channel="web", order_key="o-1")
    before = (Entry.objects.count(), world.budget())
    people.erase(world.ann, actor=world.marla, reason="They asked")
    story = people.story_of(world.ann)
    assert (story["segments"], story["attributes"], story["activities"]) == ([], {}, [])
    claim = Claim.objects.get()
    assert (claim.channel, claim.order_key, claim.payments[0]["amount"]) == ("", "", 10)
    assert not ClaimRefusal.objects.exists()
    assert not Activity.objects.exists()
    assert (Entry.objects.count(), world.budget()) == before
    assert verify() == []


def test_command_merges_and_erases(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    names.change_segment("vip", add=[world.ann], actor=None)
    call_command("campaign_people", "merge", "ann", "@ben", "--reason", "One person")
    assert people.story_of(world.ben)["segments"] == ["vip"]
    call_command("campaign_people", "erase", "ben", "--reason", "Left")
    assert people.story_of(world.ben)["segments"] == []
    assert capsys.readouterr().out == "Done.\nDone.\n"
    for wrong in (["merge", "ben", "ben"], ["erase", "nobody_here"], ["erase", "ben"]):
        reason = " " if wrong == ["erase", "ben"] else "x"
        with pytest.raises(CommandError):
            call_command("campaign_people", *wrong, "--reason", reason)


def test_old_refusals_are_forgotten(world: World) -> None:
    world.campaign(rule={"is": "first_order"})
    world.claim(world.ann)
    world.claim(world.ben, now=NOW + DAY)
    assert people.forget_refusals(NOW + 90 * DAY + timedelta(seconds=1)) == 1
    assert ClaimRefusal.objects.get().owner == world.ben


# -- liability -----------------------------------------------------------------------------------


def test_liability_follows_points_through_the_hands_of_others(world: World) -> None:
    from wallet.people import pay

    world.campaign("A")
    world.campaign("B", effects=[{"is": "points", "asset": "POINTS", "amount": 7}])
    claims = [world.claim(world.ann, "A").claim, world.claim(world.ann, "B").claim]
    pay(sender=world.ann, to="ben", asset="POINTS", amount=12, memo="", key="gift")
    later = datetime.now(UTC) + DAY
    rows = {row["campaign"]: row for row in liability("POINTS", later)["rows"]}
    assert {code: row["outstanding"] for code, row in rows.items()} == {"A": 10, "B": 7}
    assert claims[1] is not None
    reversing.reverse(claims[1].pk, actor=None, reason="Mistake")
    found = liability("POINTS", later)
    rows = {row["campaign"]: row for row in found["rows"]}
    assert (rows["B"]["granted"], rows["B"]["taken_back"]) == (7, 5)
    assert sum(row["outstanding"] for row in found["rows"]) == found["wallets"] == 12
    assert liability("POINTS", NOW - 365 * DAY)["rows"] == []


def test_expired_points_leave_the_liability_of_their_campaign(world: World) -> None:
    from wallet.accounts import BREAKAGE, system_account
    from wallet.actions import post
    from wallet.items import Transfer
    from wallet.models import Code

    effects = [{"is": "points", "asset": "POINTS", "amount": 10, "expires_after_days": 30}]
    world.campaign(effects=effects)
    world.claim(world.ann)
    wallet = Account.objects.get(owner=world.ann, asset=world.points)
    expiry = Transfer(
        reference="expiry",
        asset_id=world.points.pk,
        debit_account_id=wallet.pk,
        credit_account_id=system_account(world.points, BREAKAGE).pk,
        amount=10,
        code=Code.EXPIRY,
    )
    assert post([expiry])[0].is_created
    [row] = liability("POINTS", datetime.now(UTC) + DAY)["rows"]
    assert (row["campaign"], row["expired"], row["outstanding"]) == ("WELCOME", 10, 0)


_moves = st.lists(
    st.tuples(
        st.sampled_from([None, 1, 2]),
        st.sampled_from([None, 1, 2]),
        st.integers(1, 9),
        st.sampled_from([None, 1, 2]),
    ),
    max_size=40,
)


@given(_moves)
def test_lots_sum_to_balances_and_nothing_is_lost(moves: list[tuple[Any, Any, int, Any]]) -> None:
    cohorts, balances = Cohorts(), {1: 0, 2: 0}
    granted = 0
    for number, (payer, receiver, amount, days) in enumerate(moves):
        if payer == receiver or (payer and balances[payer] < amount):
            continue
        expires_at = NOW + days * DAY if days else None
        tag = Tag(f"C{number % 3}", "2026-11")
        cohorts.apply(Moved(number + 1, amount, expires_at, None, payer, receiver, tag, "redeemed"))
        if payer:
            balances[payer] -= amount
        else:
            granted += amount
        if receiver:
            balances[receiver] += amount
    left = cohorts.outstanding()
    assert sum(left.values()) == sum(balances.values())
    assert all(amount >= 0 for amount in left.values())
    assert granted == sum(left.values()) + sum(c["redeemed"] for c in cohorts.columns.values())
    for tag, columns in cohorts.columns.items():
        assert columns["granted"] - columns["redeemed"] == left.get(tag, 0)


def test_story_names_both_sides_of_a_referral(world: World) -> None:
    world.campaign(referral={})
    world.claim(world.ann, referrer="ben")
    for who in (world.ann, world.ben):
        assert [claim.owner for claim in people.story_of(who)["claims"]] == [world.ann]
