"""The bodies of orders and amendments: every field of every type, right and wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.problems import Refusal
from orderbook.commands import GuardOrder, OrderType, PlaceOrder, SelfTrade, Side, TimeInForce
from orderbook.requests import SHAPES, read_amendment, read_named_amendment, read_order

LIMIT = {"side": "buy", "quantity": 4, "price": 100}
MARKET = {"type": "market", "side": "buy", "quantity": 4, "worst_price": 100}
STOP = {**MARKET, "type": "stop", "stop_price": 90}
STOP_LIMIT = {**LIMIT, "type": "stop_limit", "stop_price": 90}
BASES = {"limit": LIMIT, "market": MARKET, "stop": STOP, "stop_limit": STOP_LIMIT}
DATE = "2027-01-01T00:00:00Z"
DATE_US = 1_798_761_600_000_000


def read(**body: Any) -> PlaceOrder:
    return read_order(json.dumps(body).encode(), 7, "request-id")


def fault(**body: Any) -> tuple[str, str]:
    """Where the first fault is, and what it is; the refusal is always a 400."""
    with pytest.raises(Refusal) as refused:
        read(**body)
    assert (refused.value.status, refused.value.code) == (400, "invalid_request")
    [error] = refused.value.members["errors"]
    return error["pointer"], error["code"]


def test_a_limit_order_needs_little() -> None:
    assert read(**LIMIT) == PlaceOrder(
        7, "request-id", Side.BUY, 100, 4, TimeInForce.GOOD_TILL_CANCELLED
    )


@pytest.mark.parametrize(
    ("body", "in_force"), [(MARKET, "ioc"), (STOP, "ioc"), (STOP_LIMIT, "gtc"), (LIMIT, "gtc")]
)
def test_each_type_has_its_usual_time_in_force(body: dict[str, Any], in_force: str) -> None:
    assert read(**body).time_in_force == in_force


def test_everything_that_an_order_may_ask() -> None:
    asked = read(
        **STOP_LIMIT, display_quantity=2, min_quantity=1, time_in_force="gtd", expires_at=DATE,
        self_trade="decrement", client_order_id="mine",
    )  # fmt: skip
    assert asked == PlaceOrder(
        7, "mine", Side.BUY, 100, 4, TimeInForce.GOOD_TILL_DATE, OrderType.STOP_LIMIT, 90, 2, 1,
        DATE_US, SelfTrade.DECREMENT,
    )  # fmt: skip


def test_a_pair_has_a_stop_that_takes_or_one_that_may_wait() -> None:
    takes = read(**LIMIT, oco={"stop_price": 120, "worst_price": 130}).guard
    waits = read(**LIMIT, oco={"stop_price": 120, "price": 130}).guard
    in_force = TimeInForce.IMMEDIATE_OR_CANCEL
    assert takes == GuardOrder(OrderType.STOP, 130, 120, in_force)
    in_force = TimeInForce.GOOD_TILL_CANCELLED
    assert waits == GuardOrder(OrderType.STOP_LIMIT, 130, 120, in_force)


NUMBERS = ("quantity", "price", "worst_price", "stop_price", "display_quantity", "min_quantity")
BAD_NUMBERS: list[Any] = [
    0, -1, 1.5, "1", True, None, [], {}, (1 << 53) + 1, 10**30, float("inf"),
]  # fmt: skip
OTHERS: dict[str, list[Any]] = {
    "side": ["", "BUY", 1, None, []],
    "type": ["", "iceberg", 1, None],
    "time_in_force": ["", "day", "GTC", 1, []],
    "expires_at": ["", "soon", "2027-01-01", "2027-01-01T00:00:00", 1, [], "9999-99-99T00:00:00Z"],
    "self_trade": ["", "none", 1, None],
    "oco": ["", 1, [], {}, {"stop_price": 0, "price": 1}, {"stop_price": 1, "price": "1"},
            {"stop_price": 1, "worst_price": 1.5}, {"stop_price": 1, "price": 1, "x": 1}],
    "client_order_id": ["", "a b", "x" * 65, "é", "a\n", 1, []],
}  # fmt: skip


@pytest.mark.parametrize("kind", list(BASES))
@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", BAD_NUMBERS, ids=str)
def test_numbers_are_whole_and_positive(kind: str, name: str, value: Any) -> None:
    if value is None and name not in {"quantity", *SHAPES[OrderType(kind)].required}:
        return  # null is the same as nothing
    body = json.dumps({**BASES[kind], name: value}).encode()
    with pytest.raises(Refusal) as refused:
        read_order(body, 7, "id")
    assert refused.value.status == 400
    if refused.value.code == "invalid_request":
        assert refused.value.members["errors"][0]["pointer"] == f"#/{name}"


@pytest.mark.parametrize("kind", list(BASES))
@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in OTHERS.items() for value in values]
)
def test_other_fields_have_their_own_form(kind: str, name: str, value: Any) -> None:
    pointer, _ = fault(**{**BASES[kind], name: value})
    assert pointer.startswith(f"#/{name}")


@pytest.mark.parametrize("kind", list(BASES))
def test_what_is_needed_must_be_there(kind: str) -> None:
    for name in SHAPES[OrderType(kind)].required:
        body = {field: value for field, value in BASES[kind].items() if field != name}
        assert fault(**body) == (f"#/{name}", "missing")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (LIMIT | {"worst_price": 1}, "#/worst_price"),
        (LIMIT | {"stop_price": 1}, "#/stop_price"),
        (LIMIT | {"expires_at": DATE}, "#/expires_at"),
        (LIMIT | {"time_in_force": "ioc", "expires_at": DATE}, "#/expires_at"),
        (LIMIT | {"time_in_force": "ioc", "display_quantity": 1}, "#/display_quantity"),
        (LIMIT | {"time_in_force": "fok", "min_quantity": 1}, "#/min_quantity"),
        (LIMIT | {"time_in_force": "post_only", "min_quantity": 1}, "#/min_quantity"),
        (LIMIT | {"time_in_force": "fok", "oco": {"stop_price": 1, "price": 1}}, "#/oco"),
        (LIMIT | {"display_quantity": 1, "oco": {"stop_price": 1, "price": 1}},
         "#/display_quantity"),
        (LIMIT | {"oco": {"stop_price": 1, "price": 1, "worst_price": 1}}, "#/oco/worst_price"),
        (MARKET | {"price": 1}, "#/price"),
        (MARKET | {"time_in_force": "gtc"}, "#/time_in_force"),
        (MARKET | {"display_quantity": 1}, "#/display_quantity"),
        (MARKET | {"expires_at": DATE}, "#/expires_at"),
        (STOP | {"price": 1}, "#/price"),
        (STOP | {"time_in_force": "post_only"}, "#/time_in_force"),
        (STOP | {"oco": {"stop_price": 1, "price": 1}}, "#/oco"),
        (STOP_LIMIT | {"worst_price": 1}, "#/worst_price"),
        (STOP_LIMIT | {"oco": {"stop_price": 1, "price": 1}}, "#/oco"),
        (LIMIT | {"time_in_force": "gtd", "expires_at": "2300-01-01T00:00:00Z"}, "#/expires_at"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(body: dict[str, Any], pointer: str) -> None:
    assert fault(**body) == (pointer, "not_allowed")


def test_good_till_a_date_needs_the_date() -> None:
    assert fault(**LIMIT, time_in_force="gtd") == ("#/expires_at", "missing")


def test_what_is_not_known_is_refused() -> None:
    assert fault(**LIMIT, prize=1)[1] == "invalid"


def test_a_date_long_past_is_still_a_date() -> None:
    """The market refuses it as past; 0 would have meant that there is none."""
    body = LIMIT | {"time_in_force": "gtd", "expires_at": "1901-01-01T00:00:00Z"}
    assert read(**body).expires_us == 1


@pytest.mark.parametrize(
    "body", [{}, {"price": None}, {"price": 0}, {"quantity": 1}, {"remaining_quantity": "1"}, [1]]
)
def test_an_amendment_names_what_it_changes(body: Any) -> None:
    with pytest.raises(Refusal) as refused:
        read_amendment(json.dumps(body).encode(), 7, 1)
    assert (refused.value.status, refused.value.code) == (400, "invalid_request")


@pytest.mark.parametrize(
    "named", [{}, {"order_id": "1", "client_order_id": "a"}, {"order_id": "0"}, {"order_id": 1}]
)
def test_an_amendment_in_a_batch_names_its_order_once(named: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refused:
        read_named_amendment(json.dumps(named | {"price": 1}).encode(), 7)
    assert (refused.value.status, refused.value.code) == (400, "invalid_request")


def test_an_amendment_in_a_batch() -> None:
    asked = read_named_amendment(b'{"client_order_id": "a", "price": 5}', 7)
    assert (asked.client_order_id, asked.price, asked.order_id) == ("a", 5, 0)
