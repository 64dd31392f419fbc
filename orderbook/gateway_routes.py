"""What the gateway accepts for the market: place an order, cancel it.

Each function is quick and pure: it checks a request's shape and makes a command of it.
Whether the market takes the order is the engine's to say.
"""

from __future__ import annotations

import re
from dataclasses import replace

from edge.problems import Refusal
from orderbook.commands import (
    CANCEL,
    CANCEL_REQUEST,
    ORDER_REQUEST,
    PLACE,
    CancelOrder,
    PlaceOrder,
    encode,
)
from orderbook.directory import MarketDirectory
from sequencer.admission import Priority
from sequencer.batches import BATCH_LIMIT_BYTES
from sequencer.routes import Draft, Request, Route, malformed, read_json

ORDERS = "/api/v1/markets/{market}/orders/"
_ORDER_ID = re.compile(r"[1-9][0-9]{0,18}\Z")
_CLIENT_ORDER_ID = re.compile(r"[\x21-\x7e]{1,64}\Z")


class UnknownOrder(Refusal):
    """The asker has no such order on this market."""

    code = "unknown_order"
    title = "There is no such order"
    status = 404


def routes(directory: MarketDirectory) -> list[Route]:
    """The market's routes, over a directory that somebody keeps fresh."""

    def place(request: Request) -> Draft:
        listing = directory.find(request.path_values["market"])
        order = read_json(request.body, ORDER_REQUEST)
        command = PlaceOrder(
            listing.market_id,
            order.client_order_id or request.id,
            order.side,
            order.price,
            order.quantity,
            order.time_in_force,
        )
        return Draft(PLACE, listing.shard, encode(command))

    def cancel(request: Request) -> Draft:
        listing = directory.find(request.path_values["market"])
        text = request.path_values["order_id"]
        if not _ORDER_ID.match(text):
            raise UnknownOrder
        return Draft(CANCEL, listing.shard, encode(CancelOrder(listing.market_id, int(text), "")))

    def cancel_by_client_id(request: Request) -> Draft:
        listing = directory.find(request.path_values["market"])
        text = request.path_values["client_order_id"]
        if not _CLIENT_ORDER_ID.match(text):
            raise UnknownOrder
        return Draft(CANCEL, listing.shard, encode(CancelOrder(listing.market_id, 0, text)))

    def cancel_in_batch(request: Request) -> Draft:
        named = read_json(request.body, CANCEL_REQUEST)
        if (named.order_id is None) == (named.client_order_id is None):
            raise malformed("Name the order by `order_id` or by `client_order_id`.")
        draft = cancel if named.order_id is not None else cancel_by_client_id
        order = {"order_id": named.order_id or "", "client_order_id": named.client_order_id or ""}
        return draft(replace(request, path_values={**request.path_values, **order}))

    return [
        Route("POST", ORDERS, scope="orders:write", draft=place),
        Route(
            "POST",
            ORDERS + "batch/",
            scope="orders:write",
            verbs={"place": place, "cancel": cancel_in_batch},
            body_limit_bytes=BATCH_LIMIT_BYTES,
        ),
        Route(
            "DELETE",
            ORDERS + "{order_id}/",
            scope="orders:write",
            draft=cancel,
            priority=Priority.CANCEL,
        ),
        Route(
            "DELETE",
            ORDERS + "by-client-id/{client_order_id}/",
            scope="orders:write",
            draft=cancel_by_client_id,
            priority=Priority.CANCEL,
        ),
    ]
