"""Finance over HTTP: reads any account, freezes and limits as a person, takes files away."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge.models import AuditEvent
from tests.walletapi.conftest import Api, World, money, problem
from wallet.items import Status

pytestmark = pytest.mark.django_db

BOOKS = "finance:read"


def refused(
    world: World, api: Api, path: str, body: Any, status: int, code: str, **sent: Any
) -> None:
    before = (money(), AuditEvent.objects.count(), world.wallet(world.ann).status)
    problem(api.post(path, body, **sent), status, code)
    assert before == (money(), AuditEvent.objects.count(), world.wallet(world.ann).status)


def test_finance_reads_accounts_of_a_person_and_of_the_house(world: World) -> None:
    api = Api(world.clara, BOOKS)
    wallet = world.wallet(world.ann)
    [account] = api.get("accounts/", owner="@Ann").json()["results"]
    assert account == api.get(f"accounts/{wallet.pk}/").json()
    assert {**account, "created_at": None} == {
        "id": str(wallet.pk), "owner": "ann", "asset": "EUR", "kind": "wallet", "label": "",
        "balance": 1000, "held": 0, "available": 1000, "incoming": 0, "floor": 0,
        "ceiling": None, "largest_debit": None, "status": "open", "created_at": None,
    }  # fmt: skip
    [house] = api.get("accounts/", house="true", asset="EUR").json()["results"]
    assert (house["owner"], house["kind"], house["balance"]) == (None, "issuance", -1000)
    assert len(api.get("accounts/").json()["results"]) == 2


def test_finance_reads_entries_of_any_account(world: World) -> None:
    path = f"accounts/{world.wallet(world.ann).pk}/entries/"
    [entry] = Api(world.clara, BOOKS).get(path).json()["results"]
    assert (entry["amount"], entry["balance_after"], entry["code"]) == (1000, 1000, "payment")


def test_unknown_account_is_not_found(world: World) -> None:
    api = Api(world.clara, BOOKS)
    for path in ("accounts/98765/", "accounts/98765/entries/", "accounts/0/", "accounts/x/"):
        problem(api.get(path), 404, "not_found")
    problem(
        Api(world.clara).post("accounts/98765/freeze/", {"reason": "x"}), 404, "account_unknown"
    )


@pytest.mark.parametrize(
    "query", [{"asset": "EUR"}, {"owner": "ann", "house": "true"}, {"status": "open"}]
)
def test_account_list_refuses_what_it_cannot_search(world: World, query: dict[str, str]) -> None:
    problem(Api(world.clara, BOOKS).get("accounts/", **query), 400, "invalid_request")


def test_others_read_no_books(world: World) -> None:
    wallet_id = world.wallet(world.ann).pk
    paths = (
        "accounts/", f"accounts/{wallet_id}/", f"accounts/{wallet_id}/entries/", "reversals/",
        "exports/", "exports/journal/",
    )  # fmt: skip
    for path in paths:
        problem(Api(None).get(path), 401, "unauthenticated")
        problem(Api(world.ann, "wallet:read").get(path), 403, "scope_missing")
        problem(Api(world.ann).get(path), 403, "scope_missing")
        problem(Api(world.sam).get(path), 403, "scope_missing")


def test_freeze_and_unfreeze_with_reason_and_trace(world: World) -> None:
    path = f"accounts/{world.wallet(world.ann).pk}/"
    api = Api(world.clara)
    frozen = api.post(f"{path}freeze/", {"reason": "stolen phone"}, key="f")
    assert (frozen.status_code, frozen.json()["status"]) == (200, "frozen")
    again = api.post(f"{path}freeze/", {"reason": "stolen phone"}, key="f")
    assert (again.content, again["Idempotent-Replayed"]) == (frozen.content, "true")
    assert api.post(f"{path}unfreeze/", {"reason": "found"}).json()["status"] == "open"
    trail = AuditEvent.objects.order_by("id").values_list("actor_name", "action", "reason", "ip")
    assert list(trail) == [
        ("clara@example.com", "wallet.freeze", "stolen phone", "127.0.0.1"),
        ("clara@example.com", "wallet.unfreeze", "found", "127.0.0.1"),
    ]


def test_close_is_refused_until_the_account_is_empty(world: World) -> None:
    wallet = world.wallet(world.ann)
    path = f"accounts/{wallet.pk}/close/"
    refused(world, Api(world.clara), path, {"reason": "x"}, 409, "account_not_empty")
    world.pay(wallet, world.wallet(world.ben), 1000)
    assert Api(world.clara).post(path, {"reason": "left"}).json()["status"] == "closed"
    assert world.wallet(world.ann).status == Status.CLOSED


def test_limits_are_set_and_checked(world: World) -> None:
    path = f"accounts/{world.wallet(world.ann).pk}/limits/"
    limits = {"floor": 0, "ceiling": 5000, "largest_debit": 100}
    answer = Api(world.clara).post(path, limits | {"reason": "risk"}).json()
    assert {name: answer[name] for name in limits} == limits
    bad: list[tuple[dict[str, Any], int, str]] = [
        ({"ceiling": 999}, 422, "limit_invalid"),
        ({"floor": 1001}, 422, "limit_invalid"),
    ]
    bad += [({"ceiling": value}, 400, "invalid_request") for value in ("5", 1.5, True, 2**63)]
    for changes, status, code in bad:
        body = limits | {"reason": "x"} | changes
        refused(world, Api(world.clara), path, body, status, code)
    refused(world, Api(world.clara), path, {"reason": "x"}, 400, "invalid_request")


def test_deeds_are_for_signed_in_finance_alone(world: World) -> None:
    path = f"accounts/{world.wallet(world.ann).pk}/freeze/"
    body = {"reason": "x"}
    refused(world, Api(None), path, body, 401, "unauthenticated")
    refused(world, Api(world.clara, BOOKS), path, body, 403, "session_required")
    refused(world, Api(world.sam), path, body, 403, "forbidden")
    refused(world, Api(world.ann), path, body, 403, "forbidden")


def test_deed_needs_a_reason_and_a_key(world: World) -> None:
    path = f"accounts/{world.wallet(world.ann).pk}/freeze/"
    api = Api(world.clara)
    for reason in ("", "   ", None, "x" * 501, 5 * [1]):
        refused(world, api, path, {"reason": reason}, 400, "invalid_request")
    refused(world, api, path, {}, 400, "invalid_request")
    refused(world, api, path, {"reason": "x"}, 400, "idempotency_key_required", key=None)


# -- reversals ---------------------------------------------------------------------------


def asked(world: World, transfer_id: int) -> str:
    answer = Api(world.clara).post(
        "reversals/", {"transfer_id": str(transfer_id), "reason": "sent twice"}
    )
    assert answer.status_code == 201, answer.content
    request_id: str = answer.json()["id"]
    return request_id


def test_reversal_takes_two(world: World) -> None:
    transfer_id = world.pay(world.wallet(world.ann), world.wallet(world.ben), 400)
    request_id = asked(world, transfer_id)
    refused(
        world, Api(world.clara), f"reversals/{request_id}/approve/", None, 403,
        "reversal_needs_another_person",
    )  # fmt: skip
    [listed] = Api(world.dora, BOOKS).get("reversals/", state="open").json()["results"]
    assert (listed["id"], listed["requested_by"], listed["reason"]) == (
        request_id, "clara", "sent twice",
    )  # fmt: skip
    done = Api(world.dora).post(f"reversals/{request_id}/approve/", key="a")
    assert done.status_code == 200
    document = done.json()
    assert (document["state"], document["decided_by"]) == ("approved", "dora")
    assert world.wallet(world.ann).balance == 1000
    again = Api(world.dora).post(f"reversals/{request_id}/approve/", key="a")
    assert again.json() == document
    transfer = Api(world.ann, "wallet:read").get(f"transfers/{document['reversal_id']}/").json()
    assert (transfer["code"], transfer["reverses_id"]) == ("reversal", str(transfer_id))


def test_refused_reversal_says_why_and_stays_open(world: World) -> None:
    transfer_id = world.pay(world.wallet(world.ann), world.wallet(world.ben), 400)
    world.pay(world.wallet(world.ben), world.wallet(world.dora), 1)
    path = f"reversals/{asked(world, transfer_id)}/"
    before = money()
    problem(Api(world.dora).post(f"{path}approve/"), 422, "insufficient_funds")
    assert money() == before
    document = Api(world.clara, BOOKS).get(path).json()
    assert (document["state"], document["last_refusal"]) == ("open", "insufficient_funds")
    world.give(world.ben, 1)
    assert Api(world.dora).post(f"{path}approve/").json()["last_refusal"] is None


def test_rejected_reversal_moves_nothing(world: World) -> None:
    transfer_id = world.pay(world.wallet(world.ann), world.wallet(world.ben), 400)
    path = f"reversals/{asked(world, transfer_id)}/"
    before = money()
    answer = Api(world.dora).post(f"{path}reject/", {"reason": "keeps the goods"}).json()
    assert (answer["state"], answer["note"]) == ("rejected", "keeps the goods")
    problem(Api(world.dora).post(f"{path}approve/"), 409, "reversal_decided")
    assert money() == before


def test_reversal_of_what_cannot_be_reversed(world: World) -> None:
    hold_id = world.hold(world.ann, 5)
    transfer_id = world.give(world.ann, 5)
    asked(world, transfer_id)
    for id, status, code in (
        (12345, 404, "transfer_unknown"),
        (hold_id, 409, "transfer_not_reversible"),
        (transfer_id, 409, "reversal_exists"),
        ("x", 400, "invalid_request"),
    ):
        body = {"transfer_id": str(id), "reason": "x"}
        refused(world, Api(world.clara), "reversals/", body, status, code)
    problem(Api(world.clara, BOOKS).get("reversals/98765/"), 404, "reversal_unknown")


def test_support_and_keys_reverse_nothing(world: World) -> None:
    body = {"transfer_id": str(world.give(world.ann, 5)), "reason": "x"}
    refused(world, Api(world.sam), "reversals/", body, 403, "forbidden")
    refused(world, Api(world.clara, BOOKS), "reversals/", body, 403, "session_required")


# -- exports -----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_journal_is_downloaded_and_noted(world: World) -> None:
    response = Api(world.clara, BOOKS).get("exports/journal/", asset="EUR")
    assert response.status_code == 200
    assert response.streaming
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"].startswith('attachment; filename="journal-asset-')
    text = response.getvalue().decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["amount_minor"] for row in rows] == ["-1000", "1000"]
    event = AuditEvent.objects.get(action="wallet.export")
    assert (event.object_id, event.actor_name) == ("journal", "clara@example.com")


@pytest.mark.django_db(transaction=True)
def test_every_export_answers(world: World) -> None:
    api = Api(world.clara)
    names = [each["name"] for each in api.get("exports/").json()]
    assert "trial-balance" in names
    for name in names:
        query = {"account": str(world.wallet(world.ann).pk)} if name == "statement" else {}
        response = api.client.get(f"/api/v1/exports/{name}/", query, HTTP_ACCEPT="text/csv")
        assert response.status_code == 200, (name, response.content)
        assert len(response.getvalue()) > 20


def test_last_day_of_an_export_is_in_it_as_a_whole(world: World) -> None:
    """As with the command: a day is from its first moment to its last, in UTC."""
    world.pay(world.wallet(world.ann), world.wallet(world.ben), 50)
    today = datetime.now(UTC).date()
    yesterday, tomorrow = today - timedelta(days=1), today + timedelta(days=1)
    midnight = f"{tomorrow}T00:00:00Z"

    def journal(**query: str) -> bytes:
        answer = Api(world.clara).client.get("/api/v1/exports/journal/", query)
        assert answer.status_code == 200
        return answer.getvalue()

    assert journal(**{"from": str(today), "to": str(today)}) == journal(to=midnight)
    assert journal(to=str(yesterday)).count(b"\n") == 1  # The header.


@pytest.mark.parametrize(
    ("name", "query", "status", "code"),
    [
        ("ledger", {}, 404, "not_found"),
        ("journal", {"asset": "GOLD"}, 422, "asset_unknown"),
        ("journal", {"asset": "gold"}, 400, "invalid_request"),
        ("journal", {"from": "yesterday"}, 400, "invalid_request"),
        (
            "journal",
            {"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
            422,
            "export_period_empty",
        ),
        ("journal", {"to": "9999-01-01T00:00:00Z"}, 422, "export_out_of_range"),
        ("journal", {"to": "9999-12-31"}, 400, "invalid_request"),
        ("journal", {"to": "2026-02-30"}, 400, "invalid_request"),
        ("journal", {"from": "2026-02- 1"}, 400, "invalid_request"),
        ("statement", {}, 422, "export_account_missing"),
        ("statement", {"account": "98765"}, 404, "account_unknown"),
        ("journal", {"effective": "true"}, 422, "export_option_unknown"),
    ],
)
def test_export_asked_wrongly_is_refused(
    world: World, name: str, query: dict[str, str], status: int, code: str
) -> None:
    problem(Api(world.clara, BOOKS).get(f"exports/{name}/", **query), status, code)
    assert not AuditEvent.objects.filter(action="wallet.export").exists()
