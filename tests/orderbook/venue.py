"""A market for tests: people with points and vouchers, and an engine driven by hand."""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec
from django.db import transaction

from accounts.models import User
from orderbook.actions import instruct
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
from orderbook.engine import MarketEngine
from orderbook.models import Instruction, Market
from sequencer.commands import Answer, Command
from wallet.accounts import FEES, ISSUANCE, Purpose, open_accounts, system_account
from wallet.actions import post
from wallet.items import Transfer
from wallet.models import Account, Asset, Code

_numbers = count(1)


class SteppedEngine(MarketEngine):
    """An engine whose two clocks a test moves: `pass_s` lets time go by, `step_s` does not."""

    stepped_us = 0
    passed_us = 0

    def wall_us(self) -> int:
        return super().wall_us() + self.stepped_us + self.passed_us

    def counter_us(self) -> int:
        return super().counter_us() + self.passed_us

    def pass_s(self, seconds: float) -> None:
        self.passed_us += round(seconds * 1_000_000)

    def step_s(self, seconds: float) -> None:
        self.stepped_us += round(seconds * 1_000_000)


class Venue:
    """One market of vouchers for points on a shard of its own, and its engine."""

    def __init__(self, **terms: Any) -> None:
        number = next(_numbers)
        self.points = Asset.objects.create(code=f"PTS{number}", name="Points", kind="points")
        self.units = Asset.objects.create(code=f"CUP{number}", name="Cups", kind="series")
        self.market = Market.objects.create(
            code=f"CUP{number}.PTS", name="Cups for points", base_asset=self.units,
            quote_asset=self.points, shard=number % 4000, **terms,
        )  # fmt: skip
        self.people: dict[str, User] = {}
        self.engine = SteppedEngine(self.market.shard)
        self.engine.load()

    def join(self, handle: str, *, points: int = 0, units: int = 0) -> User:
        """Let a person in with points and vouchers to trade."""
        number = next(_numbers)
        user = User.objects.create_user(
            f"{handle}{number}@scrip.example", handle=f"{handle}{number}"
        )
        self.people[handle] = user
        for asset, amount in ((self.points, points), (self.units, units)):
            if amount:
                self._issue(asset, user, amount)
        return user

    def _issue(self, asset: Asset, user: User, amount: int) -> None:
        purpose = Purpose(user.pk, asset.pk)
        [result] = post(
            [
                Transfer(
                    reference=f"issue {next(_numbers)}",
                    asset_id=asset.pk,
                    debit_account_id=system_account(asset, ISSUANCE).pk,
                    credit_account_id=open_accounts([purpose])[purpose],
                    amount=amount,
                    code=Code.ISSUE,
                )
            ]
        )
        assert result.is_created

    # -- commands ------------------------------------------------------------------------------

    def place(
        self,
        who: str,
        side: str,
        price: int,
        quantity: int,
        *,
        cid: str = "",
        tif: str = "gtc",
        key_id: int | None = None,
        **more: Any,
    ) -> Command:
        """Spell a new order; `more` are further fields of `PlaceOrder`."""
        name = cid or f"cid-{next(_numbers)}"
        for field, named in (("type", OrderType), ("self_trade", SelfTrade)):
            if field in more:
                more[field] = named(more[field])
        order = PlaceOrder(
            self.market.pk, name, Side(side), price, quantity, TimeInForce(tif), **more
        )
        return self._command(who, PLACE, encode(order), key_id)

    def pair(
        self, who: str, side: str, price: int, quantity: int, *, stop: int, worst: int,
        cid: str = "", tif: str = "gtc", **more: Any,
    ) -> Command:  # fmt: skip
        """Spell a limit order and the stop that guards it."""
        guard = GuardOrder(OrderType.STOP, worst, stop, TimeInForce.IMMEDIATE_OR_CANCEL)
        return self.place(who, side, price, quantity, cid=cid, tif=tif, guard=guard, **more)

    def amend(self, who: str, order_id: int | str = 0, *, cid: str = "", **change: int) -> Command:
        """Spell an amendment: `price`, `remaining_quantity`, `stop_price`."""
        command = AmendOrder(self.market.pk, int(order_id), cid, **change)
        return self._command(who, AMEND, encode(command))

    def cancel_all(self, who: str, side: str | None = None, *, everywhere: bool = False) -> Command:
        """Spell the cancellation of all orders of a person."""
        market_id = 0 if everywhere else self.market.pk
        command = CancelAll(market_id, Side(side) if side else None)
        return self._command(who, CANCEL_ALL, encode(command))

    def cancel(self, who: str, order_id: int | str = 0, *, cid: str = "") -> Command:
        """Spell a cancellation."""
        return self._command(who, CANCEL, encode(CancelOrder(self.market.pk, int(order_id), cid)))

    def _command(self, who: str, kind: str, body: bytes, key_id: int | None = None) -> Command:
        return Command(
            id=f"{next(_numbers):032x}",
            kind=kind,
            user_id=self.people[who].pk,
            key_id=key_id,
            shard=self.market.shard,
            gateway="test",
            sent_at_us=0,
            body=body,
        )

    def run(self, *commands: Command) -> list[dict[str, Any]]:
        """Execute commands as batches until all are answered; the answers as JSON with status."""
        answers: list[Answer] = []
        while len(answers) < len(commands):
            with transaction.atomic():
                answers += self.engine.execute(commands[len(answers) :])
            self.engine.committed()
        return [
            {
                "http": answer.status,
                "replayed": answer.replayed,
                **msgspec.json.decode(answer.body),
            }
            for answer in answers
        ]

    def keep_up(self) -> int:
        """Let the engine do what is due, batch after batch; how many batches that took."""
        batches = 0
        while True:
            with transaction.atomic():
                self.engine.execute([])
                has_worked = self.engine.did_upkeep()
            self.engine.committed()
            if not has_worked:
                return batches
            batches += 1
            assert batches < 1000, "the engine never comes to rest"

    def ask(self, deed: str, **arguments: int) -> Instruction:
        """Leave an instruction and let the engine carry it out."""
        who = next(iter(self.people.values()))
        asked = instruct(
            self.market.pk, Instruction.Deed(deed), reason="a test", actor=who, **arguments
        )
        self.keep_up()
        asked.refresh_from_db()
        return asked

    @property
    def state(self) -> str:
        """Where the market stands, as its row says."""
        self.market.refresh_from_db()
        return str(self.market.state)

    # -- what is true now ----------------------------------------------------------------------

    def wallet(self, who: str, asset: Asset) -> tuple[int, int]:
        """A person's balance and what of it is on hold."""
        account = Account.objects.filter(
            owner=self.people[who], asset=asset, kind_id="wallet"
        ).first()
        return (account.balance, account.held) if account else (0, 0)

    def points_of(self, who: str) -> tuple[int, int]:
        return self.wallet(who, self.points)

    def units_of(self, who: str) -> tuple[int, int]:
        return self.wallet(who, self.units)

    def fees(self) -> int:
        """What the market has earned."""
        return system_account(self.points, FEES, f"market {self.market.code}").balance

    @property
    def book(self) -> Any:
        return self.engine.memory.markets[self.market.pk].book
