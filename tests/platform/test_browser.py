"""A real browser on pages that others made: our policy refuses them nothing they need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from config.embedded import Embedded
from config.guard import Guard
from tests.support.needs import require
from tests.support.processes import Scrip

EMAIL, PASSWORD = "root@scrip.example", "correct horse battery"
MAKE_ROOT = f"""
from accounts.models import User
User.objects.create_superuser({EMAIL!r}, {PASSWORD!r}, handle="root")
"""


@pytest.fixture(scope="module")
def scrip(guard: Guard, embedded_servers: Embedded) -> Iterator[Scrip]:
    require("chromium")
    with Scrip(guard, embedded_servers, with_pages=True) as scrip:
        scrip.manage("shell", "-c", MAKE_ROOT)
        scrip.start("web")
        yield scrip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # As root, as in a container, Chromium has no sandbox; it sees only our own pages.
        path = require("chromium")
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


@pytest.fixture
def page(browser: Browser, scrip: Scrip) -> Iterator[Page]:
    """A page that must not complain, and must not ask anybody else for anything."""
    page = browser.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: _note(said, complaints))
    page.on("request", lambda asked: _check_is_ours(asked.url, scrip, complaints))
    yield page
    page.close()
    assert complaints == []


def _note(said: ConsoleMessage, complaints: list[str]) -> None:
    if said.type == "error":
        complaints.append(f"{said.text} {said.location}")


def _check_is_ours(url: str, scrip: Scrip, complaints: list[str]) -> None:
    if not url.startswith((scrip.web_url, "data:", "blob:")):
        complaints.append(f"asked {url}")


def test_api_docs_are_readable_with_our_own_files(page: Page, scrip: Scrip) -> None:
    page.goto(f"{scrip.web_url}/api/docs/")
    page.wait_for_selector(".opblock-summary")
    assert "Scrip" in page.inner_text(".info .title")


def test_admin_works_with_the_content_policy_on(page: Page, scrip: Scrip) -> None:
    page.goto(f"{scrip.web_url}/admin/")
    page.fill("input[name=login]", EMAIL)
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(f"{scrip.web_url}/admin/")
    page.goto(f"{scrip.web_url}/admin/accounts/user/")
    page.wait_for_selector("#result_list, table")
    assert EMAIL in page.content()
    page.goto(f"{scrip.web_url}/admin/accounts/user/add/")
    page.wait_for_selector("input[name=email]")
