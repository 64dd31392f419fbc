"""Two accounts of one person become one, and get nothing twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from edge.problems import Refusal
from rewards.campaigns import counting, people, reversing
from rewards.campaigns.crowds import from_history
from rewards.campaigns.directory import version_of
from rewards.campaigns.models import CampaignVersion, Counted, MergedPerson
from rewards.campaigns.verifying import verify
from tests.rewards.campaigns.conftest import NOW, World, everything, make_world, refusals
from tests.rewards.campaigns.test_claiming import BOTH_SIDES
from tests.rewards.campaigns.test_rush import claimed, says, wish

ONCE = [{"per": "person", "most": 1}]


def merge(world: World) -> None:
    """Ben goes on for Ann."""
    people.merge(old=world.ann, new=world.ben, actor=world.marla, reason="One person")


@pytest.mark.django_db
def test_the_old_account_claims_no_more_by_either_door(world: World) -> None:
    world.campaign(limits=ONCE)
    merge(world)
    before = everything()
    assert world.says(world.ann) == "account_merged"
    assert [says(each) for each in claimed(wish(world.ann))] == ["account_merged"]
    assert everything() == before
    assert refusals() == ["account_merged"] * 2
    assert world.says(world.ben) == "granted"


@pytest.mark.django_db
def test_the_old_account_still_gets_the_answers_it_had(world: World) -> None:
    world.campaign()
    request = uuid4()
    first = world.claim(world.ann, request=request).claim
    merge(world)
    again = world.claim(world.ann, request=request)
    assert (again.is_replay, again.claim) == (True, first)
    assert [says(each) for each in claimed(wish(world.ann, request=request))] == ["granted"]


@pytest.mark.django_db
def test_nobody_refers_themselves_by_their_old_account(world: World) -> None:
    world.campaign(**BOTH_SIDES)
    merge(world)
    assert world.says(world.ben, referrer="ann") == "self_referral"
    [told] = claimed(wish(world.ben, referrer="ann"))
    assert says(told) == "self_referral"
    assert verify() == []


@pytest.mark.django_db
def test_who_goes_on_is_paid_for_a_referral_by_the_old_name(world: World) -> None:
    world.campaign(**BOTH_SIDES)
    merge(world)
    request = uuid4()
    for _ in range(2):
        [told] = claimed(wish(world.marla, referrer="ann", request=request))
        assert says(told) == "granted"
    assert (world.balance(world.ann), world.balance(world.ben)) == (0, 25)
    assert world.says(world.ben, referrer="marla") == "self_referral"


@pytest.mark.django_db
def test_a_referral_by_the_old_account_is_none_the_other_way_round(world: World) -> None:
    world.campaign(**BOTH_SIDES)
    assert world.says(world.ann, referrer="marla") == "granted"
    merge(world)
    assert world.says(world.marla, referrer="ben") == "self_referral"


@pytest.mark.django_db
def test_a_crowd_out_of_history_comes_as_who_goes_on(world: World) -> None:
    world.campaign()
    world.claim(world.ann)
    merge(world)
    version = version_of(CampaignVersion.objects.get(), "WELCOME")
    [visit] = from_history(version, days=30, people=10, now=NOW + timedelta(days=1))
    assert (visit.facts.person, visit.facts.is_merged) == (world.ben.pk, False)


@pytest.mark.django_db
def test_an_account_is_merged_once(world: World) -> None:
    merge(world)
    for old, new in ((world.ann, world.marla), (world.marla, world.ann)):
        with pytest.raises(Refusal) as refused:
            people.merge(old=old, new=new, actor=None, reason="Again")
        assert refused.value.code == "account_merged"
    assert list(MergedPerson.objects.values_list("old", "new")) == [(world.ann.pk, world.ben.pk)]


# -- beside claims and reversals ----------------------------------------------------------------


def claim_beside_a_merge(world: World) -> None:
    """Ann's first claim is written and has not committed when she merges."""
    world.campaign(limits=ONCE)
    written, may_commit = threading.Event(), threading.Event()

    def claim() -> None:
        with transaction.atomic():
            world.claim(world.ann)
            written.set()
            may_commit.wait(30)
        connection.close()

    def merging() -> None:
        merge(world)
        connection.close()

    threads = [threading.Thread(target=claim), threading.Thread(target=merging)]
    threads[0].start()
    written.wait(30)
    threads[1].start()
    threads[1].join(0.5)
    may_commit.set()
    for thread in threads:
        thread.join(30)


@pytest.mark.django_db(transaction=True)
def test_a_claim_beside_a_merge_is_counted_with_who_goes_on(transactional_db: None) -> None:
    world = make_world()
    claim_beside_a_merge(world)
    assert verify() == []
    assert world.says(world.ben) == "limit_person"


@pytest.mark.django_db(transaction=True)
def test_control_without_the_campaigns_turns_a_claim_stays_behind(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    monkeypatch.setattr(people, "HOLD_CAMPAIGNS", "SELECT 1")
    claim_beside_a_merge(world)
    assert Counted.objects.filter(person=world.ann.pk).exists()
    assert verify() != []


def meanwhile(world: World, deed: Callable[[], object]) -> list[str]:
    """Accounts have merged and not committed while somebody does something else."""
    order: list[str] = []

    def work() -> None:
        try:
            deed()
            order.append("done")
        except IntegrityError:
            order.append("broken")
        connection.close()

    thread = threading.Thread(target=work)
    with transaction.atomic():
        merge(world)
        thread.start()
        thread.join(0.5)
        order.append("merged")
    thread.join(30)
    return order


def reversal_beside_a_merge(world: World) -> list[str]:
    world.campaign(limits=ONCE)
    made = world.claim(world.ann).claim
    assert made is not None
    return meanwhile(world, lambda: reversing.reverse(made.pk, actor=None, reason="Mistake"))


@pytest.mark.django_db(transaction=True)
def test_a_reversal_waits_for_a_merge_and_counts_down_where_it_went(transactional_db: None) -> None:
    world = make_world()
    assert reversal_beside_a_merge(world) == ["merged", "done"]
    assert verify() == []
    assert world.says(world.ben) == "granted"


@pytest.mark.django_db(transaction=True)
def test_control_without_waiting_the_reversal_finds_no_counter(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "MERGE_LATER", "SELECT 1")
    assert reversal_beside_a_merge(make_world()) == ["merged", "broken"]


@pytest.mark.django_db(transaction=True)
def test_nothing_is_published_while_accounts_merge(transactional_db: None) -> None:
    world = make_world()
    assert meanwhile(world, world.campaign) == ["merged", "done"]
