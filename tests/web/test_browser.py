"""The site in a real browser, over real processes, behind the one origin."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from config.embedded import ROOT, Embedded
from config.guard import Guard
from tests.support.needs import require
from tests.web.shop import MARKET, Shop, open_shop

PASSWORD = "correct horse battery"
TICKET = f"/markets/{MARKET}/"
ORDERS = re.compile(r"/api/v1/markets/[^/]+/orders/")


@pytest.fixture(scope="module")
def shop(guard: Guard, embedded_servers: Embedded) -> Iterator[Shop]:
    with open_shop(guard, embedded_servers, require("chromium")) as shop:
        yield shop


@pytest.fixture(autouse=True)
def nothing_to_complain_of(shop: Shop) -> Iterator[None]:
    """No page may break the content policy, or fail in a script."""
    shop.complaints.clear()
    yield
    assert [said for said in shop.complaints if "Content Security" in said] == []
    assert [said for said in shop.complaints if "Error:" in said] == []


def fill(page: Page, *, price: str, quantity: str) -> None:
    page.get_by_label("Price (").fill(price)
    page.get_by_label("Quantity").fill(quantity)


def submit(page: Page) -> None:
    page.locator("[data-submit]").click()


def answer(page: Page) -> str:
    """What the ticket says, once it has an answer."""
    note = page.locator("[data-answer]")
    expect(note).to_be_visible()
    expect(page.locator("[data-submit]")).not_to_have_attribute("aria-disabled", "true")
    return note.inner_text()


def test_fan_signs_up_buys_waits_and_cancels(shop: Shop) -> None:
    page = shop.visit().new_page()
    page.goto("/")
    page.get_by_role("main").get_by_role("link", name="Sign up").click()
    page.get_by_label("Email").fill("zoe@example.com")
    page.get_by_label("Handle").fill("zoe")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password (again)").fill(PASSWORD)
    page.get_by_role("button", name="Sign Up").click()
    page.get_by_role("link", name="Wallet").click()
    expect(page.get_by_text("Your wallet is empty.")).to_be_visible()

    page.goto(TICKET)
    fill(page, price="100", quantity="2")
    submit(page)
    assert answer(page) == "You do not have enough available for this order."
    assert shop.orders_of("zoe") == 1  # kept, as refused

    shop.api("grace").pay("zoe", "PTS", 500)
    expect(page.locator('[data-funds="buy"]')).to_have_text("500")
    submit(page)
    assert answer(page) == "2 wait in the book."
    orders = page.get_by_role("region", name="Your open orders")
    expect(orders.get_by_role("row")).to_have_count(2)
    expect(page.locator('[data-funds="buy"]')).to_have_text("299")  # 200 and 1 of fee on hold
    orders.get_by_role("button", name="Cancel: buy 2 at 100").click()
    expect(orders.get_by_text("No order of yours is waiting here.")).to_be_visible()
    expect(page.locator('[data-funds="buy"]')).to_have_text("500")


def test_two_fans_trade_through_the_site(shop: Shop) -> None:
    shop.api("trader1").place_order(MARKET, side="sell", price=120, quantity=2)
    page = shop.sign_in(shop.visit(), "ada")
    page.goto(TICKET)
    fill(page, price="125", quantity="2")
    submit(page)
    assert answer(page) == "Bought 2 for 240 PTS."
    trades = page.get_by_role("region", name="Trades")
    expect(trades.get_by_role("row", name="120 bought 2")).to_be_visible()
    page.goto("/wallet/PTS/")
    expect(page.get_by_role("row", name="Purchase on the market")).to_contain_text("240")


def test_double_click_places_one_order(shop: Shop) -> None:
    page = shop.sign_in(shop.visit(), "ada")
    before = shop.orders_of("ada")
    page.goto(TICKET)
    fill(page, price="11", quantity="1")
    page.locator("[data-submit]").dblclick()
    assert answer(page) == "1 wait in the book."
    page.wait_for_timeout(500)
    assert shop.orders_of("ada") == before + 1


def order_with_two_answers_lost(shop: Shop, page: Page, price: str) -> int:
    """The gateway takes an order and the browser hears nothing, twice. How many were placed?"""
    before = shop.orders_of("ada")
    lost: list[int] = []

    def lose_two(route: Route) -> None:
        if len(lost) == 2:
            return route.fallback()
        lost.append(route.fetch().status)
        return route.abort()

    page.goto(TICKET)
    page.route(ORDERS, lose_two)
    fill(page, price=price, quantity="1")
    submit(page)
    assert answer(page) == "1 wait in the book."
    assert lost == [201, 201]
    return shop.orders_of("ada") - before


def test_order_whose_answers_are_lost_is_placed_once(shop: Shop) -> None:
    page = shop.sign_in(shop.visit(), "ada")
    assert order_with_two_answers_lost(shop, page, "12") == 1


def test_control_order_without_a_name_of_its_own_is_placed_each_time(shop: Shop) -> None:
    def rename_each_time(route: Route) -> None:
        script = route.fetch().text()
        named = "JSON.stringify({ ...body, client_order_id: newId() })"
        assert "JSON.stringify(body)" in script
        route.fulfill(
            body=script.replace("JSON.stringify(body)", named), content_type="text/javascript"
        )

    page = shop.sign_in(shop.visit(), "ada")
    page.route("**/trading*.js", rename_each_time)
    assert order_with_two_answers_lost(shop, page, "14") == 3


def test_order_that_was_never_heard_of_survives_a_reload(shop: Shop) -> None:
    page = shop.sign_in(shop.visit(), "ada")
    before = shop.orders_of("ada")

    def take_and_be_silent(route: Route) -> None:
        route.fetch()
        route.abort()

    page.goto(TICKET)
    page.route(ORDERS, take_and_be_silent)
    fill(page, price="13", quantity="1")
    submit(page)
    assert answer(page).startswith("We have not heard")
    page.unroute(ORDERS)
    page.reload()
    expect(page.get_by_label("Price (")).to_have_value("13")
    expect(page.get_by_label("Price (")).to_be_disabled()
    page.get_by_role("button", name="Ask again").click()
    expect(page.locator("[data-answer]")).to_have_text("1 wait in the book.")
    assert shop.orders_of("ada") == before + 1


def test_ticket_works_by_keyboard_alone(shop: Shop) -> None:
    page = shop.sign_in(shop.visit(), "ada")
    page.goto(TICKET)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.get_by_label("Buy", exact=True).focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("Sell", exact=True)).to_be_checked()
    page.keyboard.press("Tab")
    page.keyboard.type("999")
    page.keyboard.press("Tab")
    page.keyboard.type("1")
    page.keyboard.press("Enter")
    assert answer(page) == "1 wait in the book."
    expect(page.locator("[data-answer]")).to_be_focused()
    cancel = page.get_by_role("button", name="Cancel: sell 1 at 999")
    cancel.focus()
    page.keyboard.press("Enter")
    expect(cancel).to_have_count(0)


def test_bad_ticket_says_what_is_wrong_and_sends_nothing(shop: Shop) -> None:
    page = shop.sign_in(shop.visit(), "ada")
    before = shop.orders_of("ada")
    page.goto(TICKET)
    for price, quantity, words in (
        ("", "1", "Write a price above zero"),
        ("1.5", "1", "without decimals"),
        ("0", "1", "Write a price above zero"),
        ("5", "-1", "Write a quantity above zero"),
        ("5", "1e3", "Write a quantity above zero"),
    ):
        fill(page, price=price, quantity=quantity)
        submit(page)
        expect(page.locator(".field .error:visible")).to_contain_text(words)
    assert shop.orders_of("ada") == before


def test_code_is_revealed_once_and_found_again(shop: Shop) -> None:
    page = shop.sign_in(shop.visit(), "ada")
    page.goto("/vouchers/MATCH-SEAT/reveal/")
    expect(page.get_by_text("one of your 3")).to_be_visible()
    page.get_by_role("button", name="Use one and show the code").click()
    code = page.locator("#code").inner_text()
    assert len(code) >= 6
    page.reload()  # sends the form again
    expect(page.locator("#code")).to_have_text(code)
    page.goto("/vouchers/")
    expect(page.get_by_text(code)).to_have_count(0)
    page.get_by_role("button", name=re.compile("Show the code")).click()
    expect(page.locator("#code")).to_have_text(code)
    [(burnt,)] = shop.scrip.query("SELECT count(*) FROM rewards_reveal")
    assert burnt == 1


def test_market_is_readable_without_scripts(shop: Shop) -> None:
    shop.api("trader2").place_order(MARKET, side="buy", price=77, quantity=3)
    page = shop.visit(scripts=False).new_page()
    page.goto(TICKET)
    expect(page.get_by_role("row", name="77 3")).to_be_visible()


def test_book_moves_without_a_reload(shop: Shop) -> None:
    page = shop.visit().new_page()
    page.goto(TICKET)
    shop.api("trader3").place_order(MARKET, side="buy", price=78, quantity=4)
    expect(page.get_by_role("row", name="78 4")).to_be_visible()


PAGES = (
    "/", "/markets/", TICKET, "/wallet/", "/wallet/PTS/", "/wallet/pay/", "/rewards/",
    "/vouchers/", "/vouchers/FAN-SHOP-10/reveal/", "/account/", "/accounts/2fa/",
    "/accounts/email/", "/nope/",
)  # fmt: skip


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_no_page_overflows_or_breaks_the_policy(shop: Shop, width: int, dark: bool) -> None:
    page = shop.sign_in(shop.visit(width=width, dark=dark), "ada")
    for path in PAGES:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.locator("h1").count() == 1, path
        unnamed = page.locator("input:visible, select:visible, textarea:visible").evaluate_all(
            "all => all.filter(one => !one.labels?.length && !one.ariaLabel).map(one => one.name)"
        )
        assert unnamed == [], path
    assert [said for said in shop.complaints if "404" not in said] == []


def test_the_clients_tour_runs_as_it_stands_there(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    tour = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "client.md").read_text(), re.DOTALL)
    assert tour is not None
    names: dict[str, object] = {"ORIGIN": shop.origin, "KEY": shop.demo["keys"]["ada"]}
    exec(tour[1], names)
    told = capsys.readouterr().out
    assert "PTS" in told
    assert "422 " in told
    book = next(shop.api("ada").follow_book(MARKET))
    assert book.best_bid != 1, "the order was cancelled"


def test_the_examples_of_market_data_are_answered(shop: Shop) -> None:
    text = (ROOT / "docs" / "api" / "market-data.md").read_text()
    block = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert block is not None
    environment = {**shop.scrip.environment, "ORIGIN": shop.origin, "PYTHON": sys.executable}
    done = subprocess.run(
        ["bash", "-ec", block[1]],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, len(answers)) == (0, 11), done.stderr
    assert not [answer for answer in answers if "type" in answer]
