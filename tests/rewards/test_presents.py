"""Units on their way to a friend."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from edge.problems import Refusal
from rewards.models import Present
from rewards.presents import actions
from rewards.presents.actions import Gift
from tests.rewards.conftest import NOW, World, everything
from wallet.holds import expire_holds
from wallet.models import AssetRules

pytestmark = pytest.mark.django_db
LATE = NOW + actions.LIFETIME + timedelta(seconds=1)


def give(world: World, *, amount: int = 1, to: str = "ben", key: UUID | None = None) -> Present:
    gift = Gift(series_code="DRINK", to=to, amount=amount, message="Cheers!")
    present, _ = actions.give(gift, giver=world.ann, request=key or uuid4(), now=NOW)
    return present


def refused(deed: Any, *args: Any, **named: Any) -> str:
    before = everything()
    with pytest.raises(Refusal) as refusal:
        deed(*args, **named)
    assert everything() == before
    return refusal.value.code


@pytest.fixture
def stocked(world: World) -> World:
    world.stock(world.ann, ["AAAA-1111", "BBBB-2222"])
    return world


def test_accepted_present_is_the_friends(stocked: World) -> None:
    present = give(stocked)
    assert (stocked.units(stocked.ann), stocked.units(stocked.ben)) == (1, 0)
    for _ in range(2):
        assert actions.accept(present.pk, receiver=stocked.ben, now=NOW).state == "accepted"
    assert (stocked.units(stocked.ann), stocked.units(stocked.ben)) == (1, 1)
    assert refused(actions.decline, present.pk, receiver=stocked.ben, now=NOW) == "present_moved_on"
    assert refused(actions.take_back, present.pk, giver=stocked.ann, now=NOW) == "present_moved_on"


def test_declined_present_goes_back(stocked: World) -> None:
    present = give(stocked, amount=2)
    assert stocked.units(stocked.ann) == 0
    actions.decline(present.pk, receiver=stocked.ben, now=NOW)
    assert (stocked.units(stocked.ann), stocked.units(stocked.ben)) == (2, 0)


def test_giver_takes_it_back(stocked: World) -> None:
    present = give(stocked)
    actions.take_back(present.pk, giver=stocked.ann, now=NOW)
    assert stocked.units(stocked.ann) == 2
    assert refused(actions.accept, present.pk, receiver=stocked.ben, now=NOW) == "present_moved_on"


def test_present_that_nobody_takes_goes_back_by_itself(stocked: World) -> None:
    present = give(stocked)
    assert refused(actions.accept, present.pk, receiver=stocked.ben, now=LATE) == "present_moved_on"
    assert actions.state_of(present, LATE) == "expired"
    expire_holds(LATE)
    assert stocked.units(stocked.ann) == 2


def test_same_key_gives_once(stocked: World) -> None:
    key = uuid4()
    assert give(stocked, key=key).pk == give(stocked, key=key).pk
    assert stocked.units(stocked.ann) == 1


def test_key_of_another_present_is_refused(stocked: World) -> None:
    key = uuid4()
    made = give(stocked, key=key)
    assert give(stocked, key=key, to="@Ben").pk == made.pk
    assert refused(give, stocked, key=key, amount=2) == "idempotency_key_reused"
    assert refused(give, stocked, key=key, to="marla") == "idempotency_key_reused"


def test_bad_presents_are_refused_and_move_nothing(stocked: World) -> None:
    assert refused(give, stocked, amount=3) == "insufficient_funds"
    assert refused(give, stocked, to="ann") == "present_to_yourself"
    assert refused(give, stocked, to="nobody") == "person_unknown"
    assert refused(give, stocked, amount=0) == "present_invalid"
    present = give(stocked)
    assert refused(actions.accept, present.pk, receiver=stocked.marla, now=NOW) == "present_unknown"
    assert refused(actions.accept, present.pk, receiver=stocked.ann, now=NOW) == "present_unknown"


def test_units_that_may_not_be_passed_on_are_no_present(stocked: World) -> None:
    rules = AssetRules.objects.filter(asset=stocked.drink.asset)
    if not rules.update(is_transferable=False):
        AssetRules.objects.create(asset=stocked.drink.asset, is_transferable=False)
    assert refused(give, stocked) == "not_transferable"
