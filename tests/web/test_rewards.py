"""The page of rewards: what there is to earn, claimed by a form, once."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from rewards.campaigns import names, publishing, standings
from rewards.campaigns.models import Claim
from sequencer.waiting_room.actions import open_room
from sequencer.waiting_room.tokens import Pass, write_pass
from tests.sequencer.waiting_room.test_actions import new_room
from tests.web.conftest import Site
from wallet.models import Account
from web.forms import new_key

CLUB = [
    {"code": "bronze", "title": "Bronze", "threshold": 10},
    {"code": "silver", "title": "Silver", "threshold": 50},
]
ONCE = [{"per": "person", "window": "ever", "most": 1}]


@pytest.fixture
def writer(site: Site) -> User:
    return User.objects.create_user("marla@example.com", handle="marla", is_staff=True)


def publish(site: Site, writer: User, code: str = "HELLO", **terms: Any) -> None:
    publishing.create(code=code, title=f"{code.title()} there", actor=writer)
    data = {
        "starts_at": (timezone.now() - timedelta(hours=1)).isoformat(),
        "effects": [{"is": "points", "asset": site.points, "amount": 25}],
        "budgets": {site.points: 1_000},
        **terms,
    }
    version = publishing.draft(code, data, actor=writer)
    publishing.publish(code, version.number, actor=site.sam)


def text_of(answer: Any) -> str:
    """What a page says, its tags left out."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def claim(browser: Client, code: str, key: str = "") -> Any:
    return browser.post(f"/rewards/{code}/claim/", {"key": key or new_key()})


def test_what_is_claimable_is_claimed_once_for_each_form(site: Site, writer: User) -> None:
    publish(site, writer, limits=ONCE)
    browser = site.as_(site.ann)
    first = browser.get("/rewards/")
    assert "Yours to claim Hello there 25 Points" in text_of(first)
    [key] = re.findall(r'name="key" value="([^"]+)"', first.content.decode())
    for said in ("Yours: 25 Points.", "You have this already."):
        answer = claim(browser, "HELLO", key)
        assert (answer.status_code, answer["Location"]) == (302, "/rewards/")
        assert said in text_of(browser.get("/rewards/"))
    assert site.wallet("ann") == (10_025, 0)
    page = text_of(browser.get("/rewards/"))
    assert "Not yet Hello there" in page and "Hello there 25 Points" in page
    refused = claim(browser, "HELLO")
    assert refused.status_code == 422
    assert "Not claimed: " in text_of(refused)
    assert Claim.objects.count() == 1


def test_the_same_form_of_two_people_is_two_claims(site: Site, writer: User) -> None:
    publish(site, writer)
    key = new_key()
    assert claim(site.as_(site.ann), "HELLO", key).status_code == 302
    assert claim(site.as_(site.sam), "HELLO", key).status_code == 302
    assert Claim.objects.values_list("owner_id", flat=True).distinct().count() == 2


def test_what_is_missing_is_said_with_how_far_one_has_come(site: Site, writer: User) -> None:
    names.declare(kind="activity", code="check_in", title="Came to the match", actor=writer)
    publish(site, writer, rule={"is": "did", "event": "check_in", "times": 3})
    names.report(
        names.Deed(key="1", kind="check_in", person=site.ann, at=timezone.now()), actor=None
    )
    page = text_of(site.as_(site.ann).get("/rewards/"))
    assert "Nothing just now." in page
    assert "Came to the match: 1 of 3" in page
    assert claim(site.as_(site.ann), "HELLO").status_code == 422
    assert site.wallet("ann") == (10_000, 0)


def test_a_tier_shows_what_the_next_one_takes(site: Site, writer: User) -> None:
    standings.create_program(
        code="club", title="The Club", levels=CLUB, every="year", time_zone="UTC", actor=writer
    )
    given = [{"is": "tier_points", "program": "club", "amount": 20}]
    publish(site, writer, effects=given, budgets={})
    browser = site.as_(site.ann)
    assert "20 points towards The Club" in text_of(browser.get("/rewards/"))
    claim(browser, "HELLO")
    assert "The Club Bronze 30 more for Silver" in text_of(browser.get("/rewards/"))


def test_a_draw_shows_its_odds(site: Site, writer: User) -> None:
    draw = {
        "is": "chance",
        "outcomes": [
            {"weight": 1, "effects": [{"is": "points", "asset": site.points, "amount": 90}]},
            {"weight": 3, "title": "Better luck next time"},
        ],
    }
    more = {"is": "points", "asset": site.points, "amount": 5}
    publish(site, writer, effects=[draw, more])
    page = text_of(site.as_(site.ann).get("/rewards/"))
    assert "A draw: 90 Points (25 %), Better luck next time (75 %)" in page
    assert "5 Points" in page


def test_what_is_claimed_with_an_order_is_not_shown(site: Site, writer: User) -> None:
    publish(site, writer, needs_order=True)
    assert "Hello there" not in text_of(site.as_(site.ann).get("/rewards/"))
    assert claim(site.as_(site.ann), "HELLO").status_code == 422


def test_a_wallet_that_holds_no_more_is_told(site: Site, writer: User) -> None:
    publish(site, writer)
    Account.objects.filter(owner=site.ann, asset=site.venue.points).update(ceiling=10_000)
    answer = claim(site.as_(site.ann), "HELLO")
    assert (answer.status_code, "Not claimed: " in text_of(answer)) == (422, True)
    assert not Claim.objects.exists()


def test_unknown_and_spoilt_wishes_change_nothing(site: Site, writer: User) -> None:
    publish(site, writer)
    browser = site.as_(site.ann)
    assert claim(browser, "NOPE").status_code == 404
    assert claim(browser, "HELLO", "short").status_code == 422
    assert browser.get("/rewards/HELLO/claim/").status_code == 405
    assert claim(site.visitor, "HELLO")["Location"].startswith("/accounts/login/")
    assert not Claim.objects.exists()


def test_a_guarded_campaign_sends_to_its_waiting_room(site: Site, writer: User) -> None:
    publish(site, writer)
    room = open_room(new_room(path_prefix="/api/v1/campaigns/HELLO/"), by=None)
    browser = site.as_(site.ann)
    answer = claim(browser, "HELLO")
    assert (answer.status_code, answer["Location"]) == (302, "/waiting/drop/enter/")
    assert not Claim.objects.exists()
    own = Pass(room.pk, site.ann.pk, int(timezone.now().timestamp()) + 60)
    browser.cookies["scrip_pass_drop"] = write_pass(own)
    assert claim(browser, "HELLO")["Location"] == "/rewards/"
    assert Claim.objects.count() == 1


def test_more_campaigns_cost_no_more_queries(site: Site, writer: User) -> None:
    browser = site.as_(site.ann)

    def cost() -> int:
        browser.get("/rewards/")  # compiled once
        with CaptureQueriesContext(connection) as spent:
            assert browser.get("/rewards/").status_code == 200
        return len(spent)

    publish(site, writer)
    before = cost()
    for number in range(5):
        publish(site, writer, f"MORE{number}")
    assert cost() == before <= 16
