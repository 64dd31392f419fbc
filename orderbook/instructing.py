"""How an operator's instruction becomes deeds, and how its row says what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.db import connection

from orderbook.deeds import Deed, Move, Removal, Settling, Turn, at
from orderbook.lifecycle import AUCTION, CLOSING, HALTED, may_follow
from orderbook.matching import Cause, MarketState
from orderbook.memory import STATE_NAMES, Trading
from orderbook.venue_models import Instruction

MICROSECONDS = 1_000_000
Kind = Instruction.Deed
TURNS: dict[str, tuple[MarketState, frozenset[MarketState]]] = {
    Kind.OPEN: (AUCTION, frozenset({MarketState.SCHEDULED})),
    Kind.RESUME: (AUCTION, frozenset({HALTED})),
    Kind.CALL: (AUCTION, frozenset({MarketState.OPEN})),
    Kind.HALT: (HALTED, frozenset({MarketState.OPEN, AUCTION})),
    Kind.CLOSE: (CLOSING, frozenset(MarketState) - {CLOSING, MarketState.CLOSED}),
}
"""Where a deed leads, and from which states."""
OPEN_ORDERS = """
SELECT id FROM orderbook_order
 WHERE market_id = %(market)s AND state = 0
   AND (%(user)s::bigint IS NULL OR user_id = %(user)s)
   AND (%(side)s::smallint IS NULL OR side = %(side)s)
   AND (%(order)s::bigint IS NULL OR id = %(order)s)
 ORDER BY id LIMIT %(limit)s
"""


@dataclass(eq=False)
class Report(Deed):
    """Says in the instruction's row what came of it, in the same commit."""

    instruction: Instruction
    now_us: int
    state: int
    outcome: str = ""
    done_count: int = 0

    def settle(self, batch: Settling) -> None:
        row = self.instruction
        Instruction.objects.filter(pk=row.pk).update(
            state=self.state, outcome=self.outcome[:200], done_at=at(self.now_us),
            done_count=row.done_count + self.done_count,
        )  # fmt: skip


def carry_out(
    instruction: Instruction, trading: Trading, now_us: int, most_removals: int
) -> list[Deed]:
    """Say what to do for an instruction now; it is over unless it stays waiting."""
    how: dict[str, Callable[[Instruction, Trading, int], list[Deed]]] = {
        Kind.UNCROSS: _uncross, Kind.MOVE: _move,
    }  # fmt: skip
    if instruction.deed == Kind.CANCEL:
        return _cancel(instruction, trading, now_us, most_removals)
    return how.get(instruction.deed, _turn)(instruction, trading, now_us)


def _turn(instruction: Instruction, trading: Trading, now_us: int) -> list[Deed]:
    after, states = TURNS[instruction.deed]
    if trading.state not in states or not may_follow(trading.state, after):
        return [_refused(instruction, trading, now_us)]
    seconds = instruction.arguments.get("seconds")
    until_us = 0
    if after is AUCTION:
        lasts_s = trading.schedule.auction_s if seconds is None else seconds
        until_us = now_us + lasts_s * MICROSECONDS
    elif after is HALTED and seconds is not None:
        until_us = now_us + seconds * MICROSECONDS
    turn = Turn(trading, after, until_us, instruction.reason, instruction.actor_id)
    return [turn, _done(instruction, now_us, f"{STATE_NAMES[after]}")]


def _uncross(instruction: Instruction, trading: Trading, now_us: int) -> list[Deed]:
    """Let the auction end now: the clock then finds it due with the next batch."""
    if trading.state is not AUCTION:
        return [_refused(instruction, trading, now_us)]
    turn = Turn(trading, AUCTION, now_us, instruction.reason, instruction.actor_id)
    return [turn, _done(instruction, now_us, "the auction ends")]


def _move(instruction: Instruction, trading: Trading, now_us: int) -> list[Deed]:
    shard = int(instruction.arguments["shard"])
    move = Move(trading, shard, instruction.reason, instruction.actor_id)
    return [move, _done(instruction, now_us, f"on shard {shard}")]


def _cancel(
    instruction: Instruction, trading: Trading, now_us: int, most_removals: int
) -> list[Deed]:
    """Cancel those that wait, a part with each commit, until none is left."""
    asked = instruction.arguments
    with connection.cursor() as cursor:
        cursor.execute(
            OPEN_ORDERS,
            {
                "market": trading.id, "user": asked.get("user_id"), "side": asked.get("side"),
                "order": asked.get("order_id"), "limit": most_removals,
            },
        )  # fmt: skip
        ids = [order_id for (order_id,) in cursor.fetchall()]
    is_over = len(ids) < most_removals
    state = Instruction.State.DONE if is_over else Instruction.State.WAITING
    count = instruction.done_count + len(ids)
    outcome = f"{count} cancelled"
    removal = Removal(trading, ids, Cause.OPERATOR)
    return [removal, Report(instruction, now_us, state, outcome, len(ids))]


def _done(instruction: Instruction, now_us: int, outcome: str) -> Report:
    return Report(instruction, now_us, Instruction.State.DONE, outcome)


def _refused(instruction: Instruction, trading: Trading, now_us: int) -> Report:
    outcome = f"the market is {STATE_NAMES[trading.state]}"
    return Report(instruction, now_us, Instruction.State.REFUSED, outcome)
