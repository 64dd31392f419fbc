"""Session, dead man's switch, admin and command line of the venue, as their users meet them."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.actions import create_key
from accounts.models import User
from edge.models import AuditEvent
from orderbook.actions import instruct, reschedule, set_limit
from orderbook.models import DeadMansSwitch, Instruction, Market, Order, TradingLimit
from sequencer.models import Shard
from tests.orderbook.venue import Venue
from wallet.freezing import ReasonMissing
from wallet.models import Asset

pytestmark = pytest.mark.django_db

SWITCH = "/api/v1/trading/dead-mans-switch/"


@pytest.fixture
def venue() -> Venue:
    venue = Venue(tick_minor=5, lot_units=2, reference_ticks=100, static_band_bps=1000)
    venue.join("sam", units=100)
    venue.join("bea", points=100_000)
    return venue


@pytest.fixture
def boss(client: Client) -> User:
    boss = User.objects.create(
        handle="boss", email="boss@example.com", is_staff=True, is_superuser=True
    )
    client.force_login(boss)
    return boss


def keyed(person: User) -> dict[str, str]:
    made = create_key(person, name="bot", scopes=["orders:read", "orders:write"])
    return {"authorization": f"Bearer {made.token}"}


# -- the session -------------------------------------------------------------------------------


def test_the_session_tells_state_bands_and_the_indicative_price(venue: Venue) -> None:
    venue.ask("call", seconds=60)
    venue.run(venue.place("sam", "sell", 490, 10), venue.place("bea", "buy", 500, 6))
    session = Client().get(f"/api/v1/markets/{venue.market.code}/session/").json()
    assert session["state"] == "auction"
    assert session["state_until"] is not None
    assert session["reference_price"] == 500
    assert session["static_band"] == {"lowest_price": 450, "highest_price": 550}
    assert session["dynamic_band"] is None
    assert session["indicative"] == {
        "price": 490, "quantity": 6, "surplus_side": "sell", "surplus_quantity": 4,
    }  # fmt: skip
    venue.ask("uncross")
    session = Client().get(f"/api/v1/markets/{venue.market.code}/session/").json()
    assert (session["state"], session["reference_price"]) == ("open", 490)
    assert session["indicative"] is None


def test_the_session_of_an_unknown_market_is_404() -> None:
    assert Client().get("/api/v1/markets/NONE/session/").status_code == 404


# -- the switch --------------------------------------------------------------------------------


def test_a_key_arms_renews_and_disarms_its_switch(venue: Venue) -> None:
    headers, client = keyed(venue.people["sam"]), Client()

    def ask(timeout_s: Any) -> tuple[int, dict[str, Any]]:
        answer = client.post(
            SWITCH, {"timeout_s": timeout_s}, content_type="application/json", headers=headers
        )
        return answer.status_code, answer.json()

    assert ask(30) == (200, {"is_armed": True, "timeout_s": 30, "fired_at": None})
    assert ask(20) == (200, {"is_armed": True, "timeout_s": 20, "fired_at": None})
    shards = set(Market.objects.values_list("shard", flat=True))
    assert {switch.shard for switch in DeadMansSwitch.objects.all()} == shards
    assert {switch.renewal for switch in DeadMansSwitch.objects.all()} == {2}
    assert client.get(SWITCH, headers=headers).json()["timeout_s"] == 20
    assert ask(0) == (200, {"is_armed": False, "timeout_s": 0, "fired_at": None})
    for wrong in (-1, 86_401, "soon", None, 1.5):
        status, body = ask(wrong)
        assert (status, body["code"]) == (400, "invalid_request"), wrong


def test_a_browser_session_has_no_switch(venue: Venue, client: Client, boss: User) -> None:
    answer = client.post(SWITCH, {"timeout_s": 30}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "api_key_needed")
    assert not DeadMansSwitch.objects.exists()


def test_nobody_in_particular_has_no_switch() -> None:
    answer = Client().post(SWITCH, {"timeout_s": 30}, content_type="application/json")
    assert answer.status_code in {401, 403}


# -- the admin ---------------------------------------------------------------------------------


def act(client: Client, model: str, action: str, *ids: int) -> str:
    answer = client.post(
        f"/admin/orderbook/{model}/",
        {"action": action, "_selected_action": ids, "reason": "because of a test"},
        follow=True,
    )
    assert answer.status_code == 200
    return answer.content.decode()


def test_operators_ask_with_a_reason_and_see_what_came_of_it(
    venue: Venue, client: Client, boss: User
) -> None:
    shown = act(client, "market", "halt", venue.market.pk)
    assert "1 asked to halt" in shown
    venue.keep_up()
    assert venue.state == "halted"
    asked = Instruction.objects.get()
    assert (asked.reason, asked.actor_id, asked.outcome) == (
        "because of a test", boss.pk, "halted",
    )  # fmt: skip
    assert b"halted" in client.get("/admin/orderbook/instruction/").content
    deeds = AuditEvent.objects.order_by("id").values_list("action", "actor_name", "reason")
    assert list(deeds)[-2:] == [
        ("market.ask_halt", boss.get_username(), "because of a test"),
        ("market.halted", boss.get_username(), "because of a test"),
    ]
    for action in ("begin", "resume", "call", "uncross", "cancel_all", "close"):
        act(client, "market", action, venue.market.pk)
        venue.keep_up()
    assert venue.state == "closed"


def test_operators_read_orders_and_fills_by_name(
    venue: Venue, client: Client, boss: User, django_assert_max_num_queries: Any
) -> None:
    sam, bea = venue.people["sam"].handle, venue.people["bea"].handle
    venue.run(venue.place("sam", "sell", 500, 10), venue.place("bea", "buy", 500, 12, tif="ioc"))
    with django_assert_max_num_queries(12):
        shown = client.get("/admin/orderbook/order/").content.decode()
    for words in (venue.market.code, f"@{sam}", f"@{bea}", "limit, ioc", "immediate or cancel"):
        assert words in shown
    found = client.get(f"/admin/orderbook/order/?q=@{sam}").content.decode()
    assert f"@{sam}" in found and f"@{bea}" not in found
    shown = client.get("/admin/orderbook/fill/").content.decode()
    for words in (venue.market.code, f"@{sam}", f"@{bea}", ">500<", ">10<"):
        assert words in shown
    listed = client.get("/admin/orderbook/market/").content.decode()
    assert ">500<" in listed
    assert "none / none" in listed


def test_an_operator_moves_a_market_to_a_shard_whose_writer_runs(
    venue: Venue, client: Client, boss: User
) -> None:
    here, there = venue.market.shard, venue.market.shard + 1
    Shard.objects.update_or_create(id=here, defaults={"state": Shard.State.RUNNING})
    assert f"Move to shard {there}" not in client.get("/admin/orderbook/market/").content.decode()
    Shard.objects.update_or_create(id=there, defaults={"state": Shard.State.RUNNING})
    assert f"Move to shard {there}" in client.get("/admin/orderbook/market/").content.decode()
    assert "name another shard" in act(client, "market", f"move_to_{here}", venue.market.pk)
    assert "1 asked to move" in act(client, "market", f"move_to_{there}", venue.market.pk)
    venue.keep_up()
    venue.market.refresh_from_db()
    assert venue.market.shard == there
    asked = Instruction.objects.get()
    assert (asked.outcome, asked.reason) == (f"on shard {there}", "because of a test")


def test_a_closed_market_is_read_only(venue: Venue, client: Client, boss: User) -> None:
    venue.ask("close")
    venue.keep_up()
    page = f"/admin/orderbook/market/{venue.market.pk}/change/"
    assert client.get(page).status_code == 200
    assert client.post(page, {"halt_s": 3}).status_code == 403


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "a\x00b"])
def test_nobody_runs_a_market_without_saying_why(venue: Venue, reason: str) -> None:
    deeds = (
        lambda: instruct(venue.market.pk, Instruction.Deed.HALT, reason=reason, actor=None),
        lambda: reschedule(venue.market.pk, reason=reason, actor=None, halt_s=3),
        lambda: set_limit(
            None, most_open_orders=1, most_open_notional=None, reason=reason, actor=None
        ),
    )
    for deed in deeds:
        with pytest.raises(ReasonMissing):
            deed()
    assert not Instruction.objects.exists()
    venue.keep_up()
    assert (venue.state, venue.market.halt_s) == ("open", 60)


def test_an_operator_cancels_on_behalf(venue: Venue, client: Client, boss: User) -> None:
    [placed] = venue.run(venue.place("sam", "sell", 500, 10))
    assert "1 of 1 asked" in act(client, "order", "cancel", int(placed["order_id"]))
    venue.keep_up()
    assert venue.units_of("sam") == (100, 0)
    assert not Order.objects.resting().exists()


def test_an_operator_changes_times_and_limits(venue: Venue, client: Client, boss: User) -> None:
    page = f"/admin/orderbook/market/{venue.market.pk}/change/"
    form = client.get(page).context["adminform"].form
    fields = {name: form[name].value() for name in form.fields if name != "starts"}
    known = {name: value for name, value in fields.items() if value is not None}
    wanted = {**known, "auction_s": 45, "most_lots": 500}
    assert "reason" in client.post(page, wanted).context["adminform"].form.errors
    answer = client.post(page, {**wanted, "reason": "calmer days"})
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    venue.market.refresh_from_db()
    assert (venue.market.auction_s, venue.market.most_lots) == (45, 500)
    [trail] = AuditEvent.objects.filter(action="market.reschedule")
    assert (trail.reason, trail.actor_name) == ("calmer days", boss.get_username())
    assert trail.after == {"auction_s": "45", "most_lots": "500"}
    [refused] = venue.run(venue.place("sam", "sell", 500, 1002))
    assert refused["code"] == "quantity_too_large"
    everybodys = TradingLimit.objects.get(user=None)
    answer = client.post(
        f"/admin/orderbook/tradinglimit/{everybodys.pk}/change/",
        {"most_open_orders": 7, "most_open_notional": "", "reason": ""},
    )
    assert "reason" in answer.context["adminform"].form.errors
    answer = client.post(
        f"/admin/orderbook/tradinglimit/{everybodys.pk}/change/",
        {"most_open_orders": 7, "most_open_notional": "", "reason": "calmer"},
    )
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    everybodys.refresh_from_db()
    assert (everybodys.most_open_orders, everybodys.most_open_notional) == (7, None)
    assert AuditEvent.objects.filter(action="trading_limit.set").count() == 1


# -- the command line --------------------------------------------------------------------------


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orderbook.management.commands.market.WAIT_S", 0.0)


def test_a_market_from_the_terminal(venue: Venue, by_hand: None, capsys: Any) -> None:
    Asset.objects.create(code="NEW", name="New", kind="series")
    by = venue.people["sam"].handle
    why = ("--reason", "a test", "--by", by)
    call_command(
        "market", "create", "NEW.PTS", "--base", "NEW", "--quote", venue.points.code,
        "--scheduled", "--auction-s", "0", "--shard", str(venue.market.shard),
        "--opens-at", "2099-01-01T00:00:00+00:00", "--max-quantity", "50", "--min-price", "4",
        "--tick", "2", "--reference-price", "100", "--static-band-bps", "1000", *why,
    )  # fmt: skip
    [trail] = AuditEvent.objects.filter(action="market.open", object_id="NEW.PTS")
    assert (trail.actor_name, trail.reason) == (venue.people["sam"].get_username(), "a test")
    call_command("market", "schedule", "NEW.PTS", "--halt-s", "5", *why)
    call_command("market", "begin", "NEW.PTS", *why)
    venue.market = Market.objects.get(code="NEW.PTS")
    venue.keep_up()
    assert venue.state == "open"
    assert venue.market.halt_s == 5
    terms = (venue.market.most_lots, venue.market.least_price_ticks, venue.market.reference_ticks)
    assert terms == (50, 2, 50)
    call_command("market", "schedule", "NEW.PTS", "--max-quantity", "40", *why)
    venue.market.refresh_from_db()
    assert venue.market.most_lots == 40
    call_command("market", "halt", "NEW.PTS", "--seconds", "60", *why)
    call_command("market", "cancel", "NEW.PTS", "--user", by, "--side", "buy", *why)
    venue.keep_up()
    assert venue.state == "halted"
    call_command("market", "list")
    assert "NEW.PTS" in capsys.readouterr().out
    for wrong in (
        ("schedule", "NEW.PTS", *why),
        ("schedule", "NEW.PTS", "--min-price", "3", *why),
        ("halt", "NEW.PTS", "--reason", " ", "--by", by),
        ("schedule", "NEW.PTS", "--auction-s", "-1", *why),
        ("schedule", "NEW.PTS", "--closes-at", "2000-01-01T00:00:00+00:00", *why),
        ("move", "NEW.PTS", "--to", "4095", *why),
        ("halt", "NEW.PTS", "--seconds", "-5", *why),
        ("halt", "NONE", *why),
        ("halt", "NEW.PTS", "--reason", "x", "--by", "nobody-at-all"),
    ):
        with pytest.raises(CommandError):
            call_command("market", *wrong)
