"""A small world of vouchers: a marketer, two fans, and one series without codes."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import Group
from pytest_django import Settings

from accounts.models import User
from rewards import units
from rewards.actions import SeriesTerms, create_series, hand_out
from rewards.importing import CodeFile, Outcome, import_codes
from rewards.models import CodeImport, ImportFault, Series, VoucherCode
from rewards.sealing import new_key
from wallet.models import Account, Asset, Entry, Transfer

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEY, LOOKUP_KEY = new_key(), new_key()


@dataclass
class World:
    """Who and what the tests speak of. The series DRINK is a draft; 250 cents a voucher."""

    drink: Series
    marla: User
    ann: User
    ben: User

    def offer(
        self,
        content: str | bytes,
        *,
        name: str = "codes.csv",
        owner: User | None = None,
        is_dry_run: bool = False,
        series_code: str = "DRINK",
    ) -> Outcome:
        """Offer a file to the series on the first of June 2026."""
        if isinstance(content, str):
            content = content.encode()
        return import_codes(
            series_code=series_code,
            file=CodeFile(io.BytesIO(content), name),
            actor=self.marla,
            owner=owner,
            is_dry_run=is_dry_run,
            now=NOW,
        )

    def stock(self, owner: User, codes: Iterable[str], expires_at: str = "2027-01-31") -> Outcome:
        """Import codes and give all their units to a person."""
        rows = "".join(f"{code},{expires_at}\n" for code in codes)
        outcome = self.offer("code,expires_at\n" + rows, owner=owner)
        assert outcome.is_clean, outcome.report.faults
        return outcome

    def give(self, owner: User, amount: int, reference: str) -> int:
        """Hand units from the treasury to a person."""
        return hand_out("DRINK", owner=owner, amount=amount, reference=reference, actor=self.marla)

    def units(self, owner: User) -> int:
        """How many units of the series a person has to spend."""
        found = units.units_of(owner.pk, [self.drink.asset_id])
        return found.get(self.drink.asset_id, 0)


def person(handle: str, *groups: str, is_staff: bool = False) -> User:
    """A person; groups by name."""
    user = User.objects.create_user(f"{handle}@example.com", handle=handle, is_staff=is_staff)
    user.groups.set(Group.objects.filter(name__in=groups))
    return user


def make_world() -> World:
    Asset.objects.create(code="EUR", name="Euro", kind=Asset.Kind.CURRENCY, scale=2)
    marla = person("marla", "marketing", is_staff=True)
    promise = SeriesTerms(
        code="DRINK",
        title="A drink at the stadium",
        issuer_name="Stadium Catering",
        face_value_minor=250,
        face_value_currency="EUR",
    )
    drink = create_series(promise, actor=marla)
    return World(drink, marla, person("ann"), person("ben"))


@pytest.fixture(autouse=True)
def code_keys(settings: Settings) -> None:
    """Keys of the tests' own, so that no test touches the key file of a data folder."""
    settings.CODE_KEYS, settings.CODE_LOOKUP_KEY = [KEY], LOOKUP_KEY


@pytest.fixture
def world(db: None) -> World:
    return make_world()


def everything() -> list[object]:
    """All that an import or a reveal may change: compare before and after a refusal."""
    return [
        list(Account.objects.order_by("pk").values_list("pk", "balance", "held", "entry_count")),
        list(VoucherCode.objects.order_by("pk").values_list("pk", "state")),
        list(Series.objects.order_by("pk").values_list("pk", "state")),
        (Transfer.objects.count(), Entry.objects.count()),
        CodeImport.objects.exclude(state=CodeImport.State.REFUSED).count(),
    ]


def told(outcome: Outcome) -> list[tuple[int, str, str]]:
    """A report as the tests write it down: line, column, code."""
    return [(fault.line, fault.column, str(fault.code)) for fault in outcome.report.faults]


def stored_faults(outcome: Outcome) -> list[tuple[int, str, str]]:
    """The report as it was kept with the import."""
    rows = ImportFault.objects.filter(code_import=outcome.code_import).order_by("pk")
    return list(rows.values_list("line", "column", "code"))
