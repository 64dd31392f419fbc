"""The writer's part of the market's feed: every commit's change gets the next number.

The number lives in the market's feed row and is raised in the same commit, so it has no gap,
whatever dies: a batch that is rolled back takes its number back, and a writer that starts
anew goes on from the row. The row also keeps the best prices and the last trade, so that
nobody has to look for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edge.postgres import array, raw_cursor

ADVANCE = """
INSERT INTO orderbook_feed AS f (market_id, sequence, bid_price, bid_quantity, ask_price,
       ask_quantity, last_price, last_quantity, last_fill_id)
SELECT u.market_id, 1, nullif(u.bid, 0), nullif(u.bids, 0), nullif(u.ask, 0), nullif(u.asks, 0),
       nullif(u.last, 0), nullif(u.lasts, 0), nullif(u.fill, 0)
  FROM unnest(%s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
              %s::bigint[], %s::bigint[])
       AS u(market_id, bid, bids, ask, asks, last, lasts, fill)
    ON CONFLICT (market_id) DO UPDATE
   SET sequence = f.sequence + 1,
       bid_price = excluded.bid_price, bid_quantity = excluded.bid_quantity,
       ask_price = excluded.ask_price, ask_quantity = excluded.ask_quantity,
       last_price = coalesce(excluded.last_price, f.last_price),
       last_quantity = coalesce(excluded.last_quantity, f.last_quantity),
       last_fill_id = coalesce(excluded.last_fill_id, f.last_fill_id)
RETURNING market_id, sequence
"""


class Top(NamedTuple):
    """A market's best prices and its last trade in this commit; 0 stands for none."""

    market_id: int
    bid_price: int = 0
    bid_quantity: int = 0
    ask_price: int = 0
    ask_quantity: int = 0
    last_price: int = 0
    last_quantity: int = 0
    last_fill_id: int = 0


def advance(tops: Sequence[Top]) -> dict[int, int]:
    """Number the next change of each of these markets, and note its best prices.

    Inside the batch's transaction; one statement of about 0.1 ms. Returns market → sequence.
    """
    if not tops:
        return {}
    with raw_cursor() as cursor:
        cursor.execute(ADVANCE, [array(column) for column in zip(*tops, strict=True)], prepare=True)
        return dict(cursor.fetchall())
