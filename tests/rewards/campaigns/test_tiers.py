"""Tier points that are undone, levels that take no points, and who is told of a level when."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from live.models import OutboxEvent
from rewards.campaigns import reversing, standings
from rewards.campaigns.models import Claim, TierStanding
from tests.rewards.campaigns.conftest import NOW, World, make_world
from tests.rewards.campaigns.test_rush import claimed, says, wish
from wallet import reversals

DAY = timedelta(days=1)
GOLD = [{"code": "gold", "title": "Gold", "threshold": 100}]
MEMBER = {"code": "member", "title": "Member", "threshold": 0}


def club(levels: list[dict[str, Any]] = GOLD, every: str = "month") -> None:
    standings.create_program(
        code="club", title="Club", levels=levels, every=every, time_zone="UTC", actor=None
    )


def hundred_points(world: World, **terms: Any) -> None:
    effects = [{"is": "tier_points", "program": "club", "amount": 100}]
    world.campaign(effects=effects, budgets={}, **terms)


def told() -> list[str]:
    """What was told of levels, in order."""
    rows = OutboxEvent.objects.filter(key="club").order_by("id")
    texts = [bytes(row.payload).decode() for row in rows]
    return [kind for text in texts for kind in ("tier_raised", "tier_lowered") if kind in text]


def earned_and_undone(world: World, months_ago: int) -> None:
    """100 points of an earlier month are taken back by today's clock."""
    today = datetime.now(UTC)
    club()
    hundred_points(world, starts_at=(today - 200 * DAY).isoformat())
    then = today.replace(day=1) - (30 * months_ago - 25) * DAY
    made = world.claim(world.ann, now=then).claim
    assert made is not None
    reversing.reverse(made.pk, actor=None, reason="Mistake")


@pytest.mark.django_db
def test_points_of_last_month_that_are_undone_lower_last_month(world: World) -> None:
    earned_and_undone(world, months_ago=1)
    [place] = standings.places_of(world.ann.pk, datetime.now(UTC) + timedelta(seconds=5))
    assert (place.level, place.standing.earned, place.standing.needed_to_rise) == (None, 0, 100)


@pytest.mark.django_db
def test_points_of_long_ago_that_are_undone_take_nothing_of_this_month(world: World) -> None:
    earned_and_undone(world, months_ago=3)
    world.claim(world.ann, now=datetime.now(UTC))
    [place] = standings.places_of(world.ann.pk, datetime.now(UTC) + timedelta(seconds=5))
    assert place.level is not None
    assert (place.level.code, place.standing.earned) == ("gold", 100)


@pytest.mark.django_db
def test_a_lowest_level_that_takes_no_points_is_everybodys(world: World) -> None:
    club([MEMBER, *GOLD])
    world.campaign(rule={"is": "tier", "program": "club", "at_least": "member"})
    world.campaign("GOLD", rule={"is": "tier", "program": "club", "at_least": "gold"})
    [place] = standings.places_of(world.ann.pk, NOW, with_untouched=True)
    assert place.level is not None and place.level.code == "member"
    assert (world.says(world.ann), world.says(world.ann, "GOLD")) == ("granted", "rule_not_met")
    together = claimed(wish(world.ben), wish(world.ben, "GOLD"))
    assert [says(each) for each in together] == ["granted", "rule_not_met"]


@pytest.mark.django_db
def test_a_reversal_tells_of_the_level_that_it_lowers(world: World) -> None:
    club(every="year")
    hundred_points(world)
    made = world.claim(world.ann).claim
    assert made is not None
    reversing.reverse(made.pk, actor=None, reason="Mistake")
    assert told() == ["tier_raised", "tier_lowered"]
    assert TierStanding.objects.get().rank == -1


def a_level_is_earned_again_as_it_falls(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job that lowers levels has looked, and not written, when the points are earned anew."""
    club()
    hundred_points(world)
    world.claim(world.ann)
    later = datetime(2027, 1, 2, tzinfo=UTC)
    looked, may_write, places = threading.Event(), threading.Event(), standings._places

    def look(*arguments: Any) -> Any:
        found = places(*arguments)
        if threading.current_thread() is job and not looked.is_set():
            looked.set()
            may_write.wait(30)
        return found

    def lower() -> None:
        standings.follow_due(later)
        connection.close()

    def earn() -> None:
        world.claim(world.ann, now=later)
        connection.close()

    monkeypatch.setattr(standings, "_places", look)
    job, claim = threading.Thread(target=lower), threading.Thread(target=earn)
    job.start()
    looked.wait(30)
    claim.start()
    claim.join(2)
    may_write.set()
    for thread in (job, claim):
        thread.join(30)
    assert Claim.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_level_that_is_earned_again_as_it_falls_is_noted(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_level_is_earned_again_as_it_falls(make_world(), monkeypatch)
    assert told() == ["tier_raised", "tier_lowered", "tier_raised"]
    assert TierStanding.objects.get().rank == 0


@pytest.mark.django_db(transaction=True)
def test_control_without_the_lock_before_looking_the_level_is_noted_as_lost(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlocked(program: Any, people: list[int], now: datetime) -> list[TierStanding]:
        return list(TierStanding.objects.filter(program=program, person__in=people))

    world, locked = make_world(), standings._locked_standings

    def locked_for_the_first_claim(*arguments: Any) -> list[TierStanding]:
        is_first = threading.current_thread() is threading.main_thread()
        return (locked if is_first else unlocked)(*arguments)

    monkeypatch.setattr(standings, "_locked_standings", locked_for_the_first_claim)
    a_level_is_earned_again_as_it_falls(world, monkeypatch)
    assert TierStanding.objects.get().rank == -1


def test_claim_whose_tier_points_finance_undid_by_itself_can_be_reversed(world: World) -> None:
    club(every="year")
    hundred_points(world)
    made = world.claim(world.ann).claim
    assert made is not None
    [row] = made.payments
    transfer_id = int(row["transfer_id"])
    asked = reversals.request_reversal(transfer_id, actor=world.marla, reason="The wrong one")
    reversals.approve(asked.pk, actor=world.mo)
    reversing.reverse(made.pk, actor=None, reason="The order was cancelled")
    made.refresh_from_db()
    assert made.state == "reversed"
