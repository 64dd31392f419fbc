"""What a writer does to markets by itself: by the clock, or because an operator asked.

A deed goes through a batch like a command, only that nobody waits for an answer: matched on
the book under its journal, its accounts locked with all others, settled by the ledger, and
committed or taken back with the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from django.db import OperationalError, connection

from accounts.models import User
from edge import audit
from orderbook import matching
from orderbook.auction import Cross, is_crossed, uncross
from orderbook.lifecycle import may_follow
from orderbook.matching import Cause, MarketState
from orderbook.memory import STATE_NAMES, Trading
from orderbook.outcome import Outcome
from orderbook.settlement import Settlement
from orderbook.steps import Cancelled, described
from wallet.items import Refusal

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CROSSES_PER_BATCH = 600
"""Each needs at most five ledger transfers, of the 4,096 that one commit carries."""
REMOVALS_PER_BATCH = 1500
CHANGE_MARKET = """
UPDATE orderbook_market
   SET state = %s, state_until = %s, reference_ticks = %s, uncross_ticks = %s
 WHERE id = %s AND revision = %s RETURNING revision
"""
MOVE_MARKET = """
UPDATE orderbook_market SET shard = %s WHERE id = %s AND revision = %s RETURNING revision
"""


class MarketChangedMeanwhile(OperationalError):
    """An operator changed the market's row since the batch began: the batch comes again."""


class Settling(Protocol):
    """What a deed needs of the batch that carries it."""

    outcome: Outcome

    @property
    def ledger_batch_id(self) -> int:
        """The ledger's name for the batch: its first transfer's id."""

    def end(self, cancelled: Cancelled, trading: Trading, at_id: int) -> None:
        """Release the hold of an order that left the book, and note that it is over."""

    def pay_cross(self, trading: Trading, cross: Cross) -> tuple[Refusal, int, Settlement]:
        """Put a trade of two waiting orders through the ledger.

        Answers the refusal (or `CREATED`), and the order whose wallet is at fault.
        """


@dataclass(eq=False)
class Deed:
    """One deed. `match` changes memory under the journals; `settle` decides and writes."""

    def match(self) -> None:
        """Change the book, as if the ledger agreed."""

    def wallets(self) -> list[tuple[int, int]]:
        """The wallets (person, asset) it touches, those of the holds included."""
        return []

    def orders(self) -> list[int]:
        """The orders whose holds it touches."""
        return []

    def fee_accounts(self) -> list[int]:
        """The markets' accounts it pays into."""
        return []

    def books(self) -> list[int]:
        """The markets whose books it changes."""
        return []

    def settle(self, batch: Settling) -> None:
        """Decide it by the ledger's rules and note it for writing."""


@dataclass(eq=False)
class Removal(Deed):
    """Takes orders off a book and gives back what they held."""

    trading: Trading
    order_ids: Sequence[int]
    cause: Cause
    removed: list[Cancelled] = field(default_factory=list)

    def match(self) -> None:
        book = self.trading.book
        for order_id in self.order_ids:
            gone = described(book, order_id)
            if gone is not None:
                report = matching.cancel(book, order_id, gone.owner_id, self.cause)
                self.removed.append(Cancelled(gone, report))

    def wallets(self) -> list[tuple[int, int]]:
        trading = self.trading
        gone = [removed.what for removed in self.removed]
        return [(order.owner_id, trading.sides_of(order.side)[0]) for order in gone]

    def orders(self) -> list[int]:
        return [removed.what.order_id for removed in self.removed]

    def books(self) -> list[int]:
        return [self.trading.id]

    def settle(self, batch: Settling) -> None:
        for removed in self.removed:
            batch.end(removed, self.trading, batch.outcome.first_order_id)


@dataclass(eq=False)
class Turn(Deed):
    """Leads a market into another state. Audited."""

    trading: Trading
    state: MarketState
    until_us: int = 0
    reason: str = ""
    actor_id: int | None = None

    def settle(self, batch: Settling) -> None:
        change_market(
            batch.outcome, self.trading, state=self.state, until_us=self.until_us,
            reason=self.reason, actor_id=self.actor_id,
        )  # fmt: skip


@dataclass(eq=False)
class Uncrossing(Deed):
    """Trades what can trade at an auction's price, a part with each commit; then opens.

    `price_ticks` 0 says that no bid meets an ask. While parts are left, the price stands in
    the market's row, so that the next commit, or the next writer, goes on with it.
    """

    trading: Trading
    price_ticks: int
    now_us: int
    most_crosses: int = CROSSES_PER_BATCH
    crosses: list[Cross] = field(default_factory=list)

    def match(self) -> None:
        if self.price_ticks:
            self.crosses = uncross(self.trading.book, self.price_ticks, self.most_crosses)

    def wallets(self) -> list[tuple[int, int]]:
        trading = self.trading
        people = {
            owner_id
            for fill, *_ in self.crosses
            for owner_id in (fill.maker_owner_id, fill.taker_owner_id)
        }
        return [(who, asset) for who in people for asset in (trading.base_id, trading.quote_id)]

    def orders(self) -> list[int]:
        return [
            id for fill, *_ in self.crosses for id in (fill.maker_order_id, fill.taker_order_id)
        ]

    def fee_accounts(self) -> list[int]:
        return [self.trading.fee_account_id]

    def books(self) -> list[int]:
        return [self.trading.id]

    def settle(self, batch: Settling) -> None:
        for cross in self.crosses:
            refusal, faulty_id, settlement = batch.pay_cross(self.trading, cross)
            if refusal is not Refusal.CREATED:
                self._expel(batch, cross, faulty_id)
                break
            batch.outcome.add_cross(self.trading, cross, settlement, batch.ledger_batch_id)
        is_partial = len(self.crosses) == self.most_crosses
        if is_partial or is_crossed(self.trading.book):
            # With nobody expelled the price stays; a book that is crossed at it needs a new one.
            left = self.price_ticks if is_partial else 0
            change_market(batch.outcome, self.trading, uncross_ticks=left, until_us=self.now_us)
            return
        change_market(
            batch.outcome, self.trading, state=MarketState.OPEN, uncross_ticks=0, until_us=0,
            reference_ticks=self.price_ticks or self.trading.reference_ticks,
            reason="the auction ended",
        )  # fmt: skip

    def _expel(self, batch: Settling, cross: Cross, faulty_id: int) -> None:
        """Cancel an order whose owner's wallet may not receive what it traded for."""
        book = self.trading.book
        book.undo_to(cross.mark)
        gone = described(book, faulty_id)
        assert gone is not None
        report = matching.cancel(book, faulty_id, gone.owner_id, Cause.NOT_POSSIBLE)
        batch.end(Cancelled(gone, report), self.trading, batch.outcome.first_order_id)


@dataclass(eq=False)
class Move(Deed):
    """Hands a market over to another shard, with the next commit."""

    trading: Trading
    shard: int
    reason: str
    actor_id: int | None

    def settle(self, batch: Settling) -> None:
        trading = self.trading
        _update(trading, MOVE_MARKET, (self.shard, trading.id, trading.revision))
        batch.outcome.has_turned_markets = True
        _audit(trading, "market.moved", self.reason, self.actor_id, {}, {"shard": self.shard})


def at(moment_us: int) -> datetime | None:
    """A time of the shard's clock, as rows hold it; None for 0."""
    return UNIX_EPOCH + timedelta(microseconds=moment_us) if moment_us else None


def change_market(
    outcome: Outcome,
    trading: Trading,
    *,
    state: MarketState | None = None,
    until_us: int = 0,
    reference_ticks: int | None = None,
    uncross_ticks: int = 0,
    reason: str = "",
    actor_id: int | None = None,
) -> None:
    """Write where a market stands now, in its row and in memory. A new state is audited.

    If the batch fails, memory reads the row again (`Outcome.take_back`).
    """
    before = trading.state
    after = before if state is None else state
    assert after is before or may_follow(before, after), f"{before.name} → {after.name}"
    if reference_ticks is None:
        reference_ticks = trading.reference_ticks
    row = (STATE_NAMES[after], at(until_us), reference_ticks, uncross_ticks)
    outcome.has_turned_markets = True
    _update(trading, CHANGE_MARKET, (*row, trading.id, trading.revision))
    trading.turn(after, until_us, reference_ticks, uncross_ticks)
    if after is not before:
        outcome.turned.add(trading.id)
        names = ({"state": STATE_NAMES[before]}, {"state": STATE_NAMES[after]})
        _audit(trading, f"market.{STATE_NAMES[after]}", reason, actor_id, *names)


def _update(trading: Trading, sql: str, parameters: tuple[Any, ...]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        row = cursor.fetchone()
    if row is None:
        raise MarketChangedMeanwhile(trading.code)
    trading.revision = row[0]


def _audit(
    trading: Trading,
    action: str,
    reason: str,
    actor_id: int | None,
    before: dict[str, Any],
    after: dict[str, Any],
) -> None:
    actor = User.objects.filter(pk=actor_id).first() if actor_id else None
    audit.record(
        actor=actor, action=action, object_type="market", object_id=trading.code, reason=reason,
        before=before, after=after,
    )  # fmt: skip
