"""Each page as a browser without scripts sees it, and what it may cost."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.actions import create_key
from accounts.models import ApiKey
from edge.models import AuditEvent
from rewards.models import Reveal
from tests.orderbook.feed import Follower
from tests.web.conftest import BACKEND, Site

PUBLIC = ("/", "/markets/", "/accounts/login/", "/accounts/signup/", "/accounts/password/reset/")
OWN = (
    "/wallet/", "/wallet/pay/", "/wallet/DRINK/", "/rewards/", "/vouchers/",
    "/vouchers/DRINK/reveal/",
    "/account/", "/accounts/email/", "/accounts/password/change/", "/accounts/2fa/",
    "/accounts/logout/",
)  # fmt: skip
MOST_QUERIES = 16
"""A page's cost, session and user included, however much there is to show."""


def queries_of(site: Site, path: str) -> int:
    browser = site.as_(site.ann)
    with CaptureQueriesContext(
        connection,
    ) as spent:
        assert browser.get(path).status_code == 200
    return len(spent)


@pytest.mark.parametrize("path", PUBLIC)
def test_everybody_sees_public_pages(site: Site, path: str) -> None:
    assert site.visitor.get(path).status_code == 200
    assert site.visitor.get(site.market).status_code == 200


@pytest.mark.parametrize("path", OWN)
def test_own_pages_ask_strangers_to_sign_in(site: Site, path: str) -> None:
    answer = site.visitor.get(path)
    assert (answer.status_code, answer["Location"].split("?")[0]) in {
        (302, "/accounts/login/"),
        (302, "/"),  # Signing out, for somebody who is not in.
    }


@pytest.mark.parametrize("path", [path for path in OWN if "password" not in path])
def test_own_pages_answer_their_owner(site: Site, path: str) -> None:
    assert site.as_(site.ann).get(path).status_code == 200


@pytest.mark.parametrize("path", [*PUBLIC, *OWN])
def test_no_two_parts_of_a_page_share_an_id(site: Site, path: str) -> None:
    """A label would belong to the first of them alone."""
    ids = re.findall(r'\sid="([^"]+)"', site.as_(site.ann).get(path).content.decode())
    assert [each for each in ids if ids.count(each) > 1] == []


@pytest.mark.parametrize("path", [*PUBLIC, *OWN])
def test_pages_carry_no_inline_script_or_style(site: Site, path: str) -> None:
    html = site.as_(site.ann).get(path, follow=True).content.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html)


@pytest.mark.parametrize(
    "path",
    ["/nope/", "/markets/NOPE/", "/markets/%00/", "/wallet/NOPE/", "/vouchers/NOPE/reveal/",
     "/wallet/DRINK/?before=x", f"/wallet/DRINK/?before={9**20}", "/vouchers/?cursor=x"],
)  # fmt: skip
def test_what_is_not_there_is_404(site: Site, path: str) -> None:
    answer = site.as_(site.ann).get(path)
    assert answer.status_code == 404
    assert b"There is nothing here" in answer.content


@pytest.mark.parametrize("name", ["400", "403", "403_csrf", "404", "429", "500", "503"])
def test_error_page_needs_neither_person_nor_database(name: str) -> None:
    html = render_to_string(f"{name}.html")
    assert html.count("<h1>") == 1
    assert "<script" not in html


def test_form_without_its_token_is_refused_with_our_page(site: Site) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(site.ann, backend=BACKEND)
    answer = browser.post("/wallet/pay/", payment(site, confirmed="yes"))
    assert (answer.status_code, b"This form is too old" in answer.content) == (403, True)
    assert site.wallet("ann") == (10_000, 0)


# -- cost --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/markets/", "/wallet/", "/vouchers/", "market"])
def test_page_costs_few_queries(site: Site, path: str) -> None:
    assert queries_of(site, site.market if path == "market" else path) <= MOST_QUERIES


def test_more_of_everything_costs_no_more_queries(site: Site) -> None:
    paths = ("/", "/markets/", site.market, f"/wallet/{site.points}/")
    before = [queries_of(site, path) for path in paths]
    venue = site.venue
    venue.run(*(venue.place("sam", "sell", 100 + n, 2) for n in range(10)))
    venue.run(*(venue.place("ann", "buy", 100 + n, 1) for n in range(10)))
    venue.run(*(venue.place("ann", "buy", 50 + n, 1) for n in range(10)))
    after = [queries_of(site, path) for path in paths]
    # Waiting orders bring one query, holds two, for all of them together.
    assert [now - then for then, now in zip(before, after, strict=True)] == [0, 0, 1, 2]


# -- the market --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("scheduled", "It takes no orders yet."),
        ("auction", "It would end now at <b class="),
        ("halted", "This market is halted: it takes no new orders."),
        ("closed", "This market is closed: it takes no new orders."),
    ],
)
def test_market_says_what_it_takes(site: Site, state: str, words: str) -> None:
    venue = site.venue
    assert words not in site.visitor.get(site.market).content.decode()
    type(venue.market).objects.filter(pk=venue.market.pk).update(state="auction")
    venue.run(venue.place("ann", "buy", 1200, 2), venue.place("sam", "sell", 1100, 5))
    type(venue.market).objects.filter(pk=venue.market.pk).update(state=state)
    assert words in site.visitor.get(site.market).content.decode()


def test_market_shows_own_orders_as_they_stand_now(site: Site) -> None:
    venue = site.venue
    [amended, stop] = venue.run(
        venue.place("ann", "buy", 1100, 3),
        venue.place("sam", "sell", 900, 4, type="stop_limit", stop_price=1000),
    )
    venue.run(venue.amend("ann", amended["order_id"], price=1150))
    ann = site.as_(site.ann).get(site.market).content.decode()
    assert "Cancel: buy 3 at 1,150" in ann
    sam = site.as_(site.sam).get(site.market).content.decode()
    assert f'data-cancel="{stop["order_id"]}"' in sam
    assert '900 <span class="soft">once at 1,000</span>' in sam


def test_market_shows_candles_of_the_span_asked_for(site: Site) -> None:
    venue = site.venue
    follower = Follower()
    venue.run(venue.place("sam", "sell", 1200, 5), venue.place("ann", "buy", 1200, 2))
    follower.take()
    html = site.visitor.get(f"{site.market}?span=week").content.decode()
    assert "Candles of 1 week: price from 1,200 to 1,200" in html
    assert "Candles of 1 hour" in site.visitor.get(f"{site.market}?span=nonsense").content.decode()


def test_market_shows_book_trades_and_own_orders(site: Site) -> None:
    venue = site.venue
    venue.run(venue.place("sam", "sell", 1200, 5), venue.place("ann", "buy", 1200, 2))
    _, order = venue.run(venue.place("sam", "sell", 1300, 4), venue.place("ann", "buy", 1100, 3))
    html = site.as_(site.ann).get(site.market).content.decode()
    assert html.count('data-cancel="') == 1
    assert f'data-cancel="{order["order_id"]}"' in html
    assert "Cancel: buy 3 at 1,100" in html
    assert '<rect x="0" width="42.9"' in html  # 3 of at most 7 on one side
    assert "1,200" in html
    assert 'data-funds="buy">4,243<' in html  # 10,000, less 2,424 with fee, less 3,333 on hold


def test_other_peoples_orders_cannot_be_cancelled_from_the_page(site: Site) -> None:
    site.venue.run(site.venue.place("sam", "sell", 1200, 5))
    assert b"data-cancel=" not in site.as_(site.ann).get(site.market).content


def test_moving_parts_alone_are_answered_once_and_then_304(site: Site) -> None:
    site.venue.run(site.venue.place("sam", "sell", 1200, 5))
    browser = site.as_(site.ann)
    first = browser.get(site.market, {"live": "1"})
    assert (first.status_code, b"<html" in first.content) == (200, False)
    again = browser.get(site.market, {"live": "1"}, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    site.venue.run(site.venue.place("sam", "sell", 1100, 1))
    moved = browser.get(site.market, {"live": "1"}, headers={"If-None-Match": first["ETag"]})
    assert moved.status_code == 200


# -- paying ------------------------------------------------------------------------------


def payment(site: Site, **changes: str) -> dict[str, str]:
    said = {"key": "k" * 22, "to": f"@{site.sam.handle}", "asset": site.points}
    return said | {"amount": "1,500", "memo": "for lunch"} | changes


def test_payment_is_shown_once_more_before_it_is_made(site: Site) -> None:
    answer = site.as_(site.ann).post("/wallet/pay/", payment(site))
    assert answer.status_code == 200
    assert b"1,500" in answer.content and b"Pay now" in answer.content
    assert site.wallet("ann") == (10_000, 0)


def test_payment_sent_twice_is_paid_once(site: Site) -> None:
    browser, said = site.as_(site.ann), payment(site, confirmed="yes")
    for words in ("Paid.", "It was not made again."):
        answer = browser.post("/wallet/pay/", said, follow=True)
        assert words in answer.content.decode()
    assert (site.wallet("ann"), site.wallet("sam")) == ((8_500, 0), (1_500, 0))


def test_form_reused_for_another_payment_is_refused_and_gets_a_new_key(site: Site) -> None:
    browser = site.as_(site.ann)
    browser.post("/wallet/pay/", payment(site, confirmed="yes"))
    answer = browser.post("/wallet/pay/", payment(site, amount="7", confirmed="yes"))
    assert answer.status_code == 422
    assert "was used for another payment" in answer.content.decode()
    assert "k" * 22 not in answer.content.decode()
    assert site.wallet("ann") == (8_500, 0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"to": "nobody_here"}, "Nobody here has this handle."),
        ({"amount": "10001"}, "You do not have that much available."),
        ({"amount": "10001", "confirmed": "yes"}, "There are not enough funds."),
        ({"amount": "1.5"}, "Whole numbers only, please."),
        ({"amount": "-5"}, "Write a number"),
        ({"asset": "EUR"}, "Select a valid choice"),
        ({"key": "x"}, "This form is spoilt"),
        ({"memo": "x" * 201}, "at most 200 characters"),
        ({"memo": "\x00"}, "Null characters are not allowed."),
    ],
)
def test_bad_payment_says_why_and_moves_nothing(
    site: Site, changes: dict[str, str], words: str
) -> None:
    answer = site.as_(site.ann).post("/wallet/pay/", payment(site, **changes))
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert (site.wallet("ann"), site.wallet("sam")) == ((10_000, 0), (0, 0))


def test_nobody_pays_themselves(site: Site) -> None:
    said = payment(site, to=site.ann.handle, confirmed="yes")
    answer = site.as_(site.ann).post("/wallet/pay/", said)
    assert (answer.status_code, b"That is you." in answer.content) == (422, True)


def test_statement_names_the_other_person_and_pages_back(site: Site) -> None:
    browser = site.as_(site.ann)
    for number in range(27):
        said = payment(site, key=f"{number:022}", amount="1", confirmed="yes")
        browser.post("/wallet/pay/", said)
    html = browser.get(f"/wallet/{site.points}/").content.decode()
    assert html.count(f"to @{site.sam.handle}") == 25
    older = re.search(r'href="(\?before=\d+)"', html)
    assert older is not None
    html = browser.get(f"/wallet/{site.points}/{older[1]}").content.decode()
    assert html.count(f"to @{site.sam.handle}") == 2
    assert "Given to you" in html


# -- vouchers ----------------------------------------------------------------------------


def test_reveal_burns_one_unit_once_however_often_it_is_sent(site: Site) -> None:
    browser = site.as_(site.ann)
    first, again = (browser.post("/vouchers/DRINK/reveal/", {"key": "r" * 22}) for _ in range(2))
    assert "AAA-1111" in first.content.decode()
    assert "AAA-1111" in again.content.decode()
    assert "no-store" in first["Cache-Control"]
    assert Reveal.objects.count() == 1
    page = browser.get("/vouchers/").content.decode()
    assert "AAA-1111" not in page
    assert "1,234.56 EUR" in page


def test_another_persons_form_key_makes_another_reveal(site: Site) -> None:
    site.as_(site.ann).post("/vouchers/DRINK/reveal/", {"key": "r" * 22})
    answer = site.as_(site.sam).post("/vouchers/DRINK/reveal/", {"key": "r" * 22})
    assert answer.status_code == 422
    assert "You have no unit of this series to spend" in answer.content.decode()
    assert Reveal.objects.count() == 1


def test_get_reveals_nothing(site: Site) -> None:
    assert b"It cannot be undone" in site.as_(site.ann).get("/vouchers/DRINK/reveal/").content
    assert Reveal.objects.count() == 0


def test_code_is_shown_again_and_each_look_is_written_down(site: Site) -> None:
    browser = site.as_(site.ann)
    browser.post("/vouchers/DRINK/reveal/", {"key": "r" * 22})
    path = f"/vouchers/codes/{Reveal.objects.get().pk}/"
    assert b"AAA-1111" in browser.post(path).content
    assert AuditEvent.objects.filter(action="rewards.view_code").count() == 1
    assert browser.get(path).status_code == 405


def test_another_persons_code_is_not_there(site: Site) -> None:
    site.as_(site.ann).post("/vouchers/DRINK/reveal/", {"key": "r" * 22})
    path = f"/vouchers/codes/{Reveal.objects.get().pk}/"
    assert site.as_(site.sam).post(path).status_code == 404
    assert not AuditEvent.objects.filter(action="rewards.view_code").exists()


# -- the account -------------------------------------------------------------------------


def test_key_is_shown_once(site: Site) -> None:
    browser = site.as_(site.ann)
    said = {"name": "bot", "scopes": ["wallet:read"], "days": "30"}
    shown = browser.post("/account/keys/", said).content.decode()
    token = re.search(r"scrip_live_\w+", shown)
    assert token is not None and len(token[0]) > 50
    assert "no-store" in browser.get("/account/")["Cache-Control"]
    assert token[0] not in browser.get("/account/").content.decode()


@pytest.mark.parametrize(
    "said", [{}, {"name": "bot"}, {"name": "bot", "scopes": ["finance:read"]}, {"scopes": ["x"]}]
)
def test_bad_key_form_makes_no_key(site: Site, said: dict[str, str]) -> None:
    assert site.as_(site.ann).post("/account/keys/", said).status_code == 422
    assert not ApiKey.objects.exists()


def test_own_key_is_revoked_and_others_are_not_there(site: Site) -> None:
    key = create_key(site.ann, name="bot", scopes=["wallet:read"]).key
    path = f"/account/keys/{key.pk}/revoke/"
    assert site.as_(site.sam).post(path).status_code == 404
    assert ApiKey.objects.usable().count() == 1
    assert site.as_(site.ann).post(path).status_code == 302
    assert ApiKey.objects.usable().count() == 0


def test_name_is_changed_and_nothing_else(site: Site) -> None:
    said = {"name": "Ann", "email": "evil@example.com", "is_staff": "on"}
    assert site.as_(site.ann).post("/account/profile/", said).status_code == 302
    site.ann.refresh_from_db()
    assert (site.ann.name, site.ann.is_staff) == ("Ann", False)
    assert site.ann.email.endswith("@scrip.example")
