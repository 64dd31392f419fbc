"""Days on which everything happens at once, and what must hold of them at every moment.

No model says here what comes of a command (`test_engine_all_types` has one). Two markets share
their people's wallets, their units and their points; accounts are frozen, closed and capped
while their orders wait; orders expire, prices leave their bands, operators halt and resume;
commits carry few rows, and fail; writers start anew. Whatever it was: what memory knows is what
PostgreSQL knows, every live order has its hold and every hold its order, nothing is made or
lost, and who asks again hears the same.
"""

from __future__ import annotations

import random
import secrets
import threading
from itertools import count
from typing import Any

import msgspec
import pytest
import redis
from django.conf import settings
from django.db import connection, transaction

from orderbook import paying
from orderbook.book import Book
from orderbook.engine import MarketEngine
from orderbook.models import Instruction, Market
from orderbook.verifying import differences
from sequencer import writer
from sequencer.commands import Answer, Command, encode_command, join
from sequencer.stream import FIELD, stream_key
from tests.orderbook.venue import SteppedEngine, Venue
from tests.sequencer.test_writer import listening, serve
from wallet.accounts import Purpose, open_accounts
from wallet.actions import post
from wallet.items import Status, Transfer
from wallet.models import Account, Code, Hold

pytestmark = pytest.mark.django_db

PEOPLE = ("ann", "ben", "cid", "dot")
PASSING = frozenset({"market_moved", "wrong_shard"})
"""Answers that ask to be asked again."""


class RoughDay:
    """Random commands and misfortunes, from a seed."""

    most_commands = 25
    failures = 0.3

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        fees = {"maker_fee_bps": 50, "taker_fee_bps": 100}
        terms: dict[str, Any] = fees | {"auction_s": 5, "halt_s": 5}
        self.venue = Venue(**terms, dynamic_band_bps=self.rng.choice([0, 300]))
        other = Market.objects.create(
            code=f"B.{self.venue.market.code}", name="The same for half the points", lot_units=2,
            base_asset=self.venue.units, quote_asset=self.venue.points, tick_minor=5,
            shard=self.venue.market.shard, static_band_bps=2000, reference_ticks=20, **terms,
        )  # fmt: skip
        self.markets = [self.venue.market, other]
        for who in PEOPLE:
            wealth = self.rng.choice([(500, 60), (9_000, 60), (9_000, 0), (0, 60)])
            self.venue.join(who, points=wealth[0], units=wealth[1])
        self.placed: list[Command] = []
        self.told: dict[str, Any] = {}

    # -- commands --------------------------------------------------------------------------

    def command(self) -> Command:
        rng, venue = self.rng, self.venue
        venue.market = rng.choice(self.markets)
        who = rng.choice(PEOPLE)
        kind = rng.choice(["place"] * 12 + ["amend"] * 4 + ["cancel"] * 2 + ["all", "again"])
        name = f"n{rng.randrange(len(self.placed) + 1)}"
        if kind == "again" and self.placed:
            again = f"{rng.getrandbits(128):032x}"
            return msgspec.structs.replace(rng.choice(self.placed), id=again)
        if kind == "amend":
            field = rng.choice(["price", "remaining_quantity", "stop_price"])
            value = self.price() if "price" in field else self.lot * rng.randrange(1, 9)
            return venue.amend(who, cid=name, **{field: value})
        if kind == "cancel":
            return venue.cancel(who, cid=name)
        if kind == "all":
            side = rng.choice([None, "buy", "sell"])
            return venue.cancel_all(who, side, everywhere=rng.random() < 0.5)
        self.placed.append(self.order(who))
        return self.placed[-1]

    @property
    def tick(self) -> int:
        return 1 if self.venue.market is self.markets[0] else 5

    @property
    def lot(self) -> int:
        return 1 if self.venue.market is self.markets[0] else 2

    def price(self, away: int = 0) -> int:
        """So many ticks from 100, or anywhere near it."""
        return 100 + self.tick * (away or self.rng.randrange(-8, 9))

    def order(self, who: str) -> Command:
        rng, venue = self.rng, self.venue
        side = rng.choice(["buy", "sell"])
        sign = 1 if side == "buy" else -1
        price, quantity = self.price(sign * rng.randrange(-4, 5)), self.lot * rng.randrange(1, 9)
        more: dict[str, Any] = {
            "cid": f"n{len(self.placed)}",
            "self_trade": rng.choice(
                ["cancel_newest", "cancel_oldest", "cancel_both", "decrement"]
            ),
            "tif": rng.choice(["gtc"] * 5 + ["ioc", "fok", "post_only", "gtd"]),
        }
        stop = self.price(sign * rng.randrange(1, 4))
        if more["tif"] == "gtd":
            more["expires_us"] = venue.engine.clock.now_us + rng.randrange(1, 20) * 1_000_000
        what = rng.choice(["plain"] * 4 + ["stop", "stop", "iceberg", "minimum", "pair", "pair"])
        if what == "stop":
            more |= {"type": "stop_limit", "stop_price": stop}
        elif what == "iceberg" and more["tif"] in {"gtc", "gtd"}:
            more["display_quantity"] = self.lot
        elif what == "minimum" and more["tif"] == "gtc":
            more["min_quantity"] = 2 * self.lot
        elif what == "pair" and more["tif"] in {"gtc", "gtd", "post_only"}:
            return venue.pair(who, side, price, quantity, stop=stop, worst=stop + 10 * sign, **more)
        return venue.place(who, side, price, quantity, **more)

    # -- what happens ------------------------------------------------------------------------

    def live(self, rounds: int) -> None:
        for _ in range(rounds):
            commands = [self.command() for _ in range(self.rng.randrange(1, self.most_commands))]
            if self.rng.random() < self.failures:
                self.fail(commands)
            self.run(commands)
            getattr(
                self, self.rng.choice(["pass_time", "account", "operator", "restart", "rest"])
            )()
            self.check()

    def fail(self, commands: list[Command]) -> None:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            self.venue.engine.execute(commands)
            raise ZeroDivisionError
        self.venue.engine.rolled_back()

    def run(self, commands: list[Command]) -> None:
        answers: list[Answer] = []
        for _ in range(1000):
            with transaction.atomic():
                new = self.venue.engine.execute(commands[len(answers) :])
            self.venue.engine.committed()
            answers += new
            if len(answers) == len(commands):
                break
        assert [answer.command_id for answer in answers] == [command.id for command in commands]
        for command, answer in zip(commands, answers, strict=True):
            self.remember(command, answer)

    def remember(self, command: Command, answer: Answer) -> None:
        """Who places the same order again hears what they heard first."""
        body = msgspec.json.decode(answer.body)
        assert answer.status != 500
        if command.kind != "order.place" or body.get("code") in PASSING:
            return
        if "order_id" in body:
            assert self.told.setdefault(str(command.body), body) == body

    def rest(self) -> None:
        pass

    def pass_time(self) -> None:
        self.venue.engine.pass_s(self.rng.choice([0.1, 3, 12]))

    def account(self) -> None:
        """Freeze, close, cap or free somebody's wallet, as operators and limits do."""
        who = self.venue.people[self.rng.choice(PEOPLE)]
        asset = self.rng.choice([self.venue.points, self.venue.units])
        purpose = Purpose(who.pk, asset.pk)
        wallet = Account.objects.get(pk=open_accounts([purpose])[purpose])
        change = self.rng.choice(["freeze", "close", "close", "cap", "free", "free", "free"])
        wallet.status = {"freeze": Status.FROZEN, "close": Status.CLOSED}.get(change, Status.OPEN)
        if wallet.balance and wallet.status == Status.CLOSED:
            wallet.status = Status.FROZEN  # only what is empty may be closed
        wallet.ceiling = wallet.balance + wallet.incoming + 30 if change == "cap" else None
        wallet.save()

    def operator(self) -> None:
        deed = self.rng.choice(["halt", "resume", "call", "cancel", "uncross"])
        market = self.rng.choice(self.markets)
        Instruction.objects.create(
            market=market, deed=deed, reason="rough", actor=self.venue.people["ann"]
        )
        self.venue.engine.pass_s(0.3)

    def restart(self) -> None:
        old = self.venue.engine
        self.venue.engine = SteppedEngine(old.memory.shard)
        self.venue.engine.stepped_us, self.venue.engine.passed_us = old.stepped_us, old.passed_us
        self.venue.engine.load()

    # -- what must hold ------------------------------------------------------------------------

    def check(self) -> None:
        ours = self.venue.engine.memory
        again = MarketEngine(ours.shard)
        again.load()
        theirs = again.memory
        for market in self.markets:
            market.refresh_from_db()
            assert list(differences(market)) == []
            books = ours.markets[market.pk].book, theirs.markets[market.pk].book
            assert spelt(books[0]) == spelt(books[1])
        assert (ours.hold_of, ours.orders_of) == (theirs.hold_of, theirs.orders_of)
        assert ours.exposure.orders == theirs.exposure.orders
        assert ours.exposure.notional == theirs.exposure.notional
        self.check_money()

    def check_money(self) -> None:
        for asset in (self.venue.points, self.venue.units):
            accounts = list(Account.objects.filter(asset=asset))
            assert sum(account.balance for account in accounts) == 0
            holds = Hold.objects.filter(asset_id=asset.pk, state=0)
            assert sum(account.held for account in accounts) == sum(h.remaining for h in holds)
        open_holds = set(Hold.objects.filter(remaining__gt=0).values_list("id", flat=True))
        assert open_holds == set(self.venue.engine.memory.hold_of.values())


def spelt(book: Book) -> dict[str, Any]:
    """All that a book knows, so that a difference can be read."""
    return {
        "resting": [tuple(order) for order in book.resting()],
        "last": book.last_ticks,
        "stops": list(book.stops.in_order()),
        "specials": sorted(book.specials.items()),
    }


class WrittenDay(RoughDay):
    """Such a day through the writer and its stream, while people move their money beside it.

    The writer decides a batch while the one before it is written; where a wallet has changed
    meanwhile, both are decided anew.
    """

    most_commands = 90
    failures = 0.0

    def run(self, commands: list[Command]) -> None:
        shard, is_over = self.venue.market.shard, threading.Event()
        stream = redis.Redis.from_url(settings.REDIS_URL)
        for first in range(0, len(commands), 7):
            entry = join([encode_command(command) for command in commands[first : first + 7]])
            stream.xadd(stream_key(shard), {FIELD: entry})
        spending = threading.Thread(target=self.spend, args=(is_over,))
        spending.start()
        with listening() as answers:
            serve(shard, self.venue.engine)
            is_over.set()
            spending.join()
            heard = {answer.command_id: answer for answer in answers()}
        assert heard.keys() == {command.id for command in commands}
        for command in commands:
            self.remember(command, heard[command.id])

    def spend(self, is_over: threading.Event) -> None:
        """Move a little money between two people, again and again."""
        asset = self.venue.points.pk
        purposes = [Purpose(user.pk, asset) for user in self.venue.people.values()]
        wallets = list(open_accounts(purposes).values())
        for number in count():
            if is_over.wait(0.005):
                break
            payer, payee = wallets[number % 4], wallets[(number + 1) % 4]
            transfer = Transfer(
                reference=f"spent {secrets.token_hex(8)}", asset_id=asset, amount=3,
                debit_account_id=payer, credit_account_id=payee, code=Code.PAYMENT.value,
            )  # fmt: skip
            post([transfer])
        connection.close()


@pytest.mark.chaos
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", range(12))
def test_a_rough_day_through_the_writer_leaves_nothing_wrong(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(writer, "BATCH_COMMANDS", 9)
    day = WrittenDay(seed)
    day.live(rounds=12)
    assert len(day.told) > 100


@pytest.mark.parametrize("rows", [4096, 60, 35])
@pytest.mark.parametrize("seed", range(2))
def test_a_rough_day_leaves_nothing_wrong(
    monkeypatch: pytest.MonkeyPatch, seed: int, rows: int
) -> None:
    monkeypatch.setattr(paying, "MOST_TRANSFERS", rows)
    RoughDay(seed).live(rounds=25)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(100, 140))
def test_many_rough_days_leave_nothing_wrong(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(paying, "MOST_TRANSFERS", (4096, 80, 60, 45, 35)[seed % 5])
    RoughDay(seed).live(rounds=60)


def test_control_a_hold_that_is_gone_is_noticed() -> None:
    day = RoughDay(0)
    day.live(rounds=3)
    assert Hold.objects.filter(state=0).update(remaining=0, state=2)
    with pytest.raises(AssertionError):
        day.check()
