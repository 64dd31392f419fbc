"""A venue with two sellers and two buyers, and what must hold of it after every order."""

from __future__ import annotations

from orderbook.engine import MarketEngine
from orderbook.verifying import differences
from tests.orderbook.venue import Venue
from wallet.models import Account, Asset


def four_traders(**terms: int) -> Venue:
    """Sam and Ned sell, Bea and Ben buy; makers pay 0.5 %, takers 1 %."""
    venue = Venue(taker_fee_bps=100, maker_fee_bps=50, **terms)
    for seller in ("sam", "ned"):
        venue.join(seller, units=100)
    for buyer in ("bea", "ben"):
        venue.join(buyer, points=100_000)
    return venue


def opened(**terms: object) -> Venue:
    """A venue of these terms, with Sam and Tim who sell, Bea and Ben who buy."""
    venue = Venue(taker_fee_bps=100, maker_fee_bps=50, **terms)
    venue.join("sam", units=100)
    venue.join("tim", units=100)
    venue.join("bea", points=100_000)
    venue.join("ben", points=100_000)
    return venue


def assert_sound(venue: Venue) -> None:
    """Orders, holds and fills agree."""
    venue.market.refresh_from_db()
    assert list(differences(venue.market)) == []


def settled(venue: Venue) -> None:
    """Nothing is made or lost, holds and orders agree, and a restart knows the same."""
    venue.book.check()
    assert list(differences(venue.market)) == []
    for asset in (venue.points, venue.units):
        assert sum(Account.objects.filter(asset=asset).values_list("balance", flat=True)) == 0
    again = MarketEngine(venue.market.shard)
    again.load()
    ours, theirs = venue.engine.memory, again.memory
    assert theirs.markets[venue.market.pk].book.state_hash() == venue.book.state_hash()
    assert theirs.hold_of == ours.hold_of
    assert theirs.orders_of == ours.orders_of
    assert theirs.exposure.orders == ours.exposure.orders
    assert theirs.exposure.notional == ours.exposure.notional


def held(venue: Venue, who: str, asset: Asset) -> int:
    return venue.wallet(who, asset)[1]


def trade_at(venue: Venue, price: int) -> None:
    """Let one unit trade, so that the last price is known."""
    venue.run(venue.place("ned", "sell", price, 1), venue.place("ben", "buy", price, 1))
