"""A crowd's claims decided together come to what they come to one by one."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from django.db import transaction
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from accounts.models import User
from edge.idempotency import claim_of
from edge.idempotency_keys import name_of
from edge.problems import Refusal
from rewards.campaigns import publishing, reversing, standings
from rewards.campaigns.models import Claim, Counted, TierStanding
from rewards.campaigns.rush import answers
from rewards.campaigns.rush.batch import Denied, Granted, Outcome, claim_all
from rewards.campaigns.rush.commands import shard_of
from rewards.campaigns.rush.reading import Wish
from tests.rewards.campaigns.conftest import NOW, World, crowd, everything, refusals
from tests.rewards.campaigns.test_claiming import BOTH_SIDES
from wallet.models import Account

pytestmark = pytest.mark.django_db


def wish(who: User, campaign: str = "WELCOME", **more: Any) -> Wish:
    request = more.pop("request", uuid4()).bytes
    return Wish(campaign=campaign, person=who.pk, request=request, **more)


def claimed(*wishes: Wish) -> list[Outcome]:
    with transaction.atomic():
        return claim_all(wishes, NOW)


def says(outcome: Outcome) -> str:
    if isinstance(outcome, Granted):
        return "granted"
    return outcome.refused.code if isinstance(outcome, Denied) else outcome.code


def test_a_budget_pays_as_many_as_it_can_in_order_of_arrival(world: World) -> None:
    world.campaign(budgets={"POINTS": 30})
    people = crowd(5)
    told = [says(outcome) for outcome in claimed(*map(wish, people))]
    assert told == ["granted"] * 3 + ["budget_exhausted"] * 2
    assert [world.balance(each) for each in people] == [10, 10, 10, 0, 0]
    assert world.budget() == 0
    assert refusals() == ["budget_exhausted"] * 2


def test_a_limit_holds_within_one_batch(world: World) -> None:
    world.campaign(limits=[{"most": 2, "per": "person", "window": "day"}])
    told = [says(outcome) for outcome in claimed(*(wish(world.ann) for _ in range(4)))]
    assert told == ["granted", "granted", "limit_person", "limit_person"]
    assert world.balance(world.ann) == 20


def test_a_reversal_forgets_one_of_two_grants_of_one_moment(world: World) -> None:
    world.campaign(velocity={"most": 2, "within_s": 3600})
    first, _ = claimed(wish(world.ann), wish(world.ann))
    assert isinstance(first, Granted)
    assert world.says(world.ann) == "too_fast"
    reversing.reverse(first.claim.pk, actor=None, reason="Mistake")
    said = [world.says(world.ann, now=NOW + timedelta(seconds=second)) for second in (1, 2)]
    assert said == ["granted", "too_fast"]


def test_two_people_who_refer_each_other_in_one_batch_get_it_once(world: World) -> None:
    world.campaign(**BOTH_SIDES)
    told = claimed(wish(world.ann, referrer="ben"), wish(world.ben, referrer="ann"))
    assert [says(each) for each in told] == ["granted", "self_referral"]
    assert (world.balance(world.ann), world.balance(world.ben)) == (10, 25)


def test_the_same_request_gets_the_same_claim_in_one_batch_and_in_the_next(world: World) -> None:
    world.campaign()
    once = wish(world.ann)
    first, second = claimed(once, once)
    [third] = claimed(once)
    assert isinstance(first, Granted) and isinstance(second, Granted)
    assert isinstance(third, Granted) and third.is_replay
    assert first.claim.pk == second.claim.pk == third.claim.pk
    assert world.balance(world.ann) == 10


def test_a_request_used_for_something_else_is_refused_and_moves_nothing(world: World) -> None:
    world.campaign()
    request = uuid4()
    claimed(wish(world.ann, request=request))
    before = everything()
    [again] = claimed(wish(world.ann, request=request, channel="app"))
    twice = uuid4()
    _, other = claimed(
        wish(world.ben, "NOTHING", request=twice),
        wish(world.ben, "NOTHING", request=twice, channel="app"),
    )
    assert isinstance(again, Refusal) and again.code == "idempotency_key_reused"
    assert says(other) == "idempotency_key_reused"
    assert everything() == before


def test_a_request_is_the_same_however_its_referrer_is_written(world: World) -> None:
    world.campaign(**BOTH_SIDES)
    request = uuid4()
    [first] = claimed(wish(world.ann, request=request, referrer=" @Ben"))
    [again] = claimed(wish(world.ann, request=request, referrer="ben "))
    [other] = claimed(wish(world.ann, request=request, referrer="marla"))
    assert isinstance(first, Granted) and isinstance(again, Granted) and again.is_replay
    assert says(other) == "idempotency_key_reused"


def test_a_referrer_that_no_handle_can_be_is_unknown(world: World) -> None:
    world.campaign(**BOTH_SIDES)
    before = everything()
    told = claimed(wish(world.ann, referrer="b\0n"), wish(world.ann, referrer="nobody_here"))
    assert [says(each) for each in told] == ["person_unknown"] * 2
    assert everything() == before


def test_a_claim_made_on_the_web_is_known_here(world: World) -> None:
    world.campaign()
    request = uuid4()
    made = world.claim(world.ann, request=request).claim
    [again] = claimed(wish(world.ann, request=request))
    assert made is not None and isinstance(again, Granted)
    assert (again.claim.pk, again.is_replay) == (made.pk, True)


def test_a_wallet_that_may_not_receive_is_refused_alone(world: World) -> None:
    world.campaign()
    people = crowd(3)
    world.claim(people[1])
    Account.objects.filter(owner=people[1], asset=world.points).update(ceiling=10)
    wishes = [wish(each) for each in people]
    told: list[str] = []
    while wishes:
        outcomes = claimed(*wishes)
        told += map(says, outcomes)
        wishes = wishes[len(outcomes) :]
    assert told == ["granted", "ceiling_exceeded", "granted"]
    assert [world.balance(each) for each in people] == [10, 10, 10]


def test_what_cannot_be_claimed_at_all_says_why(world: World) -> None:
    world.campaign("PAUSED")
    publishing.pause("PAUSED", actor=world.mo, reason="a look")
    publishing.create(code="DRAFT", title="Draft", actor=world.marla)
    told = claimed(
        wish(world.ann, "PAUSED"), wish(world.ann, "DRAFT"), wish(world.ann, "NONE"),
    )  # fmt: skip
    assert [says(each) for each in told] == [
        "campaign_paused", "campaign_unknown", "campaign_unknown",
    ]  # fmt: skip


def test_the_answer_is_the_one_the_web_gives(world: World) -> None:
    chance = {
        "is": "chance",
        "outcomes": [
            {"weight": 1, "title": "Ten", "effects": [
                {"is": "points", "asset": "POINTS", "amount": 10, "expires_after_days": 30}]},
            {"weight": 1, "title": "Nothing", "effects": []},
        ],
    }  # fmt: skip
    world.campaign(effects=[chance, {"is": "points", "asset": "POINTS", "amount": 1}])
    [outcome] = claimed(wish(world.ann, order_key="", channel="app"))
    assert isinstance(outcome, Granted)
    from rewards.campaigns.api.serializers import ClaimOut

    stored = Claim.objects.select_related("campaign", "version").get(pk=outcome.claim.pk)
    ours = answers.claim_json(outcome.claim, outcome.campaign, outcome.version)
    theirs = ClaimOut(stored).data
    assert msgspec.json.decode(msgspec.json.encode(ours)) == msgspec.json.decode(
        msgspec.json.encode(dict(theirs), enc_hook=dict)
    )


def test_a_request_is_named_as_the_web_names_it() -> None:
    asked = APIRequestFactory().post(
        "/api/v1/campaigns/X/claims/", {}, format="json", headers={"Idempotency-Key": "key"}
    )
    asked.user = User(pk=7)
    request = Request(asked, parsers=[JSONParser()])
    request.user = asked.user
    assert name_of(7, "POST", "/api/v1/campaigns/X/claims/", "key") == claim_of(request).digest


def test_tier_points_of_a_crowd_raise_levels_in_as_many_statements_as_those_of_two(
    world: World, django_assert_max_num_queries: Any
) -> None:
    levels = [{"code": "bronze", "title": "Bronze", "threshold": 20}]
    standings.create_program(
        code="club", title="Club", levels=levels, every="year", time_zone="UTC", actor=None
    )
    world.campaign(effects=[{"is": "tier_points", "program": "club", "amount": 20}], budgets={})
    gold = {"is": "tier", "program": "club", "at_least": "bronze"}
    world.campaign("GOLD", rule=gold)
    people = crowd(30)
    assert {says(each) for each in claimed(*(wish(who, "GOLD") for who in people))} == {
        "rule_not_met"
    }
    with django_assert_max_num_queries(40):
        assert {says(each) for each in claimed(*map(wish, people))} == {"granted"}
    with django_assert_max_num_queries(40):
        told = {says(each) for each in claimed(*(wish(who, "GOLD") for who in people))}
    assert told == {"granted"}
    assert TierStanding.objects.filter(rank=0).count() == 30


def test_campaigns_are_spread_over_the_writers() -> None:
    assert shard_of("X", 1) == 0
    assert {shard_of(f"C{number}", 4) for number in range(50)} == {0, 1, 2, 3}


CAMPAIGNS: dict[str, dict[str, Any]] = {
    "ONCE": {"limits": [{"most": 1, "per": "person", "window": "ever"}]},
    "FEW": {"limits": [{"most": 7, "per": "campaign", "window": "day"}]},
    "FAST": {"velocity": {"most": 2, "within_s": 3600}},
    "GROUP1": {"group": "either"},
    "GROUP2": {"group": "either"},
    "AFTER": {"rule": {"is": "claimed", "campaign": "ONCE", "at_least": 1}},
    "POOR": {"budgets": {"POINTS": 60}},
}


@pytest.mark.parametrize("seed", range(6))
def test_together_and_one_by_one_come_to_the_same(world: World, seed: int) -> None:
    for code, terms in CAMPAIGNS.items():
        world.campaign(code, **terms)
    people = crowd(6)
    chosen = random.Random(seed)
    wishes = [
        wish(chosen.choice(people), chosen.choice(list(CAMPAIGNS)), request=UUID(int=number))
        for number in range(1, 61)
    ]
    alone = undone(lambda: [one_by_one(world, people, each) for each in wishes])
    sizes = chosen.choices([1, 3, 20, 60], k=60)

    def together() -> list[str]:
        told: list[str] = []
        while len(told) < len(wishes):
            size = sizes[len(told)]
            told += map(says, claimed(*wishes[len(told) : len(told) + size]))
        return told

    assert undone(together) == alone
    assert len(set(alone[0])) >= 3, "some are granted, and others refused for several reasons"


def one_by_one(world: World, people: list[User], asked: Wish) -> str:
    [person] = [each for each in people if each.pk == asked.person]
    return world.says(person, asked.campaign, request=UUID(bytes=asked.request))


def undone(work: Any) -> tuple[list[str], list[Any], list[Any]]:
    """Do it, say what it came to and what it left behind, and undo it."""
    mark = transaction.savepoint()
    told = work()
    wallets = list(
        Account.objects.order_by("owner_id", "asset_id", "kind", "label").values_list(
            "owner_id", "asset_id", "kind", "label", "balance"
        )
    )
    counters = list(
        Counted.objects.filter(used__gt=0)
        .order_by("person", "scope", "period")
        .values_list("person", "scope", "period", "used", "recent")
    )
    transaction.savepoint_rollback(mark)
    return told, wallets, counters


def test_a_campaign_that_ends_while_claims_wait_gives_no_more(world: World) -> None:
    world.campaign()
    publishing.end("WELCOME", actor=world.mo, reason="over")
    [outcome] = claimed(wish(world.ann))
    assert says(outcome) == "campaign_ended"
