"""Every field of every order type where the market refuses it: it says why, and nothing moves.

What has the wrong shape never comes so far (`test_requests`). Each refusal is asked for alone
and in the middle of a batch, whose other orders fare as if it were not there.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from orderbook.commands import GuardOrder, OrderType, TimeInForce
from orderbook.instructions import Side
from orderbook.models import Order, OrderState
from tests.orderbook.traders import settled
from tests.orderbook.venue import Venue
from wallet.models import Account, Hold, Transfer

pytestmark = pytest.mark.django_db

TERMS = {
    "tick_minor": 5, "lot_units": 2, "least_price_ticks": 2, "most_price_ticks": 100,
    "least_lots": 2, "most_lots": 1_000, "maker_fee_bps": 50, "taker_fee_bps": 100,
}  # fmt: skip
DAY_US = 24 * 3600 * 1_000_000
TAKES = TimeInForce.IMMEDIATE_OR_CANCEL
GUARD = {"price": 200, "stop_price": 150}
BASES: dict[str, dict[str, Any]] = {
    "limit": {},
    "market": {"type": "market", "tif": "ioc"},
    "stop": {"type": "stop", "tif": "ioc", "stop_price": 150},
    "stop_limit": {"type": "stop_limit", "stop_price": 150},
    "iceberg": {"display_quantity": 4},
    "minimum": {"min_quantity": 4},
    "dated": {"tif": "gtd"},
    "fill_or_kill": {"tif": "fok"},
    "post_only": {"tif": "post_only"},
    "pair": {"guard": GUARD},
}
PRICES = [(101, "off_tick"), (5, "too_low"), (505, "too_high"), ((1 << 53) // 5 * 5, "too_high")]
QUANTITIES = [(11, "off_lot"), (2, "too_small"), (2_002, "too_large"), (1 << 53, "too_large")]
EVERY = [
    *((kind, {"price": value}, f"price_{why}") for kind, (value, why) in product(BASES, PRICES)),
    *((kind, {"quantity": value}, f"quantity_{why}")
      for kind, (value, why) in product(BASES, QUANTITIES)),
    *((kind, {"stop_price": value}, f"stop_price_{why}")
      for kind, (value, why) in product(("stop", "stop_limit"), PRICES)),
    *(("pair", {"guard": GUARD | {"price": value}}, f"price_{why}") for value, why in PRICES),
    *(("pair", {"guard": GUARD | {"stop_price": value}}, f"stop_price_{why}")
      for value, why in PRICES),
    ("iceberg", {"display_quantity": 3}, "display_quantity_off_lot"),
    ("iceberg", {"display_quantity": 42}, "display_quantity_too_large"),
    ("iceberg", {"display_quantity": 2, "quantity": 202}, "display_quantity_too_small"),
    ("minimum", {"min_quantity": 3}, "minimum_quantity_off_lot"),
    ("minimum", {"min_quantity": 42}, "minimum_quantity_too_large"),
    ("minimum", {"min_quantity": 14}, "minimum_quantity_unfilled"),
    ("dated", {"expires_us": 1}, "expiry_in_past"),
    ("dated", {"expires_us": 1 << 53}, "expiry_too_far"),
    ("pair", {"expires_us": 1}, "expiry_in_past"),
    ("stop", {"expires_us": 1}, "expiry_in_past"),
    ("fill_or_kill", {"quantity": 40}, "fill_or_kill_unfilled"),
    ("post_only", {"price": 120}, "post_only_would_take"),
    ("stop", {"stop_price": 100}, "stop_would_trigger"),
    ("stop_limit", {"stop_price": 95}, "stop_would_trigger"),
    ("pair", {"guard": GUARD | {"stop_price": 100}}, "stop_would_trigger"),
    *((kind, {"price": 500, "quantity": 2_000, "display_quantity": 2_000 * (kind == "iceberg")},
       "insufficient_funds")
      for kind in ("limit", "stop", "stop_limit", "iceberg", "dated", "pair")),
]  # fmt: skip


@pytest.fixture
def venue() -> Venue:
    """Sam offers 12 at 120; 100 was traded last. Bea is rich, but not so rich."""
    return traded(Venue(**TERMS))


def traded(venue: Venue) -> Venue:
    venue.join("sam", units=500)
    venue.join("bea", points=50_000)
    venue.join("ned", units=500, points=50_000)
    venue.run(
        venue.place("sam", "sell", 100, 4),
        venue.place("bea", "buy", 100, 4),
        venue.place("sam", "sell", 120, 12),
    )
    return venue


def spelled(venue: Venue, kind: str, change: dict[str, Any] | None = None, **more: Any) -> Any:
    """Bea's order of a kind, with one thing changed."""
    asked = {"price": 110, "quantity": 40, **BASES[kind], **(change or {}), **more}
    price, quantity = asked.pop("price"), asked.pop("quantity")
    if kind == "dated":
        asked.setdefault("expires_us", venue.engine.clock.now_us + DAY_US)
    if guard := asked.get("guard"):
        asked["guard"] = GuardOrder(OrderType.STOP, guard["price"], guard["stop_price"], TAKES)
    return venue.place("bea", "buy", price, quantity, **asked)


def everything(venue: Venue) -> tuple[Any, ...]:
    """All that an order may move."""
    accounts = Account.objects.order_by("id").values_list("id", "balance", "held", "incoming")
    holds = Hold.objects.order_by("id").values_list("id", "remaining", "state")
    live = Order.objects.exclude(state=OrderState.REFUSED).order_by("id").values()
    state = (list(accounts), list(holds), list(live), Transfer.objects.count())
    return (*state, venue.book.state_hash(), dict(venue.engine.memory.hold_of))


def known_as(case: Any) -> str:
    kind, change, code = case
    return f"{kind}-{code}-{'-'.join(change)}"


@pytest.mark.parametrize("case", EVERY, ids=known_as)
def test_a_refused_order_says_why_and_moves_nothing(venue: Venue, case: Any) -> None:
    kind, change, code = case
    before = everything(venue)
    refused = spelled(venue, kind, change, cid="mine")
    [answer] = venue.run(refused)
    assert (answer["http"], answer["code"]) == (422, code)
    assert everything(venue) == before
    [again] = venue.run(refused)
    assert again["code"] == code
    first, between, last = venue.run(
        venue.place("ned", "buy", 120, 4), refused, venue.place("ned", "buy", 120, 4)
    )
    assert between["code"] == code
    assert [each["filled_quantity"] for each in (first, last)] == [4, 4]
    assert venue.units_of("bea") == (4, 0)
    settled(venue)


@pytest.mark.parametrize("kind", [kind for kind in BASES if kind != "fill_or_kill"])
def test_control_each_kind_is_taken_as_it_is(venue: Venue, kind: str) -> None:
    price = 120 if kind == "minimum" else 110
    [answer] = venue.run(spelled(venue, kind, {"price": price}))
    assert answer["http"] == 201
    settled(venue)


STATES = {
    "halted": "market_halted", "closed": "market_closed", "closing": "market_closed",
    "scheduled": "market_not_open",
}  # fmt: skip


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("state", STATES)
def test_a_market_that_is_not_open_takes_nothing(kind: str, state: str) -> None:
    venue = Venue(**TERMS, state=state)
    venue.join("bea", points=50_000)
    before = everything(venue)
    [answer] = venue.run(spelled(venue, kind))
    assert (answer["http"], answer["code"]) == (422, STATES[state])
    assert everything(venue) == before


@pytest.mark.parametrize("kind", [k for k in BASES if k not in {"stop", "stop_limit"}])
def test_a_limit_beyond_the_static_band_is_refused(kind: str) -> None:
    venue = traded(Venue(**TERMS, static_band_bps=3_000, reference_ticks=20))
    before = everything(venue)
    [answer] = venue.run(spelled(venue, kind, {"price": 135}))
    assert (answer["http"], answer["code"]) == (422, "price_beyond_band")
    assert everything(venue) == before


@pytest.mark.parametrize("kind", BASES)
def test_an_order_for_a_market_of_another_shard_is_not_remembered(venue: Venue, kind: str) -> None:
    before, market = everything(venue), venue.market.pk
    venue.market.pk = market + 10_000
    [answer] = venue.run(spelled(venue, kind, cid="mine"))
    venue.market.pk = market
    assert (answer["http"], answer["code"]) == (503, "wrong_shard")
    assert everything(venue) == before
    assert not Order.objects.filter(client_order_id="mine").exists()


AMENDMENTS = [
    *(("limit", {"price": value}, f"price_{why}") for value, why in PRICES),
    *(("limit", {"remaining_quantity": value}, f"quantity_{why}") for value, why in QUANTITIES),
    *(("stop", {"stop_price": value}, f"stop_price_{why}") for value, why in PRICES),
    *(("stop", {"price": value}, f"price_{why}") for value, why in PRICES),
    ("limit", {"stop_price": 150}, "order_has_no_stop_price"),
    ("pair", {"price": 105}, "order_paired"),
    ("post_only", {"price": 120}, "post_only_would_take"),
    ("stop", {"stop_price": 100}, "stop_would_trigger"),
    ("limit", {"remaining_quantity": 2_000}, "insufficient_funds"),
    ("iceberg", {"remaining_quantity": 402}, "display_quantity_too_small"),
]  # fmt: skip


@pytest.mark.parametrize("case", AMENDMENTS, ids=known_as)
def test_a_refused_amendment_says_why_and_moves_nothing(venue: Venue, case: Any) -> None:
    kind, change, code = case
    venue.run(spelled(venue, kind, cid="mine"))
    before = everything(venue)
    [answer] = venue.run(venue.amend("bea", cid="mine", **change))
    assert answer["code"] == code
    assert answer["http"] in {409, 422}
    assert everything(venue) == before
    settled(venue)


@pytest.mark.parametrize("kind", ["limit", "stop", "stop_limit", "iceberg", "dated", "pair"])
def test_who_is_not_the_owner_finds_nothing(venue: Venue, kind: str) -> None:
    [placed] = venue.run(spelled(venue, kind, cid="mine"))
    names: list[dict[str, Any]] = [{"order_id": int(placed["order_id"])}, {"cid": "mine"}]
    if kind == "pair":
        names.append({"order_id": int(placed["oco"]["order_id"])})
    before = everything(venue)
    for name in names:
        cancelled, amended = venue.run(
            venue.cancel("ned", **name), venue.amend("ned", **name, price=105)
        )
        assert cancelled["code"] == amended["code"] == "unknown_order"
        assert cancelled["http"] == amended["http"] == 404
    assert everything(venue) == before


def test_half_of_a_batch_is_bad_and_the_other_half_is_done(venue: Venue) -> None:
    good = [venue.place("ned", "buy", 120, 4, cid=f"g{number}") for number in range(3)]
    bad = [spelled(venue, kind, change) for kind, change, _ in EVERY]
    mixed = [command for pair in zip(good, bad[:3], strict=True) for command in pair] + bad[3:]
    answers = venue.run(*mixed)
    assert [answer["status"] for answer in answers[0:6:2]] == ["filled"] * 3
    codes = [answer.get("code") for answer in (*answers[1:6:2], *answers[6:])]
    expected = [code for _, _, code in EVERY]
    # Ned took all that was offered, so that one of them has nobody to meet any more.
    met = {"post_only_would_take": None}
    assert codes == [met.get(code, code) for code in expected]
    settled(venue)


def test_one_id_for_two_orders_of_a_batch_names_the_first(venue: Venue) -> None:
    first, same, other, cheaper = venue.run(
        spelled(venue, "limit", cid="mine"),
        spelled(venue, "limit", cid="mine"),
        spelled(venue, "pair", cid="mine"),
        spelled(venue, "limit", {"price": 105}, cid="mine"),
    )
    assert (same["order_id"], same["replayed"]) == (first["order_id"], True)
    assert other["code"] == cheaper["code"] == "client_order_id_reused"
    assert Order.objects.filter(client_order_id="mine").count() == 1
    assert venue.book.best(Side.BUY) == (22, 20)
    settled(venue)


@pytest.mark.parametrize("name", ["!", "~" * 64, "a/b", "%2F", "..", "'; --", "{}", "\\", "0"])
def test_any_visible_ascii_is_a_name_for_ever(venue: Venue, name: str) -> None:
    [first] = venue.run(spelled(venue, "limit", cid=name))
    again, cancelled = venue.run(
        spelled(venue, "limit", cid=name), venue.cancel("bea", cid=name)
    )  # fmt: skip
    assert (again["order_id"], again["replayed"]) == (first["order_id"], True)
    assert cancelled["status"] == "cancelled"


def test_the_largest_order_is_paid_to_the_last_unit() -> None:
    """2^61 minor units, and a tenth of it for the fee: the ledger carries no more than 2^62."""
    price, lots = 1 << 20, 1 << 30
    venue = Venue(
        tick_minor=1 << 11, most_price_ticks=price, most_lots=lots, taker_fee_bps=1_000,
        maker_fee_bps=1_000,
    )  # fmt: skip
    amount = price * lots << 11
    venue.join("sam", units=lots)
    venue.join("bea", points=amount + amount // 10)
    taken, waiting = venue.run(
        venue.place("bea", "buy", price << 11, lots), venue.place("sam", "sell", price << 11, lots)
    )
    assert (taken["status"], waiting["status"]) == ("open", "filled")
    assert venue.points_of("bea") == (0, 0)
    assert venue.points_of("sam") == (amount - amount // 10, 0)
    assert venue.fees() == amount // 10 * 2
    settled(venue)
