"""A market, a voucher series with codes, and two fans who look at their pages."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from rewards.actions import SeriesTerms, create_series
from rewards.importing import CodeFile, import_codes
from rewards.sealing import new_key
from tests.orderbook.venue import Venue
from wallet.models import Asset

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
KEY, LOOKUP_KEY = new_key(), new_key()


@dataclass
class Site:
    """The site as the tests know it: ann has 10,000 points, sam 50 cups, ann 3 drinks."""

    venue: Venue
    ann: User
    sam: User
    visitor: Client = field(default_factory=Client)

    @property
    def market(self) -> str:
        return f"/markets/{self.venue.market.code}/"

    @property
    def points(self) -> str:
        return self.venue.points.code

    def as_(self, user: User) -> Client:
        """A browser in which this person is signed in."""
        client = Client()
        client.force_login(user, backend=BACKEND)
        return client

    def wallet(self, who: str) -> tuple[int, int]:
        return self.venue.points_of(who)


@pytest.fixture
def site(db: None, settings: Settings) -> Site:
    settings.CODE_KEYS, settings.CODE_LOOKUP_KEY = [KEY], LOOKUP_KEY
    venue = Venue(taker_fee_bps=100)
    ann = venue.join("ann", points=10_000)
    sam = venue.join("sam", units=50)
    _series_of(ann)
    return Site(venue, ann, sam)


def _series_of(owner: User) -> None:
    Asset.objects.create(code="EUR", name="Euro", kind=Asset.Kind.CURRENCY, scale=2)
    terms = SeriesTerms(
        code="DRINK",
        title="A drink",
        issuer_name="Catering",
        face_value_minor=123456,
        face_value_currency="EUR",
    )
    create_series(terms, actor=owner)
    file = CodeFile(io.BytesIO(b"code\nAAA-1111\nAAA-2222\nAAA-3333\n"), "codes.csv")
    assert import_codes(series_code="DRINK", file=file, actor=owner, owner=owner).is_clean
