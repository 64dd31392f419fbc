"""What sets few orders apart, as one batch writes it: one statement, and only if there is any."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

from edge.journey import Journey
from edge.postgres import array

WRITE = """
INSERT INTO orderbook_specialorder AS s (id, market_id, stop_ticks, minimum_lots, peak_lots,
       expires_us, partner_id, amended_price_ticks, amended_stop_ticks, reduced_lots, shown_lots,
       priority_id, priority_index, turn, ran_id, cause)
SELECT * FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[],
       $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
       $12::bigint[], $13::int[], $14::int[], $15::bigint[],
       $16::smallint[])
    ON CONFLICT (id) DO UPDATE
   SET amended_price_ticks =
           coalesce(nullif(excluded.amended_price_ticks, 0), s.amended_price_ticks),
       amended_stop_ticks = coalesce(nullif(excluded.amended_stop_ticks, 0), s.amended_stop_ticks),
       reduced_lots = s.reduced_lots + excluded.reduced_lots,
       shown_lots = excluded.shown_lots,
       priority_id = coalesce(nullif(excluded.priority_id, 0), s.priority_id),
       priority_index = CASE WHEN excluded.priority_id = 0 THEN s.priority_index
                             ELSE excluded.priority_index END,
       turn = excluded.turn,
       ran_id = coalesce(nullif(excluded.ran_id, 0), s.ran_id),
       cause = coalesce(nullif(excluded.cause, 0), s.cause)
"""


@dataclass(slots=True)
class SpecialRow:
    """A row of `orderbook_specialorder`: new as a whole, or what changes of an old one.

    Fields in the order of the table's columns. `reduced_lots` is added to what is there;
    other 0s change nothing, but for `shown_lots` and `turn`, which are as they are now.
    """

    order_id: int
    market_id: int
    stop_ticks: int = 0
    minimum_lots: int = 0
    peak_lots: int = 0
    expires_us: int = 0
    partner_id: int = 0
    amended_price_ticks: int = 0
    amended_stop_ticks: int = 0
    reduced_lots: int = 0
    shown_lots: int = 0
    priority_id: int = 0
    priority_index: int = 0
    turn: int = 0
    ran_id: int = 0
    cause: int = 0


def write_special(journey: Journey, rows: Iterable[SpecialRow]) -> None:
    """Add these rows, or change those that are there already."""
    columns = list(zip(*map(astuple, rows), strict=True))
    if columns:
        journey.write(WRITE, *[array(column) for column in columns])
