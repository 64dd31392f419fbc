"""What a shard has to do by itself now: what operators asked for, and what the clock asks.

Asked by the engine with each batch, so all of it is decided at the batch's own time. In this
order: an auction that is being settled; instructions; markets whose state ends; switches that
nobody renewed; orders whose end has come. Only the last kind goes together with commands:
any other has its batch to itself, so that no command meets a market half way.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field

from orderbook.auction import indicative, interest
from orderbook.deeds import (
    CROSSES_PER_BATCH,
    REMOVALS_PER_BATCH,
    Deed,
    Removal,
    Turn,
    Uncrossing,
)
from orderbook.instructing import carry_out
from orderbook.lifecycle import AUCTION, CLOSED, CLOSING, Step, next_us, step_due
from orderbook.matching import Cause, MarketState
from orderbook.memory import Memory, Trading
from orderbook.switches import Switches
from orderbook.venue_models import Instruction

logger = logging.getLogger(__name__)

MICROSECONDS = 1_000_000
LEAVE_OUT_S = 10
"""How long something that fails by itself is left out, so that all else goes on."""
TRIES = 3


@dataclass
class Work:
    """What one batch does by itself. `keys` name it, should it fail.

    `is_alone`: no command goes with it.
    """

    deeds: list[Deed] = field(default_factory=list)
    keys: list[Hashable] = field(default_factory=list)
    is_alone: bool = True


class Agenda:
    """Finds what is due. After a failure it gives out less, and in the end leaves one thing out."""

    def __init__(self, memory: Memory) -> None:
        self.switches = Switches(memory)
        self.most_crosses = CROSSES_PER_BATCH
        self._memory = memory
        self._most_removals = REMOVALS_PER_BATCH
        self._failures = 0
        self._limits_us = 0
        self._left_out: dict[Hashable, int] = {}

    def look(self, now_us: int) -> None:
        """Notice what people changed: switches four times a second, limits once."""
        self.switches.look(now_us)
        if now_us - self._limits_us >= MICROSECONDS:
            self._limits_us = now_us
            self._memory.know_limits()

    def is_look_due(self, now_us: int) -> bool:
        """Say whether `look` would read anything."""
        return self.switches.is_look_due(now_us) or now_us - self._limits_us >= MICROSECONDS

    def clear(self) -> None:
        """Memory is rebuilt: look at everything again."""
        self.switches.clear()
        self._limits_us = self._failures = 0

    # -- asking --------------------------------------------------------------------------------

    def next_us(self) -> int:
        """The earliest time at which memory alone says that something is due; 0: never."""
        times = [self.switches.next_us()]
        for trading in self._memory.markets.values():
            is_uncrossing = bool(trading.uncross_ticks)
            times.append(next_us(trading.state, trading.schedule, is_uncrossing=is_uncrossing))
            if trading.book.expiries:
                times.append(trading.book.expiries[0][0])
            if has_stops_to_run(trading):
                times.append(1)
        return min(filter(None, times), default=0)

    def work(self, now_us: int) -> Work | None:
        """What to do now, at most as much as one commit carries; None: nothing."""
        self._left_out = {key: until for key, until in self._left_out.items() if until > now_us}
        return next(
            (work for work in self._due(now_us) if not self._left_out.keys() & set(work.keys)), None
        )

    def succeeded(self) -> None:
        """What was given out last is durable."""
        self._failures = 0
        self._most_removals = REMOVALS_PER_BATCH
        self.switches.look_again()

    def failed(self, work: Work, now_us: int) -> None:
        """What was given out last was taken back: try less of it, or leave it out."""
        self._failures += 1
        self.switches.look_again()
        self._most_removals = max(1, self._most_removals // 8)
        if self._failures > TRIES and len(work.keys) == 1:
            logger.error("left out for %s s: %s", LEAVE_OUT_S, work.keys)
            self._left_out[work.keys[0]] = now_us + LEAVE_OUT_S * MICROSECONDS
            self._failures = 0

    # -- what there is -------------------------------------------------------------------------

    def _due(self, now_us: int) -> Iterator[Work]:
        markets = list(self._memory.markets.values())
        for trading in markets:
            if trading.uncross_ticks:
                yield self._uncrossing(trading, now_us)
        if self._memory.has_instructions:
            yield from self._instructed(now_us)
        for trading in markets:
            yield from self._step(trading, now_us)
        for key_id, deeds in self.switches.due(now_us, self._most_removals):
            yield Work(deeds, [("switch", key_id)])
        expired = self._expired(now_us)
        if expired.deeds:
            yield expired
        # The batch itself runs stops that have their turn, before any command.
        elected = [("stops", trading.id) for trading in markets if has_stops_to_run(trading)]
        if elected:
            yield Work(keys=[*elected], is_alone=False)

    def _uncrossing(self, trading: Trading, now_us: int) -> Work:
        price_ticks = trading.uncross_ticks
        if not price_ticks:
            reference_ticks = trading.book.last_ticks or trading.reference_ticks
            found = indicative(*interest(trading.book), reference_ticks=reference_ticks)
            price_ticks = found.price_ticks if found else 0
        deed = Uncrossing(trading, price_ticks, now_us, self.most_crosses)
        return Work([deed], [("market", trading.id)])

    def _instructed(self, now_us: int) -> Iterator[Work]:
        waiting = Instruction.objects.waiting().filter(market__in=self._memory.markets.keys())
        for instruction in waiting[:10]:
            trading = self._memory.markets[instruction.market_id]
            deeds = carry_out(instruction, trading, now_us, self._most_removals)
            yield Work(deeds, [("instruction", instruction.pk)])

    def _step(self, trading: Trading, now_us: int) -> Iterator[Work]:
        step = step_due(trading.state, trading.schedule, now_us)
        key = ("market", trading.id)
        if step is Step.UNCROSS:
            yield self._uncrossing(trading, now_us)
        elif step is Step.CALL:
            yield Work([call(trading, now_us, reason="by schedule")], [key])
        elif step is Step.CLOSE:
            yield Work([Turn(trading, CLOSING, reason="by schedule")], [key])
        elif step is Step.SWEEP:
            yield Work(self._sweep(trading), [key])

    def _sweep(self, trading: Trading) -> list[Deed]:
        ids = live_ids(trading, self._most_removals)
        deeds: list[Deed] = [Removal(trading, ids, Cause.CLOSURE)] if ids else []
        if len(ids) < self._most_removals:
            deeds.append(Turn(trading, CLOSED, reason="every order is off the book"))
        return deeds

    def _expired(self, now_us: int) -> Work:
        work = Work(is_alone=False)
        room = self._most_removals
        for trading in self._memory.markets.values():
            if not trading.book.expiries:
                continue
            ids = [
                order_id
                for order_id in trading.book.expired(now_us, room)
                if ("order", order_id) not in self._left_out
            ]
            if ids:
                work.deeds.append(Removal(trading, ids, Cause.EXPIRED))
                work.keys.extend(("order", order_id) for order_id in ids)
                room -= len(ids)
            if room <= 0:
                # There may be more: no command may meet an order whose end has come.
                work.is_alone = True
                break
        return work


def call(trading: Trading, now_us: int, *, reason: str, actor_id: int | None = None) -> Turn:
    """Begin an auction that lasts as long as the market's auctions do."""
    until_us = now_us + trading.schedule.auction_s * MICROSECONDS
    return Turn(trading, AUCTION, until_us, reason, actor_id)


def has_stops_to_run(trading: Trading) -> bool:
    """Say whether a market has stops that an earlier batch elected, and can run them."""
    return bool(trading.book.stops.turns) and trading.state is MarketState.OPEN


def live_ids(trading: Trading, at_most: int) -> Sequence[int]:
    """Some of the orders that are live on a market, waiting or for their stop price."""
    book = trading.book
    ids = [order_id for order_id, _ in zip(book.orders, range(at_most), strict=False)]
    room = at_most - len(ids)
    return ids + [order_id for order_id, _ in zip(book.stops.commands, range(room), strict=False)]
