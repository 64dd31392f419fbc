"""Payments between people: once for each key, exact amounts, and nothing moves when refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.models import IdempotencyKey
from tests.walletapi.conftest import Api, World, money, problem
from wallet.accounts import wallet_of
from wallet.freezing import change_limits, close, freeze
from wallet.items import LARGEST_AMOUNT
from wallet.models import Transfer

pytestmark = pytest.mark.django_db

WRITE = ("wallet:read", "wallet:write")


def lunch(**changes: Any) -> dict[str, Any]:
    return {"to": "ben", "asset": "EUR", "amount": 250, "memo": "lunch"} | changes


def refused(
    world: World, body: Any, status: int, code: str, *, key: str | None = ""
) -> dict[str, Any]:
    """Ann's payment is refused with this code, and nothing moved."""
    before = money()
    document = problem(Api(world.ann, *WRITE).post("payments/", body, key=key), status, code)
    assert money() == before
    return document


def test_payment_moves_exactly_what_was_asked(world: World) -> None:
    answer = Api(world.ann, *WRITE).post("payments/", lunch())
    assert answer.status_code == 201
    document = answer.json()
    transfer = Transfer.objects.get(pk=document["id"])
    assert document == {
        "id": str(transfer.pk),
        "at": transfer.at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "kind": "transfer", "code": "payment", "asset": "EUR", "amount": 250,
        "sender": "ann", "receiver": "ben", "memo": "lunch", "hold_id": None,
        "reverses_id": None, "effective_at": None, "expires_at": None,
    }  # fmt: skip
    assert (world.wallet(world.ann).balance, world.wallet(world.ben).balance) == (750, 250)


def test_first_payment_opens_the_receivers_wallet(world: World) -> None:
    answer = Api(world.ann, *WRITE).post("payments/", lunch(to="@Dora", memo=""))
    assert answer.status_code == 201
    assert wallet_of(world.dora.pk, world.euro).balance == 250


def test_all_that_one_has_can_be_paid_and_not_one_more(world: World) -> None:
    refused(world, lunch(amount=1001), 422, "insufficient_funds")
    assert Api(world.ann, *WRITE).post("payments/", lunch(amount=1000)).status_code == 201
    refused(world, lunch(amount=1), 422, "insufficient_funds")


@pytest.mark.parametrize(
    "amount",
    [
        "0", "-1", "-250", str(2**62 + 1), str(2**63), str(2**64), "1e3", "1E3", "2.5", "250.0",
        '"250"', '""', "null", "true", "[250]", '{"EUR": 250}',
    ],
)  # fmt: skip
def test_amount_that_is_no_amount_moves_nothing(world: World, amount: str) -> None:
    document = sent_raw(world, amount, 400, "invalid_request")
    assert [error["pointer"] for error in document["errors"]] == ["#/amount"]


@pytest.mark.parametrize(
    "amount", ["NaN", "Infinity", "-Infinity", "1e999", "0x10", "01", "9" * 5000]
)
def test_amount_that_is_no_json_moves_nothing(world: World, amount: str) -> None:
    sent_raw(world, amount, 400, "malformed_body")


def sent_raw(world: World, amount: str, status: int, code: str) -> dict[str, Any]:
    before = money()
    response = Api(world.ann, *WRITE).client.generic(
        "POST",
        "/api/v1/payments/",
        f'{{"to":"ben","asset":"EUR","amount":{amount}}}',
        content_type="application/json",
        headers={"Idempotency-Key": "k"},
    )
    document = problem(response, status, code)
    assert money() == before
    return document


def test_largest_amount_is_understood(world: World) -> None:
    refused(world, lunch(amount=LARGEST_AMOUNT), 422, "insufficient_funds")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"asset": "GOLD"}, 422, "asset_unknown"),
        ({"asset": "eur"}, 400, "invalid_request"),
        ({"asset": None}, 400, "invalid_request"),
        ({"asset": "POINTS"}, 422, "insufficient_funds"),
        ({"to": "nobody"}, 422, "person_unknown"),
        ({"to": "ann"}, 422, "accounts_same"),
        ({"to": ""}, 400, "invalid_request"),
        ({"to": "ben@example.com"}, 422, "person_unknown"),
        ({"to": "x" * 32}, 400, "invalid_request"),
        ({"memo": "x" * 201}, 400, "invalid_request"),
        ({"from": "ben"}, 400, "invalid_request"),
        ({"currency": "EUR"}, 400, "invalid_request"),
    ],
)
def test_payment_that_cannot_be_moves_nothing(
    world: World, changes: dict[str, Any], status: int, code: str
) -> None:
    refused(world, lunch(**changes), status, code)


@pytest.mark.parametrize("body", [None, [], [1], "text", 5, {}])
def test_body_of_another_shape_is_refused(world: World, body: Any) -> None:
    before = money()
    response = Api(world.ann, *WRITE).post("payments/", body)
    document = json.loads(response.content)
    assert (response.status_code, document["code"]) in {
        (400, "invalid_request"), (400, "malformed_body"), (415, "unsupported_media_type"),
    }  # fmt: skip
    assert money() == before


def test_deactivated_person_is_not_there(world: World) -> None:
    world.ben.is_active = False
    world.ben.save()
    refused(world, lunch(), 422, "person_unknown")


def test_frozen_account_pays_nothing(world: World) -> None:
    freeze(world.wallet(world.ann).pk, actor=world.clara, reason="x")
    refused(world, lunch(), 409, "debit_account_frozen")


def test_closed_account_is_not_paid(world: World) -> None:
    close(world.wallet(world.ben).pk, actor=world.clara, reason="x")
    refused(world, lunch(), 409, "credit_account_closed")


def test_closed_account_does_not_pay(world: World) -> None:
    close(world.wallet(world.ben).pk, actor=world.clara, reason="x")
    problem(Api(world.ben, *WRITE).post("payments/", lunch(to="ann")), 409, "debit_account_closed")


def test_limits_refuse_with_their_names(world: World) -> None:
    who: Any = {"actor": world.clara, "reason": "x"}
    change_limits(world.wallet(world.ann).pk, floor=0, ceiling=None, largest_debit=249, **who)
    refused(world, lunch(), 422, "amount_exceeds_limit")
    change_limits(world.wallet(world.ann).pk, floor=0, ceiling=None, largest_debit=None, **who)
    change_limits(world.wallet(world.ben).pk, floor=0, ceiling=249, largest_debit=None, **who)
    refused(world, lunch(), 422, "ceiling_exceeded")


# -- keys --------------------------------------------------------------------------------


def test_same_key_pays_once_and_says_so(world: World) -> None:
    api = Api(world.ann, *WRITE)
    first = api.post("payments/", lunch(), key="order-7")
    again = api.post("payments/", lunch(), key="order-7")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert world.wallet(world.ben).balance == 250


def test_same_key_with_another_body_is_refused(world: World) -> None:
    api = Api(world.ann, *WRITE)
    api.post("payments/", lunch(), key="order-7")
    refused(world, lunch(amount=251), 422, "idempotency_key_reused", key="order-7")


def test_key_outlives_the_remembered_answer(world: World) -> None:
    """A year later the answer is forgotten; the ledger still knows the reference."""
    api = Api(world.ann, *WRITE)
    first = api.post("payments/", lunch(), key="order-7")
    IdempotencyKey.objects.all().delete()
    again = api.post("payments/", lunch(), key="order-7")
    assert again.json() == first.json()
    assert again["Idempotent-Replayed"] == "true"
    assert world.wallet(world.ben).balance == 250
    IdempotencyKey.objects.all().delete()
    refused(world, lunch(amount=251), 422, "idempotency_key_reused", key="order-7")


def test_refusal_stays_with_its_key(world: World) -> None:
    """As the ledger does: whoever was refused asks anew with a new key."""
    refused(world, lunch(amount=1200), 422, "insufficient_funds", key="big")
    world.give(world.ann, 500)
    refused(world, lunch(amount=1200), 422, "insufficient_funds", key="big")
    IdempotencyKey.objects.all().delete()
    refused(world, lunch(amount=1200), 422, "insufficient_funds", key="big")
    assert Api(world.ann, *WRITE).post("payments/", lunch(amount=1200)).status_code == 201


def test_key_is_the_callers_own(world: World) -> None:
    world.give(world.dora, 250)
    assert Api(world.ann, *WRITE).post("payments/", lunch(), key="k").status_code == 201
    assert Api(world.dora, *WRITE).post("payments/", lunch(), key="k").status_code == 201
    assert world.wallet(world.ben).balance == 500


def test_long_keys_that_differ_at_the_end_are_two(world: World) -> None:
    api = Api(world.ann, *WRITE)
    for key in ("x" * 254 + "1", "x" * 254 + "2", "~" + "a" * 32):
        assert api.post("payments/", lunch(), key=key).status_code == 201
    assert world.wallet(world.ben).balance == 750


@pytest.mark.parametrize("key", [None, " ", "a b", "x" * 256, "é"])
def test_payment_without_a_proper_key_is_refused(world: World, key: str | None) -> None:
    code = "idempotency_key_required" if key is None else "idempotency_key_invalid"
    refused(world, lunch(), 400, code, key=key)


# -- who ---------------------------------------------------------------------------------


def test_payment_needs_the_scope_to_write(world: World) -> None:
    before = money()
    document = problem(
        Api(world.ann, "wallet:read").post("payments/", lunch()), 403, "scope_missing"
    )
    assert document["scope"] == "wallet:write"
    problem(Api(None).post("payments/", lunch()), 401, "unauthenticated")
    assert money() == before


def test_session_pays_with_its_csrf_token_only(world: World) -> None:
    api = Api(world.ann)
    assert api.post("payments/", lunch()).status_code == 201
    api.client.handler.enforce_csrf_checks = True
    before = money()
    problem(api.post("payments/", lunch()), 403, "forbidden")
    assert money() == before
