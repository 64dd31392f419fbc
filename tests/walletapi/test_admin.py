"""The back office: who sees what, who may do what, and that nobody edits or deletes money."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from accounts.models import User
from edge.models import AuditEvent
from tests.walletapi.conftest import ROLE_BACKEND, World, money
from wallet import items, reversals
from wallet.accounts import ISSUANCE, system_account
from wallet.actions import post
from wallet.items import Status
from wallet.models import Account, AccountKind, Asset, Code, Entry, Hold, ReversalRequest, Transfer

pytestmark = pytest.mark.django_db

MODELS = ("account", "transfer", "reversalrequest", "asset", "accountkind")


def desk(user: User) -> Client:
    """A browser where this person is signed in."""
    browser = Client()
    browser.force_login(user, backend=ROLE_BACKEND)
    return browser


@pytest.fixture
def boss(world: World) -> User:
    return User.objects.create_superuser("boss@example.com", handle="boss1")


def account_page(world: World, deed: str = "change") -> str:
    return f"/admin/wallet/account/{world.wallet(world.ann).pk}/{deed}/"


def asked(world: World) -> ReversalRequest:
    """Clara has asked that Ann's payment to Ben be undone."""
    paid_id = world.pay(world.wallet(world.ann), world.wallet(world.ben), 400)
    return reversals.request_reversal(paid_id, actor=world.clara, reason="sent twice")


def text(response: Any) -> str:
    assert response.status_code == 200, response
    return str(response.content.decode())


# -- reading -----------------------------------------------------------------------------


@pytest.mark.parametrize("search", ["ann", "@Ann", "ANN@example.com", "number"])
def test_account_is_found_by_owner_or_number(world: World, search: str) -> None:
    wallet = world.wallet(world.ann)
    world.wallet(world.ben)
    query = str(wallet.pk) if search == "number" else search
    page = text(desk(world.sam).get("/admin/wallet/account/", {"q": query}))
    assert "@ann, wallet" in page
    assert "@ben, wallet" not in page


def test_search_for_nobody_finds_nothing(world: World) -> None:
    for query in ("nobody", "0", "9" * 40, "%", "☃", "a@b@c", "@"):
        page = text(desk(world.sam).get("/admin/wallet/account/", {"q": query}))
        assert "@ann, wallet" not in page


def test_amounts_have_their_scale_and_thousands(world: World) -> None:
    world.give(world.ann, 123_456_789)
    page = text(desk(world.sam).get(account_page(world)))
    assert "1,234,577.89" in page
    assert "1,234,577.89" in text(desk(world.sam).get("/admin/wallet/account/"))


def test_statement_pages_from_newest_to_oldest(world: World) -> None:
    for amount in range(1, 120):
        world.give(world.ben, amount)
    browser = desk(world.sam)
    address = f"/admin/wallet/account/{world.wallet(world.ben).pk}/change/"
    seen = []
    response: Any = browser.get(address)
    while True:
        rows = response.context["rows"]
        seen += [row["line"].amount for row in rows]
        if not response.context["older"]:
            break
        assert len(rows) == 50
        response = browser.get(address + response.context["older"])
    assert seen == list(range(119, 0, -1))


def test_statement_as_of_a_day(world: World) -> None:
    page = desk(world.sam).get(account_page(world), {"until": "2026-01-01"})
    assert page.context["statement"]["closing"] == "0.00"
    assert page.context["rows"] == []
    today = datetime.now(UTC).date().isoformat()
    page = desk(world.sam).get(account_page(world), {"since": today, "until": today})
    assert (page.context["statement"]["opening"], page.context["statement"]["closing"]) == (
        "0.00", "10.00",
    )  # fmt: skip


def test_statement_shows_the_balance_by_effective_date(world: World) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    post(
        [
            items.Transfer(
                reference="late",
                asset_id=world.euro.pk,
                debit_account_id=system_account(world.euro, ISSUANCE).pk,
                credit_account_id=world.wallet(world.ann).pk,
                amount=500,
                code=Code.GRANT,
                effective_at=yesterday - timedelta(days=2),
            )
        ]
    )
    day = yesterday.date().isoformat()
    page = desk(world.sam).get(account_page(world), {"until": day})
    assert (page.context["statement"]["closing"], page.context["statement"]["effective"]) == (
        "0.00", "5.00",
    )  # fmt: skip


@pytest.mark.parametrize(
    "query",
    [
        {"until": "yesterday"},
        {"until": "0001-01-01"},
        {"until": "9999-12-31"},
        {"since": "2026-02-01", "until": "2026-01-01"},
        {"before": "x"},
        {"before": "9" * 30},
        {"before": "0"},
        {"since": "\x00"},
    ],
)
def test_strange_period_is_answered_politely(world: World, query: dict[str, str]) -> None:
    assert desk(world.sam).get(account_page(world), query).status_code == 200


def test_account_shows_its_holds(world: World) -> None:
    hold_id = world.hold(world.ann, 300)
    page = desk(world.sam).get(account_page(world))
    [hold] = page.context["holds"]
    assert (hold["code"], hold["expires_at"]) == ("order hold", None)
    assert str(hold_id) in text(page)


def test_transfer_is_found_by_number_and_reference(world: World) -> None:
    [result] = post(
        [
            items.Transfer(
                reference="invoice 77",
                asset_id=world.euro.pk,
                debit_account_id=world.wallet(world.ann).pk,
                credit_account_id=world.wallet(world.ben).pk,
                amount=5,
                code=Code.PAYMENT,
                memo="the one",
            )
        ]
    )
    browser = desk(world.sam)
    for query in (str(result.transfer_id), "invoice 77"):
        page = text(browser.get("/admin/wallet/transfer/", {"q": query}))
        assert "the one" in page
    for query in ("invoice", "12345", "☃"):
        assert "the one" not in text(browser.get("/admin/wallet/transfer/", {"q": query}))
    page = text(browser.get(f"/admin/wallet/transfer/{result.transfer_id}/change/"))
    assert "invoice 77" in page
    assert "Ask for a reversal" not in page


def test_list_of_transfers_costs_no_query_a_row(
    world: World, django_assert_max_num_queries: Any
) -> None:
    for _ in range(20):
        world.pay(world.wallet(world.ann), world.wallet(world.ben), 1)
    browser = desk(world.sam)
    with django_assert_max_num_queries(9):
        browser.get("/admin/wallet/transfer/")


@pytest.mark.django_db(transaction=True)
def test_trial_balance_agrees(world: World) -> None:
    world.give(world.ann, 7, world.points)
    page = desk(world.clara).get("/admin/wallet/account/books/")
    assert [
        (sheet["asset"], sheet["debit"], sheet["credit"], sheet["agrees"])
        for sheet in page.context["sheets"]
    ] == [("EUR", "10.00", "10.00", True), ("POINTS", "7", "7", True)]
    page = desk(world.clara).get("/admin/wallet/account/books/", {"asset": "points"})
    assert [sheet["asset"] for sheet in page.context["sheets"]] == ["POINTS"]
    page = desk(world.clara).get("/admin/wallet/account/books/", {"until": "2026-01-01"})
    assert page.context["sheets"] == []


@pytest.mark.django_db(transaction=True)
def test_export_is_downloaded_and_noted(world: World) -> None:
    response: Any = desk(world.clara).get("/admin/wallet/account/books/journal/", {"asset": "EUR"})
    assert response["Content-Disposition"].startswith("attachment")
    assert b"-1000" in response.getvalue()
    event = AuditEvent.objects.get(action="wallet.export")
    assert (event.actor_name, event.object_id) == ("clara@example.com", "journal")


@pytest.mark.django_db(transaction=True)
def test_export_asked_wrongly_shows_why(world: World) -> None:
    browser = desk(world.clara)
    page = browser.get("/admin/wallet/account/books/journal/", {"asset": "GOLD"})
    assert "There is no such asset." in text(page)
    page = browser.get("/admin/wallet/account/books/statement/")
    assert "Say which account." in text(page)
    assert browser.get("/admin/wallet/account/books/nothing/").status_code == 404


# -- doing -------------------------------------------------------------------------------


def test_finance_freezes_unfreezes_and_closes(world: World) -> None:
    browser = desk(world.clara)
    assert "Freeze this account?" in text(browser.get(account_page(world, "freeze")))
    answer = browser.post(account_page(world, "freeze"), {"reason": "stolen phone"})
    assert answer.status_code == 302
    assert world.wallet(world.ann).status == Status.FROZEN
    browser.post(account_page(world, "unfreeze"), {"reason": "found it"})
    assert world.wallet(world.ann).status == Status.OPEN
    trail = AuditEvent.objects.order_by("id").values_list("action", "actor_name", "reason")
    assert list(trail) == [
        ("wallet.freeze", "clara@example.com", "stolen phone"),
        ("wallet.unfreeze", "clara@example.com", "found it"),
    ]
    assert "stolen phone" in text(browser.get(account_page(world)))


def test_refusal_is_shown_on_the_page(world: World) -> None:
    page = text(desk(world.clara).post(account_page(world, "close"), {"reason": "left us"}))
    assert "Only an empty account can be closed" in page
    assert world.wallet(world.ann).status == Status.OPEN


@pytest.mark.parametrize("reason", ["", "  ", "x", "y" * 501])
def test_nothing_is_done_without_a_reason(world: World, reason: str) -> None:
    page = desk(world.clara).post(account_page(world, "freeze"), {"reason": reason})
    assert page.status_code == 200
    assert world.wallet(world.ann).status == Status.OPEN


def test_limits_are_typed_in_the_assets_own_units(world: World) -> None:
    answer = desk(world.clara).post(
        account_page(world, "limits"),
        {"floor": "1.50", "ceiling": "20000", "largest_debit": "", "reason": "licence"},
    )
    assert answer.status_code == 302
    wallet = world.wallet(world.ann)
    assert (wallet.floor, wallet.ceiling, wallet.largest_debit) == (150, 2_000_000, None)


@pytest.mark.parametrize("floor", ["1.505", "NaN", "1e999", "Infinity", "9" * 19, "10.01"])
def test_limits_that_cannot_be_change_nothing(world: World, floor: str) -> None:
    page = desk(world.clara).post(
        account_page(world, "limits"), {"floor": floor, "reason": "licence"}
    )
    assert page.status_code == 200
    assert world.wallet(world.ann).floor == 0


def test_kind_limits_are_changed_with_a_reason(world: World) -> None:
    browser = desk(world.clara)
    address = "/admin/wallet/accountkind/wallet/limits/"
    browser.post(address, {"floor": "0", "ceiling": "700", "reason": "licence"})
    assert AccountKind.objects.get(pk="wallet").ceiling == 700
    assert AuditEvent.objects.get().action == "wallet.change_kind_limits"
    assert "700" in text(browser.get("/admin/wallet/accountkind/wallet/change/"))


def test_asset_is_added_and_never_changed(world: World) -> None:
    browser = desk(world.clara)
    new = {"code": "GOLD", "name": "Gold", "kind": "currency", "scale": "3"}
    assert browser.post("/admin/wallet/asset/add/", new).status_code == 302
    gold = Asset.objects.get(code="GOLD")
    assert AuditEvent.objects.get().action == "wallet.add_asset"
    assert browser.post(f"/admin/wallet/asset/{gold.pk}/change/", new).status_code == 403
    bad = browser.post("/admin/wallet/asset/add/", new | {"code": "gold", "scale": "9"})
    assert bad.status_code == 200
    assert Asset.objects.count() == 3


def test_reversal_is_asked_on_the_transfers_page_and_decided_by_another(world: World) -> None:
    paid_id = world.pay(world.wallet(world.ann), world.wallet(world.ben), 400)
    clara, dora = desk(world.clara), desk(world.dora)
    page = text(clara.get(f"/admin/wallet/transfer/{paid_id}/change/"))
    assert "Ask for a reversal" in page
    clara.post(f"/admin/wallet/transfer/{paid_id}/reverse/", {"reason": "sent twice"})
    request = ReversalRequest.objects.get()
    address = f"/admin/wallet/reversalrequest/{request.pk}/"
    assert "somebody else decides" in text(clara.get(f"{address}change/"))
    assert "Somebody else must decide" in text(clara.post(f"{address}approve/"))
    assert world.wallet(world.ben).balance == 400
    assert dora.post(f"{address}approve/").status_code == 302
    assert (world.wallet(world.ann).balance, world.wallet(world.ben).balance) == (1000, 0)
    assert "Ask for a reversal" not in text(clara.get(f"/admin/wallet/transfer/{paid_id}/change/"))


def test_refused_reversal_names_the_refusal_and_stays_open(world: World) -> None:
    request = asked(world)
    world.pay(world.wallet(world.ben), world.wallet(world.dora), 1)
    before = money()
    address = f"/admin/wallet/reversalrequest/{request.pk}/"
    browser = desk(world.dora)
    assert "There are not enough funds" in text(browser.post(f"{address}approve/"))
    assert money() == before
    page = text(browser.get(f"{address}change/"))
    assert "The last approval moved nothing: There are not enough funds" in page
    assert f'href="{address}approve/"' in page


def test_reversal_is_rejected_with_a_reason(world: World) -> None:
    request = asked(world)
    address = f"/admin/wallet/reversalrequest/{request.pk}/reject/"
    browser = desk(world.dora)
    assert browser.post(address, {"reason": ""}).status_code == 200
    assert browser.post(address, {"reason": "keeps the goods"}).status_code == 302
    request.refresh_from_db()
    assert (request.state, request.note) == (ReversalRequest.State.REJECTED, "keeps the goods")


# -- who may -----------------------------------------------------------------------------


def deeds(world: World) -> list[str]:
    request = asked(world)
    return [
        *(account_page(world, deed) for deed in ("freeze", "unfreeze", "close", "limits")),
        f"/admin/wallet/transfer/{request.transfer_id}/reverse/",
        f"/admin/wallet/reversalrequest/{request.pk}/approve/",
        f"/admin/wallet/reversalrequest/{request.pk}/reject/",
        "/admin/wallet/accountkind/wallet/limits/",
        "/admin/wallet/account/books/",
        "/admin/wallet/account/books/journal/",
        "/admin/wallet/asset/add/",
    ]


def test_support_reads_and_does_nothing(world: World) -> None:
    browser = desk(world.sam)
    addresses = deeds(world)
    before = (money(), list(Account.objects.values()), list(ReversalRequest.objects.values()))
    for address in addresses:
        assert browser.get(address).status_code == 403, address
        assert browser.post(address, {"reason": "because"}).status_code == 403, address
    for model in MODELS:
        assert browser.get(f"/admin/wallet/{model}/").status_code == 200
    assert "Freeze" not in text(browser.get(account_page(world)))
    assert before == (
        money(), list(Account.objects.values()), list(ReversalRequest.objects.values()),
    )  # fmt: skip


def test_fans_and_strangers_see_no_back_office(world: World) -> None:
    addresses = [*deeds(world), account_page(world), "/admin/wallet/transfer/"]
    for browser in (Client(), desk(world.ann)):
        for address in addresses:
            response = browser.get(address)
            assert response.status_code in (302, 403), address
            assert "@ann, wallet" not in response.content.decode()


def test_marketing_sees_no_ledger(world: World) -> None:
    from accounts.roles import Role
    from tests.walletapi.conftest import person

    browser = desk(person("mia", Role.MARKETING))
    for address in (account_page(world), *(f"/admin/wallet/{model}/" for model in MODELS)):
        assert browser.get(address).status_code == 403, address


def test_nobody_edits_or_deletes_a_row_of_money(world: World, boss: User) -> None:
    """Not finance, not even a superuser: every address Django would do it by says no."""
    request = asked(world)
    rows: dict[str, Any] = {
        "account": world.wallet(world.ann).pk,
        "transfer": request.transfer_id,
        "reversalrequest": request.pk,
        "asset": world.euro.pk,
        "accountkind": "wallet",
    }
    before = snapshot()
    for user in (boss, world.clara):
        browser = desk(user)
        for model, pk in rows.items():
            place = f"/admin/wallet/{model}/"
            for address in (f"{place}{pk}/delete/", f"{place}{pk}/change/", place):
                body = {
                    "balance": "999999", "amount": "1", "scale": "0", "state": "1", "floor": "-5",
                    "post": "yes", "action": "delete_selected", "_selected_action": [str(pk)],
                    "_save": "Save",
                }  # fmt: skip
                browser.post(address, body)
            if model != "asset":
                assert browser.get(f"{place}add/").status_code == 403
            assert browser.get(f"{place}{pk}/delete/").status_code == 403
    assert snapshot() == before


def snapshot() -> list[Any]:
    tables: tuple[Any, ...] = (
        Account, Transfer, Entry, Hold, ReversalRequest, Asset, AccountKind,
    )  # fmt: skip
    return [sorted(map(repr, table.objects.values())) for table in tables]


def test_only_these_tables_of_the_ledger_are_in_the_admin() -> None:
    shown = {model.__name__ for model in admin.site._registry if model._meta.app_label == "wallet"}
    assert {"Entry", "Hold", "Batch", "Reference"}.isdisjoint(shown)


def test_sidebar_shows_what_one_may_open(world: World) -> None:
    def links(user: User) -> set[str]:
        page = text(desk(user).get(account_page(world)))
        names = ("wallet_account_changelist", "wallet_books", "orderbook_market_changelist")
        return {name for name in names if f'href="{reverse(f"admin:{name}")}"' in page}

    assert links(world.clara) >= {"wallet_account_changelist", "wallet_books"}
    assert "wallet_books" not in links(world.sam)


def test_unknown_rows_are_404(world: World, boss: User) -> None:
    browser = desk(boss)
    for model in ("account", "transfer", "reversalrequest", "accountkind"):
        for pk in ("98765", "x", "9" * 40, "%00"):
            response: Any = browser.get(f"/admin/wallet/{model}/{pk}/change/")
            assert response.status_code == 404, (model, pk)
