"""What markets of protected vouchers say over HTTP, and busts by two signed-in people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.actions import create_key
from accounts.models import User
from accounts.scopes import Scope
from edge.models import AuditEvent
from orderbook.actions import TermsInvalid, reschedule
from orderbook.models import Fill
from tests.orderbook.test_busts import spend
from tests.orderbook.venue import Venue
from wallet.models import Asset, AssetRules
from wallet.ownership import set_rules

pytestmark = pytest.mark.django_db


@pytest.fixture
def venue() -> Venue:
    venue = Venue(lot_units=2)
    venue.join("sam", units=10)
    venue.join("bea", points=10_000)
    for handle in ("olga", "otto"):
        clerk = venue.join(handle)
        clerk.user_permissions.add(Permission.objects.get(codename="bust_trade"))
    return venue


class Clerk:
    """Somebody signed in; each write has a key of its own."""

    def __init__(self, user: User) -> None:
        self.client = APIClient(raise_request_exception=False)
        self.client.force_login(User.objects.get(pk=user.pk))
        self.number = 0

    def post(self, path: str, body: Any = None) -> Any:
        self.number += 1
        headers = {"Idempotency-Key": f"clerk-{id(self)}-{self.number}"}
        return self.client.post(f"/api/v1/{path}", body, format="json", headers=headers)


def face(venue: Venue, asset: Asset, minor: int) -> None:
    rules = AssetRules(face_value_minor=minor, face_value_asset=asset)
    set_rules(venue.units, rules, may_tighten=True, actor=None)


def market(venue: Venue) -> dict[str, Any]:
    seen: dict[str, Any] = APIClient().get(f"/api/v1/markets/{venue.market.code}/").json()
    return seen


@pytest.mark.parametrize("kind", ["points", "currency"])
def test_prices_are_shown_beside_the_face_value(venue: Venue, kind: str) -> None:
    Asset.objects.filter(pk=venue.points.pk).update(kind=kind)
    face(venue, venue.points, 500)
    venue.run(venue.place("sam", "sell", 900, 2), venue.place("bea", "buy", 850, 2))
    seen = market(venue)
    assert seen["face_value"] == {"amount": 500, "asset": venue.points.code}
    assert (seen["best_ask_of_face_bps"], seen["best_bid_of_face_bps"]) == (9_000, 8_500)
    assert seen["last_price_of_face_bps"] is None
    venue.run(venue.place("bea", "buy", 900, 2))
    assert market(venue)["last_price_of_face_bps"] == 9_000


def test_prices_in_points_have_no_rate_to_a_face_value_in_money(venue: Venue) -> None:
    euro = Asset.objects.create(code="EUR", name="Euro", kind="currency", scale=2)
    face(venue, euro, 500)
    venue.run(venue.place("sam", "sell", 900, 2))
    seen = market(venue)
    assert seen["face_value"] == {"amount": 500, "asset": "EUR"}
    assert seen["best_ask_of_face_bps"] is None


def test_units_without_rules_have_no_face_value(venue: Venue) -> None:
    seen = market(venue)
    assert (seen["face_value"], seen["trading_ends_at"]) == (None, None)


def test_a_bust_over_http(venue: Venue) -> None:
    venue.run(venue.place("sam", "sell", 900, 2), venue.place("bea", "buy", 900, 2))
    fill = Fill.objects.latest("pk")
    olga, otto = Clerk(venue.people["olga"]), Clerk(venue.people["otto"])
    asked = olga.post("busts/", {"fill_id": str(fill.pk), "reason": "a wrong price"})
    assert asked.status_code == 201, asked.json()
    bust_id = asked.json()["id"]
    own = olga.post(f"busts/{bust_id}/approve/")
    assert (own.status_code, own.json()["code"]) == (403, "bust_needs_another_person")
    spend(venue, "sam", "olga", 500)
    short = otto.post(f"busts/{bust_id}/approve/")
    assert (short.status_code, short.json()["code"]) == (422, "insufficient_funds")
    assert short.json()["lacks"] == 500
    spend(venue, "olga", "sam", 500)
    done = otto.post(f"busts/{bust_id}/approve/")
    assert (done.status_code, done.json()["state"]) == (200, "approved")
    [seen] = APIClient().get(f"/api/v1/markets/{venue.market.code}/trades/").json()["results"]
    assert seen["is_busted"] is True


def test_busts_need_a_person_with_the_right(venue: Venue) -> None:
    stranger = Clerk(venue.people["sam"])
    assert stranger.post("busts/", {"fill_id": "1", "reason": "mine"}).status_code == 403
    key = create_key(venue.people["olga"], name="program", scopes=[Scope.ORDERS_WRITE])
    refused = APIClient().post(
        "/api/v1/busts/", {"fill_id": "1", "reason": "by a program"}, format="json",
        headers={"Authorization": f"Bearer {key.token}", "Idempotency-Key": "k"},
    )  # fmt: skip
    assert (refused.status_code, refused.json()["code"]) == (403, "session_required")


@pytest.mark.parametrize(
    "body",
    [{}, {"fill_id": "x", "reason": "y"}, {"fill_id": 1}, {"fill_id": "1", "reason": ""}, []],
)
def test_bad_busts_are_refused(venue: Venue, body: Any) -> None:
    answer = Clerk(venue.people["olga"]).post("busts/", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


def test_the_markets_page_shows_the_face_value_and_the_end(venue: Venue) -> None:
    rules = AssetRules(
        face_value_minor=500, face_value_asset=venue.points,
        expires_at=timezone.now() + timedelta(days=30),
    )  # fmt: skip
    set_rules(venue.units, rules, may_tighten=True, actor=None)
    venue.run(venue.place("sam", "sell", 900, 2), venue.place("bea", "buy", 900, 2))
    page = APIClient().get(f"/markets/{venue.market.code}/").content.decode()
    assert "Of face value" in page
    assert "90 %" in page
    assert "Trading ends" in page


def test_the_least_life_is_changed_by_an_operator_and_audited(venue: Venue) -> None:
    olga = venue.people["olga"]
    reschedule(venue.market.pk, reason="a long tour", actor=olga, minimum_life_s=86_400)
    [trail] = AuditEvent.objects.filter(action="market.reschedule")
    assert trail.after == {"minimum_life_s": "86400"}
    for wrong in (-1, 10**9):
        with pytest.raises(TermsInvalid):
            reschedule(venue.market.pk, reason="no", actor=olga, minimum_life_s=wrong)
