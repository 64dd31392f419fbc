"""Checks a market's rows against each other and against the ledger, and says where they differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from django.db import connection, transaction

from orderbook.book import Side
from orderbook.memory import Memory, Trading, terms_of
from orderbook.models import Market
from orderbook.settlement import reserve

FETCH_ROWS = 5_000
GATHERING = (Market.State.AUCTION, Market.State.HALTED, Market.State.CLOSING)

LIVE = """
SELECT o.id, o.user_id, o.side, o.price_ticks, o.remaining_lots, h.remaining, a.owner_id,
       o.hold_id, o.partner_id
  FROM orderbook_live AS o
  LEFT JOIN wallet_hold AS h ON h.id = o.hold_id AND h.state = 0
  LEFT JOIN wallet_account AS a ON a.id = h.account_id
 WHERE o.market_id = %s ORDER BY o.id
"""
STRAY_HOLDS = """
SELECT h.id FROM wallet_hold AS h JOIN wallet_transfer AS t ON t.id = h.id AND t.code = 5
 WHERE h.state = 0 AND h.asset_id IN (%s, %s)
   AND NOT EXISTS (SELECT FROM orderbook_order AS o WHERE o.hold_id = h.id AND o.state = 0)
"""
FILLED_SUMS = """
WITH made AS (
    SELECT maker_order_id AS id, sum(quantity_lots) AS lots, sum(amount_minor) AS minor
      FROM orderbook_fill WHERE market_id = %(market)s GROUP BY 1
), taken AS (
    SELECT taker_order_id AS id, sum(quantity_lots) AS lots, sum(amount_minor) AS minor,
           sum(quantity_lots) FILTER (WHERE NOT is_auction) AS at_once,
           sum(amount_minor) FILTER (WHERE NOT is_auction) AS minor_at_once
      FROM orderbook_fill WHERE market_id = %(market)s GROUP BY 1
)
SELECT o.id FROM orderbook_order AS o LEFT JOIN made USING (id) LEFT JOIN taken USING (id)
  LEFT JOIN orderbook_specialorder AS s USING (id)
 WHERE o.market_id = %(market)s
   AND (o.taken_minor + o.made_minor <> coalesce(taken.minor, 0) + coalesce(made.minor, 0)
     OR s.id IS NULL AND (o.taken_lots, o.taken_minor) IS DISTINCT FROM
        (coalesce(taken.at_once, 0)::bigint, coalesce(taken.minor_at_once, 0)::bigint)
     OR (o.state <> 3 AND o.quantity_lots - coalesce(s.reduced_lots, 0) - o.remaining_lots
        <> coalesce(taken.lots, 0) + coalesce(made.lots, 0)))
"""


class Difference(NamedTuple):
    """One thing that should not be: which row, and what is wrong with it."""

    row_id: int
    problem: str


def verify_market(market: Market) -> Iterator[Difference]:
    """Compare one market's orders, fills, book and holds, in one snapshot. Streams.

    Every live order has a hold of its owner's that covers it (a pair has one for both), and
    every order hold an order; what orders say was filled is what the fills add up to; the book
    is not crossed, unless it gathers for an auction.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield from differences(market)


def differences(market: Market) -> Iterator[Difference]:
    """Compare as `verify_market` does, in whatever snapshot the caller has."""
    yield from _check_live(market)
    with connection.cursor() as cursor:
        cursor.execute(STRAY_HOLDS, [market.base_asset_id, market.quote_asset_id])
        for (hold_id,) in cursor.fetchall():
            yield Difference(hold_id, "an order hold without a waiting order")
        cursor.execute(FILLED_SUMS, {"market": market.pk})
        for (order_id,) in cursor.fetchall():
            yield Difference(order_id, "an order that disagrees with its fills")


def _check_live(market: Market) -> Iterator[Difference]:
    terms = terms_of(market)
    holders: dict[int, int] = {}
    with connection.chunked_cursor() as cursor:
        cursor.execute(LIVE, [market.pk])
        while part := cursor.fetchmany(FETCH_ROWS):
            for order_id, user_id, side, price_ticks, lots, held, owner_id, hold, partner in part:
                needed = reserve(terms, Side(side), price_ticks, lots)
                if held is None:
                    yield Difference(order_id, "a waiting order without a hold")
                elif owner_id != user_id:
                    yield Difference(order_id, "a waiting order on somebody else's hold")
                elif held < needed:
                    yield Difference(order_id, f"a hold of {held} where {needed} are needed")
                if holders.setdefault(hold, order_id) not in {order_id, partner}:
                    yield Difference(order_id, "a waiting order on another's hold")
    try:
        book = Memory(market.shard).book_of(Trading(market))
        book.check(may_cross=market.state in GATHERING)
    except AssertionError as broken:
        yield Difference(market.pk, f"a book that cannot be: {broken}")
