"""Draws follow their odds, can be counted again by anybody, and nobody can pick them."""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.problems import Refusal
from rewards.campaigns import chance, deciding, publishing
from rewards.campaigns.models import CampaignVersion
from tests.rewards.campaigns.conftest import NOW, START, World, crowd, everything
from tests.rewards.campaigns.test_rush import claimed, says, wish
from wallet.models import Account, Asset
from wallet.problems import LedgerRefusal

DAY = timedelta(days=1)
DRAW = [{"is": "chance", "outcomes": [
    {"weight": 1, "title": "The jackpot", "effects": [
        {"is": "points", "asset": "POINTS", "amount": 100}]},
    {"weight": 3, "title": "A little", "effects": [
        {"is": "points", "asset": "POINTS", "amount": 5}]},
    {"weight": 4, "title": "Nothing", "effects": []},
]}]  # fmt: skip


@given(st.integers(0, (1 << 128) - 1), st.lists(st.integers(1, 1_000), min_size=1, max_size=9))
def test_every_number_means_one_outcome(number: int, weights: list[int]) -> None:
    index = chance.pick(number, weights)
    spread = number * sum(weights) >> 128
    assert sum(weights[:index]) <= spread < sum(weights[: index + 1])


def test_ends_of_the_range_are_the_first_and_the_last_outcome() -> None:
    assert (chance.pick(0, [1, 1]), chance.pick((1 << 128) - 1, [1, 1])) == (0, 1)
    assert (chance.pick((1 << 127) - 1, [1, 1]), chance.pick(1 << 127, [1, 1])) == (0, 1)


def test_many_draws_follow_the_odds() -> None:
    seed, weights, seen = b"seed", [1, 3, 4], [0, 0, 0]
    for person in range(8_000):
        number = chance.draw(seed, version=1, person=person, request="r")
        seen[chance.pick(number, weights)] += 1
    # Five standard deviations: the seed is fixed, so this is no matter of luck.
    for count, share in zip(seen, chance.odds(weights), strict=True):
        assert abs(count - 8_000 * share) < 5 * (8_000 * share * (1 - share)) ** 0.5


def test_draws_can_be_proven_once_the_version_is_over(world: World) -> None:
    world.campaign(effects=DRAW, budgets={"POINTS": 10_000}, ends_at=(NOW + DAY).isoformat())
    claims = [world.claim(person).claim for person in crowd(20)]
    version = CampaignVersion.objects.get()
    with pytest.raises(Refusal) as refused:
        publishing.revealed_seed("WELCOME", 1, now=NOW)
    assert refused.value.code == "seed_secret"
    commitment, seed = publishing.revealed_seed("WELCOME", 1, now=NOW + DAY)
    assert commitment == version.commitment == hashlib.sha256(bytes.fromhex(seed)).hexdigest()
    for claim in claims:
        assert claim is not None
        # As docs/campaigns.md tells anybody to do, with no code of ours.
        name = f"{claim.version_id}:{claim.owner_id}:{claim.request.hex}:0"
        digest = hmac.new(bytes.fromhex(seed), name.encode(), "sha256").hexdigest()
        assert claim.drawn[0]["number"] == digest[:32]
        outcome = int(digest[:32], 16) * 8 >> 128
        assert claim.drawn[0]["outcome"] == (0 if outcome < 1 else 1 if outcome < 4 else 2)
        assert (
            sum(paid["amount"] for paid in claim.payments) == [100, 5, 0][claim.drawn[0]["outcome"]]
        )


def test_seed_is_in_no_row_and_differs_between_versions(world: World) -> None:
    world.campaign(effects=DRAW, budgets={"POINTS": 10_000})
    world.publish("WELCOME", effects=DRAW, budgets={"POINTS": 10_000}, starts_at=NOW.isoformat())
    _, seed = publishing.revealed_seed("WELCOME", 1, now=NOW)
    first, second = CampaignVersion.objects.order_by("number")
    assert first.commitment != second.commitment
    assert bytes.fromhex(seed) != bytes(first.nonce)
    with pytest.raises(Refusal):
        publishing.revealed_seed("WELCOME", 2, now=NOW)


def test_nobody_draws_from_a_budget_that_could_not_pay_the_jackpot(world: World) -> None:
    world.campaign(effects=DRAW, budgets={"POINTS": 120}, starts_at=START.isoformat())
    said = [world.says(person) for person in crowd(60)]
    gone = said.index("budget_exhausted")
    assert set(said[gone:]) == {"budget_exhausted"}
    assert world.budget() < 100


def test_arms_of_a_test_are_stable_and_follow_their_shares() -> None:
    arms = [chance.arm_of("C", person, [3, 1]) for person in range(4_000)]
    assert arms == [chance.arm_of("C", person, [3, 1]) for person in range(4_000)]
    assert abs(sum(arms) - 1_000) < 140
    assert arms != [chance.arm_of("D", person, [3, 1]) for person in range(4_000)]


def gems_or_a_point(world: World) -> None:
    """A draw of a gem, or a point, which Ann's wallet cannot take, or nothing."""
    Asset.objects.create(code="GEMS", name="Gems", kind=Asset.Kind.POINTS)
    world.campaign("FULL")
    world.claim(world.ann, "FULL")
    Account.objects.filter(owner=world.ann, asset=world.points).update(ceiling=10)
    point, gems = ({"is": "points", "asset": asset, "amount": amount}
                   for asset, amount in (("POINTS", 1), ("GEMS", 1)))  # fmt: skip
    outcomes = [{"weight": 2, "title": "A point", "effects": [point]},
                {"weight": 1, "title": "A gem", "effects": [gems]},
                {"weight": 1, "title": "Nothing", "effects": []}]  # fmt: skip
    world.campaign(
        effects=[{"is": "chance", "outcomes": outcomes}], budgets={"POINTS": 1_000, "GEMS": 1_000}
    )


def test_nobody_draws_who_could_not_take_every_outcome(world: World) -> None:
    gems_or_a_point(world)
    before = everything()
    for number in range(100):
        with pytest.raises(LedgerRefusal) as refused:
            world.claim(world.ann, request=UUID(int=number))
        assert refused.value.code == "ceiling_exceeded"
    together = [claimed(wish(world.ann, request=UUID(int=number))) for number in range(100, 120)]
    assert {says(told) for [told] in together} == {"ceiling_exceeded"}
    assert everything() == before
    assert world.says(world.ben) == "granted"


def test_control_without_room_for_all_outcomes_whoever_asks_again_gets_the_dear_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "_at_worst", lambda *_: {})
    gems_or_a_point(world)
    told = set()
    for number in range(100):
        with suppress(LedgerRefusal):
            made = world.claim(world.ann, request=UUID(int=number)).claim
            told.add(made and made.drawn[0]["title"])
    assert told == {"A gem", "Nothing"}


def test_each_draw_of_a_batch_needs_room_beside_those_before_it(world: World) -> None:
    world.campaign("FULL")
    world.claim(world.ann, "FULL")
    wallet = Account.objects.filter(owner=world.ann, asset=world.points)
    wallet.update(ceiling=10 + 30 + 7)
    ten = {"weight": 1, "effects": [{"is": "points", "asset": "POINTS", "amount": 10}]}
    sure = [{"is": "chance", "outcomes": [ten, ten]}]
    world.campaign(effects=sure)
    told = claimed(*(wish(world.ann) for _ in range(5)))
    assert [says(each) for each in told] == ["granted"] * 3
    assert [says(each) for each in claimed(wish(world.ann))] == ["ceiling_exceeded"]
