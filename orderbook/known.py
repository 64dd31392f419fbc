"""What a batch finds in the tables: the orders that its commands name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from edge.journey import Answered, Journey, ask
from edge.postgres import array, uuid_array
from orderbook.instructions import Place, SelfTrade, Side, TimeInForce
from orderbook.memory import Memory
from orderbook.outcome import Outcome
from orderbook.plans import (
    FIRST_REMEMBERED,
    NAMED,
    AmendPlan,
    CancelAllPlan,
    CancelPlan,
    PlacePlan,
    Plan,
)
from orderbook.rows import NewOrder, OrderChange, StoredOrder
from sequencer.commands import Answer

NAMED_BY_DIGEST = """
SELECT order_id, digest FROM orderbook_clientorder WHERE digest = ANY($1::uuid[])
"""
STORED_BY_ID = """
SELECT o.id, o.market_id, user_id, side, time_in_force, price_ticks, quantity_lots,
       client_order_id, entry_state, refusal, taken_lots, taken_minor, taken_fee_minor, state,
       kind, self_trade, coalesce(stop_ticks, 0), coalesce(minimum_lots, 0),
       coalesce(peak_lots, 0), coalesce(expires_us, 0), coalesce(partner_id, 0),
       coalesce(cause, 0)
  FROM orderbook_order AS o LEFT JOIN orderbook_specialorder AS s ON s.id = o.id
 WHERE o.id = ANY($1::bigint[])
"""


class Earlier(Protocol):
    """The batch before this one, if it is under way still."""

    @property
    def outcome(self) -> Outcome: ...
    @property
    def named(self) -> dict[bytes, StoredOrder | NewOrder]: ...


class Known:
    """The orders of earlier batches that a batch needs, and those that it places itself.

    `named` says which order a client order id means, and is added to as orders are written.
    `earlier` is what was decided just before and may not be committed yet.
    """

    def __init__(self, memory: Memory, earlier: Earlier | None = None) -> None:
        self.named: dict[bytes, StoredOrder | NewOrder] = {}
        self.stored: dict[int, StoredOrder] = {}
        self._memory = memory
        self._earlier = earlier
        self._claimed: dict[bytes, int] = {}
        self._placed: dict[int, Place] = {}
        self._digests: list[bytes] = []
        self._ids: set[int] = set()

    def ask(self, journey: Journey, plans: Sequence[Plan | Answer]) -> None:
        """Ask which orders the batch's client order ids name already, and for those to change."""
        for plan in plans:
            if isinstance(plan, NAMED) and plan.digest is not None:
                self._digests.append(plan.digest)
            if isinstance(plan, CancelPlan) and not plan.trading.book.is_live(plan.order_id):
                self._ids.add(plan.order_id)
            elif isinstance(plan, AmendPlan):
                self._ids.add(plan.found_id)
        self._ids.discard(0)
        journey.add(NAMED_BY_DIGEST, uuid_array(self._digests))
        journey.add(STORED_BY_ID, array(self._ids))

    def take_over(self, plans: Sequence[Plan | Answer]) -> bool:
        """Take over what the batch before named; say whether that may do for matching.

        It does unless a command changes an order by a name or an id that only the tables know.
        That new orders have new names is assumed then, and found out by asking.
        """
        placed = self._earlier.named if self._earlier is not None else {}
        for plan in plans:
            if isinstance(plan, AmendPlan):
                return False
            if isinstance(plan, NAMED) and plan.digest is not None:
                if plan.digest in placed:
                    self.named[plan.digest] = placed[plan.digest]
                elif isinstance(plan, CancelPlan):
                    return False
        return True

    def hear(self, named: Answered, stored: Answered) -> bool:
        """Take in what was answered, and look up the orders that were named.

        Says whether any was that `take_over` had not.
        """
        self._take_in(stored)
        found = {order_id: digest.bytes for order_id, digest in named.fetchall()}
        if found:
            self._read(found.keys())
        is_surprised = any(digest not in self.named for digest in found.values())
        guards = {order_id: self.stored[order_id].partner_id for order_id in found}
        self._read(set(guards.values()))
        for order_id, digest in found.items():
            order = self.stored[order_id]
            order.guard = self.stored.get(guards[order_id])
            self.named[digest] = order
        if self._earlier is not None:
            placed = self._earlier.named
            self.named |= {digest: placed[digest] for digest in self._digests if digest in placed}
        return is_surprised

    def find(self, order_id: int) -> StoredOrder | NewOrder | OrderChange | None:
        """An order of an earlier batch, as far as it is known here; its state is right."""
        if self._earlier is not None:
            outcome = self._earlier.outcome
            found = outcome.changes.get(order_id) or outcome.orders.get(order_id)
            if found is not None:
                return found
        return self.stored.get(order_id)

    def forget_earlier(self) -> None:
        """Nothing is looked up any more: let go of the batch before."""
        self._earlier = None

    def _read(self, ids: Iterable[int]) -> None:
        missing = {id for id in ids if id and id not in self.stored}
        if missing:
            self._take_in(ask(STORED_BY_ID, array(missing)))

    def _take_in(self, found: Answered) -> None:
        self.stored.update((row[0], StoredOrder(*row)) for row in found.fetchall())

    def begin(self) -> None:
        """Before matching ahead: the client order ids that are used up already."""
        self._claimed = {digest: order.id for digest, order in self.named.items()}

    def is_repeated(self, plan: Plan) -> bool:
        """Find out which order a plan means; say whether there is nothing to match."""
        if isinstance(plan, PlacePlan):
            if plan.digest in self._claimed:
                return True
            if plan.rule and plan.rule < FIRST_REMEMBERED:
                return False  # it is refused, and uses no name up
            self._claimed[plan.digest] = plan.order_id
            self._placed[plan.order_id] = plan.order
            if plan.guard is not None:
                self._placed[plan.guard.order_id] = plan.guard
        elif isinstance(plan, CancelPlan) and plan.digest is not None:
            plan.order_id = self._claimed.get(plan.digest, 0)
        elif isinstance(plan, AmendPlan):
            if plan.digest is not None:
                plan.found_id = self._claimed.get(plan.digest, 0)
            plan.before_it = self._asked(plan.found_id)
        elif isinstance(plan, CancelAllPlan):
            user_id = plan.command.user_id
            placed = (
                order.order_id for order in self._placed.values() if order.owner_id == user_id
            )
            plan.candidates = sorted({*self._memory.orders_of.get(user_id, ()), *placed})
        return False

    def _asked(self, order_id: int) -> Place | None:
        """How an order was asked for, in this batch or an earlier one."""
        stored: StoredOrder | NewOrder | None = self.stored.get(order_id)
        if stored is None and self._earlier is not None:
            stored = self._earlier.outcome.orders.get(order_id)
        if stored is None:
            return self._placed.get(order_id)
        return Place(
            stored.id, stored.user_id, Side(stored.side), stored.price_ticks,
            stored.quantity_lots, TimeInForce(stored.time_in_force), SelfTrade(stored.self_trade),
        )  # fmt: skip
