"""A small till: a partner with one clerk, and series of each kind that it redeems."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from accounts.models import User
from rewards.actions import SeriesTerms, create_series
from rewards.importing import CodeFile, import_codes
from rewards.models import GenericCode, Partner, Redemption, Series, VoucherCode
from rewards.redemption import generics
from rewards.redemption.actions import Outcome, Wish, redeem
from rewards.redemption.rules import Kind
from rewards.revealing import reveal
from tests.rewards.conftest import code_keys, person
from wallet.models import Account, Asset

__all__ = ["code_keys"]
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


@dataclass
class Till:
    """Who stands at the till, and what lies on the table."""

    shop: Partner
    clerk: User
    ann: User
    ben: User
    series: dict[str, Series] = field(default_factory=dict)

    def given(self, series: str, *codes: str, expires_at: str = "2027-01-31") -> None:
        """Import codes for Ann, and let her reveal them all."""
        rows = "".join(f"{code},{expires_at}\n" for code in codes)
        outcome = import_codes(
            series_code=series,
            file=CodeFile(io.BytesIO(f"code,expires_at\n{rows}".encode()), "codes.csv"),
            actor=None,
            owner=self.ann,
            now=NOW,
        )
        assert outcome.is_clean, outcome.report.faults
        for _ in codes:
            reveal(series_code=series, owner=self.ann, request=uuid4(), now=NOW)

    def generic(self, series: str, text: str, uses: int, each: int | None = None) -> GenericCode:
        """A code for many."""
        terms = generics.Terms(text=text, use_limit=uses, person_limit=each)
        return generics.create(series, terms, actor=None, now=NOW)

    def use(
        self, code: str, *, key: UUID | None = None, now: datetime = NOW, **asked: object
    ) -> Outcome:
        """Redeem a code at the shop."""
        wish = Wish(typed=code, **asked)  # type: ignore[arg-type]
        return redeem(self.shop, wish, request=key or uuid4(), actor=self.clerk, now=now)

    def euros(self, kind: str, label: str | None = None) -> int:
        """What the accounts of a kind hold of euros, in cents."""
        accounts = Account.objects.filter(asset__code="EUR", kind=kind)
        if label is not None:
            accounts = accounts.filter(label=label)
        return sum(accounts.values_list("balance", flat=True))


TERMS: dict[str, dict[str, object]] = {
    "TENOFF": {"kind": Kind.AMOUNT, "face_value_minor": 1_000, "face_value_currency": "EUR"},
    "FIFTH": {"kind": Kind.PERCENTAGE, "discount_bps": 2_000,
              "face_value_minor": 500, "face_value_currency": "EUR"},
    "SCARF": {"kind": Kind.ITEM},
    "CARD": {"kind": Kind.GIFT, "face_value_minor": 5_000, "face_value_currency": "EUR"},
    "MINE": {"kind": Kind.ITEM, "is_personal": True},
    "OURS": {"kind": Kind.ITEM, "code_pattern": "SUN-####-####*"},
}  # fmt: skip


def make_till(*names: str) -> Till:
    """The till, with all series or with those named."""
    Asset.objects.create(code="EUR", name="Euro", kind=Asset.Kind.CURRENCY, scale=2)
    shop = Partner.objects.create(code="fan-shop", name="Fan shop")
    till = Till(shop, person("clerk"), person("ann"), person("ben"))
    shop.staff.add(till.clerk)
    for code in names or TERMS:
        terms = TERMS[code]
        promise = SeriesTerms(
            code=code, title=code, issuer_name="Fan shop", is_redeemed_here=True,
            **terms,  # type: ignore[arg-type]
        )  # fmt: skip
        till.series[code] = create_series(promise, actor=None)
        shop.series.add(till.series[code])
    return till


@pytest.fixture
def till(db: None) -> Till:
    return make_till()


def everything() -> list[object]:
    """All that a redemption may change: compare before and after a refusal."""
    return [
        list(Account.objects.order_by("pk").values_list("pk", "balance", "held", "entry_count")),
        list(Redemption.objects.order_by("pk").values_list("pk", "state", "value_minor")),
        list(VoucherCode.objects.order_by("pk").values_list("pk", "state")),
    ]
