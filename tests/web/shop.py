"""The whole site behind one origin, as people reach it: web, gateway, writer, relay, Caddy."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from config.embedded import Embedded, stop
from config.guard import Guard
from config.supervisor.front import caddyfile
from config.supervisor.installation import answering
from config.supervisor.ports import free_ports
from config.supervisor.table import LOOPBACK
from scripclient import Scrip as Api
from tests.support.processes import Scrip

START_S = 90.0
WAIT_MS = 15_000
MARKET = "STADIUM-DRINK.PTS"


class Shop:
    """A running demo without its simulator, and a browser to look at it."""

    def __init__(self, scrip: Scrip, origin: str, browser: Browser) -> None:
        self.scrip = scrip
        self.origin = origin
        self.browser = browser
        self.demo = json.loads((scrip.folder / "demo.json").read_text())
        self.complaints: list[str] = []

    def api(self, handle: str) -> Api:
        """Speak to the API as somebody of the demo."""
        return Api(self.origin, self.demo["keys"][handle])

    def visit(
        self, *, scripts: bool = True, width: int = 1280, dark: bool = False
    ) -> BrowserContext:
        """Open a browser window of its own, and note what its console complains of."""
        context = self.browser.new_context(
            base_url=self.origin,
            java_script_enabled=scripts,
            viewport={"width": width, "height": 844},
            color_scheme="dark" if dark else "light",
        )
        context.set_default_timeout(WAIT_MS)
        context.on("console", self._note)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        return context

    def _note(self, message: object) -> None:
        kind, text = getattr(message, "type", ""), getattr(message, "text", "")
        if kind in {"error", "warning"}:
            self.complaints.append(text)

    def sign_in(self, context: BrowserContext, handle: str) -> Page:
        """Sign somebody of the demo in."""
        [account] = [each for each in self.demo["accounts"] if each["email"].startswith(handle)]
        page = context.new_page()
        page.goto("/accounts/login/")
        page.get_by_label("Email").fill(account["email"])
        page.get_by_label("Password").fill(account["password"])
        page.get_by_role("main").get_by_role("button", name="Sign In").click()
        page.wait_for_url("**/")
        return page

    def orders_of(self, handle: str) -> int:
        """How many orders a person ever placed."""
        [(count,)] = self.scrip.query(
            "SELECT count(*) FROM orderbook_order AS o JOIN accounts_user AS u ON u.id = o.user_id"
            " WHERE u.handle = %s",
            handle,
        )
        return int(count)


@contextmanager
def open_shop(guard: Guard, embedded: Embedded, chromium: str) -> Iterator[Shop]:
    """Start everything; it ends with the block."""
    with Scrip(guard, embedded, with_pages=True) as scrip, sync_playwright() as playwright:
        scrip.manage("seed_demo")
        scrip.start("web", "gateway", "writer", "relay", "market-data")
        [port] = free_ports((LOOPBACK, 21_000))
        front = _start_front(guard, scrip, port)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            yield Shop(scrip, f"http://{LOOPBACK}:{port}", browser)
        finally:
            browser.close()
            stop(front)
            guard.forget(front)


def _start_front(guard: Guard, scrip: Scrip, port: int) -> subprocess.Popen[bytes]:
    file = scrip.folder / "Caddyfile"
    text = caddyfile(
        site=f"http://:{port}",
        bind=LOOPBACK,
        web_upstream=scrip.web_url.removeprefix("http://"),
        gateway_upstream=scrip.gateway_url.removeprefix("http://"),
    )
    file.write_text(text)
    caddy = str(Path(sysconfig.get_path("scripts")) / "caddy")
    with (scrip.folder / "caddy.log").open("ab") as log:
        command = (caddy, "run", "--config", str(file), "--adapter", "caddyfile")
        front = guard.start(command, output=log, environment=scrip.environment)
    serves = answering(f"http://{LOOPBACK}:{port}/healthz")
    deadline = monotonic() + START_S
    while not serves():
        assert monotonic() < deadline, (scrip.folder / "caddy.log").read_text()
        sleep(0.05)
    return front
