"""What a shard's engine keeps in memory: its markets with their books, holds and accounts.

All of it is rebuilt from PostgreSQL by `load`, and the books can take back whatever has not
been committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.db import connection, transaction

from edge.postgres import raw_cursor
from orderbook.book import Book, Side
from orderbook.matching import MarketState, Terms
from orderbook.models import Market
from wallet.accounts import FEES, Purpose, open_accounts

FETCH_ROWS = 10_000
# The sum, not the newest: of two changes made at once the older revision may commit last.
REVISIONS = """
SELECT coalesce(sum(revision), 0)::bigint, nextval('orderbook_batch_sequence')
  FROM orderbook_market WHERE shard = %s
"""
NEWEST_ORDER = "SELECT coalesce(max(id), 0) FROM orderbook_order WHERE market_id = ANY(%s)"
LAST_PRICE = """
SELECT price_ticks FROM orderbook_fill WHERE market_id = %s ORDER BY id DESC LIMIT 1
"""
RESTING_ORDERS = """
SELECT id, user_id, side, price_ticks, remaining_lots, hold_id
  FROM orderbook_order WHERE market_id = %s AND state = 0 ORDER BY id
"""

STATES = {
    Market.State.OPEN: MarketState.OPEN,
    Market.State.HALTED: MarketState.HALTED,
    Market.State.CLOSED: MarketState.CLOSED,
}


class Trading:
    """One market as the engine trades it. Its terms may change; its book stays."""

    __slots__ = (
        "base_id", "book", "code", "fee_account_id", "id", "quote_code", "quote_id", "state",
        "terms",
    )  # fmt: skip

    def __init__(self, market: Market) -> None:
        self.id = market.pk
        self.book = Book()
        self.fee_account_id = 0
        self.adopt(market)

    def adopt(self, market: Market) -> None:
        """Take over what an operator changed: state, sizes, fees."""
        self.code = market.code
        self.base_id = market.base_asset_id
        self.quote_id = market.quote_asset_id
        self.quote_code = market.quote_asset.code
        self.state = STATES[Market.State(market.state)]
        self.terms = terms_of(market)

    def sides_of(self, side: Side) -> tuple[int, int]:
        """The assets that an order of this side pays with, and gets."""
        if side is Side.BUY:
            return self.quote_id, self.base_id
        return self.base_id, self.quote_id

    @property
    def tick_minor(self) -> int:
        return self.terms.tick_minor

    @property
    def lot_units(self) -> int:
        return self.terms.lot_units


def terms_of(market: Market) -> Terms:
    """The market's terms, as matching and settlement take them."""
    return Terms(
        tick_minor=market.tick_minor,
        lot_units=market.lot_units,
        least_price_ticks=market.least_price_ticks,
        most_price_ticks=market.most_price_ticks,
        least_lots=market.least_lots,
        most_lots=market.most_lots,
        maker_fee_bps=market.maker_fee_bps,
        taker_fee_bps=market.taker_fee_bps,
    )


class Memory:
    """The markets of one shard, the hold behind each resting order, and account ids."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.markets: dict[int, Trading] = {}
        self.hold_of: dict[int, int] = {}
        self.newest_order_id = 0
        self._accounts: dict[tuple[int, int], int] = {}
        self._revision = 0

    def load(self) -> None:
        """Forget everything and read it again. About 4 s for a million resting orders."""
        self.markets.clear()
        self.hold_of.clear()
        self._accounts.clear()
        self._revision = 0
        with transaction.atomic():
            self.refresh()

    def refresh(self) -> int:
        """Notice markets that an operator made or changed since the last batch.

        One small look-up when nothing changed, which also gives the number of the next batch:
        the batch's ids grow with it, so they are time priority. New markets are loaded with
        their orders. Inside a transaction.
        """
        with raw_cursor() as cursor:
            row = cursor.execute(REVISIONS, (self.shard,), prepare=True).fetchone()
        assert row is not None
        revision, sequence = row
        if revision != self._revision:
            self._adopt_markets()
            self._revision = revision
        return int(sequence)

    def _adopt_markets(self) -> None:
        markets = Market.objects.filter(shard=self.shard).select_related("quote_asset")
        for market in markets:
            known = self.markets.get(market.pk)
            if known is None:
                self.markets[market.pk] = self._opened(market)
            else:
                known.adopt(market)

    def _opened(self, market: Market) -> Trading:
        trading = Trading(market)
        fees = Purpose(None, market.quote_asset_id, FEES, f"market {market.code}"[:60])
        trading.fee_account_id = open_accounts([fees])[fees]
        with connection.cursor() as cursor:
            cursor.execute(LAST_PRICE, [market.pk])
            last = cursor.fetchone() or (0,)
        trading.book = Book.load(self._resting_rows(market.pk), last_ticks=last[0])
        with connection.cursor() as cursor:
            cursor.execute(NEWEST_ORDER, [[market.pk]])
            self.newest_order_id = max(self.newest_order_id, cursor.fetchone()[0])
        return trading

    def _resting_rows(self, market_id: int) -> Iterator[tuple[int, int, int, int, int]]:
        """The market's resting orders by id, which is their priority; notes their holds."""
        with transaction.atomic(), connection.chunked_cursor() as cursor:
            cursor.execute(RESTING_ORDERS, [market_id])
            while rows := cursor.fetchmany(FETCH_ROWS):
                for *order, hold_id in rows:
                    self.hold_of[order[0]] = hold_id
                    yield tuple(order)

    # -- accounts ----------------------------------------------------------------------------

    def account(self, user_id: int, asset_id: int) -> int:
        """The id of a person's wallet for an asset; it is known here."""
        return self._accounts[user_id, asset_id]

    def find_account(self, user_id: int, asset_id: int) -> int | None:
        """The id of a person's wallet for an asset, if it is known here."""
        return self._accounts.get((user_id, asset_id))

    def know_accounts(self, wanted: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Find, or open, the wallets of (person, asset); answer those that were not known.

        Inside the batch's transaction: if that fails, `forget_accounts` what was answered.
        """
        missing = [pair for pair in dict.fromkeys(wanted) if pair not in self._accounts]
        if missing:
            found = open_accounts(Purpose(user_id, asset_id) for user_id, asset_id in missing)
            for purpose, account_id in found.items():
                assert purpose.owner_id is not None
                self._accounts[purpose.owner_id, purpose.asset_id] = account_id
        return missing

    def forget_accounts(self, pairs: Iterable[tuple[int, int]]) -> None:
        """The transaction that opened these failed: they may not exist."""
        for pair in pairs:
            self._accounts.pop(pair, None)
