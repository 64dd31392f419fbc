"""A market's own rules: what it allows of an order, before that meets the book. Pure.

refusal = check(terms, state, price_minor=1250, quantity_units=3)
refusal = check_conditions(terms, conditions, quantity_lots, now_us)
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from orderbook.book import LARGEST_PRICE_TICKS
from orderbook.instructions import Conditions

MOST_PEAKS = 100
"""The most parts an iceberg may be shown in."""
LONGEST_LIFE_US = 366 * 24 * 3600 * 1_000_000
LARGEST_AMOUNT = 1 << 62
"""What the ledger can carry in one amount."""


class MarketState(IntEnum):
    """Where a market stands in its life. Cancelling is always allowed.

    An open market trades continuously, one in auction gathers orders; all others take none.
    """

    OPEN = 0
    HALTED = 1
    CLOSED = 2
    SCHEDULED = 3
    AUCTION = 4
    CLOSING = 5


class Refusal(IntEnum):
    """Why a command was refused, in order of precedence; `ACCEPTED` means it was not."""

    ACCEPTED = 0
    # What the order itself gets wrong: `check` and `check_conditions`.
    PRICE_OFF_TICK = 1
    PRICE_TOO_LOW = 2
    PRICE_TOO_HIGH = 3
    QUANTITY_OFF_LOT = 4
    QUANTITY_TOO_SMALL = 5
    QUANTITY_TOO_LARGE = 6
    STOP_PRICE_OFF_TICK = 7
    STOP_PRICE_TOO_LOW = 8
    STOP_PRICE_TOO_HIGH = 9
    DISPLAY_QUANTITY_OFF_LOT = 10
    DISPLAY_QUANTITY_TOO_SMALL = 11
    DISPLAY_QUANTITY_TOO_LARGE = 12
    MINIMUM_QUANTITY_OFF_LOT = 13
    MINIMUM_QUANTITY_TOO_LARGE = 14
    EXPIRY_TOO_FAR = 15
    # What the market does not allow now: `check` and `check_conditions`.
    MARKET_CLOSED = 30
    MARKET_HALTED = 31
    EXPIRY_IN_PAST = 32
    # What the book does not allow: `place`.
    ORDER_DUPLICATE = 50
    POST_ONLY_WOULD_TAKE = 51
    FILL_OR_KILL_UNFILLED = 52
    MINIMUM_QUANTITY_UNFILLED = 53
    STOP_WOULD_TRIGGER = 54
    # `cancel`, `reduce` and `amend`.
    ORDER_UNKNOWN = 70
    ORDER_NOT_OWNED = 71
    REDUCTION_NOT_SMALLER = 72
    ORDER_PAIRED = 73
    # What the venue does not allow now: `check`, `auction.collect`, `bands`.
    MARKET_NOT_OPEN = 90
    PRICE_BEYOND_BAND = 91
    NOT_IN_AUCTION = 92
    MEETS_OWN_ORDER = 93
    # What the rules of the units do not allow: `eligibility`.
    NOT_TRANSFERABLE = 110
    TRADING_ENDED = 111
    REGION_UNKNOWN = 112
    REGION_NOT_ALLOWED = 113
    UNITS_TOO_YOUNG = 114

    @property
    def code(self) -> str:
        """The stable name that clients see."""
        return self.name.lower()


STATE_REFUSALS = {
    MarketState.HALTED: Refusal.MARKET_HALTED,
    MarketState.CLOSED: Refusal.MARKET_CLOSED,
    MarketState.CLOSING: Refusal.MARKET_CLOSED,
    MarketState.SCHEDULED: Refusal.MARKET_NOT_OPEN,
}
"""What an order hears where the market takes none."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a market allows and charges.

    `tick_minor`: minor units of the quote asset that one tick adds to the price of one lot.
    `lot_units`: units of the base asset in one lot. Fees in basis points, 0 … 1,000.
    Terms under which an order could come to more than the ledger carries are refused.
    """

    tick_minor: int
    lot_units: int
    least_price_ticks: int
    most_price_ticks: int
    least_lots: int
    most_lots: int
    maker_fee_bps: int
    taker_fee_bps: int

    def __post_init__(self) -> None:
        if self.tick_minor < 1 or self.lot_units < 1:
            raise ValueError("a tick and a lot are at least 1")
        if not 1 <= self.least_price_ticks <= self.most_price_ticks <= LARGEST_PRICE_TICKS:
            raise ValueError("prices are from 1 tick up, the least first")
        if not 1 <= self.least_lots <= self.most_lots:
            raise ValueError("quantities are from 1 lot up, the least first")
        if not 0 <= self.maker_fee_bps <= 1000 or not 0 <= self.taker_fee_bps <= 1000:
            raise ValueError("fees are 0 to 1,000 basis points")
        largest_notional = self.most_price_ticks * self.most_lots * self.tick_minor
        if largest_notional * 11 // 10 > LARGEST_AMOUNT:
            raise ValueError("the largest order comes to more money than the ledger carries")
        if self.most_lots * self.lot_units > LARGEST_AMOUNT:
            raise ValueError("the largest order comes to more units than the ledger carries")


def check(terms: Terms, state: MarketState, *, price_minor: int, quantity_units: int) -> Refusal:
    """Say whether a market takes an order of this price and size, before it meets the book.

    `price_minor` is what one lot costs, `quantity_units` how many units are wanted. Accepted,
    they are whole ticks and lots: `price_minor // tick_minor`, `quantity_units // lot_units`.
    """
    price_ticks, off_tick = divmod(price_minor, terms.tick_minor)
    if off_tick:
        return Refusal.PRICE_OFF_TICK
    if price_ticks < terms.least_price_ticks:
        return Refusal.PRICE_TOO_LOW
    if price_ticks > terms.most_price_ticks:
        return Refusal.PRICE_TOO_HIGH
    quantity_lots, off_lot = divmod(quantity_units, terms.lot_units)
    if off_lot:
        return Refusal.QUANTITY_OFF_LOT
    if quantity_lots < terms.least_lots:
        return Refusal.QUANTITY_TOO_SMALL
    if quantity_lots > terms.most_lots:
        return Refusal.QUANTITY_TOO_LARGE
    return STATE_REFUSALS.get(state, Refusal.ACCEPTED)


def check_conditions(
    terms: Terms, conditions: Conditions, quantity_lots: int, now_us: int
) -> Refusal:
    """Say whether a market takes what else an order of this size asks for, at this moment.

    Its prices and quantities are whole ticks and lots already.
    """
    stop_ticks, peak_lots = conditions.stop_ticks, conditions.peak_lots
    if stop_ticks and stop_ticks < terms.least_price_ticks:
        return Refusal.STOP_PRICE_TOO_LOW
    if stop_ticks > terms.most_price_ticks:
        return Refusal.STOP_PRICE_TOO_HIGH
    if peak_lots and peak_lots * MOST_PEAKS < quantity_lots:
        return Refusal.DISPLAY_QUANTITY_TOO_SMALL
    if peak_lots > quantity_lots:
        return Refusal.DISPLAY_QUANTITY_TOO_LARGE
    if conditions.minimum_lots > quantity_lots:
        return Refusal.MINIMUM_QUANTITY_TOO_LARGE
    if conditions.expires_us > now_us + LONGEST_LIFE_US:
        return Refusal.EXPIRY_TOO_FAR
    if conditions.expires_us and conditions.expires_us <= now_us:
        return Refusal.EXPIRY_IN_PAST
    return Refusal.ACCEPTED
