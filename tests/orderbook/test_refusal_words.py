"""What a refusal says to a person, and to a machine that corrects itself."""

from __future__ import annotations

from typing import Any

import pytest

from orderbook.refusal_words import WORDS
from orderbook.terms import Refusal
from tests.orderbook.venue import Venue


@pytest.mark.parametrize("rule", [rule for rule in Refusal if rule is not Refusal.ACCEPTED])
def test_every_rule_has_words(rule: Refusal) -> None:
    title, status = WORDS[rule.code]
    assert title != rule.code.replace("_", " ").capitalize()
    assert 400 <= status < 500


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("terms", "price", "quantity", "refused"),
    [
        ({"tick_minor": 5}, 52, 2, {"code": "price_off_tick", "tick": 5}),
        ({"tick_minor": 5, "least_price_ticks": 2}, 5, 2,
         {"code": "price_too_low", "min_price": 10}),
        ({"most_price_ticks": 99}, 100, 2, {"code": "price_too_high", "max_price": 99}),
        ({"lot_units": 10}, 50, 12, {"code": "quantity_off_lot", "lot": 10}),
        ({"lot_units": 10, "least_lots": 3}, 50, 20,
         {"code": "quantity_too_small", "min_quantity": 30}),
        ({"most_lots": 3}, 50, 4, {"code": "quantity_too_large", "max_quantity": 3}),
    ],
)  # fmt: skip
def test_what_a_market_never_takes_is_refused_with_what_it_would_take(
    terms: dict[str, Any], price: int, quantity: int, refused: dict[str, Any]
) -> None:
    venue = Venue(**terms)
    venue.join("bea", points=10_000)
    [answer] = venue.run(venue.place("bea", "buy", price, quantity))
    assert refused.items() <= answer.items()
    assert (answer["http"], venue.points_of("bea")) == (422, (10_000, 0))
