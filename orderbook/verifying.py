"""Checks a market's rows against each other and against the ledger, and says where they differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from django.db import connection, transaction

from orderbook.book import Book, Side
from orderbook.memory import terms_of
from orderbook.models import Market
from orderbook.settlement import reserve

FETCH_ROWS = 5_000
GATHERING = (Market.State.AUCTION, Market.State.HALTED, Market.State.CLOSING)

RESTING = """
SELECT o.id, o.user_id, o.side, o.price_ticks, o.remaining_lots, h.remaining, a.owner_id
  FROM orderbook_order AS o
  LEFT JOIN wallet_hold AS h ON h.id = o.hold_id AND h.state = 0
  LEFT JOIN wallet_account AS a ON a.id = h.account_id
 WHERE o.market_id = %s AND o.state = 0 ORDER BY o.id
"""
STRAY_HOLDS = """
SELECT h.id FROM wallet_hold AS h JOIN wallet_transfer AS t ON t.id = h.id AND t.code = 5
 WHERE h.state = 0 AND h.asset_id IN (%s, %s)
   AND NOT EXISTS (SELECT FROM orderbook_order AS o WHERE o.hold_id = h.id AND o.state = 0)
"""
FILLED_SUMS = """
WITH made AS (
    SELECT id, sum(quantity_lots) AS lots, sum(amount_minor) AS minor
      FROM (SELECT maker_order_id AS id, quantity_lots, amount_minor
              FROM orderbook_fill WHERE market_id = %(market)s
            UNION ALL
            SELECT taker_order_id, quantity_lots, amount_minor
              FROM orderbook_fill WHERE market_id = %(market)s AND is_auction) AS waited
     GROUP BY 1
), taken AS (
    SELECT taker_order_id AS id, sum(quantity_lots) AS lots, sum(amount_minor) AS minor
      FROM orderbook_fill WHERE market_id = %(market)s AND NOT is_auction GROUP BY 1
)
SELECT o.id FROM orderbook_order AS o LEFT JOIN made USING (id) LEFT JOIN taken USING (id)
 WHERE o.market_id = %(market)s
   AND ((o.taken_lots, o.taken_minor, o.made_minor)
        IS DISTINCT FROM (coalesce(taken.lots, 0)::bigint, coalesce(taken.minor, 0)::bigint,
                          coalesce(made.minor, 0)::bigint)
     OR (o.state <> 3 AND o.quantity_lots - o.remaining_lots
        <> coalesce(taken.lots, 0) + coalesce(made.lots, 0)))
"""


class Difference(NamedTuple):
    """One thing that should not be: which row, and what is wrong with it."""

    row_id: int
    problem: str


def verify_market(market: Market) -> Iterator[Difference]:
    """Compare one market's orders, fills, book and holds, in one snapshot. Streams.

    Every waiting order has a hold of its owner's that covers it, and every order hold an
    order; what orders say was filled is what the fills add up to; the book is not crossed, unless
    it gathers for an auction.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield from differences(market)


def differences(market: Market) -> Iterator[Difference]:
    """Compare as `verify_market` does, in whatever snapshot the caller has."""
    yield from _check_resting(market)
    with connection.cursor() as cursor:
        cursor.execute(STRAY_HOLDS, [market.base_asset_id, market.quote_asset_id])
        for (hold_id,) in cursor.fetchall():
            yield Difference(hold_id, "an order hold without a waiting order")
        cursor.execute(FILLED_SUMS, {"market": market.pk})
        for (order_id,) in cursor.fetchall():
            yield Difference(order_id, "an order that disagrees with its fills")


def _check_resting(market: Market) -> Iterator[Difference]:
    terms = terms_of(market)
    rows: list[tuple[int, int, int, int, int]] = []
    with connection.chunked_cursor() as cursor:
        cursor.execute(RESTING, [market.pk])
        while part := cursor.fetchmany(FETCH_ROWS):
            for *order, held, owner_id in part:
                rows.append((order[0], order[1], order[2], order[3], order[4]))
                needed = reserve(terms, Side(order[2]), order[3], order[4])
                if held is None:
                    yield Difference(order[0], "a waiting order without a hold")
                elif owner_id != order[1]:
                    yield Difference(order[0], "a waiting order on somebody else's hold")
                elif held < needed:
                    yield Difference(order[0], f"a hold of {held} where {needed} are needed")
    try:
        Book.load(rows).check(may_cross=market.state in GATHERING)
    except AssertionError as broken:
        yield Difference(market.pk, f"a book that cannot be: {broken}")
