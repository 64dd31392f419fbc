"""Prices beside the face value of what they buy, and when trading in it ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orderbook.eligibility import ends_us, percent_of_face_bps
from orderbook.models import Market
from wallet.models import AssetRules

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rules_beside(market: Market) -> AssetRules | None:
    """Get the rules of what a market trades; none for most. Free if they were selected along."""
    rules: AssetRules | None = getattr(market.base_asset, "rules", None)
    return rules


def of_face_bps(market: Market, price_minor: int | None) -> int | None:
    """Say a price as hundredths of a percent of the face value, where the two compare."""
    rules = rules_beside(market)
    if not price_minor or rules is None or rules.face_value_minor is None:
        return None
    if rules.face_value_asset_id != market.quote_asset_id:
        return None
    return percent_of_face_bps(price_minor, market.lot_units, rules.face_value_minor)


def trading_ends_at(market: Market) -> datetime | None:
    """Say when the units' own rules end the trading in them."""
    rules = rules_beside(market)
    ends = ends_us(rules.ownership, market.minimum_life_s) if rules else 0
    return UNIX_EPOCH + timedelta(microseconds=ends) if ends else None
