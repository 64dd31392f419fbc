"""What the API answers, as types: names and units are those of the API's documentation.

Prices are minor units of the quote asset for one lot, quantities units of the base asset,
amounts and fees minor units of the quote asset; times are RFC 3339 texts in UTC, ids texts.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Json = dict[str, Any]
Side = Literal["buy", "sell"]
Interval = Literal["1s", "1m", "5m", "15m", "1h", "1d"]


class Market(TypedDict):
    code: str
    name: str
    base_asset: str
    quote_asset: str
    state: str
    tick: int
    lot: int
    min_price: int
    max_price: int
    min_quantity: int
    max_quantity: int
    maker_fee_bps: int
    taker_fee_bps: int
    last_price: int | None
    best_bid: int | None
    best_ask: int | None
    change_24h_bps: int | None
    volume_24h: int


class Ticker(TypedDict):
    market: str
    state: str
    sequence: int
    best_bid: int | None
    best_bid_quantity: int | None
    best_ask: int | None
    best_ask_quantity: int | None
    last_price: int | None
    last_quantity: int | None
    last_trade_at: str | None
    open_24h: int | None
    high_24h: int | None
    low_24h: int | None
    volume_24h: int
    turnover_24h: int
    trades_24h: int
    change_24h: int | None
    change_24h_bps: int | None


class Prices(TypedDict):
    lowest_price: int
    highest_price: int


class Indicative(TypedDict):
    price: int
    quantity: int
    surplus_side: Side | None
    surplus_quantity: int


class Session(TypedDict):
    state: str
    opens_at: str | None
    state_until: str | None
    closes_at: str | None
    reference_price: int | None
    static_band: Prices | None
    dynamic_band: Prices | None
    indicative: Indicative | None


class Level(TypedDict):
    price: int
    quantity: int


class ChangedLevel(Level):
    side: Side


class Book(TypedDict):
    sequence: int
    checksum: int
    bids: list[Level]
    asks: list[Level]
    has_more_bids: bool
    has_more_asks: bool


class ChangeTrade(TypedDict):
    id: str
    taker_side: Side
    price: int
    quantity: int
    amount: int


class Change(TypedDict):
    sequence: int
    checksum: int
    at: str
    state: str
    trades: list[ChangeTrade]
    levels: list[ChangedLevel]


class Trade(TypedDict):
    id: str
    price: int
    quantity: int
    taker_side: Side
    created_at: str


class Candle(TypedDict):
    start: str
    open: int
    high: int
    low: int
    close: int
    volume: int
    turnover: int
    trades: int


class PlacedGuard(TypedDict):
    order_id: str
    type: str
    stop_price: int
    price: NotRequired[int]
    worst_price: NotRequired[int]
    status: str


class PlacedOrder(TypedDict):
    order_id: str
    client_order_id: str
    market: str
    side: Side
    type: str
    price: NotRequired[int]
    worst_price: NotRequired[int]
    stop_price: NotRequired[int]
    quantity: int
    display_quantity: NotRequired[int]
    min_quantity: NotRequired[int]
    time_in_force: str
    expires_at: NotRequired[str]
    self_trade: str
    oco: NotRequired[PlacedGuard]
    status: str
    cancel_reason: NotRequired[str]
    filled_quantity: int
    filled_amount: int
    fee: int
    quote_asset: str
    created_at: str


class AmendedOrder(TypedDict):
    order_id: str
    market: str
    status: str
    price: int
    stop_price: NotRequired[int]
    remaining_quantity: int
    kept_place: bool
    filled_quantity: int
    filled_amount: int
    fee: int


class CancelledOrders(TypedDict):
    cancelled: int
    remaining: int


class BatchResult(TypedDict):
    """What one command of a batch came to: as if it had been sent alone."""

    status: int
    replayed: bool
    body: Json


class Switch(TypedDict):
    is_armed: bool
    timeout_s: int
    fired_at: str | None


class Order(TypedDict):
    order_id: str
    client_order_id: str
    market: str
    side: Side
    type: str
    price: int
    stop_price: int | None
    quantity: int
    filled_quantity: int
    remaining_quantity: int
    average_price: str | None
    display_quantity: int | None
    min_quantity: int | None
    expires_at: str | None
    self_trade: str
    is_triggered: bool | None
    oco_order_id: str | None
    filled_amount: int
    fee: int
    quote_asset: str
    time_in_force: str
    status: str
    refusal: str
    cancel_reason: str | None
    created_at: str
    ended_at: str | None


class OrderEvent(TypedDict):
    sequence: int
    order_id: str | None
    market: str | None
    is_new: bool
    status: str
    remaining_quantity: int
    filled_quantity: int
    filled_amount: int
    fee: int
    cancel_reason: str | None
    at: str


class Fill(TypedDict):
    id: str
    market: str
    order_id: str
    side: Side
    role: Literal["maker", "taker"]
    price: int
    quantity: int
    amount: int
    fee: int
    quote_asset: str
    taker_side: Side
    created_at: str


class Wallet(TypedDict):
    asset: str
    name: str
    scale: int
    balance: int
    held: int
    available: int
    incoming: int
    status: str


class Entry(TypedDict):
    transfer_id: str
    at: str
    effective_at: str | None
    amount: int
    balance_after: int
    code: str
    counterparty: str | None
    memo: str
    hold_id: str | None
    reverses_id: str | None
