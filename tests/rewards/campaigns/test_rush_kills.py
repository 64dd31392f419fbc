"""Claims over HTTP while the writer is killed: nobody gets two, nobody is told what is not so."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from config.embedded import ROOT, Embedded
from config.guard import Guard
from tests.sequencer.boundaries import BOUNDARIES
from tests.support.processes import Scrip

pytestmark = pytest.mark.timeout(900)

ENGINE = "rewards.campaigns.rush.engine.CampaignEngine"
PEOPLE, UNITS = 240, 60
SETTING = f"""
import json
from accounts.models import User
from accounts.tokens import write_session_token
from rewards.campaigns import publishing
from wallet.models import Asset
Asset.objects.create(code="RUSH", name="Points", kind=Asset.Kind.POINTS)
people = User.objects.bulk_create(
    User(email=f"r{{n}}@scrip.example", handle=f"rush{{n}}", password="!") for n in range({PEOPLE}))
terms = {{"starts_at": "2026-01-01T00:00:00+00:00", "budgets": {{"RUSH": {UNITS}}},
         "limits": [{{"most": 1, "per": "person", "window": "ever"}}],
         "effects": [{{"is": "points", "asset": "RUSH", "amount": 1}}]}}
publishing.create(code="RUSH", title="Rush", actor=people[0])
version = publishing.draft("RUSH", terms, actor=people[0])
publishing.publish("RUSH", version.number, actor=people[1])
print(json.dumps([write_session_token(user_id=p.pk, scopes=["rewards:write"], session_key=str(p.pk))
                  for p in people]))
"""


@pytest.fixture(scope="module")
def scrip(guard: Guard, embedded_servers: Embedded) -> Iterator[Scrip]:
    with Scrip(guard, embedded_servers) as scrip:
        yield scrip


class Crowd:
    """People who each want one, ask twice, and ask again until they hear."""

    def __init__(self, scrip: Scrip, tokens: list[str]) -> None:
        self._url = scrip.gateway_url
        self._tokens = tokens
        self.answers: dict[tuple[int, int], httpx.Response] = {}

    async def rush(self) -> None:
        async with httpx.AsyncClient(base_url=self._url, timeout=8) as client:
            waiting = iter(range(len(self._tokens)))
            await asyncio.gather(*(self._walk(client, waiting) for _ in range(12)))

    async def _walk(self, client: httpx.AsyncClient, waiting: Iterator[int]) -> None:
        for number in waiting:
            for turn in range(2):
                self.answers[number, turn] = await self._insist(client, number, uuid4().hex)

    async def _insist(self, client: httpx.AsyncClient, number: int, key: str) -> httpx.Response:
        headers = {
            "Authorization": f"Bearer {self._tokens[number]}",
            "Idempotency-Key": key,
        }
        while True:
            try:
                answer = await client.post(
                    "/api/v1/campaigns/RUSH/claims/", json={}, headers=headers
                )
                if answer.status_code in {201, 422}:
                    return answer
                assert answer.status_code in {429, 503}, answer.text
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


def test_a_writer_killed_between_any_two_steps_grants_each_unit_once(scrip: Scrip) -> None:
    tokens: list[str] = json.loads(scrip.manage("shell", "-v", "0", "-c", SETTING))
    scrip.start("gateway")
    crowd = Crowd(scrip, tokens)

    async def run() -> None:
        rushing = asyncio.create_task(crowd.rush())
        for boundary in BOUNDARIES:
            await asyncio.to_thread(run_until_killed, scrip, boundary)
        await asyncio.to_thread(scrip.start, "writer")
        await rushing

    asyncio.run(run())
    assert_each_unit_was_granted_once(scrip, crowd)


def run_until_killed(scrip: Scrip, boundary: str) -> None:
    """Run a writer that kills itself at this step of its second batch."""
    doomed = subprocess.Popen(
        [sys.executable, "-m", "tests.sequencer.boundaries", "0", boundary, "2", ENGINE],
        cwd=ROOT,
        env=scrip.environment,
    )
    assert doomed.wait(60) == -signal.SIGKILL


def assert_each_unit_was_granted_once(scrip: Scrip, crowd: Crowd) -> None:
    told: list[dict[str, Any]] = [a.json() for a in crowd.answers.values() if a.status_code == 201]
    stored = scrip.query("SELECT id::text, owner_id FROM campaigns_claim")
    assert len(crowd.answers) == 2 * PEOPLE
    assert len(stored) == len({owner for _, owner in stored}) == UNITS
    assert sorted(claim["id"] for claim in told) == sorted(id for id, _ in stored)
    reasons = {a.json()["code"] for a in crowd.answers.values() if a.status_code == 422}
    assert reasons <= {"limit_person", "budget_exhausted"}
    wallets = scrip.query(
        "SELECT count(*), sum(balance) FROM wallet_account AS a JOIN wallet_asset AS s"
        " ON s.id = a.asset_id WHERE s.code = 'RUSH' AND a.kind_id = 'wallet'"
    )
    assert wallets == [(UNITS, UNITS)]
    scrip.manage("ledger", "verify")
