"""What a trade moves between its two people and the house, and what an order must set aside.

Pure: no Django, clock, database, network or random. Whole numbers only.

    amount_minor = reserve(terms, side, price_ticks, lots)       # hold this for a new order
    settlement = settle(fill, terms)                             # legs, amount and both fees
    spent = settlement.buyer_pays_minor                          # what left the buyer's hold
    freed = held_minor - reserve(terms, side, price_ticks, left_lots)   # may be released

Units. A price is counted in ticks for one lot, a quantity in lots:

    amount (minor units of the quote asset) = price_ticks * quantity_lots * tick_minor
    units (of the base asset)               = quantity_lots * lot_units

Fees are paid in the quote asset: `amount * fee_bps / 10,000`, rounded down, once for each
fill and each side. A buyer's fee comes on top of the amount; a seller's is kept from the
proceeds, so a seller needs no money of their own. Rounding down favours the customer and
never needs more than was set aside: the sum of fees rounded down is at most the fee of the
sum, rounded down. So, after any fill, at any price up to the limit and as maker or taker:

    held - what the fill cost ≥ reserve(what is left of the order)

and whatever is held beyond that may be released at any time; all of it when the order ends.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from orderbook.book import Side
from orderbook.matching import Fill, Terms

WHOLE_BPS = 10_000
_BUY = Side.BUY


class Asset(IntEnum):
    """Which of a market's two assets a leg moves."""

    BASE = 1
    QUOTE = 2


_BASE, _QUOTE = Asset.BASE, Asset.QUOTE


class Leg(msgspec.Struct, frozen=True, gc=False):
    """One movement of one asset out of what an order set aside.

    `payee_id` is a person, or None for the market's fee account. The payer is the owner of
    `order_id`; `is_makers` says that it is the waiting order, whose funds are on hold.
    """

    order_id: int
    payer_id: int
    payee_id: int | None
    asset: Asset
    amount: int
    is_makers: bool


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """A fill in money: the price paid, both fees, and the legs that move it.

    Legs, in order: the units from seller to buyer; the proceeds (amount less the seller's
    fee) from buyer to seller; both fees from buyer to the house, if there are any.
    """

    amount_minor: int
    maker_fee_minor: int
    taker_fee_minor: int
    units: int
    buyer_pays_minor: int
    legs: tuple[Leg, ...]


def amount_of(terms: Terms, price_ticks: int, quantity_lots: int) -> int:
    """What so many lots cost at a price, without fees, in minor units of the quote asset."""
    return price_ticks * quantity_lots * terms.tick_minor


def fee_on(amount_minor: int, fee_bps: int) -> int:
    """The fee on an amount: basis points of it, rounded down."""
    return amount_minor * fee_bps // WHOLE_BPS


def reserve(terms: Terms, side: Side, price_ticks: int, quantity_lots: int) -> int:
    """What must be set aside so that an order can pay however it fills; 0 for 0 lots.

    Buyers: quote minor units, the amount at the limit with the higher of the two fees.
    Sellers: base units.
    """
    if side is not _BUY:
        return quantity_lots * terms.lot_units
    amount_minor = amount_of(terms, price_ticks, quantity_lots)
    return amount_minor + fee_on(amount_minor, max(terms.maker_fee_bps, terms.taker_fee_bps))


def settle(fill: Fill, terms: Terms) -> Settlement:
    """Work out what a fill moves. No leg is ever zero. About 1 µs."""
    lots = fill.quantity_lots
    units = lots * terms.lot_units
    amount = fill.price_ticks * lots * terms.tick_minor
    maker_fee = amount * terms.maker_fee_bps // WHOLE_BPS
    taker_fee = amount * terms.taker_fee_bps // WHOLE_BPS
    if fill.taker_side is _BUY:
        buyer_order_id, buyer_id, seller_fee = fill.taker_order_id, fill.taker_owner_id, maker_fee
        seller_order_id, seller_id, maker_buys = fill.maker_order_id, fill.maker_owner_id, False
    else:
        buyer_order_id, buyer_id, seller_fee = fill.maker_order_id, fill.maker_owner_id, taker_fee
        seller_order_id, seller_id, maker_buys = fill.taker_order_id, fill.taker_owner_id, True
    fees = maker_fee + taker_fee
    legs: tuple[Leg, ...] = (
        Leg(seller_order_id, seller_id, buyer_id, _BASE, units, not maker_buys),
        Leg(buyer_order_id, buyer_id, seller_id, _QUOTE, amount - seller_fee, maker_buys),
    )
    if fees:
        legs = (*legs, Leg(buyer_order_id, buyer_id, None, _QUOTE, fees, maker_buys))
    return Settlement(amount, maker_fee, taker_fee, units, amount + fees - seller_fee, legs)
