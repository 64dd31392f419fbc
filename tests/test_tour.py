"""The tour and the journey of the documents, as they stand there, on a Scrip from `make run`."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from config.embedded import ROOT
from config.supervisor.ports import free_ports

READY_S = 180.0

pytestmark = pytest.mark.timeout(900)


def commands_of(document: str, heading: str) -> str:
    """The first block of shell commands after a heading."""
    section = (ROOT / document).read_text().partition(heading)[2]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return block[1]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Scrip with the demo, started as `make run` starts it."""
    # PostgreSQL runs as another user when we are root, and may not reach into pytest's folder.
    var = Path(os.environ["SCRIP_VAR"]) / "tour"
    shutil.rmtree(var, ignore_errors=True)
    [port] = free_ports(("127.0.0.1", 23_000 + os.getpid() % 1000))
    values = {"SCRIP_VAR": str(var), "PORT": str(port)}
    environment = {**os.environ, **values, "PYTHON": sys.executable}
    for name in ("DATABASE_URL", "REDIS_URL", "ORIGIN"):
        environment.pop(name, None)
    log = tmp_path_factory.mktemp("tour") / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "config.supervisor"],
            cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, log)
        yield environment
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait_until_ready(origin: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{origin}/readyz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    pytest.fail(f"Scrip is not ready:\n{log.read_text()[-3000:]}")


def told_by(script: str, environment: dict[str, str]) -> str:
    """Run shell commands until one fails; give what they printed."""
    done = subprocess.run(
        ["bash", "-c", f"set -e\n{script}"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_csv_of_codes_becomes_a_trade_and_a_revealed_voucher(
    environment: dict[str, str],
) -> None:
    # The new market is known to the gateway within a second; a person types slower.
    script = commands_of("README.md", "## The quick tour").replace("\n\n# 2.", "\nsleep 2\n\n# 2.")
    told = told_by(script, environment)
    assert "2 codes, as many units" in told
    assert '"available":0,"incoming":0' in told.replace(" ", "")
    assert told.count('"filled_amount":80') == 2, "asked twice, answered the same twice"
    assert "80 [{'price': 80, 'quantity': 1}]" in told, "the same market, seen by the client"
    assert told.count('"role":"taker"') == 1, "bought once"
    assert '"code":"TOUR-7K2M-9QXA"' in told, "the code that expires soonest"
    assert '"code":"reveal"' in told or '"reveal"' in told


def test_a_fan_goes_from_sign_up_to_refund(environment: dict[str, str]) -> None:
    told = told_by(commands_of("docs/journey.md", "# A fan's journey"), environment)
    assert '"done":50' in told, "the codes were made by a worker"
    assert told.count('"amount":200,"transfer_id"') >= 2, "asked twice, the same claim"
    assert '"balance":200' in told
    assert '"done":2,"needed":3' in told, "two check-ins are not three"
    assert '"level":"bronze"' in told
    assert '"state":"confirmed"' in told
    assert '"code":"voucher_used"' in told
    assert told.count('"state":"reversed"') == 2, "the redemption, and the claim"
    assert '"campaign":"BRING","cohort"' in told
    assert "Budgets, counters and claims agree with the ledger." in told
    assert "The ledger is clean" in told


def test_two_traders_and_an_operator_spend_a_day_at_a_market(environment: dict[str, str]) -> None:
    told = told_by(commands_of("docs/trading-day.md", "# A day at a market"), environment)
    assert '"indicative":{"price":98,"quantity":4,' in told
    for code in ("fill_or_kill_unfilled", "invalid_request"):
        assert f'"code":"{code}"' in told
    for reason in (
        "immediate_or_cancel", "self_trade", "dead_mans_switch", "volatility_halt", "operator",
        "requested", "market_closed",
    ):  # fmt: skip
        assert f'"cancel_reason":"{reason}"' in told
    assert '"is_triggered":true' in told
    assert '"kept_place":true' in told and '"kept_place":false' in told
    assert '"state":"halted"' in told
    assert "insufficient_funds" not in told
    assert "agree with their orders, fills and holds" in told


def test_a_guaranteed_code_that_does_not_work_is_disputed(environment: dict[str, str]) -> None:
    headings = ("## Rules of a series", "## A guarantee", "## A code that does not work")
    document = "docs/voucher-protection.md"
    blocks = [commands_of(document, heading) for heading in headings]
    blocks.append(commands_of(document, "The refund is frozen"))
    told = told_by("\n".join(blocks), environment)
    assert "2 codes, as many units" in told
    assert '"state":"asked"' in told
    assert told.count('"state":"contested"') == 2, "answered, and read again"
