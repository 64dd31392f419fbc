"""The writer's part of the market's feed: every commit's change gets the next number.

The number lives in the market's feed row and is raised in the same commit, so it has no gap,
whatever dies: the writer counts on in memory, and after a batch that failed, or when it starts
anew, goes on from the row. The row also keeps the best prices and the last trade, so that
nobody has to look for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from django.db import connection

from edge.journey import Journey
from edge.postgres import array

KNOWN = "SELECT market_id, sequence FROM orderbook_feed WHERE market_id = ANY(%s)"
ADVANCE = """
INSERT INTO orderbook_feed AS f (market_id, sequence, bid_price, bid_quantity, ask_price,
       ask_quantity, last_price, last_quantity, last_fill_id)
SELECT u.market_id, u.sequence, nullif(u.bid, 0), nullif(u.bids, 0), nullif(u.ask, 0),
       nullif(u.asks, 0), nullif(u.last, 0), nullif(u.lasts, 0), nullif(u.fill, 0)
  FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
              $7::bigint[], $8::bigint[], $9::bigint[])
       AS u(market_id, sequence, bid, bids, ask, asks, last, lasts, fill)
    ON CONFLICT (market_id) DO UPDATE
   SET sequence = excluded.sequence,
       bid_price = excluded.bid_price, bid_quantity = excluded.bid_quantity,
       ask_price = excluded.ask_price, ask_quantity = excluded.ask_quantity,
       last_price = coalesce(excluded.last_price, f.last_price),
       last_quantity = coalesce(excluded.last_quantity, f.last_quantity),
       last_fill_id = coalesce(excluded.last_fill_id, f.last_fill_id)
 WHERE f.sequence = excluded.sequence - 1
RETURNING 1
"""


class Top(NamedTuple):
    """A market's number of this change, its best prices and its last trade; 0 stands for none."""

    market_id: int
    sequence: int
    bid_price: int = 0
    bid_quantity: int = 0
    ask_price: int = 0
    ask_quantity: int = 0
    last_price: int = 0
    last_quantity: int = 0
    last_fill_id: int = 0


def newest_sequences(market_ids: Iterable[int]) -> dict[int, int]:
    """Say the number of each market's last change; 0 before the first."""
    wanted = list(market_ids)
    with connection.cursor() as cursor:
        cursor.execute(KNOWN, [wanted])
        return dict.fromkeys(wanted, 0) | dict(cursor.fetchall())


def advance(journey: Journey, tops: Sequence[Top]) -> None:
    """Put on a journey the next change of each of these markets, with its best prices.

    Nobody but the market's writer numbers its changes: that it alone did is checked.
    """
    if tops:
        columns = [array(column) for column in zip(*tops, strict=True)]
        journey.write(ADVANCE, *columns, changes=(len(tops), "feeds"))
