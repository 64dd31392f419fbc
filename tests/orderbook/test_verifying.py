"""`market verify` finds what is wrong, names the row, and finds nothing where nothing is."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from orderbook.verifying import verify_market
from tests.orderbook.venue import Venue

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def venue() -> Venue:
    venue = Venue(taker_fee_bps=100)
    venue.join("sam", units=100)
    venue.join("bea", points=10_000)
    venue.run(
        venue.place("sam", "sell", 100, 5),
        venue.place("bea", "buy", 100, 2),
        venue.place("bea", "buy", 90, 4),
    )
    return venue


def tamper(sql: str) -> None:
    """Change a row as a bug or a burglar would: past the triggers and the constraints."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(sql)
        cursor.execute("SET session_replication_role = origin")


def test_a_sound_market_has_no_differences(venue: Venue) -> None:
    assert list(verify_market(venue.market)) == []
    call_command("market", "verify", venue.market.code)


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        (("UPDATE wallet_hold SET state = 2, remaining = 0 WHERE id = (SELECT min(id) FROM"
         " wallet_hold WHERE state = 0)"), "a waiting order without a hold"),
        (("UPDATE wallet_hold SET remaining = remaining - 1 WHERE id = (SELECT min(id) FROM"
         " wallet_hold WHERE state = 0)"), "a hold of 2 where 3 are needed"),
        ("UPDATE orderbook_order SET made_minor = made_minor + 1 WHERE made_minor > 0",
         "an order that disagrees with its fills"),
        ("DELETE FROM orderbook_fill", "an order that disagrees with its fills"),
        ("UPDATE orderbook_order SET state = 2, ended_id = id WHERE state = 0 AND side = 1",
         "an order hold without a waiting order"),
        ("UPDATE orderbook_order SET price_ticks = 100 WHERE side = 1 AND state = 0",
         "a book that cannot be: the best bid meets the best ask"),
    ],
)  # fmt: skip
def test_each_difference_is_named(venue: Venue, sql: str, problem: str) -> None:
    tamper(sql)
    assert problem in {difference.problem for difference in verify_market(venue.market)}
    with pytest.raises(CommandError, match="differences"):
        call_command("market", "verify", venue.market.code)
