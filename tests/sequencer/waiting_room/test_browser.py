"""The waiting room's page in a real browser: it follows the stream, and its policy is kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from sequencer.waiting_room.tokens import UNPLACED, Ticket, write_ticket
from tests.sequencer.conftest import Served, ServeGateway
from tests.sequencer.waiting_room.test_gateway import MakeRoom, make_room, serve_before
from tests.support.needs import require

__all__ = ["make_room"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright keeps an event loop in this thread, and no test awaits anything on it.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        path = require("chromium")
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


def visit(browser: Browser, served: Served, name: str, ticket: str, **options: object) -> Page:
    """Open the room's page as a phone does, with a ticket in the cookie."""
    phone = browser.new_context(viewport={"width": 360, "height": 640}, **options)  # type: ignore[arg-type]
    url = f"http://127.0.0.1:{served.port}/"
    phone.add_cookies([{"name": f"scrip_ticket_{name}", "value": ticket, "url": url}])
    page = phone.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{url}waiting/{name}/")
    page.complaints = complaints  # type: ignore[attr-defined]
    return page


def test_it_moves_on_by_itself_when_it_is_their_turn(
    make_room: MakeRoom, serve_gateway: ServeGateway, browser: Browser
) -> None:
    served, room = serve_before(serve_gateway, make_room, starts_in_s=8, market="CUP.PTS")
    ticket = write_ticket(Ticket(room.pk, 7, UNPLACED))
    page = visit(browser, served, room.name, ticket, color_scheme="dark")
    assert "until it starts" in page.inner_text("#said")
    assert page.get_attribute("#said", "aria-live") == "polite"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.wait_for_selector("text=Your turn", timeout=25_000)
    assert page.get_attribute("a.button", "href") == "/markets/CUP.PTS/"
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    held = cookies[f"scrip_pass_{room.name}"]
    assert held["httpOnly"] and held["sameSite"] == "Lax"
    assert page.complaints == []  # type: ignore[attr-defined]


def test_without_scripts_it_asks_again_by_itself(
    make_room: MakeRoom, serve_gateway: ServeGateway, browser: Browser
) -> None:
    served, room = serve_before(serve_gateway, make_room, starts_in_s=6)
    ticket = write_ticket(Ticket(room.pk, 8, UNPLACED))
    page = visit(browser, served, room.name, ticket, java_script_enabled=False)
    assert page.locator("#big").count() == 1
    page.wait_for_selector("text=Your turn", timeout=30_000)
