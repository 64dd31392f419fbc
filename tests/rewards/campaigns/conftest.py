"""A small world of campaigns: two marketers, fans, points, money, a series with units."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from accounts.models import User
from rewards.campaigns import claiming, names, publishing
from rewards.campaigns.claiming import Outcome, Wish
from rewards.campaigns.models import Campaign, CampaignBudget, Claim, ClaimRefusal, Counted
from tests.rewards.conftest import World as Vouchers
from tests.rewards.conftest import make_world as make_vouchers
from tests.rewards.conftest import person
from wallet.models import Account, Asset, Entry, Transfer

START = datetime(2026, 11, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TEN_POINTS = [{"is": "points", "asset": "POINTS", "amount": 10}]


@dataclass
class World:
    """Marla writes campaigns, Mo publishes them, ann and ben claim."""

    vouchers: Vouchers
    marla: User
    mo: User
    ann: User
    ben: User
    points: Asset
    euro: Asset
    people: list[User] = field(default_factory=list)

    def campaign(self, code: str = "WELCOME", **terms: Any) -> Campaign:
        """A campaign with one published version: 10 points, a budget of 1,000, unless told."""
        publishing.create(code=code, title=code.title(), actor=self.marla)
        self.publish(code, **terms)
        return Campaign.objects.get(code=code)

    def publish(self, code: str, **terms: Any) -> int:
        """Write and publish a version; gives its number."""
        data = {
            "starts_at": START.isoformat(),
            "effects": TEN_POINTS,
            "budgets": {"POINTS": 1_000},
            **terms,
        }
        version = publishing.draft(code, data, actor=self.marla, now=NOW)
        publishing.publish(code, version.number, actor=self.mo, now=NOW)
        return version.number

    def claim(
        self, who: User, code: str = "WELCOME", *, now: datetime = NOW, **wish: Any
    ) -> Outcome:
        request: UUID = wish.pop("request", None) or uuid4()
        return claiming.claim(Wish(campaign=code, person=who, request=request, **wish), now=now)

    def says(self, who: User, code: str = "WELCOME", **wish: Any) -> str:
        """What a claim came to in one word: `granted`, or the code of its refusal."""
        outcome = self.claim(who, code, **wish)
        return outcome.refused.code if outcome.refused else "granted"

    def order(self, who: User, key: str, amount: int, at: datetime = NOW) -> str:
        deed = names.Deed(key=key, kind="order", person=who, at=at, asset="EUR", amount=amount)
        names.report(deed, actor=None, now=NOW + timedelta(days=400))
        return key

    def did(self, who: User, kind: str, at: datetime, key: str = "") -> None:
        deed = names.Deed(key=key or uuid4().hex, kind=kind, person=who, at=at)
        names.report(deed, actor=None, now=NOW + timedelta(days=400))

    def balance(self, who: User, asset: str = "POINTS", kind: str = "wallet") -> int:
        row = Account.objects.filter(owner=who, asset__code=asset, kind=kind).first()
        return row.balance if row else 0

    def budget(self, code: str = "WELCOME", asset: str = "POINTS") -> int:
        row = CampaignBudget.objects.get(campaign__code=code, asset__code=asset)
        return Account.objects.get(pk=row.account_id).balance


def make_world() -> World:
    vouchers = make_vouchers()
    mo = person("moritz", "marketing", is_staff=True)
    points = Asset.objects.create(
        code="POINTS", name="Points", kind=Asset.Kind.POINTS, expires=True
    )
    for handle in ("marla", "moritz", "ann", "ben"):
        User.objects.filter(handle=handle).update(date_joined=NOW - timedelta(days=10))
    for kind, code in (
        ("segment", "vip"), ("segment", "press"), ("activity", "order"),
        ("activity", "check_in"), ("place", "stadium"),
    ):  # fmt: skip
        names.declare(kind=kind, code=code, actor=None)
    names.declare(kind="attribute", code="age", value_type="number", actor=None)
    return World(
        vouchers=vouchers,
        marla=vouchers.marla,
        mo=mo,
        ann=User.objects.get(handle="ann"),
        ben=User.objects.get(handle="ben"),
        points=points,
        euro=Asset.objects.get(code="EUR"),
    )


@pytest.fixture
def world(db: None) -> World:
    return make_world()


def everything() -> list[object]:
    """All that a claim may change, its kept refusal aside: compare before and after a refusal."""
    return [
        list(Account.objects.order_by("pk").values_list("pk", "balance", "held", "entry_count")),
        list(Claim.objects.order_by("pk").values_list("pk", "state")),
        list(Counted.objects.filter(used__gt=0).order_by("pk").values_list("pk", "used")),
        (Transfer.objects.count(), Entry.objects.count()),
    ]


def crowd(count: int) -> list[User]:
    """Many people at once, without passwords."""
    made = User.objects.bulk_create(
        User(
            email=f"fan{number}@example.com",
            handle=f"fan_{number}",
            date_joined=NOW - timedelta(days=10),
        )
        for number in range(count)
    )
    return list(made)


def refusals() -> list[str]:
    return list(ClaimRefusal.objects.order_by("pk").values_list("code", flat=True))
