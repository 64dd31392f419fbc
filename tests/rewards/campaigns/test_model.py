"""Random campaigns, people and deeds against a plain model; then everything from events alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from typing import Any

import msgspec
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from live.models import OutboxEvent
from rewards.campaigns import publishing, reversing
from rewards.campaigns.models import CampaignBudget, Claim, Counted
from rewards.campaigns.results import liability
from rewards.campaigns.verifying import verify
from tests.rewards.campaigns.conftest import NOW, World
from wallet.models import Account
from wallet.people import pay

HOUR = timedelta(hours=1)
_limits = st.lists(
    st.fixed_dictionaries(
        {
            "per": st.sampled_from(["person", "campaign"]),
            "window": st.sampled_from(["ever", "hour", "day", "week", "month"]),
            "most": st.integers(1, 4),
        }
    ),
    max_size=3,
    unique_by=lambda limit: (limit["per"], limit["window"]),
)
_campaign = st.fixed_dictionaries(
    {
        "amount": st.integers(1, 7),
        "budget": st.integers(7, 40),
        "limits": _limits,
        "velocity": st.none()
        | st.fixed_dictionaries({"most": st.integers(1, 3), "within_s": st.integers(1, 7_200)}),
        "group": st.sampled_from([None, "g"]),
    }
)
_deed = st.one_of(
    st.tuples(st.just("claim"), st.integers(0, 2), st.integers(0, 1)),
    st.tuples(st.just("reverse"), st.integers(0, 10), st.just(0)),
    st.tuples(st.just("give"), st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.just("wait"), st.integers(1, 30), st.just(0)),
)


class Model:
    """What anybody would keep on paper: a list of grants, and sums over it."""

    def __init__(self, terms: list[dict[str, Any]]) -> None:
        self.terms = terms
        self.grants: list[dict[str, Any]] = []

    def claim(self, campaign: int, person: int, now: Any) -> str:
        terms = self.terms[campaign]
        standing = [g for g in self.grants if not g["reversed"]]
        own = [g for g in standing if g["campaign"] == campaign]
        mine = [g for g in own if g["person"] == person]
        if terms["group"] and any(
            g["person"] == person and self.terms[g["campaign"]]["group"] for g in standing
        ):
            return "group_used"
        velocity = terms["velocity"]
        if velocity:
            since = now - timedelta(seconds=velocity["within_s"])
            if sum(g["at"] > since for g in mine) >= velocity["most"]:
                return "too_fast"
        for limit in terms["limits"]:
            rows = mine if limit["per"] == "person" else own
            if sum(_same(limit["window"], g["at"], now) for g in rows) >= limit["most"]:
                return f"limit_{limit['per']}"
        if terms["budget"] - sum(g["amount"] for g in own) < terms["amount"]:
            return "budget_exhausted"
        self.grants.append(
            {"campaign": campaign, "person": person, "at": now, "amount": terms["amount"],
             "reversed": False}
        )  # fmt: skip
        return "granted"


def _same(window: str, one: Any, other: Any) -> bool:
    forms = {"ever": "", "hour": "%Y%m%d%H", "day": "%Y%m%d", "week": "%G%V", "month": "%Y%m"}
    return bool(one.strftime(forms[window]) == other.strftime(forms[window]))


def consistent(terms: dict[str, Any]) -> bool:
    """Terms that a version may have: nobody gets more than all together."""
    whole = {x["window"]: x["most"] for x in terms["limits"] if x["per"] == "campaign"}
    return all(
        x["most"] <= whole.get(x["window"], x["most"])
        for x in terms["limits"]
        if x["per"] == "person"
    )


@given(
    st.lists(_campaign.filter(consistent), min_size=3, max_size=3),
    st.lists(_deed, min_size=4, max_size=25),
)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_claims_agree_with_a_plain_model(
    world: World, campaigns: list[dict[str, Any]], deeds: list[tuple[str, int, int]]
) -> None:
    # One savepoint an example; the world stays as it was, even after a failure.
    savepoint = transaction.savepoint()
    try:
        _live_through(world, campaigns, deeds)
    finally:
        transaction.savepoint_rollback(savepoint)
        connection.needs_rollback = False


def _live_through(
    world: World, campaigns: list[dict[str, Any]], deeds: list[tuple[str, int, int]]
) -> None:
    first_event = OutboxEvent.objects.order_by("-id").values_list("id", flat=True).first() or 0
    for number, terms in enumerate(campaigns):
        effects = [{"is": "points", "asset": "POINTS", "amount": terms["amount"]}]
        world.campaign(
            f"C{number}",
            effects=effects,
            budgets={"POINTS": terms["budget"]},
            limits=terms["limits"],
            velocity=terms["velocity"],
            group=terms["group"],
        )
    model, people, now = Model(campaigns), [world.ann, world.ben, world.mo], NOW
    made: list[int] = []
    for verb, a, b in deeds:
        now += timedelta(seconds=1)
        if verb == "wait":
            now += a * HOUR / 2
        elif verb == "claim":
            for campaign in (a, (a + 1) % 3):
                now += timedelta(seconds=1)
                outcome = world.claim(people[b], f"C{campaign}", now=now)
                said = outcome.refused.code if outcome.refused else "granted"
                assert said == model.claim(campaign, b, now)
                if outcome.claim:
                    made.append(outcome.claim.pk)
        elif verb == "reverse" and made:
            index = a % len(made)
            if not model.grants[index]["reversed"]:
                reversing.reverse(made[index], actor=None, reason="model")
                model.grants[index]["reversed"] = True
        elif verb == "give" and a != b and world.balance(people[a]):
            pay(sender=people[a], to=people[b].handle, asset="POINTS", amount=1, memo="",
                key=f"{now}")  # fmt: skip
    _check(world, model, campaigns)
    assert rebuilt(first_event) == kept()


def _check(world: World, model: Model, campaigns: list[dict[str, Any]]) -> None:
    standing = [grant for grant in model.grants if not grant["reversed"]]
    spent = Counter[int]()
    for grant in standing:
        spent[grant["campaign"]] += grant["amount"]
    for number, terms in enumerate(campaigns):
        assert world.budget(f"C{number}") == terms["budget"] - spent[number]
    assert verify() == []
    owed = sum(-a.balance for a in Account.objects.filter(kind="owed", asset__code="POINTS"))
    report = liability("POINTS", NOW + timedelta(days=400))
    assert report["wallets"] == sum(grant["amount"] for grant in standing) + owed
    for row in report["rows"]:
        gone = row["taken_back"] + row["expired"] + row["redeemed"]
        assert row["granted"] - gone == row["outstanding"] >= 0


def rebuilt(after: int) -> tuple[dict[int, int], dict[tuple[str, int, str], int]]:
    """Count budgets and counters again from nothing but the events."""
    budgets: dict[int, int] = defaultdict(int)
    counters: dict[tuple[str, int, str], int] = defaultdict(int)
    for row in OutboxEvent.objects.filter(id__gt=after, topic="campaigns").order_by("id"):
        story = msgspec.json.decode(bytes(row.payload))
        if story["type"] == "budget_funded":
            budgets[int(story["account"])] += story["amount"]
        if story["type"] not in {"claim_granted", "claim_reversed"}:
            continue
        sign = 1 if story["type"] == "claim_granted" else -1
        for payment in story["payments"]:
            budgets[int(payment["budget"])] -= sign * payment["amount"]
        for scope, person, period in story["counted"]:
            counters[scope, person, period] += sign
    return dict(budgets), {key: count for key, count in counters.items() if count}


def kept() -> tuple[dict[int, int], dict[tuple[str, int, str], int]]:
    """The budgets and counters as they stand."""
    accounts = CampaignBudget.objects.values_list("account_id", flat=True)
    balances = dict(Account.objects.filter(pk__in=accounts).values_list("pk", "balance"))
    rows = Counted.objects.filter(used__gt=0).values_list("scope", "person", "period", "used")
    return balances, {(scope, person, period): used for scope, person, period, used in rows}


def test_ending_and_topping_up_are_in_the_events_too(world: World) -> None:
    first_event = OutboxEvent.objects.order_by("-id").values_list("id", flat=True).first() or 0
    world.campaign("A")
    world.claim(world.ann, "A")
    world.publish("A", budgets={"POINTS": 500})
    world.claim(world.ben, "A")
    publishing.end("A", actor=None, reason="Over")
    assert rebuilt(first_event) == kept()
    assert set(kept()[0].values()) == {0}
    assert Claim.objects.count() == 2
