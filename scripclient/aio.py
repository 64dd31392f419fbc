"""The same client for programs that do many things at once (asyncio)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import count
from typing import Any, Self, TypeVar

import httpx

from scripclient import answers, calls, types
from scripclient.answers import Refused
from scripclient.book import LocalBook, OutOfStep
from scripclient.calls import Call, Page

T = TypeVar("T")

FOLLOW_EVERY_S = 0.25


class AsyncScrip:
    """One person's view of a Scrip installation, through one of their API keys.

    Methods that list something are iterators that ask for page after page. `since` and `to` are
    times as RFC 3339 texts.
    """

    def __init__(self, origin: str, token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.AsyncClient(
            base_url=f"{origin.rstrip('/')}/api/v1", headers=headers, timeout=answers.TIMEOUT_S
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- market data ---------------------------------------------------------------------------

    async def markets(self) -> list[types.Market]:
        """All markets with their prices."""
        return [row async for row in self.pages(calls.markets())]

    async def market(self, market: str) -> types.Market:
        """One market's terms and prices."""
        return await self.send(calls.market(market))

    async def ticker(self, market: str) -> types.Ticker:
        """The best bid and offer, the last trade, and the last 24 hours."""
        return await self.send(calls.ticker(market))

    async def session(self, market: str) -> types.Session:
        """Where a market stands: its state, its times and bands, and its auction."""
        return await self.send(calls.session(market))

    async def book(self, market: str, levels: int = 50) -> types.Book:
        """The best levels of both sides, at most 1,000 each."""
        return await self.send(calls.book(market, levels))

    def changes(self, market: str, *, after: int) -> AsyncIterator[types.Change]:
        """What changed after a sequence, in order."""
        return self.pages(calls.changes(market, after))

    def trades(
        self, market: str, *, since: str | None = None, to: str | None = None
    ) -> AsyncIterator[types.Trade]:
        """The tape, newest first."""
        return self.pages(calls.trades(market, since, to))

    def candles(
        self,
        market: str,
        interval: types.Interval = "1h",
        *,
        since: str | None = None,
        to: str | None = None,
    ) -> AsyncIterator[types.Candle]:
        """Candles, newest first, without gaps."""
        return self.pages(calls.candles(market, interval, since, to))

    async def follow_book(
        self, market: str, *, every_s: float = FOLLOW_EVERY_S
    ) -> AsyncIterator[LocalBook]:
        """A book of one's own, kept up for ever; given after each look, changed or not.

        It checks each change's checksum, and begins with a new snapshot where it is out of step.
        """
        book: LocalBook | None = None
        while True:
            try:
                book = book or LocalBook(await self.book(market, levels=1000))
                async for change in self.changes(market, after=book.sequence):
                    book.apply(change)
            except OutOfStep:
                book = None
            except Refused as refused:
                if refused.code not in ("changes_gone", "sequence_unknown"):
                    raise
                book = None
            if book is not None:
                yield book
            await asyncio.sleep(every_s)

    # -- orders --------------------------------------------------------------------------------

    async def place_order(
        self,
        market: str,
        *,
        side: types.Side,
        quantity: int,
        price: int | None = None,
        time_in_force: str | None = None,
        client_order_id: str = "",
        **terms: Any,
    ) -> types.PlacedOrder:
        """Place an order. It has a `client_order_id`, yours or a new one, and so is placed once.

        `terms` are the API's other fields, under their names.
        """
        return await self.send(
            calls.place_order(
                market,
                side=side,
                quantity=quantity,
                price=price,
                time_in_force=time_in_force,
                client_order_id=client_order_id,
                **terms,
            )
        )

    async def amend_order(
        self,
        market: str,
        order_id: str,
        *,
        price: int | None = None,
        remaining_quantity: int | None = None,
        stop_price: int | None = None,
    ) -> types.AmendedOrder:
        """Change a live order. Less of it keeps its place in the queue; else it loses it."""
        return await self.send(
            calls.amend_order(
                market,
                order_id,
                price=price,
                remaining_quantity=remaining_quantity,
                stop_price=stop_price,
            )
        )

    async def amend_by_client_id(
        self,
        market: str,
        client_order_id: str,
        *,
        price: int | None = None,
        remaining_quantity: int | None = None,
        stop_price: int | None = None,
    ) -> types.AmendedOrder:
        """Change a live order by one's own name for it."""
        return await self.send(
            calls.amend_by_client_id(
                market,
                client_order_id,
                price=price,
                remaining_quantity=remaining_quantity,
                stop_price=stop_price,
            )
        )

    async def send_batch(
        self, market: str, commands: Sequence[Mapping[str, Any]]
    ) -> list[types.BatchResult]:
        """Send up to 500 commands at once: `{"place": {…}}`, `{"amend": {…}}`, `{"cancel": {…}}`.

        One result each, in their order; a bad one does not touch the others.
        """
        answer = await self.send(calls.send_batch(market, commands))
        results: list[types.BatchResult] = answer["results"]
        return results

    async def arm_switch(self, timeout_s: int) -> types.Switch:
        """Promise to ask again within the time, else all that this key left waiting is cancelled.

        0 takes the promise back.
        """
        return await self.send(calls.dead_mans_switch(timeout_s))

    async def cancel_all(
        self, market: str | None = None, *, side: types.Side | None = None
    ) -> types.CancelledOrders:
        """Take all one's orders of a market (or of all) off the books, or those of one side."""
        return await self.send(calls.cancel_all(market, side=side))

    async def cancel_order(self, market: str, order_id: str) -> types.Json:
        """Take an order off the book."""
        return await self.send(calls.cancel_order(market, order_id))

    async def cancel_by_client_id(self, market: str, client_order_id: str) -> types.Json:
        """Take an order off the book by one's own name for it."""
        return await self.send(calls.cancel_by_client_id(market, client_order_id))

    def orders(
        self,
        *,
        only_open: bool = False,
        status: str | None = None,
        market: str | None = None,
        side: types.Side | None = None,
        since: str | None = None,
        to: str | None = None,
    ) -> AsyncIterator[types.Order]:
        """One's own orders, newest first."""
        status = "open" if only_open else status
        return self.pages(calls.orders(status=status, market=market, side=side, since=since, to=to))

    async def order(self, order_id: str) -> types.Order:
        """One of one's own orders as it stands now."""
        return await self.send(calls.order(order_id))

    async def order_by_client_id(self, client_order_id: str) -> types.Order:
        """One of one's own orders as it stands now, by one's own name for it."""
        return await self.send(calls.order_by_client_id(client_order_id))

    def order_events(self, *, after: int) -> AsyncIterator[types.OrderEvent]:
        """What happened to one's own orders after a sequence, in order."""
        return self.pages(calls.order_events(after))

    async def order_position(self) -> int:
        """How far one's own order events are numbered."""
        return int((await self.send(calls.order_position()))["sequence"])

    def fills(
        self,
        *,
        market: str | None = None,
        side: types.Side | None = None,
        role: str | None = None,
        order_id: str | None = None,
        since: str | None = None,
        to: str | None = None,
    ) -> AsyncIterator[types.Fill]:
        """One's own trades, newest first."""
        return self.pages(
            calls.fills(market=market, side=side, role=role, order_id=order_id, since=since, to=to)
        )

    # -- wallets and vouchers ------------------------------------------------------------------

    async def wallets(self) -> list[types.Wallet]:
        """One's own wallets, each with its balance and what of it is available."""
        return [row async for row in self.pages(calls.wallets())]

    def entries(
        self, asset: str, *, since: str | None = None, to: str | None = None
    ) -> AsyncIterator[types.Entry]:
        """The movements on one wallet, newest first."""
        return self.pages(calls.entries(asset, since, to))

    async def pay(
        self, to: str, asset: str, amount: int, *, memo: str = "", key: str = ""
    ) -> types.Json:
        """Pay somebody by handle, in minor units."""
        return await self.send(calls.pay(to, asset, amount, memo, key))

    async def series(self) -> list[types.Json]:
        """The voucher series there are."""
        return [row async for row in self.pages(calls.series())]

    async def reveal(self, series: str, *, key: str = "") -> types.Json:
        """Burn one unit of a series and see its code."""
        return await self.send(calls.reveal(series, key))

    # -- how it asks ---------------------------------------------------------------------------

    async def pages(self, page: Page[T]) -> AsyncIterator[T]:
        """The rows of a list, page after page."""
        answer: Any = await self.send(Call[Any]("GET", page.path, page.query))
        while True:
            for row in answer["results"]:
                yield row
            if answer["next"] is None:
                return
            answer = await self.send(Call[Any]("GET", answer["next"].removeprefix("/api/v1")))

    async def send(self, call: Call[T]) -> T:
        """Ask, and ask again where nothing can go wrong by it: all writes carry a key."""
        for attempt in count(1):
            try:
                response = await self._http.request(
                    call.method,
                    call.path,
                    params=call.query or None,
                    json=call.body,
                    headers=call.headers,
                )
            except httpx.TransportError:
                if attempt >= answers.TRIES or not call.is_repeatable:
                    raise
                await asyncio.sleep(answers.pause_s(attempt))
                continue
            if answers.is_settled(response, attempt, is_repeatable=call.is_repeatable):
                return answers.read(response)  # type: ignore[no-any-return]
            await asyncio.sleep(answers.pause_s(attempt, response))
        raise AssertionError("unreachable")
