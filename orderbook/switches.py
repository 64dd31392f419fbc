"""Dead man's switches: whose key is not heard from in time loses its waiting orders.

A switch is a row; its owner raises `renewal` through the API. The writer looks at the rows
four times a second, and counts the time by its own clock from when it saw the renewal. So no
clock of another machine matters, and one that steps back fires nothing early or late. When
the writer starts anew, every switch gets its whole time again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db import connection

from orderbook.deeds import Deed, Removal, Settling, at
from orderbook.matching import Cause
from orderbook.memory import Memory

MICROSECONDS = 1_000_000
LOOK_EVERY_US = 250_000
ARMED = """
SELECT s.key_id, s.timeout_s, s.renewal, k.owner_id
  FROM orderbook_deadmansswitch AS s JOIN accounts_apikey AS k ON k.id = s.key_id
 WHERE s.shard = %s AND s.is_armed
"""
ORDERS_OF_KEY = """
SELECT market_id, id FROM orderbook_order
 WHERE market_id = ANY(%s) AND state = 0 AND user_id = %s AND key_id = %s ORDER BY id
"""
FIRE = """
UPDATE orderbook_deadmansswitch SET is_armed = %s, fired_at = %s
 WHERE key_id = %s AND shard = %s AND renewal = %s RETURNING key_id
"""


@dataclass
class Armed:
    """A switch as the writer counts it."""

    renewal: int
    due_us: int


class Renewed(Exception):
    """The owner was heard from while the batch that would fire was decided."""


@dataclass(eq=False)
class Fired(Deed):
    """Notes in the switch's row that it fired; unless it was renewed meanwhile."""

    key_id: int
    shard: int
    renewal: int
    now_us: int
    is_over: bool

    def settle(self, batch: Settling) -> None:
        with connection.cursor() as cursor:
            parameters = (not self.is_over, at(self.now_us), self.key_id, self.shard, self.renewal)
            cursor.execute(FIRE, parameters)
            if cursor.fetchone() is None:
                raise Renewed(self.key_id)


class Switches:
    """The armed switches of one shard."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._armed: dict[int, Armed] = {}
        self._looked_us = 0

    def clear(self) -> None:
        """Forget all: every switch gets its whole time again."""
        self._armed.clear()
        self._looked_us = 0

    def look_again(self) -> None:
        """Read the rows with the next look, however fresh they are."""
        self._looked_us = 0

    def next_us(self) -> int:
        """When the next fires, if nobody is heard from; 0: none is armed."""
        return min((switch.due_us for switch in self._armed.values()), default=0)

    def is_look_due(self, now_us: int) -> bool:
        """Say whether the last look is old enough for another."""
        return now_us - self._looked_us >= LOOK_EVERY_US

    def look(self, now_us: int) -> None:
        """Read the rows again, if the last look is old enough. One small query."""
        if not self.is_look_due(now_us):
            return
        self._looked_us = now_us
        with connection.cursor() as cursor:
            cursor.execute(ARMED, [self._memory.shard])
            rows = cursor.fetchall()
        for key_id in self._armed.keys() - {row[0] for row in rows}:
            del self._armed[key_id]
            self._memory.watched.pop(key_id, None)
        for key_id, timeout_s, renewal, owner_id in rows:
            known = self._armed.get(key_id)
            if known is None:
                self._watch(key_id, owner_id)
            if known is None or known.renewal != renewal:
                self._armed[key_id] = Armed(renewal, now_us + timeout_s * MICROSECONDS)

    def due(self, now_us: int, at_most: int) -> Iterator[tuple[int, list[Deed]]]:
        """The keys that were not heard from, and what becomes of their orders."""
        for key_id, switch in list(self._armed.items()):
            if switch.due_us > now_us:
                continue
            ids = self._live(key_id)
            deeds: list[Deed] = []
            room = at_most
            for market_id, order_ids in ids.items():
                trading = self._memory.markets[market_id]
                deeds.append(Removal(trading, order_ids[:room], Cause.SILENCE))
                room -= len(order_ids[:room])
            is_over = sum(map(len, ids.values())) <= at_most
            shard = self._memory.shard
            deeds.append(Fired(key_id, shard, switch.renewal, now_us, is_over))
            yield key_id, deeds

    def _watch(self, key_id: int, owner_id: int) -> None:
        """Begin to note which orders a key places; those that wait already are read once."""
        markets = list(self._memory.markets)
        with connection.cursor() as cursor:
            cursor.execute(ORDERS_OF_KEY, [markets, owner_id, key_id])
            self._memory.watched[key_id] = list(cursor.fetchall())

    def _live(self, key_id: int) -> dict[int, list[int]]:
        """The key's orders that still wait, by market; forgets the others."""
        found: dict[int, list[int]] = {}
        noted = self._memory.watched.get(key_id, [])
        live = []
        for market_id, order_id in noted:
            trading = self._memory.markets.get(market_id)
            if trading is not None and trading.book.is_live(order_id):
                found.setdefault(market_id, []).append(order_id)
                live.append((market_id, order_id))
        noted[:] = live
        return found
