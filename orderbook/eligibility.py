"""Whether an order may be made for units that have rules of their own. Pure.

The rules belong to the asset (`wallet.ownership_rules`); a market adds how much life its units
must have left when they are bought. Trading ends at the earlier of both:

    expires - stops_before   (the series)          expires - minimum_life   (the market)

Then the market closes: it takes no order, and those that wait are cancelled.
"""

from __future__ import annotations

from orderbook.book import Side
from orderbook.matching import Refusal
from wallet.ownership_rules import Barred, Ownership, region_fault

MICROSECONDS = 1_000_000
REFUSALS: dict[Barred, Refusal] = {
    Barred.NOT_TRANSFERABLE: Refusal.NOT_TRANSFERABLE,
    Barred.TRADING_ENDED: Refusal.TRADING_ENDED,
    Barred.REGION_UNKNOWN: Refusal.REGION_UNKNOWN,
    Barred.REGION_NOT_ALLOWED: Refusal.REGION_NOT_ALLOWED,
    Barred.UNITS_TOO_YOUNG: Refusal.UNITS_TOO_YOUNG,
}


def ends_us(rules: Ownership, minimum_life_s: int) -> int:
    """Say when trading ends, in microseconds since 1970; 0: never, the units do not expire."""
    if not rules.expires_s:
        return 0
    # A series that stops before 1970 has stopped: 1 is a time, 0 would be "never".
    ends_s = rules.expires_s - max(rules.stops_before_s, minimum_life_s)
    return max(1, ends_s * MICROSECONDS)


def refusal_of(
    rules: Ownership, side: Side, *, trading_ends_us: int, now_us: int, region: str
) -> Refusal:
    """Say why nobody, or not this person, may make an order of this side; `ACCEPTED`: they may.

    `region` is the person's, "" if it is not known; it is asked of who buys.
    """
    barred = None
    if not rules.is_transferable:
        barred = Barred.NOT_TRANSFERABLE
    elif trading_ends_us and trading_ends_us <= now_us:
        barred = Barred.TRADING_ENDED
    elif side is Side.BUY:
        barred = region_fault(rules, region)
    return REFUSALS[barred] if barred else Refusal.ACCEPTED


def percent_of_face_bps(price_minor: int, lot_units: int, face_minor: int) -> int:
    """Say a price for one lot as hundredths of a percent of its units' face value, rounded down."""
    return price_minor * 10_000 // (face_minor * lot_units)
