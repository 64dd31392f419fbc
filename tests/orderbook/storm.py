"""Traders who insist: orders over HTTP through kills, until each has an answer.

They behave as the API's documentation says: after silence or 503 they ask again with the
same client order id. What they were told is kept, to be held against the database.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.processes import Scrip

GIVE_UP_S = 600.0
RETRIED = frozenset({429, 500, 502, 503, 504})


@dataclass
class Storm:
    """Some traders' orders on the demo's markets, and what became of each."""

    scrip: Scrip
    seed: int = 1
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    bodies: dict[str, tuple[str, str, dict[str, Any]]] = field(default_factory=dict)
    retries: int = 0
    asked_to_stop: bool = False
    name: str = field(default_factory=lambda: f"storm-{secrets.token_hex(4)}")

    def __post_init__(self) -> None:
        demo = json.loads((self.scrip.folder / "demo.json").read_text())
        self.keys = [key for name, key in demo["keys"].items() if name.startswith("trader")]
        self.worth: Mapping[str, int] = demo["markets"]
        self.random = random.Random(self.seed)

    async def blow(self, *, at_once: int = 8) -> None:
        """Place one order after another, so many at once, until asked to stop."""
        url = f"{self.scrip.gateway_url}/api/v1"
        async with httpx.AsyncClient(base_url=url, timeout=8) as client:
            await asyncio.gather(*(self._trade(client, number) for number in range(at_once)))

    async def _trade(self, client: httpx.AsyncClient, number: int) -> None:
        turn = 0
        while not self.asked_to_stop:
            cid = f"{self.name}-{number}-{turn}"
            turn += 1
            key = self.random.choice(self.keys)
            market = self.random.choice(list(self.worth))
            price = max(1, self.worth[market] + self.random.randint(-6, 6))
            body = {
                "side": self.random.choice(["buy", "sell"]),
                "price": price,
                "quantity": self.random.randint(1, 3),
                "client_order_id": cid,
            }
            self.bodies[cid] = (market, key, body)
            await self.insist(client, cid)

    async def insist(self, client: httpx.AsyncClient, cid: str) -> httpx.Response:
        """Ask until there is a final answer; keep the first one that came."""
        market, key, body = self.bodies[cid]
        deadline = asyncio.get_running_loop().time() + GIVE_UP_S
        while True:
            try:
                response = await client.post(
                    f"/markets/{market}/orders/",
                    json=body,
                    headers={"Authorization": f"Bearer {key}"},
                )
                if response.status_code not in RETRIED:
                    break
            except httpx.TransportError:
                pass
            self.retries += 1
            assert asyncio.get_running_loop().time() < deadline, f"{cid}: no answer"
            await asyncio.sleep(0.05)
        self.answers.setdefault(cid, {"http": response.status_code, **response.json()})
        return response


def assert_nothing_lost_or_doubled(scrip: Scrip, storm: Storm) -> None:
    """Hold what the traders were told against what the database says."""
    rows = scrip.query(
        "SELECT client_order_id, id, entry_state, taken_lots, taken_minor, refusal"
        " FROM orderbook_order WHERE client_order_id LIKE %s || '-%%'",
        storm.name,
    )
    stored = {row[0]: row[1:] for row in rows}
    assert len(stored) == len(rows), "an order is there twice"
    assert stored.keys() == storm.answers.keys() == storm.bodies.keys()
    for cid, answer in storm.answers.items():
        order_id, _, lots, minor, refusal = stored[cid]
        assert answer["order_id"] == str(order_id)
        if answer["http"] == 201:
            assert (answer["filled_quantity"], answer["filled_amount"]) == (lots, minor)
        else:
            assert answer["code"] == refusal
    assert_books_balance(scrip)


def assert_books_balance(scrip: Scrip) -> None:
    """Every asset sums to zero, holds and open orders are one to one, and verify is clean."""
    sums = scrip.query("SELECT asset_id, sum(balance) FROM wallet_account GROUP BY 1")
    assert all(total == 0 for _, total in sums)
    strays = scrip.query(
        "SELECT coalesce(o.hold_id, h.id)"
        " FROM (SELECT hold_id FROM orderbook_order WHERE state = 0) AS o"
        " FULL JOIN (SELECT id FROM wallet_hold WHERE state = 0) AS h ON h.id = o.hold_id"
        " WHERE o.hold_id IS NULL OR h.id IS NULL"
    )
    assert strays == []
    scrip.manage("ledger", "verify")
