"""Every order type over HTTP, through the real gateway, writer and ledger."""

from __future__ import annotations

import json

import httpx

from scripclient import Scrip
from tests.support.processes import StartScrip

MARKET = "STADIUM-DRINK.PTS"
ORDERS = f"/api/v1/markets/{MARKET}/orders/"
PAST_ALL_IDS = "9999999999999999999"
"""As long as an id may be, and more than PostgreSQL's largest number."""


def test_a_traders_day_with_every_order_type(start_scrip: StartScrip) -> None:
    scrip = start_scrip()
    scrip.manage("seed_demo")
    scrip.start("gateway", "writer")
    demo = json.loads((scrip.folder / "demo.json").read_text())
    [key, *_] = [key for name, key in demo["keys"].items() if name.startswith("trader")]
    with Scrip(scrip.gateway_url, token=key) as trader:
        orders = {
            "limit": trader.place_order(MARKET, side="buy", price=40, quantity=5),
            "iceberg": trader.place_order(
                MARKET, side="buy", price=41, quantity=6, display_quantity=2
            ),
            "dated": trader.place_order(
                MARKET, side="buy", price=42, quantity=1, time_in_force="gtd",
                expires_at="2027-01-01T00:00:00Z",
            ),
            "stop": trader.place_order(
                MARKET, side="buy", type="stop", worst_price=999, stop_price=998, quantity=1
            ),
            "pair": trader.place_order(
                MARKET, side="buy", price=39, quantity=1,
                oco={"stop_price": 998, "worst_price": 999},
            ),
        }  # fmt: skip
        assert {name: order["status"] for name, order in orders.items()} == dict.fromkeys(
            orders, "open"
        )
        market = trader.place_order(
            MARKET, side="buy", type="market", worst_price=1, quantity=1, self_trade="decrement"
        )
        assert (market["status"], market["worst_price"]) == ("cancelled", 1)
        assert market["cancel_reason"] == "immediate_or_cancel"
        amended = trader.amend_order(MARKET, orders["limit"]["order_id"], remaining_quantity=2)
        assert (amended["kept_place"], amended["remaining_quantity"]) == (True, 2)
        amended = trader.amend_order(MARKET, orders["stop"]["order_id"], stop_price=997)
        assert (amended["kept_place"], amended["stop_price"]) == (False, 997)
        assert trader.cancel_all(MARKET, side="sell") == {"cancelled": 0, "remaining": 0}
        assert trader.cancel_all()["cancelled"] >= 5
        assert trader.cancel_all() == {"cancelled": 0, "remaining": 0}
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=scrip.gateway_url, headers=headers, timeout=20) as client:
        _refusals(client)


def _refusals(client: httpx.Client) -> None:
    order = {"side": "buy", "price": 40, "quantity": 5}
    placed = client.post(ORDERS, json=order | {"client_order_id": "amended"}).json()
    amended = client.post(
        f"{ORDERS}batch/",
        json={"commands": [{"amend": {"client_order_id": "amended", "price": 41}}]},
    ).json()
    assert amended["results"][0]["body"]["price"] == 41
    named = {"order_id": PAST_ALL_IDS}
    beyond = client.post(
        f"{ORDERS}batch/", json={"commands": [{"amend": named | {"price": 5}}, {"cancel": named}]}
    ).json()
    assert [each["body"]["code"] for each in beyond["results"]] == ["unknown_order"] * 2
    one = f"{ORDERS}{placed['order_id']}/"
    odd = client.post(ORDERS, json=order | {"client_order_id": "a/b?#%"})
    assert odd.status_code == 201
    cancelled = client.delete(f"{ORDERS}by-client-id/a%2Fb%3F%23%25/")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    for method, path, body, status, code in (
        ("PATCH", one, {}, 400, "invalid_request"),
        ("PATCH", one, {"price": 0}, 400, "invalid_request"),
        ("PATCH", one, {"stop_price": 50}, 409, "order_has_no_stop_price"),
        ("PATCH", one, {"price": 10**12}, 422, "price_too_high"),
        ("PATCH", one, {"remaining_quantity": 10**12}, 422, "quantity_too_large"),
        ("PATCH", f"{ORDERS}1/", {"price": 5}, 404, "unknown_order"),
        ("PATCH", f"{ORDERS}x/", {"price": 5}, 404, "unknown_order"),
        ("PATCH", f"{ORDERS}by-client-id/none/", {"price": 5}, 404, "unknown_order"),
        ("PATCH", f"{ORDERS}{PAST_ALL_IDS}/", {"price": 5}, 404, "unknown_order"),
        ("DELETE", f"{ORDERS}{PAST_ALL_IDS}/", None, 404, "unknown_order"),
        ("DELETE", f"{ORDERS}?side=both", None, 400, "invalid_request"),
        ("DELETE", f"{ORDERS}?sides=buy", None, 400, "invalid_request"),
        ("DELETE", "/api/v1/markets/all/orders/?side=", None, 400, "invalid_request"),
        ("DELETE", "/api/v1/markets/NONE/orders/", None, 404, "unknown_market"),
        ("POST", "/api/v1/markets/all/orders/", order, 405, "method_not_allowed"),
        ("POST", ORDERS, order | {"display_quantity": 9}, 422, "display_quantity_too_large"),
        ("POST", ORDERS, order | {"min_quantity": 9}, 422, "minimum_quantity_too_large"),
        ("POST", ORDERS, order | {"min_quantity": 5}, 422, "minimum_quantity_unfilled"),
        ("POST", ORDERS, order | {"type": "stop_limit", "stop_price": 10**12}, 422,
         "stop_price_too_high"),
        ("POST", ORDERS, order | {"time_in_force": "gtd", "expires_at": "2020-01-01T00:00:00Z"},
         422, "expiry_in_past"),
        ("POST", ORDERS, order | {"time_in_force": "gtd", "expires_at": "2100-01-01T00:00:00Z"},
         422, "expiry_too_far"),
    ):  # fmt: skip
        answer = client.request(method, path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (path, body)
    assert client.delete(f"{ORDERS}?side=buy").json() == {"cancelled": 1, "remaining": 0}
