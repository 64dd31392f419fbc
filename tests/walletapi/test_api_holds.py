"""Holds people make for one another: made, posted in parts, voided, lapsed, and not for others."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge.models import IdempotencyKey
from tests.walletapi.conftest import Api, World, money, problem
from wallet.freezing import freeze

pytestmark = pytest.mark.django_db

WRITE = ("wallet:read", "wallet:write")


def later(**delta: int) -> str:
    return (datetime.now(UTC) + timedelta(**(delta or {"days": 3}))).isoformat()


def deposit(**changes: Any) -> dict[str, Any]:
    body = {"to": "ben", "asset": "EUR", "amount": 600, "memo": "hall", "expires_at": later()}
    return body | changes


def made(world: World, **changes: Any) -> str:
    """Ann's hold for Ben."""
    answer = Api(world.ann, *WRITE).post("holds/", deposit(**changes))
    assert answer.status_code == 201, answer.content
    hold_id: str = answer.json()["id"]
    return hold_id


def refused(world: World, path: str, body: Any, status: int, code: str) -> None:
    before = money()
    problem(Api(world.ann, *WRITE).post(path, body), status, code)
    assert money() == before


def test_hold_sets_money_aside(world: World) -> None:
    body = deposit()
    answer = Api(world.ann, *WRITE).post("holds/", body).json()
    expires_at = datetime.fromisoformat(body["expires_at"]).replace(tzinfo=None)
    assert answer == {
        "id": answer["id"], "at": answer["at"], "code": "hold", "asset": "EUR", "amount": 600,
        "remaining": 600, "state": "open", "receiver": "ben", "memo": "hall",
        "expires_at": expires_at.isoformat(timespec="microseconds") + "Z",
    }  # fmt: skip
    wallet = Api(world.ann, *WRITE).get("wallets/EUR/").json()
    assert (wallet["balance"], wallet["held"], wallet["available"]) == (1000, 600, 400)
    assert Api(world.ben, *WRITE).get("wallets/EUR/").json()["incoming"] == 600
    pay = {"to": "ben", "asset": "EUR", "amount": 401}
    refused(world, "payments/", pay, 422, "insufficient_funds")


def test_hold_is_posted_in_parts_and_the_rest_released(world: World) -> None:
    hold_id = made(world)
    api = Api(world.ann, *WRITE)
    part = api.post(f"holds/{hold_id}/post/", {"amount": 100, "rest_is_kept": True})
    assert part.status_code == 201
    assert (part.json()["kind"], part.json()["amount"], part.json()["hold_id"]) == (
        "post", 100, hold_id,
    )  # fmt: skip
    assert api.get(f"holds/{hold_id}/").json()["remaining"] == 500
    assert api.post(f"holds/{hold_id}/post/", {"amount": 200}).status_code == 201
    hold = api.get(f"holds/{hold_id}/").json()
    assert (hold["remaining"], hold["state"]) == (0, "posted")
    wallet = world.wallet(world.ann)
    assert (wallet.balance, wallet.held) == (700, 0)
    assert world.wallet(world.ben).balance == 300


def test_hold_is_posted_whole_when_nothing_is_said(world: World) -> None:
    hold_id = made(world)
    assert Api(world.ann, *WRITE).post(f"holds/{hold_id}/post/", {}).json()["amount"] == 600
    assert world.wallet(world.ben).balance == 600


def test_void_gives_the_money_back(world: World) -> None:
    hold_id = made(world)
    api = Api(world.ann, *WRITE)
    answer = api.post(f"holds/{hold_id}/void/", {"amount": 150}).json()
    assert (answer["kind"], answer["code"], answer["amount"]) == ("void", "release", 150)
    assert world.wallet(world.ann).available == 550
    assert api.post(f"holds/{hold_id}/void/", {}).json()["amount"] == 450
    assert world.wallet(world.ann).available == 1000
    assert api.get(f"holds/{hold_id}/").json()["state"] == "voided"


def test_hold_ends_once(world: World) -> None:
    posted, voided = made(world, amount=10), made(world, amount=10)
    api = Api(world.ann, *WRITE)
    api.post(f"holds/{posted}/post/", {})
    api.post(f"holds/{voided}/void/", {})
    for deed in ("post", "void"):
        refused(world, f"holds/{posted}/{deed}/", {}, 409, "hold_already_posted")
        refused(world, f"holds/{voided}/{deed}/", {}, 409, "hold_already_voided")


def test_hold_pays_no_more_than_it_holds(world: World) -> None:
    hold_id = made(world)
    for deed in ("post", "void"):
        refused(world, f"holds/{hold_id}/{deed}/", {"amount": 601}, 422, "amount_exceeds_hold")
        for amount in (0, -1, 1.5, "5", 2**63, None):
            refused(world, f"holds/{hold_id}/{deed}/", {"amount": amount}, 400, "invalid_request")


def test_lapsed_hold_is_not_posted_but_released(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_id = made(world, expires_at=later(minutes=1))
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    monkeypatch.setattr(time, "time_ns", lambda: int(in_an_hour.timestamp() * 1e9))
    refused(world, f"holds/{hold_id}/post/", {}, 409, "hold_expired")
    assert Api(world.ann, *WRITE).post(f"holds/{hold_id}/void/", {}).status_code == 201
    assert Api(world.ann, *WRITE).get(f"holds/{hold_id}/").json()["state"] == "expired"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"expires_at": "2026-01-01T00:00:00Z"}, 422, "expiry_in_past"),
        ({"expires_at": later(days=32)}, 422, "hold_too_long"),
        ({"expires_at": "tomorrow"}, 400, "invalid_request"),
        ({"expires_at": None}, 400, "invalid_request"),
        ({"amount": 1001}, 422, "insufficient_funds"),
        ({"amount": 0}, 400, "invalid_request"),
        ({"to": "ann"}, 422, "accounts_same"),
        ({"to": "nobody"}, 422, "person_unknown"),
        ({"asset": "GOLD"}, 422, "asset_unknown"),
    ],
)
def test_hold_that_cannot_be_is_refused(
    world: World, changes: dict[str, Any], status: int, code: str
) -> None:
    refused(world, "holds/", deposit(**changes), status, code)


def test_frozen_account_makes_no_hold_but_keeps_its_promise(world: World) -> None:
    hold_id = made(world)
    freeze(world.wallet(world.ann).pk, actor=world.clara, reason="x")
    refused(world, "holds/", deposit(amount=1), 409, "debit_account_frozen")
    assert Api(world.ann, *WRITE).post(f"holds/{hold_id}/post/", {}).status_code == 201
    assert world.wallet(world.ben).balance == 600


def test_hold_of_another_is_not_there(world: World) -> None:
    hold_id = made(world)
    before = money()
    for stranger in (world.ben, world.dora):
        api = Api(stranger, *WRITE)
        problem(api.get(f"holds/{hold_id}/"), 404, "hold_unknown")
        problem(api.post(f"holds/{hold_id}/post/", {}), 404, "hold_unknown")
        problem(api.post(f"holds/{hold_id}/void/", {}), 404, "hold_unknown")
    assert money() == before
    refused(world, "holds/12345/post/", {}, 404, "hold_unknown")


def test_hold_of_an_order_is_listed_but_left_alone(world: World) -> None:
    hold_id = world.hold(world.ann, 100)
    api = Api(world.ann, *WRITE)
    [listed] = api.get("holds/", asset="EUR").json()["results"]
    assert (listed["id"], listed["code"], listed["receiver"]) == (str(hold_id), "order_hold", None)
    for deed in ("post", "void"):
        refused(world, f"holds/{hold_id}/{deed}/", {}, 403, "hold_not_yours")


def test_open_holds_come_in_pages(world: World) -> None:
    ids = [made(world, amount=amount) for amount in (1, 2, 3)]
    api = Api(world.ann, *WRITE)
    api.post(f"holds/{ids[1]}/void/", {})
    first = api.get("holds/", limit=1).json()
    second = api.client.get(first["next"]).json()
    assert [row["id"] for row in first["results"] + second["results"]] == [ids[2], ids[0]]
    assert api.get("holds/", asset="POINTS").json()["results"] == []
    assert Api(world.ben, *WRITE).get("holds/").json()["results"] == []


def test_keys_hold_for_holds_posts_and_voids(world: World) -> None:
    api = Api(world.ann, *WRITE)
    body = deposit(amount=100)
    hold_id = api.post("holds/", body, key="h").json()["id"]
    IdempotencyKey.objects.all().delete()
    again = api.post("holds/", body, key="h")
    assert (again.json()["id"], again["Idempotent-Replayed"]) == (hold_id, "true")
    first = api.post(f"holds/{hold_id}/post/", {"amount": 40, "rest_is_kept": True}, key="p")
    IdempotencyKey.objects.all().delete()
    again = api.post(f"holds/{hold_id}/post/", {"amount": 40, "rest_is_kept": True}, key="p")
    assert again.json() == first.json()
    assert world.wallet(world.ben).balance == 40
    refused_again = api.post(
        f"holds/{hold_id}/post/", {"amount": 41, "rest_is_kept": True}, key="p"
    )
    problem(refused_again, 422, "idempotency_key_reused")
