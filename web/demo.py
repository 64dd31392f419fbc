"""The demo: people, points, voucher series from CSV files, and markets for them.

Everything goes through the same actions as in real life. Seeding twice changes nothing.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import transaction
from django.utils import timezone

from accounts.actions import create_key
from accounts.models import User
from accounts.roles import Role
from accounts.scopes import Scope
from orderbook.actions import open_market
from orderbook.models import Market
from rewards.actions import SeriesTerms, create_series, hand_out
from rewards.importing import CodeFile, import_codes
from wallet.accounts import ISSUANCE, Purpose, open_accounts, system_account
from wallet.actions import post
from wallet.items import Transfer
from wallet.models import Asset, Code
from web.demo_campaigns import make_campaigns

POINTS = "PTS"
MONEY = "EUR"
FAN_SCOPES = (
    Scope("wallet:read"), Scope("wallet:write"), Scope("orders:read"), Scope("orders:write"),
    Scope("rewards:read"), Scope("rewards:write"),
)  # fmt: skip
CODES_FOLDER = Path(settings.BASE_DIR) / "rewards" / "demo"
MOST_UNITS_EACH = 30


@dataclass(frozen=True)
class Person:
    """Somebody of the demo, and what they work as."""

    handle: str
    name: str
    role: Role | None = None
    is_superuser: bool = False
    points: int = 0


STAFF = (
    Person("admin", "Alex Admin", is_superuser=True),
    Person("finn", "Finn from finance", Role.FINANCE),
    Person("fiona", "Fiona from finance", Role.FINANCE),
    Person("mira", "Mira from marketing", Role.MARKETING),
    Person("mona", "Mona from marketing", Role.MARKETING),
    Person("otto", "Otto, operator", Role.OPERATOR),
)
FANS = (Person("ada", "Ada", points=5_000), Person("grace", "Grace", points=5_000))
CLERK = Person("gus", "Gus at the bar")
"""Works for a partner, which says so itself: see `docs/journey.md`."""
TRADERS = tuple(
    Person(f"trader{number}", f"Trader {number}", points=200_000) for number in range(1, 7)
)


@dataclass(frozen=True)
class DemoSeries:
    """A voucher series of the demo, its file of codes, and what it trades around."""

    terms: SeriesTerms
    file: str
    price: int

    @property
    def market_code(self) -> str:
        return f"{self.terms.code}.{POINTS}"


def demo_series() -> tuple[DemoSeries, ...]:
    """The series of the demo; they expire a year after seeding."""
    expires_at = timezone.now() + timedelta(days=365)
    made = (
        ("STADIUM-DRINK", "A drink at any stadium bar", "Arena Catering", 450, 120),
        ("FAN-SHOP-10", "10 € in the fan shop", "The Fan Shop", 1000, 260),
        ("MATCH-SEAT", "A seat in block C, any home match", "The Club", 3500, 900),
    )
    return tuple(
        DemoSeries(
            SeriesTerms(
                code=code,
                title=title,
                issuer_name=issuer,
                face_value_minor=face_value,
                face_value_currency=MONEY,
                expires_at=expires_at,
            ),
            f"{code.lower()}.csv",
            price,
        )
        for code, title, issuer, face_value, price in made
    )


def seed(path: Path) -> bool:
    """Make the demo and write how to sign in to `path`; False if it was made before."""
    if User.objects.filter(handle=STAFF[0].handle).exists():
        return False
    passwords: dict[str, str] = {}
    with transaction.atomic():
        _make_assets()
        people = {person.handle: _make_person(person, passwords) for person in _everybody()}
    _give_points(people)
    for series in demo_series():
        _make_series(series, people)
    make_campaigns(people["mira"], people["mona"])
    _write(path, people, passwords)
    return True


def _everybody() -> tuple[Person, ...]:
    return (*STAFF, *FANS, CLERK, *TRADERS)


def _make_assets() -> None:
    Asset.objects.get_or_create(
        code=MONEY, defaults={"name": "Euro", "kind": Asset.Kind.CURRENCY, "scale": 2}
    )
    Asset.objects.get_or_create(
        code=POINTS, defaults={"name": "Points", "kind": Asset.Kind.POINTS, "expires": True}
    )


def _make_person(person: Person, passwords: dict[str, str]) -> User:
    passwords[person.handle] = secrets.token_urlsafe(9)
    make = User.objects.create_superuser if person.is_superuser else User.objects.create_user
    user = make(
        f"{person.handle}@scrip.example",
        passwords[person.handle],
        handle=person.handle,
        name=person.name,
    )
    if person.role is not None:
        User.objects.filter(pk=user.pk).update(is_staff=True)
        user.groups.add(Group.objects.get(name=person.role))
    # Their letters go nowhere, and a second factor is for confirmed addresses alone.
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


def _give_points(people: dict[str, User]) -> None:
    points = Asset.objects.get(code=POINTS)
    issuance = system_account(points, ISSUANCE)
    given = [person for person in _everybody() if person.points]
    wallets = open_accounts(Purpose(people[person.handle].pk, points.pk) for person in given)
    with transaction.atomic():
        results = post(
            [
                Transfer(
                    reference=f"demo:points:{person.handle}",
                    asset_id=points.pk,
                    debit_account_id=issuance.pk,
                    credit_account_id=wallets[Purpose(people[person.handle].pk, points.pk)],
                    amount=person.points,
                    code=Code.GRANT,
                    expires_at=timezone.now() + timedelta(days=180),
                    memo="Welcome",
                )
                for person in given
            ]
        )
    assert all(result.is_created for result in results), results


def _make_series(series: DemoSeries, people: dict[str, User]) -> None:
    marketer = people["mira"]
    create_series(series.terms, actor=marketer)
    with (CODES_FOLDER / series.file).open("rb") as stream:
        outcome = import_codes(
            series_code=series.terms.code,
            file=CodeFile(stream=stream, name=series.file),
            actor=marketer,
        )
    assert outcome.is_clean and outcome.code_import is not None, outcome.report
    owners = ("ada", *(person.handle for person in TRADERS))
    each = min(MOST_UNITS_EACH, outcome.code_import.code_count // len(owners))
    for handle in owners:
        amount = 3 if handle == "ada" else each
        hand_out(
            series.terms.code,
            owner=people[handle],
            amount=amount,
            reference=f"demo:{series.terms.code}:{handle}",
            actor=marketer,
        )
    open_market(_market(series), actor=people["otto"])


def _market(series: DemoSeries) -> Market:
    return Market(
        code=series.market_code,
        name=f"{series.terms.title}, for points",
        base_asset=Asset.objects.get(code=series.terms.code),
        quote_asset=Asset.objects.get(code=POINTS),
        taker_fee_bps=50,
        most_lots=10_000,
        most_price_ticks=1_000_000,
    )


def _key_holders() -> Iterator[tuple[Person, tuple[Scope, ...]]]:
    for person in (*FANS, *TRADERS):
        yield person, FAN_SCOPES
    for person in STAFF:
        if person.role is Role.MARKETING:
            yield person, (Scope.REWARDS_READ, Scope.REWARDS_WRITE)
        elif person.role is Role.FINANCE:
            yield person, (Scope.FINANCE_READ, Scope.REWARDS_READ)
    yield CLERK, (Scope.REDEMPTIONS_READ, Scope.REDEMPTIONS_WRITE)


def _write(path: Path, people: dict[str, User], passwords: dict[str, str]) -> None:
    """Keep the passwords and keys of the demo where only this machine's owner can read them."""
    keys = {
        person.handle: create_key(people[person.handle], name="demo", scopes=scopes).token
        for person, scopes in _key_holders()
    }
    shown = [*STAFF, *FANS, CLERK]
    demo: dict[str, Any] = {
        "accounts": [
            {
                "role": person.role or ("administrator" if person.is_superuser else "fan"),
                "email": people[person.handle].email,
                "password": passwords[person.handle],
            }
            for person in shown
        ],
        "api_key": keys["ada"],
        "keys": keys,
        "markets": {series.market_code: series.price for series in demo_series()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(demo, file, indent=1)
