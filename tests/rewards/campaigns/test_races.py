"""Many claim at once. Each guard is shown to be needed: without it the same race goes wrong."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import User
from edge.problems import Refusal
from rewards.campaigns import (
    claiming,
    counting,
    deciding,
    knowing,
    paying,
    publishing,
    results,
    reversing,
)
from rewards.campaigns.models import CampaignBudget, Claim, Counted
from rewards.campaigns.results import liability
from rewards.campaigns.rush.batch import claim_all
from rewards.campaigns.rush.reading import Wish
from rewards.campaigns.verifying import verify
from tests.rewards.campaigns.conftest import NOW, TEN_POINTS, World, crowd, make_world
from tests.rewards.campaigns.test_claiming import BOTH_SIDES
from wallet.expiry import expire_due
from wallet.models import Account

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(transactional_db: None) -> World:
    return make_world()


def at_once(deeds: Sequence[Callable[[], str]]) -> Counter[str]:
    """Do everything at the same moment; count the answers."""
    start = threading.Barrier(len(deeds))

    def one(deed: Callable[[], str]) -> str:
        try:
            start.wait()
            return deed()
        except Refusal as refusal:
            return refusal.code
        finally:
            connection.close()

    with ThreadPoolExecutor(len(deeds)) as pool:
        return Counter(pool.map(one, deeds))


def claims(world: World, people: Sequence[User], code: str = "WELCOME", **wish: Any) -> Any:
    return [lambda person=person: world.says(person, code, **wish) for person in people]


def fifty_want_twenty(world: World) -> Counter[str]:
    """A budget of 200 points, 10 a claim."""
    return at_once(claims(world, crowd(50)))


def test_fifty_people_share_a_budget_for_twenty(world: World) -> None:
    world.campaign(budgets={"POINTS": 200})
    assert fifty_want_twenty(world) == {"granted": 20, "budget_exhausted": 30}
    assert (world.budget(), Claim.objects.count()) == (0, 20)
    assert verify() == []


def test_control_without_the_floor_of_the_budget_account_it_oversells(world: World) -> None:
    """Everybody looks before anybody pays; the ledger's floor is what says no."""
    world.campaign(budgets={"POINTS": 200})
    Account.objects.filter(pk=CampaignBudget.objects.get().account_id).update(floor=None)
    seen = fifty_want_twenty(world)
    assert seen["granted"] > 20
    assert world.budget() < 0


def test_fifty_people_share_twenty_units_of_a_series(world: World) -> None:
    lines = "".join(f"CODE-{number:03}\n" for number in range(20))
    assert world.vouchers.offer("code\n" + lines).is_clean
    world.campaign(effects=[{"is": "units", "series": "DRINK"}], budgets={"DRINK": 20})
    assert fifty_want_twenty(world) == {"granted": 20, "budget_exhausted": 30}


ONCE = [{"per": "person", "most": 1}]


def test_one_person_asks_twenty_times_and_gets_one(world: World) -> None:
    world.campaign(limits=ONCE)
    assert at_once(claims(world, [world.ann] * 20)) == {"granted": 1, "limit_person": 19}
    assert world.balance(world.ann) == 10


def test_control_without_the_lock_on_counters_one_person_gets_several(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.campaign(limits=ONCE)
    # The row is there already, so that nothing else makes them wait for one another: not even
    # an INSERT that does nothing, which would wait for whoever is changing the row.
    world.claim(world.ann, request=uuid4())
    reversing.reverse(Claim.objects.get().pk, actor=None, reason="control")
    bare = "SELECT $1::bigint[], $2::varchar[], $3::varchar[]"
    monkeypatch.setattr(counting, "LOCK", bare)
    decided, pay = threading.Barrier(2), paying.pay

    def pay_together(*arguments: Any) -> Any:
        with suppress(threading.BrokenBarrierError):
            decided.wait(5)
        return pay(*arguments)

    monkeypatch.setattr(paying, "pay", pay_together)
    assert at_once(claims(world, [world.ann] * 20))["granted"] > 1


def both_doors(world: World, *, patience_s: float) -> tuple[Counter[str], int]:
    """One person asks a batch and the single door at once; the batch has read and waits."""
    has_read, may_go_on = threading.Event(), threading.Event()
    read_rows = counting.read_rows

    def slow(counters: Any) -> Any:
        rows = read_rows(counters)
        if threading.current_thread() is crowd_thread:
            has_read.set()
            may_go_on.wait(30)
        return rows

    def together() -> None:
        wishes = [
            Wish(campaign="WELCOME", person=world.ann.pk, request=uuid4().bytes) for _ in range(3)
        ]
        with transaction.atomic():
            told.extend(type(each).__name__ for each in claim_all(wishes, NOW))
        connection.close()

    def single() -> None:
        told.append(world.says(world.ann))
        connection.close()

    told: list[str] = []
    crowd_thread = threading.Thread(target=together)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "read_rows", slow)
        crowd_thread.start()
        has_read.wait(10)
        alone = threading.Thread(target=single)
        alone.start()
        alone.join(patience_s)
        may_go_on.set()
        crowd_thread.join()
        alone.join()
    return Counter(told), Claim.objects.count()


def test_a_batch_and_the_single_door_keep_one_limit_together(world: World) -> None:
    world.campaign(limits=ONCE)
    told, made = both_doors(world, patience_s=0.3)
    assert (told, made) == ({"Granted": 1, "Denied": 2, "limit_person": 1}, 1)
    assert verify() == []


def test_control_without_the_turn_of_a_batch_one_person_gets_two(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.campaign(limits=ONCE)
    monkeypatch.setattr(claiming, "HOLD", claiming.HOLD.replace(counting.TURN_TOGETHER, "NULL"))
    told, made = both_doors(world, patience_s=20)
    assert (told["Granted"], told["granted"], made) == (1, 1, 2)


def test_a_reversal_beside_a_batch_is_not_forgotten(world: World) -> None:
    world.campaign(limits=[{"per": "person", "most": 5}])
    first = world.claim(world.ann).claim
    assert first is not None
    read_rows = counting.read_rows

    def undo() -> None:
        reversing.reverse(first.pk, actor=None, reason="meanwhile")
        connection.close()

    def reversed_meanwhile(counters: Any) -> Any:
        rows = read_rows(counters)
        patch.setattr(counting, "read_rows", read_rows)
        thread = threading.Thread(target=undo)
        thread.start()
        thread.join(10)
        return rows

    with pytest.MonkeyPatch.context() as patch, transaction.atomic():
        patch.setattr(counting, "read_rows", reversed_meanwhile)
        claim_all([Wish(campaign="WELCOME", person=world.ann.pk, request=uuid4().bytes)], NOW)
    assert Counted.objects.get(person=world.ann.pk, period="ever").used == 1
    assert verify() == []


def mission_asked_for_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Two claims of one mission: both have read what was done before either is granted."""
    rule = {"is": "did", "event": "check_in", "times": 3, "since_claim": True}
    world.campaign(rule=rule)
    for hours in (1, 2, 3):
        world.did(world.ann, "check_in", NOW - timedelta(hours=hours))
    have_read, facts_of = threading.Barrier(2), knowing.facts_of

    def read_together(*arguments: Any, **more: Any) -> Any:
        facts = facts_of(*arguments, **more)
        have_read.wait(30)
        return facts

    monkeypatch.setattr(claiming, "facts_of", read_together)
    return at_once(claims(world, [world.ann] * 2))


def test_a_mission_pays_once_however_often_it_is_asked_for_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = mission_asked_for_twice(world, monkeypatch)
    assert told == {"granted": 1, "rule_not_met": 1}
    assert world.balance(world.ann) == 10


def test_control_without_the_locked_counters_times_a_mission_pays_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "_as_counted", lambda facts, version, counts: facts)
    assert mission_asked_for_twice(world, monkeypatch) == {"granted": 2}


def test_limit_of_the_campaign_holds_for_a_crowd(world: World) -> None:
    world.campaign(limits=[{"per": "campaign", "window": "day", "most": 7}])
    assert at_once(claims(world, crowd(30))) == {"granted": 7, "limit_campaign": 23}


def test_group_holds_across_campaigns(world: World) -> None:
    for code in ("A", "B", "C", "D"):
        world.campaign(code, group="hello")
    deeds = [deed for code in "ABCD" for deed in claims(world, [world.ann] * 4, code)]
    assert at_once(deeds) == {"granted": 1, "group_used": 15}


def test_order_pays_once_whoever_is_faster(world: World) -> None:
    world.campaign(needs_order=True)
    world.order(world.ann, "o-1", 500)
    seen = at_once(claims(world, [world.ann] * 10, order_key="o-1"))
    assert seen == {"granted": 1, "order_used": 9}


def test_same_request_at_once_is_one_claim(world: World) -> None:
    world.campaign()
    request: UUID = uuid4()
    seen = at_once(claims(world, [world.ann] * 10, request=request))
    assert (seen, Claim.objects.count(), world.balance(world.ann)) == ({"granted": 10}, 1, 10)


def test_person_is_referred_once(world: World) -> None:
    effects = [*TEN_POINTS, {"is": "points", "asset": "POINTS", "amount": 5, "to": "referrer"}]
    world.campaign(referral={}, effects=effects)
    deeds = claims(world, [world.ann] * 5, referrer="ben")
    deeds += claims(world, [world.ann] * 5, referrer="marla")
    assert at_once(deeds) == {"granted": 1, "already_referred": 9}
    assert world.balance(world.ben) + world.balance(world.marla) == 5


def each_refers_the_other(world: World, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Two claims at once: both have looked for a referral the other way, and found none."""
    world.campaign(**BOTH_SIDES)
    have_looked, referrer_of = threading.Barrier(2), knowing.referrer_of

    def look_together(*arguments: Any) -> Any:
        found = referrer_of(*arguments)
        have_looked.wait(30)
        return found

    monkeypatch.setattr(claiming, "referrer_of", look_together)
    one, other = (
        claims(world, [world.ann], referrer="ben"),
        claims(world, [world.ben], referrer="ann"),
    )
    return at_once([*one, *other])


def test_two_people_who_refer_each_other_at_once_get_it_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = each_refers_the_other(world, monkeypatch)
    assert told == {"granted": 1, "self_referral": 1}
    assert {world.balance(world.ann), world.balance(world.ben)} == {10, 25}


def test_control_without_the_counter_of_the_pair_both_are_paid(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds_of = deciding.bounds_of

    def without_pair(*arguments: Any) -> Any:
        return [each for each in bounds_of(*arguments) if not each[0].scope.startswith("pair:")]

    monkeypatch.setattr(deciding, "bounds_of", without_pair)
    assert each_refers_the_other(world, monkeypatch) == {"granted": 2}


def test_claim_is_reversed_once(world: World) -> None:
    world.campaign()
    made = world.claim(world.ann).claim
    assert made is not None

    def undo() -> str:
        reversing.reverse(made.pk, actor=None, reason="twice")
        return "reversed"

    assert at_once([undo] * 8) == {"reversed": 1, "claim_reversed": 7}
    assert world.budget() == 1_000


# -- a campaign ends while claims are in flight -------------------------------------------------


def end_in_the_middle(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A claim has been decided and not yet paid when somebody ends the campaign."""
    decided, ended, order = threading.Event(), threading.Event(), []
    pay = paying.pay

    def slow_pay(*arguments: Any) -> Any:
        decided.set()
        ended.wait(0.5)
        return pay(*arguments)

    monkeypatch.setattr(paying, "pay", slow_pay)

    def claim() -> None:
        order.append(world.says(world.ann))
        connection.close()

    def end() -> None:
        decided.wait(10)
        publishing.end("WELCOME", actor=None, reason="Now")
        order.append("ended")
        ended.set()
        connection.close()

    threads = [threading.Thread(target=claim), threading.Thread(target=end)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return order


def test_end_waits_for_the_claim_in_flight_and_lets_no_other_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.campaign()
    assert end_in_the_middle(world, monkeypatch) == ["granted", "ended"]
    assert (world.says(world.ben), world.budget()) == ("campaign_ended", 0)
    assert verify() == []


def test_control_without_the_hold_the_end_overtakes_the_claim(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.campaign()
    monkeypatch.setattr(claiming, "HOLD", claiming.HOLD.replace("FOR SHARE", ""))
    assert end_in_the_middle(world, monkeypatch)[0] == "ended"


def test_crowd_meets_the_end_and_every_point_is_where_it_should_be(world: World) -> None:
    world.campaign()

    def end() -> str:
        publishing.end("WELCOME", actor=None, reason="Now")
        return "ended"

    seen = at_once([*claims(world, crowd(25)), end])
    assert seen["granted"] + seen["campaign_ended"] == 25
    assert (Claim.objects.count(), world.budget()) == (seen["granted"], 0)
    assert verify() == []


def test_claims_and_reversals_in_all_orders_never_wait_in_a_circle(world: World) -> None:
    limits = [{"per": "person", "window": "day", "most": 50},
              {"per": "campaign", "window": "day", "most": 500}]  # fmt: skip
    world.campaign("A", limits=limits)
    world.campaign("B", limits=limits, group=None)
    people = [world.ann, world.ben, world.marla]
    made = [world.claim(person, "A").claim for person in people * 3]

    def undo(id: int) -> str:
        reversing.reverse(id, actor=None, reason="storm")
        return "reversed"

    undos = [lambda id=each.pk: undo(id) for each in made if each]
    seen = at_once([*claims(world, people * 4, "A"), *claims(world, people * 4, "B"), *undos])
    assert seen == {"granted": 24, "reversed": 9}
    assert verify() == []


def test_transaction_that_fails_leaves_nothing(world: World) -> None:
    world.campaign()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        world.claim(world.ann)
        raise ZeroDivisionError
    assert (world.budget(), world.balance(world.ann)) == (1_000, 0)
    assert verify() == []


def test_points_that_lapse_go_to_breakage_and_leave_the_campaigns_liability(world: World) -> None:
    effects = [{"is": "points", "asset": "POINTS", "amount": 10, "expires_after_days": 1}]
    world.campaign(effects=effects)
    world.claim(world.ann)
    assert expire_due(now=NOW + timedelta(days=2)).expiry_count == 1
    breakage = Account.objects.get(kind="breakage", asset=world.points)
    assert (world.balance(world.ann), breakage.balance) == (0, 10)
    # The campaign was funded by today's clock, whatever day that is.
    later = max(NOW, timezone.now()) + timedelta(days=3)
    [row] = liability("POINTS", later)["rows"]
    assert (row["campaign"], row["expired"], row["outstanding"]) == ("WELCOME", 10, 0)
    assert verify() == []


# -- reading beside claims ----------------------------------------------------------------------


def liability_beside_a_claim(world: World) -> Any:
    """A claim commits after the report has read what moved and before it reads what is held."""
    world.campaign()
    world.claim(world.ben)
    held, claimed = results._held, list[str]()

    def claim() -> None:
        claimed.append(world.says(world.ann))
        connection.close()

    def then_read(*arguments: Any) -> Any:
        thread = threading.Thread(target=claim)
        thread.start()
        thread.join(30)
        assert claimed == ["granted"]
        return held(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "_held", then_read)
        return liability("POINTS", max(NOW, timezone.now()) + timedelta(days=1))


def test_liability_is_of_one_moment_beside_a_claim(world: World) -> None:
    found = liability_beside_a_claim(world)
    assert [row["outstanding"] for row in found["rows"]] == [10] == [found["wallets"]]


def test_control_without_a_snapshot_the_liability_does_not_tie(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "one_snapshot", transaction.atomic)
    with pytest.raises(results.LiabilityDoesNotTie):
        liability_beside_a_claim(world)
