"""A batch of orders over HTTP, through the real gateway, writer and ledger."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.support.processes import StartScrip

MARKET = "/api/v1/markets/STADIUM-DRINK.PTS/orders/"


def placing(name: str | None, side: str = "buy", price: Any = 50, **more: Any) -> dict[str, Any]:
    order = {"side": side, "price": price, "quantity": 1, **more}
    return {"place": order | ({"client_order_id": name} if name else {})}


def test_orders_and_cancellations_in_one_request(start_scrip: StartScrip) -> None:
    scrip = start_scrip()
    scrip.manage("seed_demo")
    scrip.start("gateway", "writer")
    demo = json.loads((scrip.folder / "demo.json").read_text())
    [key, *_] = [key for name, key in demo["keys"].items() if name.startswith("trader")]
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=scrip.gateway_url, headers=headers, timeout=20) as client:

        def batch(*commands: Any) -> list[tuple[int, Any]]:
            answered = client.post(f"{MARKET}batch/", json={"commands": commands})
            assert answered.status_code == 200, answered.text
            results = answered.json()["results"]
            return [(each["status"], each["body"]) for each in results]

        first = batch(
            placing("a"),
            placing("b", price=51),
            placing("a"),  # the same again: the same answer
            placing("a", price=49),  # the same id for another order
            placing("c", price="50"),
            placing("d", price=0),
            {"cancel": {"client_order_id": "b"}},
            {"cancel": {"client_order_id": "b"}},
            {"cancel": {"order_id": "1"}},
            {"cancel": {"order_id": "x", "client_order_id": "b"}},
            {"cancel": {}},
            placing(None),
        )
        statuses = [status for status, _ in first]
        codes = [body.get("code") for _, body in first]
        assert statuses == [201, 201, 201, 409, 400, 400, 200, 200, 404, 400, 400, 201]
        assert codes[3] == "client_order_id_reused"
        assert codes[8] == "unknown_order"
        assert first[0][1] == first[2][1]
        assert first[6][1] == first[7][1] and first[6][1]["status"] == "cancelled"
        assert first[11][1]["client_order_id"] not in {"a", "b", "c", "d"}
        [(status, again)] = batch(placing("a"))
        assert (status, again) == first[0]
        singly = client.post(MARKET, json=placing("a")["place"])
        assert (singly.json(), singly.headers["idempotent-replayed"]) == (first[0][1], "true")
        large = batch(*(placing(f"l{number}", price=1 + number % 40) for number in range(500)))
        assert {status for status, _ in large} <= {201, 422}
        assert large[0][1]["client_order_id"] == "l0"
        unknown = client.post(
            "/api/v1/markets/NONE/orders/batch/", json={"commands": [placing("a")]}
        )
        assert unknown.json()["results"][0]["body"]["code"] == "unknown_market"
    states = "SELECT client_order_id, state FROM orderbook_order WHERE client_order_id = ANY(%s)"
    assert sorted(scrip.query(states, ["a", "b", "c", "d"])) == [("a", 0), ("b", 2)]
    scrip.manage("market", "verify")
