"""What a batch finds in the tables: the orders that its commands name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge.postgres import array, raw_cursor, uuid_array
from orderbook.instructions import Place, SelfTrade, Side, TimeInForce
from orderbook.memory import Memory
from orderbook.plans import AmendPlan, CancelAllPlan, CancelPlan, PlacePlan, Plan
from orderbook.rows import NewOrder, StoredOrder
from sequencer.commands import Answer

NAMED_BY_DIGEST = """
SELECT order_id, digest FROM orderbook_clientorder WHERE digest = ANY(%s::uuid[])
"""
STORED_BY_ID = """
SELECT o.id, o.market_id, user_id, side, time_in_force, price_ticks, quantity_lots,
       client_order_id, entry_state, refusal, taken_lots, taken_minor, taken_fee_minor, state,
       kind, self_trade, coalesce(stop_ticks, 0), coalesce(minimum_lots, 0),
       coalesce(peak_lots, 0), coalesce(expires_us, 0), coalesce(partner_id, 0)
  FROM orderbook_order AS o LEFT JOIN orderbook_specialorder AS s ON s.id = o.id
 WHERE o.id = ANY(%s::bigint[])
"""


class Known:
    """The orders of earlier batches that a batch needs, and those that it places itself.

    `named` says which order a client order id means, and is added to as orders are written.
    """

    def __init__(self, memory: Memory) -> None:
        self.named: dict[bytes, StoredOrder | NewOrder] = {}
        self.stored: dict[int, StoredOrder] = {}
        self._memory = memory
        self._claimed: dict[bytes, int] = {}
        self._placed: dict[int, Place] = {}

    def look_up(self, plans: Sequence[Plan | Answer]) -> None:
        """Read the orders that the batch's client order ids name already, and those to cancel."""
        digests: list[bytes] = []
        ids: set[int] = set()
        for plan in plans:
            if isinstance(plan, PlacePlan | AmendPlan | CancelPlan) and plan.digest is not None:
                digests.append(plan.digest)
            if isinstance(plan, CancelPlan) and not plan.trading.book.is_live(plan.order_id):
                ids.add(plan.order_id)
            elif isinstance(plan, AmendPlan):
                ids.add(plan.found_id)
        named: dict[int, bytes] = {}
        with raw_cursor() as cursor:
            if digests:
                cursor.execute(NAMED_BY_DIGEST, (uuid_array(digests),), prepare=True, binary=True)
                named = {order_id: digest.bytes for order_id, digest in cursor.fetchall()}
            ids.update(named)
            self._read(cursor, ids)
            guards = {named_id: self.stored[named_id].partner_id for named_id in named}
            self._read(cursor, set(guards.values()))
        for order_id, digest in named.items():
            stored = self.stored[order_id]
            stored.guard = self.stored.get(guards[order_id])
            self.named[digest] = stored

    def _read(self, cursor: Any, ids: set[int]) -> None:
        ids.discard(0)
        if ids:
            cursor.execute(STORED_BY_ID, (array(ids),), prepare=True, binary=True)
            self.stored.update((row[0], StoredOrder(*row)) for row in cursor.fetchall())

    def begin(self) -> None:
        """Before matching ahead: the client order ids that are used up already."""
        self._claimed = {digest: order.id for digest, order in self.named.items()}

    def is_repeated(self, plan: Plan) -> bool:
        """Find out which order a plan means; say whether there is nothing to match."""
        if isinstance(plan, PlacePlan):
            if plan.digest in self._claimed:
                return True
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
        stored = self.stored.get(order_id)
        if stored is None:
            return self._placed.get(order_id)
        return Place(
            stored.id, stored.user_id, Side(stored.side), stored.price_ticks,
            stored.quantity_lots, TimeInForce(stored.time_in_force), SelfTrade(stored.self_trade),
        )  # fmt: skip
