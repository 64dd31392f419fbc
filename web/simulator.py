"""People who trade: gentle activity on the demo's markets, through the public API alone."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from scripclient import Refused, Scrip
from scripclient.types import Side

logger = logging.getLogger(__name__)

MOST_OPEN_ORDERS = 12
"""A trader with more waiting orders than this takes one back before placing another."""
SPREAD = 0.06
"""Passive prices lie within this part of what the trader thinks a voucher is worth."""
DRIFT = 0.01
CROSSING_CHANCE = 0.25
REVEAL_CHANCE = 0.01
QUANTITIES = (1, 1, 1, 2, 2, 3, 5)


@dataclass
class Trader:
    """One simulated person, their view of the platform and their waiting orders."""

    scrip: Scrip
    open_orders: list[tuple[str, str]] = field(default_factory=list)


class Simulator:
    """Acts as one trader after another until told to stop."""

    def __init__(
        self, origin: str, keys: Mapping[str, str], worth: Mapping[str, int], *, seed: int = 0
    ) -> None:
        self._random = random.Random(seed)
        self._traders = [Trader(Scrip(origin, token)) for token in keys.values()]
        self._worth = {market: float(price) for market, price in worth.items()}
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ask the simulator to end after the action at hand."""
        self._stopping.set()

    def run(self, actions_per_s: float) -> None:
        """Act at this pace, on average. What goes wrong is said, and the show goes on."""
        while not self._stopping.is_set():
            try:
                self.act()
            except Refused as refused:
                logger.info("refused: %s", refused)
            except httpx.HTTPError as error:
                logger.info("no answer: %s", error)
            self._stopping.wait(self._random.expovariate(actions_per_s))

    def act(self) -> None:
        """Let one trader do one thing: mostly place an order, sometimes cancel or reveal."""
        trader = self._random.choice(self._traders)
        market = self._random.choice(list(self._worth))
        if len(trader.open_orders) > MOST_OPEN_ORDERS:
            self._cancel(trader)
        elif self._random.random() < REVEAL_CHANCE:
            trader.scrip.reveal(market.rpartition(".")[0])
        else:
            self._place(trader, market)

    def _cancel(self, trader: Trader) -> None:
        chosen = trader.open_orders.pop(self._random.randrange(len(trader.open_orders)))
        try:
            trader.scrip.cancel_order(*chosen)
        except Refused as refused:
            if refused.code != "order_already_filled":
                raise

    def _place(self, trader: Trader, market: str) -> None:
        self._worth[market] *= 1 + self._random.uniform(-DRIFT, DRIFT)
        side: Side = self._random.choice(("buy", "sell"))
        away = self._random.uniform(0.002, SPREAD)
        if self._random.random() < CROSSING_CHANCE:
            away = -self._random.uniform(0, SPREAD / 2)
        direction = -1 if side == "buy" else 1
        price = max(1, round(self._worth[market] * (1 + direction * away)))
        order = trader.scrip.place_order(
            market, side=side, price=price, quantity=self._random.choice(QUANTITIES)
        )
        if order["status"] == "open":
            trader.open_orders.append((market, order["order_id"]))
