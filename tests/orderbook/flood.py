"""Random commands of every kind straight into a shard's stream, far more than HTTP brings.

The sender is the gateway's own, the writer and the servers are real, and whoever hears nothing,
or is told to ask again, asks again with the same content. What each order was first told is
kept, to be held against the database.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import deque
from functools import partial
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from edge.problems import Refusal
from orderbook.commands import (
    AMEND,
    CANCEL,
    CANCEL_ALL,
    PLACE,
    AmendOrder,
    CancelAll,
    CancelOrder,
    GuardOrder,
    OrderType,
    PlaceOrder,
    SelfTrade,
    Side,
    TimeInForce,
    encode,
)
from sequencer.commands import Answer, Command
from sequencer.sender import RedisCommandSender
from tests.support.processes import Scrip

OPEN_AT_MOST = 1_500
BURST = 50
PACE_S = 0.005
ASK_AGAIN_S = 0.1
GIVE_UP_S = 120.0
MARKETS = "SELECT id, tick_minor, lot_units FROM orderbook_market WHERE state = 'open' ORDER BY id"
TRADERS = """
SELECT owner_id FROM wallet_account WHERE kind_id = 'wallet' AND owner_id IS NOT NULL
 GROUP BY 1 HAVING count(*) FILTER (WHERE balance > 0) > 1 ORDER BY 1
"""


class Market(NamedTuple):
    """Where an order goes, and in which steps it is counted."""

    id: int
    tick: int
    lot: int


class Flood:
    """So many random commands, and what became of the orders among them."""

    def __init__(self, scrip: Scrip, *, seed: int) -> None:
        self.scrip = scrip
        self.rng = random.Random(seed)
        self.name = secrets.token_hex(4)
        self.markets = [Market(*row) for row in scrip.query(MARKETS)]
        self.traders = [row[0] for row in scrip.query(TRADERS)]
        self.recent: deque[tuple[int, int, str]] = deque(maxlen=2_000)
        self.told: dict[str, bytes] = {}
        """What each order was first told, shortened; only what is remembered for ever."""
        self.failed: list[bytes] = []
        self.sent = self.answered = self.asked_again = self.open = 0
        self._sender: RedisCommandSender

    async def run(self, at_least: int, until: asyncio.Event) -> None:
        """Send so many commands, then a few at a time until told; wait for all answers."""
        wanted = self.sent + at_least
        async with RedisCommandSender(self.scrip.redis_url, resend_after_s=1.0) as self._sender:
            while self.sent < wanted or not until.is_set():
                await asyncio.sleep(0 if self.sent < wanted else PACE_S)
                for _ in range(min(BURST if self.sent < wanted else 1, OPEN_AT_MOST - self.open)):
                    self.sent += 1
                    self._begin(*self._command())
            await self._all_ended()

    async def ask_again(self, names: list[str]) -> None:
        """Ask for these orders once more; each must be told what it was told first."""
        async with RedisCommandSender(self.scrip.redis_url) as self._sender:
            for name in names:
                self._begin(*self._again(name))
            await self._all_ended()

    async def _all_ended(self) -> None:
        async with asyncio.timeout(GIVE_UP_S):
            while self.open:  # noqa: ASYNC110  # every answer changes it, and one wait is enough
                await asyncio.sleep(PACE_S)

    # -- asking and hearing ------------------------------------------------------------------

    def _begin(self, kind: str, user_id: int, body: bytes, name: str) -> None:
        self.open += 1
        self._send(kind, user_id, body, name)

    def _send(self, kind: str, user_id: int, body: bytes, name: str) -> None:
        command = Command(
            id=secrets.token_hex(16), kind=kind, user_id=user_id, key_id=None, shard=0,
            gateway=self._sender.gateway, sent_at_us=0, body=body,
        )  # fmt: skip
        end = partial(self._end, kind, user_id, body, name)
        try:
            self._sender.check(0)
        except Refusal as refusal:
            end(refusal)
        else:
            self._sender.submit(command, end)

    def _end(
        self, kind: str, user_id: int, body: bytes, name: str, outcome: Answer | Refusal
    ) -> None:
        if isinstance(outcome, Refusal) or outcome.status == 503:
            self.asked_again += 1
            loop = asyncio.get_running_loop()
            loop.call_later(ASK_AGAIN_S, self._send, kind, user_id, body, name)
            return
        self.open -= 1
        self.answered += 1
        if outcome.status == 500:
            self.failed.append(outcome.body)
        elif kind == PLACE and b'"order_id"' in outcome.body:
            said = blake2b(outcome.body, digest_size=8).digest()
            assert self.told.setdefault(name, said) == said, "the same order was told otherwise"

    # -- what is asked -----------------------------------------------------------------------

    def _command(self) -> tuple[str, int, bytes, str]:
        chance = self.rng.random()
        if chance < 0.70 or not self.recent:
            return self._order()
        user_id, market_id, name = self.rng.choice(self.recent)
        if chance < 0.85:
            return CANCEL, user_id, encode(CancelOrder(market_id, 0, name)), ""
        if chance < 0.97:
            tick = next(market.tick for market in self.markets if market.id == market_id)
            price = tick * self.rng.randrange(85, 116)
            return AMEND, user_id, encode(AmendOrder(market_id, 0, name, price)), ""
        if chance < 0.99:
            return self._again(name)
        return CANCEL_ALL, user_id, encode(CancelAll(0)), ""

    def _again(self, name: str) -> tuple[str, int, bytes, str]:
        """An order that is in the tables already; the plain ones are easy to spell again."""
        return self._spell(random.Random(f"{self.name}-{name}"), name)

    def _order(self) -> tuple[str, int, bytes, str]:
        name = f"{self.name}-{self.sent}"
        return self._spell(random.Random(f"{self.name}-{name}"), name)

    def _spell(self, rng: random.Random, name: str) -> tuple[str, int, bytes, str]:
        """An order of any type that its name alone determines."""
        market, user_id = rng.choice(self.markets), rng.choice(self.traders)
        side = rng.choice((Side.BUY, Side.SELL))
        sign = 1 if side is Side.BUY else -1
        lots = rng.randrange(1, 6)
        in_force = rng.choice(_TIMES_IN_FORCE)
        order = PlaceOrder(
            market.id, name, side, market.tick * (100 - sign * rng.randrange(-4, 9)),
            market.lot * lots, in_force, self_trade=rng.choice(_SELF_TRADES),
        )  # fmt: skip
        stop = market.tick * (100 + sign * rng.randrange(1, 8))
        worst = market.tick * (100 + sign * 12)
        waits, kind = in_force in _WAITING, rng.randrange(12)
        if kind == 0:
            order = _with(order, type=OrderType.STOP_LIMIT, stop_price=stop, price=worst)
        elif kind == 1 and waits:
            order = _with(order, display_quantity=market.lot)
        elif kind == 2 and in_force is TimeInForce.GOOD_TILL_CANCELLED:
            order = _with(order, min_quantity=market.lot)
        elif kind == 3 and waits:
            taking = TimeInForce.IMMEDIATE_OR_CANCEL
            order = _with(order, guard=GuardOrder(OrderType.STOP, worst, stop, taking))
        self.recent.append((user_id, market.id, name))
        return PLACE, user_id, encode(order), name


_with = msgspec.structs.replace
_WAITING = (TimeInForce.GOOD_TILL_CANCELLED, TimeInForce.POST_ONLY)
_TIMES_IN_FORCE = (
    *[TimeInForce.GOOD_TILL_CANCELLED] * 6, TimeInForce.POST_ONLY,
    TimeInForce.IMMEDIATE_OR_CANCEL, TimeInForce.FILL_OR_KILL,
)  # fmt: skip
_SELF_TRADES = tuple(SelfTrade)
