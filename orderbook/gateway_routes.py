"""What the gateway accepts for the market: place an order, change it, cancel it or all.

Each function is quick and pure: it checks a request's shape and makes a command of it.
Whether the market takes the order is the engine's to say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from edge.ids import LARGEST_ID
from edge.problems import Refusal
from orderbook.cancelled import CancelAllAnswer
from orderbook.commands import (
    AMEND,
    CANCEL,
    CANCEL_ALL,
    CANCEL_REQUEST,
    PLACE,
    CancelAll,
    CancelOrder,
    Side,
    encode,
)
from orderbook.directory import Listing, MarketDirectory
from orderbook.requests import read_amendment, read_named_amendment, read_order
from sequencer.admission import Priority
from sequencer.batches import BATCH_LIMIT_BYTES
from sequencer.commands import Answer
from sequencer.routes import Draft, Request, Route, malformed, read_json

ORDERS = "/api/v1/markets/{market}/orders/"
EVERYWHERE = "/api/v1/markets/all/orders/"
"""No market has a code in small letters."""
_ORDER_ID = re.compile(r"[1-9][0-9]{0,18}\Z")
_CLIENT_ORDER_ID = re.compile(r"[\x21-\x7e]{1,64}\Z")


class UnknownOrder(Refusal):
    """The asker has no such order on this market."""

    code = "unknown_order"
    title = "There is no such order"
    status = 404


class Drafts:
    """Makes commands of requests, over a directory that somebody keeps fresh."""

    def __init__(self, directory: MarketDirectory) -> None:
        self._directory = directory

    def place(self, request: Request) -> Draft:
        listing = self._listing(request)
        order = read_order(request.body, listing.market_id, request.id)
        return Draft(PLACE, listing.shard, encode(order))

    def amend(self, request: Request) -> Draft:
        listing = self._listing(request)
        order_id = _order_id(request.path_values["order_id"])
        change = read_amendment(request.body, listing.market_id, order_id)
        return Draft(AMEND, listing.shard, encode(change), is_repeatable=False)

    def amend_by_client_id(self, request: Request) -> Draft:
        listing = self._listing(request)
        name = _client_order_id(request.path_values["client_order_id"])
        change = read_amendment(request.body, listing.market_id, client_order_id=name)
        return Draft(AMEND, listing.shard, encode(change), is_repeatable=False)

    def cancel(self, request: Request) -> Draft:
        listing = self._listing(request)
        order_id = _order_id(request.path_values["order_id"])
        return Draft(CANCEL, listing.shard, encode(CancelOrder(listing.market_id, order_id, "")))

    def cancel_by_client_id(self, request: Request) -> Draft:
        listing = self._listing(request)
        name = _client_order_id(request.path_values["client_order_id"])
        return Draft(CANCEL, listing.shard, encode(CancelOrder(listing.market_id, 0, name)))

    def cancel_in_batch(self, request: Request) -> Draft:
        named = read_json(request.body, CANCEL_REQUEST)
        if (named.order_id is None) == (named.client_order_id is None):
            raise malformed("Name the order by `order_id` or by `client_order_id`.")
        draft = self.cancel if named.order_id is not None else self.cancel_by_client_id
        order = {"order_id": named.order_id or "", "client_order_id": named.client_order_id or ""}
        return draft(replace(request, path_values={**request.path_values, **order}))

    def cancel_all(self, request: Request) -> Draft:
        listing = self._listing(request)
        command = CancelAll(listing.market_id, _side(request.query))
        return Draft(CANCEL_ALL, listing.shard, encode(command))

    def cancel_everywhere(self, request: Request) -> list[Draft]:
        command = encode(CancelAll(0, _side(request.query)))
        return [Draft(CANCEL_ALL, shard, command) for shard in self._directory.shards()]

    def amend_in_batch(self, request: Request) -> Draft:
        listing = self._listing(request)
        change = read_named_amendment(request.body, listing.market_id)
        if change.order_id > LARGEST_ID:
            raise UnknownOrder
        return Draft(AMEND, listing.shard, encode(change), is_repeatable=False)

    def _listing(self, request: Request) -> Listing:
        return self._directory.find(request.path_values["market"])


def routes(directory: MarketDirectory) -> list[Route]:
    """The market's routes."""
    drafts = Drafts(directory)
    scope, first = "orders:write", Priority.CANCEL
    one, by_client_id = ORDERS + "{order_id}/", ORDERS + "by-client-id/{client_order_id*}/"
    return [
        Route("POST", ORDERS, scope=scope, draft=drafts.place),
        Route(
            "POST",
            ORDERS + "batch/",
            scope=scope,
            verbs={
                "place": drafts.place,
                "amend": drafts.amend_in_batch,
                "cancel": drafts.cancel_in_batch,
            },
            body_limit_bytes=BATCH_LIMIT_BYTES,
        ),
        Route("PATCH", one, scope=scope, draft=drafts.amend),
        Route("PATCH", by_client_id, scope=scope, draft=drafts.amend_by_client_id),
        Route("DELETE", one, scope=scope, draft=drafts.cancel, priority=first),
        Route(
            "DELETE", by_client_id, scope=scope, draft=drafts.cancel_by_client_id, priority=first
        ),
        Route(
            "DELETE",
            EVERYWHERE,
            scope=scope,
            spread=drafts.cancel_everywhere,
            gather=added_up,
            priority=first,
        ),
        Route("DELETE", ORDERS, scope=scope, draft=drafts.cancel_all, priority=first),
    ]


def added_up(answers: Sequence[Answer | Refusal]) -> Answer | Refusal:
    """Make one answer of what each shard cancelled. If one could not, all may be asked again."""
    done: list[CancelAllAnswer] = []
    for answer in answers:
        if isinstance(answer, Refusal) or answer.status != 200:
            return answer
        done.append(_CANCELLED.decode(answer.body))
    total = CancelAllAnswer(
        cancelled=sum(each.cancelled for each in done),
        remaining=sum(each.remaining for each in done),
    )
    return Answer("", 200, msgspec.json.encode(total))


_CANCELLED = msgspec.json.Decoder(CancelAllAnswer)


def _order_id(text: str) -> int:
    if not _ORDER_ID.match(text) or int(text) > LARGEST_ID:
        raise UnknownOrder
    return int(text)


def _client_order_id(text: str) -> str:
    if not _CLIENT_ORDER_ID.match(text):
        raise UnknownOrder
    return text


def _side(query: bytes) -> Side | None:
    """Read `?side=`, the one thing that the query of a collection may say."""
    if not query:
        return None
    name, _, value = query.decode("latin-1").partition("=")
    if name != "side" or value not in set(Side):
        raise Refusal(
            "Only `side=buy` or `side=sell` may be asked.",
            code="invalid_request", title="The request is not valid", status=400,
            errors=[{"pointer": "?side", "code": "invalid", "detail": "`buy` or `sell`"}],
        )  # fmt: skip
    return Side(value)
