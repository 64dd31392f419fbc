"""What each refusal of an order says to a trader, and the status it has. Pure.

A code never changes once it is published; its words may.
"""

from __future__ import annotations

from orderbook.terms import Refusal, Terms
from wallet.ownership_rules import STATUSES, TITLES, Barred

WORDS: dict[str, tuple[str, int]] = {
    "price_off_tick": ("The price is no multiple of the market's tick", 422),
    "price_too_low": ("The price is below the market's lowest", 422),
    "price_too_high": ("The price is above the market's highest", 422),
    "quantity_off_lot": ("The quantity is no multiple of the market's lot", 422),
    "quantity_too_small": ("The quantity is below the market's smallest", 422),
    "quantity_too_large": ("The quantity is above the market's largest", 422),
    "stop_price_off_tick": ("The stop price is no multiple of the market's tick", 422),
    "stop_price_too_low": ("The stop price is below the market's lowest", 422),
    "stop_price_too_high": ("The stop price is above the market's highest", 422),
    "display_quantity_off_lot": ("The shown quantity is no multiple of the market's lot", 422),
    "display_quantity_too_small": ("At least a hundredth of the order must be shown", 422),
    "display_quantity_too_large": ("More would be shown than the order has", 422),
    "minimum_quantity_off_lot": ("The least quantity is no multiple of the market's lot", 422),
    "minimum_quantity_too_large": ("The least quantity is more than the order has", 422),
    "expiry_too_far": ("An order waits 366 days at most", 422),
    "expiry_in_past": ("The order's end is over already", 422),
    "market_closed": ("The market is closed for good", 422),
    "market_halted": ("The market is halted: no new orders until it resumes", 422),
    "market_not_open": ("The market has not begun yet", 422),
    "price_beyond_band": ("The price is too far from the last auction's", 422),
    "not_in_auction": ("An auction takes only orders that may wait", 422),
    "meets_own_order": ("It would trade with another order of yours when the auction ends", 422),
    "post_only_would_take": ("It would trade at once, and was to wait only", 422),
    "fill_or_kill_unfilled": ("Not all of it could trade at once", 422),
    "minimum_quantity_unfilled": ("Less than its least quantity could trade at once", 422),
    "stop_would_trigger": ("The stop price was traded already", 422),
    "order_duplicate": ("There is such an order already", 422),
    "insufficient_funds": ("There is not enough available to pay for the order", 422),
    "account_frozen": ("The account is frozen: nothing new may go out", 403),
    "account_closed": ("The account is closed", 403),
    "amount_exceeds_limit": ("The amount is over the account's limit", 422),
    "ceiling_exceeded": ("The account may not hold so much", 422),
    "balance_overflow": ("The amount is too large", 422),
    "client_order_id_reused": ("The client order id already names another order", 409),
    "wrong_shard": ("The market is moving to another shard: ask again", 503),
    "too_many_open_orders": ("There are as many orders waiting as you may have", 422),
    "open_notional_exceeded": ("Your waiting orders would come to more than they may", 422),
    "unknown_order": ("There is no such order", 404),
    "order_unknown": ("There is no such order", 404),
    "order_not_owned": ("There is no such order", 404),
    "reduction_not_smaller": ("The order is not larger than that", 422),
    "order_already_filled": ("The order is filled already", 409),
    "market_moved": ("The market moved meanwhile: ask again with the same id", 503),
    "order_already_refused": ("The order was refused", 409),
    "order_already_cancelled": ("The order is cancelled already", 409),
    "order_paired": ("One of a pair cannot change: cancel both and place them anew", 409),
    "order_has_no_stop_price": ("The order waits for no stop price", 409),
} | {barred.value: (TITLES[barred], STATUSES[barred]) for barred in Barred}


def allowed_by(terms: Terms, refusal: Refusal) -> dict[str, int]:
    """What the market would allow in place of what was refused, for machines to correct."""
    name = refusal.name
    if name.endswith("PRICE_OFF_TICK"):
        return {"tick": terms.tick_minor}
    if name.endswith("QUANTITY_OFF_LOT"):
        return {"lot": terms.lot_units}
    if name.endswith("PRICE_TOO_LOW"):
        return {"min_price": terms.least_price_ticks * terms.tick_minor}
    if name.endswith("PRICE_TOO_HIGH"):
        return {"max_price": terms.most_price_ticks * terms.tick_minor}
    if refusal is Refusal.QUANTITY_TOO_SMALL:
        return {"min_quantity": terms.least_lots * terms.lot_units}
    if refusal is Refusal.QUANTITY_TOO_LARGE:
        return {"max_quantity": terms.most_lots * terms.lot_units}
    return {}
