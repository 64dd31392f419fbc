"""One's own wallets over HTTP: balances now and then, entries by page, nobody else's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from edge.fields import format_time
from edge.ids import time_of
from tests.walletapi.conftest import Api, World, problem
from wallet import items, points
from wallet.accounts import ISSUANCE, system_account
from wallet.actions import post
from wallet.models import Code

pytestmark = pytest.mark.django_db

READ = "wallet:read"


def iso(moment: datetime) -> str:
    return moment.isoformat()


def test_wallets_list_what_one_has(world: World) -> None:
    world.give(world.ann, 7, world.points)
    world.hold(world.ann, 300)
    wallets = Api(world.ann, READ).get("wallets/").json()
    assert wallets["next"] is None
    assert wallets["results"] == [
        {
            "asset": "EUR", "name": "Euro", "scale": 2, "balance": 1000, "held": 300,
            "available": 700, "incoming": 0, "status": "open",
        },
        {
            "asset": "POINTS", "name": "Points", "scale": 0, "balance": 7, "held": 0,
            "available": 7, "incoming": 0, "status": "open",
        },
    ]  # fmt: skip


def test_wallet_tells_what_lapses_when(world: World) -> None:
    soon, later = (datetime.now(UTC) + timedelta(days=days) for days in (1, 9))
    granted = [
        points.Grant(
            reference=f"g{amount}", owner_id=world.ann.pk, asset_id=world.points.pk,
            amount=amount, expires_at=expires_at,
        )
        for amount, expires_at in ((30, later), (20, soon), (5, None))
    ]  # fmt: skip
    assert all(result.is_created for result in points.grant(granted))
    world.pay(world.wallet(world.ann, world.points), world.wallet(world.ben, world.points), 8)
    lapsing = Api(world.ann, READ).get("wallets/POINTS/").json()["expiring"]
    assert [part["amount"] for part in lapsing] == [12, 30]
    assert [part["expires_at"] for part in lapsing] == [format_time(soon), format_time(later)]
    [received] = Api(world.ben, READ).get("wallets/POINTS/").json()["expiring"]
    assert received == {"amount": 8, "expires_at": format_time(soon)}
    assert Api(world.ann, READ).get("wallets/EUR/").json()["expiring"] == []


def test_wallet_of_another_is_not_there(world: World) -> None:
    assert Api(world.ann, READ).get("wallets/EUR/").json()["balance"] == 1000
    for path in ("wallets/EUR/", "wallets/EUR/entries/", "wallets/EUR/balance/"):
        problem(Api(world.dora, READ).get(path), 404, "not_found")
    for asset in ("GOLD", "eur", "%00", "☃", "x" * 300):
        problem(Api(world.ann, READ).get(f"wallets/{asset}/"), 404, "not_found")


def test_entries_tell_amount_balance_and_counterparty(world: World) -> None:
    paid_id = world.pay(world.wallet(world.ann), world.wallet(world.ben), 250)
    [paid, issued] = Api(world.ann, READ).get("wallets/EUR/entries/").json()["results"]
    assert paid == {
        "transfer_id": str(paid_id),
        "at": time_of(paid_id).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "effective_at": None,
        "amount": -250,
        "balance_after": 750,
        "code": "payment",
        "counterparty": "ben",
        "memo": "",
        "hold_id": None,
        "reverses_id": None,
    }
    assert (issued["amount"], issued["balance_after"], issued["counterparty"]) == (1000, 1000, None)
    [received] = Api(world.ben, READ).get("wallets/EUR/entries/").json()["results"]
    assert (received["amount"], received["counterparty"]) == (250, "ann")


def test_entries_come_in_pages_that_do_not_shift(world: World) -> None:
    ann, ben = world.wallet(world.ann), world.wallet(world.ben)
    for amount in range(1, 8):
        world.pay(ann, ben, amount)
    api = Api(world.ben, READ)
    first = api.get("wallets/EUR/entries/", limit=3).json()
    world.pay(ann, ben, 99)
    second = api.client.get(first["next"]).json()
    third = api.client.get(second["next"]).json()
    amounts = [[row["amount"] for row in page["results"]] for page in (first, second, third)]
    assert amounts == [[7, 6, 5], [4, 3, 2], [1]]
    assert third["next"] is None


def test_entries_of_a_period(world: World) -> None:
    ann, ben = world.wallet(world.ann), world.wallet(world.ben)
    ids = [world.pay(ann, ben, amount) for amount in (1, 2, 3)]
    api = Api(world.ben, READ)

    def amounts(**query: str) -> list[int]:
        rows = api.get("wallets/EUR/entries/", **query).json()["results"]
        return [row["amount"] for row in rows]

    second, third = iso(time_of(ids[1])), iso(time_of(ids[2]))
    assert amounts(**{"from": second}) == [3, 2]
    assert amounts(to=second) == [1]
    assert amounts(**{"from": second, "to": third}) == [2]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"limit": "0"}, "invalid_limit"),
        ({"limit": "201"}, "invalid_limit"),
        ({"limit": "1e3"}, "invalid_limit"),
        ({"cursor": "AAAA"}, "invalid_cursor"),
        ({"from": "yesterday"}, "invalid_request"),
        ({"to": "2026-01-31"}, "invalid_request"),
        ({"as_off": "2026-01-31T00:00:00Z"}, "invalid_request"),
    ],
)
def test_bad_query_is_refused(world: World, query: dict[str, str], code: str) -> None:
    problem(Api(world.ann, READ).get("wallets/EUR/entries/", **query), 400, code)


def test_cursor_of_another_wallet_is_refused(world: World) -> None:
    world.give(world.ann, 5)
    world.give(world.ann, 5, world.points)
    api = Api(world.ann, READ)
    cursor = api.get("wallets/EUR/entries/", limit=1).json()["next"].split("cursor=")[1]
    address = f"/api/v1/wallets/POINTS/entries/?limit=1&cursor={cursor}"
    problem(api.client.get(address), 400, "invalid_cursor")


def test_balance_as_of_a_moment(world: World) -> None:
    paid_id = world.pay(world.wallet(world.ann), world.wallet(world.ben), 400)
    api = Api(world.ann, READ)
    before = time_of(paid_id)
    answer = api.get("wallets/EUR/balance/", as_of=iso(before)).json()
    assert answer == {
        "asset": "EUR",
        "balance": 1000,
        "as_of": before.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "effective": False,
    }
    after = iso(before + timedelta(microseconds=64))
    assert api.get("wallets/EUR/balance/", as_of=after).json()["balance"] == 600
    assert api.get("wallets/EUR/balance/").json()["balance"] == 600
    long_ago = "2020-01-01T00:00:00Z"
    assert api.get("wallets/EUR/balance/", as_of=long_ago).json()["balance"] == 0


def test_effective_balance_counts_entries_at_their_date(world: World) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    [result] = post(
        [
            items.Transfer(
                reference="late",
                asset_id=world.euro.pk,
                debit_account_id=system_account(world.euro, ISSUANCE).pk,
                credit_account_id=world.wallet(world.ben).pk,
                amount=77,
                code=Code.GRANT,
                effective_at=yesterday - timedelta(hours=1),
            )
        ]
    )
    assert result.is_created
    api = Api(world.ben, READ)
    as_of = iso(yesterday)
    assert api.get("wallets/EUR/balance/", as_of=as_of).json()["balance"] == 0
    effective = api.get("wallets/EUR/balance/", as_of=as_of, effective="true").json()
    assert (effective["balance"], effective["effective"]) == (77, True)


def test_either_side_reads_a_transfer_and_nobody_else(world: World) -> None:
    paid_id = world.pay(world.wallet(world.ann), world.wallet(world.ben), 5)
    for reader in (world.ann, world.ben):
        answer = Api(reader, READ).get(f"transfers/{paid_id}/").json()
        assert (answer["id"], answer["amount"], answer["asset"]) == (str(paid_id), 5, "EUR")
        assert (answer["sender"], answer["receiver"]) == ("ann", "ben")
    for stranger in (world.dora, world.clara):
        problem(Api(stranger, READ).get(f"transfers/{paid_id}/"), 404, "not_found")
    problem(Api(world.ann, READ).get("transfers/12345/"), 404, "not_found")


def test_other_side_of_a_trade_stays_unknown(world: World) -> None:
    hold_id = world.hold(world.ann, 50)
    to = world.wallet(world.ben).pk
    [result] = post(
        [items.Post(reference="t", hold_id=hold_id, code=Code.TRADE_PRICE, credit_account_id=to)]
    )
    answer = Api(world.ben, READ).get(f"transfers/{result.transfer_id}/").json()
    assert (answer["code"], answer["sender"], answer["receiver"]) == ("trade_price", None, None)
    [entry] = Api(world.ben, READ).get("wallets/EUR/entries/").json()["results"]
    assert entry["counterparty"] is None


def test_assets_are_listed_by_kind(world: World) -> None:
    api = Api(world.ben, READ)
    assert [row["code"] for row in api.get("assets/").json()["results"]] == ["EUR", "POINTS"]
    [points] = api.get("assets/", kind="points").json()["results"]
    assert points == {
        "code": "POINTS", "name": "Points", "kind": "points", "scale": 0, "expires": True,
    }  # fmt: skip
    problem(api.get("assets/", kind="shells"), 400, "invalid_request")


def test_every_read_needs_its_scope(world: World) -> None:
    paths = ("wallets/", "wallets/EUR/", "assets/", "holds/", "transfers/5/")
    for path in paths:
        problem(Api(None).get(path), 401, "unauthenticated")
        problem(Api(world.ann, "orders:read").get(path), 403, "scope_missing")
    assert Api(world.ann).get("wallets/").status_code == 200
