"""Which markets there are and which shard each belongs to, kept in a gateway's memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import NamedTuple, Self

import psycopg

from edge.problems import Refusal, Unavailable

logger = logging.getLogger(__name__)

REFRESH_S = 1.0
LISTINGS = "SELECT code, id, shard FROM orderbook_market"


class UnknownMarket(Refusal):
    """No market has this code."""

    code = "unknown_market"
    title = "There is no such market"
    status = 404


class Listing(NamedTuple):
    """Where a market's commands go."""

    market_id: int
    shard: int


class MarketDirectory:
    """All markets by code, read once a second: a new market is known within that time.

    Use it as `async with MarketDirectory(database_url)`; until the first read `find`
    answers 503. While the database is away the last that was read stays in force.
    """

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._listings: dict[str, Listing] | None = None
        self._task: asyncio.Task[None] | None = None

    def find(self, code: str) -> Listing:
        """Say where a market's commands go, without waiting. Refuses a code nobody uses."""
        if self._listings is None:
            raise Unavailable("The markets are not known yet.")
        listing = self._listings.get(code)
        if listing is None:
            raise UnknownMarket(market=code[:60])
        return listing

    def shards(self) -> list[int]:
        """Say which shards have markets, without waiting."""
        if self._listings is None:
            raise Unavailable("The markets are not known yet.")
        return sorted({listing.shard for listing in self._listings.values()})

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._stay_fresh())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _stay_fresh(self) -> None:
        while True:
            try:
                await self._read_for_ever()
            except psycopg.Error as error:
                logger.warning("the market directory is stale: %s", error)
            await asyncio.sleep(REFRESH_S)

    async def _read_for_ever(self) -> None:
        url = self._database_url
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            while True:
                rows = await (await connection.execute(LISTINGS)).fetchall()
                self._listings = {code: Listing(id, shard) for code, id, shard in rows}
                await asyncio.sleep(REFRESH_S)
