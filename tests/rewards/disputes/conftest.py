"""A series whose issuer guarantees 400 cents for each code, for an hour after its reveal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from accounts.models import User
from rewards.disputes import actions, guarantees, money
from rewards.disputes.guarantees import faults_of, give_guarantee
from rewards.models import Cover, Dispute, Guarantee, Reveal
from rewards.revealing import reveal
from tests.rewards.conftest import World, make_world, person
from wallet import items
from wallet.accounts import ISSUANCE, WALLET, Purpose, open_accounts, system_account
from wallet.actions import post
from wallet.models import Account, Asset, Code

REFUND, WINDOW_S, ANSWER_S = 400, 3_600, 1_800
EVIDENCE = "The bar at gate 4 said that the code is unknown to them."
_numbers = count(1)


@dataclass
class Court:
    """The issuer with her guarantee, a fan, and two of our people."""

    world: World
    iris: User
    guarantee: Guarantee
    sue: User
    tom: User

    @property
    def ann(self) -> User:
        return self.world.ann

    def reveal(self, owner: User | None = None, *, at: datetime | None = None) -> Reveal:
        """Reveal one code."""
        holder = owner or self.ann
        return reveal(series_code="DRINK", owner=holder, request=uuid4(), now=at).reveal

    def dispute(
        self,
        found: Reveal,
        holder: User | None = None,
        *,
        request: UUID | None = None,
        now: datetime | None = None,
    ) -> Dispute:
        """Say that a code did not work."""
        return actions.open_dispute(
            reveal_id=found.pk,
            holder=holder or found.owner,
            problem=Dispute.Problem.UNKNOWN,
            evidence=EVIDENCE,
            request=request or uuid4(),
            now=now,
        ).dispute

    def money(self, owner: User) -> int:
        """What a person has in cents."""
        euro = Asset.objects.get(code="EUR")
        found = Account.objects.filter(owner=owner, asset=euro, kind_id=WALLET).first()
        return found.available if found else 0

    @property
    def secured(self) -> tuple[int, int]:
        """What lies behind the codes, and what of it is frozen."""
        account = Account.objects.get(pk=money.secured_account(self.guarantee))
        return account.balance, account.held

    def state(self, found: Reveal) -> str:
        return Cover.objects.get(pk=found.pk).get_state_display()

    def check(self) -> None:
        """All money is where the codes say it must be."""
        self.guarantee.refresh_from_db()
        assert faults_of(self.guarantee) == []


def fund(owner: User, amount: int) -> None:
    """Give a person cents."""
    euro = Asset.objects.get(code="EUR")
    purpose = Purpose(owner.pk, euro.pk)
    [result] = post(
        [
            items.Transfer(
                reference=f"fund-{next(_numbers)}-{uuid4()}",
                asset_id=euro.pk,
                debit_account_id=system_account(euro, ISSUANCE).pk,
                credit_account_id=open_accounts([purpose])[purpose],
                amount=amount,
                code=Code.ISSUE,
            )
        ]
    )
    assert result.is_created


def make_court(*, codes: int = 10, two_people_over: int = 5_000) -> Court:
    world = make_world()
    iris = person("iris")
    guarantee = give_guarantee(
        "DRINK",
        issuer=iris,
        asset_code="EUR",
        refund_minor=REFUND,
        window_s=WINDOW_S,
        answer_s=ANSWER_S,
        two_people_over_minor=two_people_over,
        actor=world.marla,
    )
    fund(iris, codes * REFUND)
    if codes:
        world.stock(world.ann, [f"CODE-{number:04}" for number in range(codes)], "2036-01-31")
    return Court(world, iris, guarantee, person("sue", "support"), person("tom", "support"))


def later(seconds: float) -> datetime:
    return timezone.now() + timedelta(seconds=seconds)


AFTER_ANSWER = ANSWER_S + 5
AFTER_WINDOW = WINDOW_S + 5
settle = guarantees.release_due


@pytest.fixture
def court(db: None) -> Court:
    return make_court()
