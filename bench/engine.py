"""The market's engine on the real ledger: durable orders a second, at several batch sizes.

The shard's own writer drives it: it decides a batch while the one before is written. One
commit a batch, with everything on: orders, fills, transfers with two entries each,
holds, balances, client order ids and outbox events. The flow is 60 % passive orders, 30 %
cancellations and 10 % marketable ones, by a thousand people. No HTTP in it.
"""

from __future__ import annotations

import random
import statistics
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

import msgspec

from accounts.models import User
from orderbook.commands import (
    CANCEL,
    PLACE,
    CancelOrder,
    PlaceOrder,
    Side,
    TimeInForce,
    encode,
)
from orderbook.engine import MarketEngine
from orderbook.models import Market
from sequencer.commands import Answer, Command
from sequencer.session import Session
from sequencer.writer import Writer
from wallet.accounts import ISSUANCE, Purpose, open_accounts, system_account
from wallet.actions import post
from wallet.items import Transfer
from wallet.models import Asset, Code

PEOPLE = 1000
POINTS_EACH, UNITS_EACH = 10**9, 10**6
SEED = 7
WARM_UP_BATCHES = 24
ROUNDS = 5
BATCHES = {512: 12, 64: 40, 1: 100}
"""How many batches of each size one round has. Orders to cancel are from rounds before."""


class Flow:
    """A market, its people, and an endless seeded flow of commands for it."""

    def __init__(self) -> None:
        self._random = random.Random(SEED)
        self._open: list[tuple[int, int]] = []
        name = uuid.uuid4().hex[:8].upper()
        quote = Asset.objects.create(code=f"Q{name}", name="Points", kind=Asset.Kind.POINTS)
        base = Asset.objects.create(code=f"B{name}", name="Cups", kind=Asset.Kind.SERIES)
        self.market = Market.objects.create(
            code=f"M{name}", name="Bench", base_asset=base, quote_asset=quote,
            maker_fee_bps=10, taker_fee_bps=20, shard=self._random.randrange(1, 4000),
        )  # fmt: skip
        self._people = [
            user.pk
            for user in User.objects.bulk_create(
                User(
                    email=f"{name.lower()}{number}@scrip.example",
                    handle=f"b{name.lower()}{number}",
                    password="!",
                )
                for number in range(PEOPLE)
            )
        ]
        for asset, amount in ((quote, POINTS_EACH), (base, UNITS_EACH)):
            self._issue(asset, amount)

    def _issue(self, asset: Asset, amount: int) -> None:
        wallets = open_accounts(Purpose(person, asset.pk) for person in self._people)
        issuance = system_account(asset, ISSUANCE).pk
        results = post(
            [
                Transfer(
                    reference=f"bench {asset.pk} {account_id}",
                    asset_id=asset.pk,
                    debit_account_id=issuance,
                    credit_account_id=account_id,
                    amount=amount,
                    code=Code.ISSUE,
                )
                for account_id in wallets.values()
            ]
        )
        assert all(result.is_created for result in results)

    def commands(self, count: int) -> list[Command]:
        """The next commands of the flow."""
        return [self._next() for _ in range(count)]

    def _next(self) -> Command:
        share = self._random.random()
        if share < 0.3 and self._open:
            index = self._random.randrange(len(self._open))
            order_id, person = self._open[index]
            self._open[index] = self._open[-1]
            self._open.pop()
            return self._command(person, CANCEL, encode(CancelOrder(self.market.pk, order_id, "")))
        side = self._random.choice((Side.BUY, Side.SELL))
        away = self._random.randint(1, 100) if share < 0.9 else -10
        price = 1000 - away if side is Side.BUY else 1000 + away
        order = PlaceOrder(
            self.market.pk, uuid.uuid4().hex, side, price, self._random.randint(1, 20),
            TimeInForce.GOOD_TILL_CANCELLED,
        )  # fmt: skip
        return self._command(self._random.choice(self._people), PLACE, encode(order))

    def _command(self, person: int, kind: str, body: bytes) -> Command:
        return Command(
            id=uuid.uuid4().hex, kind=kind, user_id=person, key_id=None,
            shard=self.market.shard, gateway="bench", sent_at_us=0, body=body,
        )  # fmt: skip

    def learn(self, command: Command, body: bytes) -> None:
        """Remember an order that waits, to cancel it later."""
        answer = msgspec.json.decode(body)
        if answer.get("status") == "open":
            self._open.append((int(answer["order_id"]), command.user_id))


class Round(NamedTuple):
    """So many batches of one size, and how long they took."""

    size: int
    seconds_in_all: float
    seconds_each: list[float]

    @property
    def per_s(self) -> float:
        return self.size * len(self.seconds_each) / self.seconds_in_all


class Feed:
    """A `CommandStream` that hands out prepared batches, one for each read, and times them.

    What it costs to make commands, and Redis, are not measured: they are the gateway's. The
    commands of a round are made before its clock runs, once the round before is answered.
    """

    def __init__(self, flow: Flow, rounds: Iterable[tuple[int, int]]) -> None:
        self.writer: Writer
        self.done: list[Round] = []
        self._flow = flow
        self._rounds = deque(rounds)
        self._size = 0
        self._ahead: deque[list[Command]] = deque()
        self._taken: deque[Command] = deque()
        self._started: deque[float] = deque()
        self._answered: list[tuple[Command, bytes]] = []
        self._seconds_each: list[float] = []
        self._begun_s = 0.0

    def read(self, limit: int, *, wait_s: float, after: int = 0) -> list[Command]:
        if len(self._taken) <= after:
            if not self._ahead:
                if after or not self._begin():
                    return []
            self._started.append(time.perf_counter())
            self._taken += self._ahead.popleft()
        return list(islice(self._taken, after, None))

    def _begin(self) -> bool:
        """Make the commands of the next round; False if there is none."""
        for command, body in self._answered:
            self._flow.learn(command, body)
        self._answered.clear()
        if not self._rounds:
            self.writer.stop()
            return False
        self._size, count = self._rounds.popleft()
        self._ahead = deque(self._flow.commands(self._size) for _ in range(count))
        self._seconds_each = []
        self._begun_s = time.perf_counter()
        return True

    def position(self, count: int) -> str:
        return "bench"

    def acknowledge(self, answers: Sequence[Answer]) -> None:
        now_s = time.perf_counter()
        self._seconds_each.append(now_s - self._started.popleft())
        for answer in answers:
            self._answered.append((self._taken.popleft(), answer.body))
        if not self._taken and not self._ahead:
            self.done.append(Round(self._size, now_s - self._begun_s, self._seconds_each))

    def flush(self) -> None:
        """Nothing is put aside."""


class Bench:
    """The flow through the shard's own writer."""

    def __init__(self) -> None:
        self.flow = Flow()
        self.engine = MarketEngine(self.flow.market.shard)

    def run(self, rounds: Iterable[tuple[int, int]]) -> list[Round]:
        """Decide and commit batches in rounds of (commands a batch, batches), by one writer."""
        feed = Feed(self.flow, rounds)
        session = Session(self.flow.market.shard)
        feed.writer = Writer(stream=feed, engine=self.engine, session=session)
        feed.writer.run()
        return feed.done


def measure() -> dict[str, float]:
    """Durable orders a second in batches of 512, 64 and 1 (the baseline), and rebuilding."""
    bench = Bench()
    _, *done = bench.run(
        [(512, WARM_UP_BATCHES), *(each for each in BATCHES.items() for _ in range(ROUNDS))]
    )
    found = {size: [each for each in done if each.size == size] for size in BATCHES}
    rates = {size: statistics.median(each.per_s for each in found[size]) for size in BATCHES}
    took = {
        size: statistics.median(s for each in found[size] for s in each.seconds_each)
        for size in BATCHES
    }
    with timed() as rebuild:
        MarketEngine(bench.flow.market.shard).load()
    waiting = len(bench.engine.memory.hold_of)
    return {
        "engine.durable_orders_per_s": rates[512],
        "engine.batch512_p50_ms": took[512] * 1000,
        "engine.batch64_orders_per_s": rates[64],
        "engine.batch64_p50_ms": took[64] * 1000,
        "engine.single_orders_per_s": rates[1],
        "engine.rebuild_orders_per_s": waiting / rebuild[0],
    }


@contextmanager
def timed() -> Iterator[list[float]]:
    """Seconds spent in the block, as the list's one item afterwards."""
    spent: list[float] = []
    started = time.perf_counter()
    yield spent
    spent.append(time.perf_counter() - started)
