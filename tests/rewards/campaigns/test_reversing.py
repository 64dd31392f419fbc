"""A claim that is undone is undone whole, or not at all."""

from __future__ import annotations

import pytest

from edge.problems import Refusal
from rewards.campaigns import publishing, reversing
from rewards.campaigns.models import CampaignBudget, Counted
from rewards.campaigns.verifying import verify
from tests.rewards.campaigns.conftest import TEN_POINTS, World, everything
from wallet import points
from wallet.models import Account


def test_reversal_gives_back_money_and_limits(world: World) -> None:
    world.campaign(limits=[{"per": "person", "most": 1}])
    made = world.claim(world.ann).claim
    assert made is not None
    assert world.says(world.ann) == "limit_person"
    _, taken = reversing.reverse(made.pk, actor=world.mo, reason="A mistake")
    assert taken == [{"asset": "POINTS", "person": str(world.ann.pk), "taken": 10, "owed": 0}]
    assert (world.balance(world.ann), world.budget()) == (0, 1_000)
    assert not Counted.objects.filter(used__gt=0).exists()
    with pytest.raises(Refusal) as refused:
        reversing.reverse(made.pk, actor=world.mo, reason="Again")
    assert refused.value.code == "claim_reversed"
    assert world.says(world.ann) == "granted"


def test_reversal_of_spent_points_leaves_a_debt_that_the_next_claim_pays(world: World) -> None:
    from wallet.people import pay

    world.campaign()
    made = world.claim(world.ann).claim
    assert made is not None
    pay(sender=world.ann, to="ben", asset="POINTS", amount=8, memo="", key="gift")
    _, [taken] = reversing.reverse(made.pk, actor=world.mo, reason="Fraud")
    assert (taken["taken"], taken["owed"]) == (2, 8)
    assert world.budget() == 1_000
    world.claim(world.ann)
    assert (world.balance(world.ann), world.balance(world.ann, kind="owed")) == (2, 0)


def test_what_comes_back_to_a_campaign_that_is_over_goes_on_to_its_source(world: World) -> None:
    effects = [*TEN_POINTS, {"is": "discount", "asset": "EUR", "amount": 300}]
    world.campaign(effects=effects, budgets={"POINTS": 100, "EUR": 1_000}, needs_order=True)
    world.order(world.ann, "o-1", 500)
    made = world.claim(world.ann, order_key="o-1").claim
    assert made is not None
    publishing.end("WELCOME", actor=world.mo, reason="Over")
    reversing.reverse(made.pk, actor=None, reason="Mistake")
    assert (world.budget(), world.budget(asset="EUR"), world.balance(world.ann)) == (0, 0, 0)
    sources = Account.objects.filter(kind__in=["issuance", "promotion"])
    assert set(sources.values_list("asset__code", "balance")) >= {("POINTS", 0), ("EUR", 0)}
    assert set(CampaignBudget.objects.values_list("funded", flat=True)) == {0}
    assert verify() == []


def test_claim_that_finance_took_a_part_of_stands(world: World) -> None:
    world.campaign()
    made = world.claim(world.ann).claim
    assert made is not None
    grant = int(made.payments[0]["transfer_id"])
    points.clawback(grant, actor=None, reason="Finance", amount=3)
    assert (world.balance(world.ann), world.budget(), verify()) == (7, 993, [])
    before = everything()
    with pytest.raises(Refusal) as refused:
        reversing.reverse(made.pk, actor=None, reason="Mistake")
    assert refused.value.code == "reward_taken_back"
    assert everything() == before


def test_reversal_of_units_that_are_gone_is_refused_whole(world: World) -> None:
    from wallet.people import pay

    world.vouchers.offer("code\nAAAA-1\n")
    effects = [*TEN_POINTS, {"is": "units", "series": "DRINK"}]
    world.campaign(effects=effects, budgets={"POINTS": 100, "DRINK": 1})
    made = world.claim(world.ann).claim
    assert made is not None
    pay(sender=world.ann, to="ben", asset="DRINK", amount=1, memo="", key="gift")
    before = everything()
    with pytest.raises(Refusal) as refused:
        reversing.reverse(made.pk, actor=world.mo, reason="Fraud")
    assert refused.value.code == "reward_spent"
    assert everything() == before
    pay(sender=world.ben, to="ann", asset="DRINK", amount=1, memo="", key="back")
    reversing.reverse(made.pk, actor=world.mo, reason="Fraud")
    assert (world.budget(asset="DRINK"), world.vouchers.units(world.ann)) == (1, 0)
