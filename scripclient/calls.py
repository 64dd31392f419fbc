"""Each thing that the API can be asked, as data: what both clients send. Nothing is sent here."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from scripclient import types

Answer = TypeVar("Answer")
Row = TypeVar("Row")


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One request. It may be sent again: reads change nothing, and writes carry a key.

    Unless it says otherwise: what asks for so much more to wait may have been done, and traded.
    """

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = True


@dataclass(frozen=True)
class Page(Generic[Row]):
    """The first page of a list; each page says where the next one is."""

    path: str
    query: Mapping[str, Any] = field(default_factory=dict)


def _given(**query: Any) -> dict[str, Any]:
    """The parameters that were given. `since` stands for `from`, which is a word of Python."""
    named = {("from" if name == "since" else name): value for name, value in query.items()}
    return {name: value for name, value in named.items() if value is not None}


def _segment(text: str) -> str:
    """A part of a path: a client's own name for an order may hold any visible sign."""
    return quote(text, safe="")


def _write(path: str, body: Mapping[str, Any], key: str) -> Call[Any]:
    return Call("POST", path, body=body, headers={"Idempotency-Key": key or uuid.uuid4().hex})


# -- market data -------------------------------------------------------------------------


def markets() -> Page[types.Market]:
    return Page("/markets/")


def market(code: str) -> Call[types.Market]:
    return Call("GET", f"/markets/{code}/")


def ticker(code: str) -> Call[types.Ticker]:
    return Call("GET", f"/markets/{code}/ticker/")


def session(code: str) -> Call[types.Session]:
    return Call("GET", f"/markets/{code}/session/")


def book(code: str, levels: int) -> Call[types.Book]:
    return Call("GET", f"/markets/{code}/book/", {"levels": levels})


def changes(code: str, after: int) -> Page[types.Change]:
    return Page(f"/markets/{code}/changes/", {"after": after, "limit": 200})


def trades(code: str, since: str | None, to: str | None) -> Page[types.Trade]:
    return Page(f"/markets/{code}/trades/", _given(since=since, to=to))


def candles(
    code: str, interval: types.Interval, since: str | None, to: str | None
) -> Page[types.Candle]:
    query = _given(interval=interval, since=since, to=to, limit=200)
    return Page(f"/markets/{code}/candles/", query)


# -- orders ------------------------------------------------------------------------------


def place_order(
    code: str,
    *,
    side: types.Side,
    quantity: int,
    price: int | None,
    time_in_force: str | None,
    client_order_id: str,
    **terms: Any,
) -> Call[types.PlacedOrder]:
    body = _given(side=side, price=price, quantity=quantity, time_in_force=time_in_force)
    name = {"client_order_id": client_order_id or uuid.uuid4().hex}
    return Call("POST", f"/markets/{code}/orders/", body=body | name | _given(**terms))


def amend_order(code: str, order_id: str, **change: int | None) -> Call[types.AmendedOrder]:
    return _amendment(f"/markets/{code}/orders/{order_id}/", change)


def amend_by_client_id(
    code: str, client_order_id: str, **change: int | None
) -> Call[types.AmendedOrder]:
    return _amendment(f"/markets/{code}/orders/by-client-id/{_segment(client_order_id)}/", change)


def _amendment(path: str, change: Mapping[str, int | None]) -> Call[types.AmendedOrder]:
    body = _given(**change)
    return Call("PATCH", path, body=body, is_repeatable="remaining_quantity" not in body)


def send_batch(code: str, commands: Sequence[Mapping[str, Any]]) -> Call[types.Json]:
    """Give each new order a name first, so that the whole batch may be sent again."""
    return Call(
        "POST",
        f"/markets/{code}/orders/batch/",
        body={"commands": [_named(c) for c in commands]},
        is_repeatable=not any("remaining_quantity" in c.get("amend", {}) for c in commands),
    )


def _named(command: Mapping[str, Any]) -> Mapping[str, Any]:
    order = command.get("place")
    if order is None or "client_order_id" in order:
        return command
    return {**command, "place": {**order, "client_order_id": uuid.uuid4().hex}}


def dead_mans_switch(timeout_s: int) -> Call[types.Switch]:
    return Call("POST", "/trading/dead-mans-switch/", body={"timeout_s": timeout_s})


def cancel_all(code: str | None, *, side: types.Side | None) -> Call[types.CancelledOrders]:
    query = _given(side=side)
    return Call("DELETE", f"/markets/{code or 'all'}/orders/", query=query)


def cancel_order(code: str, order_id: str) -> Call[types.Json]:
    return Call("DELETE", f"/markets/{code}/orders/{order_id}/")


def cancel_by_client_id(code: str, client_order_id: str) -> Call[types.Json]:
    return Call("DELETE", f"/markets/{code}/orders/by-client-id/{_segment(client_order_id)}/")


def orders(**asked: Any) -> Page[types.Order]:
    return Page("/orders/", _given(**asked))


def order(order_id: str) -> Call[types.Order]:
    return Call("GET", f"/orders/{order_id}/")


def order_by_client_id(client_order_id: str) -> Call[types.Order]:
    return Call("GET", f"/orders/by-client-id/{_segment(client_order_id)}/")


def order_events(after: int) -> Page[types.OrderEvent]:
    return Page("/orders/events/", {"after": after, "limit": 200})


def order_position() -> Call[types.Json]:
    return Call("GET", "/orders/events/position/")


def fills(**asked: Any) -> Page[types.Fill]:
    return Page("/fills/", _given(**asked))


# -- wallets and vouchers ------------------------------------------------------------------


def wallets() -> Page[types.Wallet]:
    return Page("/wallets/")


def entries(asset: str, since: str | None, to: str | None) -> Page[types.Entry]:
    return Page(f"/wallets/{asset}/entries/", _given(since=since, to=to))


def pay(to: str, asset: str, amount: int, memo: str, key: str) -> Call[types.Json]:
    return _write("/payments/", {"to": to, "asset": asset, "amount": amount, "memo": memo}, key)


def series() -> Page[types.Json]:
    return Page("/series/")


def reveal(code: str, key: str) -> Call[types.Json]:
    return _write(f"/series/{code}/reveal/", {}, key)
