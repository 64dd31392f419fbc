"""A small world for the wallet's doors: two people with money, and two finance clerks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import Group
from rest_framework.test import APIClient

from accounts.actions import create_key
from accounts.models import User
from accounts.roles import Role
from wallet import items
from wallet.accounts import ISSUANCE, system_account, wallet_of
from wallet.actions import post
from wallet.models import Account, Asset, Code, Entry, Transfer

_numbers = count(1)


@dataclass
class World:
    """Who and what the tests speak of. Ann has 1,000 cents and Ben has none."""

    euro: Asset
    points: Asset
    ann: User
    ben: User
    clara: User
    dora: User
    sam: User

    def wallet(self, owner: User, asset: Asset | None = None) -> Account:
        """A person's wallet as it is now."""
        return wallet_of(owner.pk, asset or self.euro)

    def pay(self, debit: Account, credit: Account, amount: int) -> int:
        """Move money the short way; say the transfer's id."""
        [result] = post(
            [
                items.Transfer(
                    reference=f"test-{next(_numbers)}",
                    asset_id=debit.asset_id,
                    debit_account_id=debit.pk,
                    credit_account_id=credit.pk,
                    amount=amount,
                    code=Code.PAYMENT,
                )
            ]
        )
        assert result.is_created, result
        return result.transfer_id

    def give(self, owner: User, amount: int, asset: Asset | None = None) -> int:
        """Issue money to a person."""
        asset = asset or self.euro
        return self.pay(system_account(asset, ISSUANCE), self.wallet(owner, asset), amount)

    def hold(self, owner: User, amount: int) -> int:
        """Set money aside, as the order engine would; say the hold's id."""
        wallet = self.wallet(owner)
        [result] = post(
            [
                items.Hold(
                    reference=f"test-{next(_numbers)}",
                    asset_id=wallet.asset_id,
                    debit_account_id=wallet.pk,
                    credit_account_id=None,
                    amount=amount,
                    code=Code.ORDER_HOLD,
                )
            ]
        )
        assert result.is_created, result
        return result.transfer_id


def person(handle: str, role: Role | None = None) -> User:
    """A person, with a role or none. Staff has one."""
    user = User.objects.create_user(
        f"{handle}@example.com", handle=handle, is_staff=role is not None
    )
    if role is not None:
        user.groups.add(Group.objects.get(name=role))
    return user


@pytest.fixture
def world(db: None) -> World:
    euro = Asset.objects.create(code="EUR", name="Euro", kind=Asset.Kind.CURRENCY, scale=2)
    points = Asset.objects.create(
        code="POINTS", name="Points", kind=Asset.Kind.POINTS, expires=True
    )
    made = World(
        euro=euro,
        points=points,
        ann=person("ann"),
        ben=person("ben"),
        clara=person("clara", Role.FINANCE),
        dora=person("dora", Role.FINANCE),
        sam=person("sam", Role.SUPPORT),
    )
    made.give(made.ann, 1000)
    return made


def money() -> list[tuple[object, ...]]:
    """Everything that could have moved: compare before and after a refusal."""
    accounts = Account.objects.exclude(entry_count=0, held=0).order_by("pk")
    return [
        *accounts.values_list("pk", "balance", "held", "incoming", "entry_count"),
        (Transfer.objects.count(), Entry.objects.count()),
    ]


class Api:
    """Speaks to the API as one caller. Sees what a stranger sees: a bug answers 500."""

    def __init__(self, user: User | None, *scopes: str) -> None:
        self.client = APIClient(raise_request_exception=False)
        if user is not None and scopes:
            token = create_key(user, name="test", scopes=scopes).token
            self.client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        elif user is not None:
            self.client.force_login(user, backend=ROLE_BACKEND)

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/api/v1/{path}", query)

    def post(
        self, path: str, body: Any = None, *, key: str | None = "", headers: Any = None
    ) -> Any:
        """Post JSON with a key of its own, unless `key` names one or is `None`."""
        sent: Mapping[str, str] = headers or {}
        if key is not None:
            sent = {"Idempotency-Key": key or f"k{next(_numbers)}", **sent}
        return self.client.post(f"/api/v1/{path}", body, format="json", headers=sent)


ROLE_BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """The answer is this problem; returns the document."""
    assert response["Content-Type"] == "application/problem+json", response.content
    document: dict[str, Any] = json.loads(response.content)
    assert (response.status_code, document["code"]) == (status, code), document
    assert document["status"] == status
    assert document["title"]
    return document
