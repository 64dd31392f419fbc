"""What a shard's engine keeps in memory: its markets with their books, holds and accounts.

All of it is rebuilt from PostgreSQL by `load`, and the books can take back whatever has not
been committed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec
from django.db import connection, transaction

from edge.journey import Answered, Journey
from orderbook.amending import amend
from orderbook.auction import collect
from orderbook.bands import Band, Within, band_around, is_beyond, place_within
from orderbook.book import Book, Order, Side, Special
from orderbook.eligibility import ends_us
from orderbook.instructions import Conditions, Place, SelfTrade, TimeInForce
from orderbook.lifecycle import Schedule
from orderbook.limits import NO_LIMIT, Exposure, Limit
from orderbook.market_data.feed import newest_sequences
from orderbook.matching import (
    Dropped,
    MarketState,
    Refusal,
    Report,
    Terms,
    enter,
    place,
    trigger,
)
from orderbook.models import Market, TradingLimit
from orderbook.pairs import place_pair
from orderbook.stops import stop_ticks_of
from wallet.accounts import FEES, Purpose, open_accounts
from wallet.door import Seen
from wallet.models import AssetRules
from wallet.ownership_rules import FREE

FETCH_ROWS = 10_000
# The sum, not the newest: of two changes made at once the older revision may commit last.
HAS_CHANGED = """
SELECT coalesce(sum(m.revision), 0)::bigint + count(*),
       EXISTS (SELECT FROM orderbook_instruction AS i
                 JOIN orderbook_market AS o ON o.id = i.market_id
                WHERE i.state = 0 AND o.shard = $1),
       nextval('orderbook_batch_sequence')
  FROM orderbook_market AS m WHERE m.shard = $1
"""
NEWEST_ORDER = "SELECT coalesce(max(id), 0) FROM orderbook_order WHERE market_id = ANY(%s)"
LAST_PRICE = """
SELECT price_ticks FROM orderbook_fill WHERE market_id = %s ORDER BY id DESC LIMIT 1
"""
ORDERS_OF_KEYS = """
SELECT key_id, id FROM orderbook_order
 WHERE market_id = %s AND state = 0 AND key_id = ANY(%s) ORDER BY id
"""
LIVE_ORDERS = """
SELECT id, user_id, side, price_ticks, shown_lots, hold_id,
       CASE WHEN is_special THEN ARRAY[remaining_lots, time_in_force, self_trade, stop_ticks,
            minimum_lots, peak_lots, expires_us, partner_id, turn, priority_id] END
  FROM orderbook_live WHERE market_id = %s ORDER BY priority_id, priority_index
"""

STATES = {
    Market.State.SCHEDULED: MarketState.SCHEDULED,
    Market.State.AUCTION: MarketState.AUCTION,
    Market.State.OPEN: MarketState.OPEN,
    Market.State.HALTED: MarketState.HALTED,
    Market.State.CLOSING: MarketState.CLOSING,
    Market.State.CLOSED: MarketState.CLOSED,
}
STATE_NAMES = {state: name.value for name, state in STATES.items()}
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Trading:
    """One market as the engine trades it. Its terms may change; its book stays."""

    __slots__ = (
        "_collected", "base_id", "book", "code", "dynamic_band_bps", "ends_us", "fee_account_id",
        "feed_sequence", "id", "is_guarded", "ownership", "quote_code", "quote_id",
        "reference_ticks", "revision", "schedule", "state", "static_band_bps", "terms",
        "uncross_ticks",
    )  # fmt: skip

    def __init__(self, market: Market) -> None:
        self.id = market.pk
        self.book = Book()
        self.fee_account_id = 0
        self.feed_sequence: int | None = None
        self._collected: dict[int, list[int]] | None = None
        self.adopt(market)

    def adopt(self, market: Market) -> None:
        """Take over what an operator changed: state, sizes, fees."""
        self.code = market.code
        self.base_id = market.base_asset_id
        self.quote_id = market.quote_asset_id
        self.quote_code = market.quote_asset.code
        self.terms = terms_of(market)
        self.revision = market.revision
        self.static_band_bps = market.static_band_bps
        self.dynamic_band_bps = market.dynamic_band_bps
        rules: AssetRules | None = getattr(market.base_asset, "rules", None)
        self.ownership = rules.ownership if rules else FREE
        self.ends_us = ends_us(self.ownership, market.minimum_life_s)
        self.is_guarded = bool(self.ends_us) or self.ownership.binds
        # When its units may not be traded any more, the market closes by itself.
        closes_us = min(filter(None, (_microseconds(market.closes_at), self.ends_us)), default=0)
        self.schedule = Schedule(
            opens_us=_microseconds(market.opens_at),
            closes_us=closes_us,
            auction_s=market.auction_s,
            halt_s=market.halt_s,
        )
        state, until_us = STATES[Market.State(market.state)], _microseconds(market.state_until)
        self.turn(state, until_us, market.reference_ticks, market.uncross_ticks)

    def turn(
        self, state: MarketState, until_us: int, reference_ticks: int, uncross_ticks: int
    ) -> None:
        """Take over where the market stands now."""
        self.state = state
        self.schedule = msgspec.structs.replace(self.schedule, until_us=until_us)
        self.reference_ticks = reference_ticks
        self.uncross_ticks = uncross_ticks
        if state is not MarketState.AUCTION:
            self._collected = None

    def enter(self, order: Place) -> tuple[Report, bool]:
        """Match a new order as the market's state has it; say whether the market must halt.

        A stop does not meet the band before it runs.
        """
        if self.state is MarketState.AUCTION:
            return self._collect(order), False
        if not self.dynamic_band_bps or stop_ticks_of(order):
            return place(self.book, order), False
        reference_ticks = self.book.last_ticks or self.reference_ticks
        return place_within(self.book, order, band_around(reference_ticks, self.dynamic_band_bps))

    def enter_pair(self, limit: Place, stop: Place) -> tuple[Report, Report, bool]:
        """Match a pair, or neither of it; say whether the market must halt."""
        within = Within(self._dynamic_band(), via=place)
        return *place_pair(self.book, limit, stop, via=within), within.halts

    def amend(self, order: Place) -> tuple[Report, bool]:
        """Let a live order be what this says; say whether the market must halt."""
        within = Within(self._dynamic_band(), via=enter)
        return amend(self.book, order, via=within), within.halts

    def run_stop(self) -> tuple[Report, bool]:
        """Match the stop whose turn it is; say whether the market must halt."""
        if not self.dynamic_band_bps:
            return trigger(self.book), False
        band = band_around(self.book.last_ticks or self.reference_ticks, self.dynamic_band_bps)
        halts = False

        def within(book: Book, order: Place, most_fills: int, dropped: list[Dropped]) -> Report:
            nonlocal halts
            entering = partial(_enter, dropped)
            report, halts = place_within(book, order, band, most_fills, via=entering)
            return report

        return trigger(self.book, via=within), halts

    def rule(self, side: Side, price_ticks: int) -> Refusal:
        """Say whether an order of this limit is beyond the market's static band."""
        if not self.static_band_bps:
            return Refusal.ACCEPTED
        band = band_around(self.reference_ticks, self.static_band_bps)
        return Refusal.PRICE_BEYOND_BAND if is_beyond(band, side, price_ticks) else Refusal.ACCEPTED

    def _dynamic_band(self) -> Band | None:
        return band_around(self.book.last_ticks or self.reference_ticks, self.dynamic_band_bps)

    def _collect(self, order: Place) -> Report:
        """Let an order wait for the auction, if it does not meet one of its owner's own.

        Whose orders wait is noted only while an auction gathers. Orders that left since are
        still named here, so that taking back costs nothing; the book knows better.
        """
        book, owner_id = self.book, order.owner_id
        if self._collected is None:
            self._collected = {}
            for waiting in book.orders.values():
                self._collected.setdefault(waiting.owner_id, []).append(waiting.order_id)
        ids = self._collected.setdefault(owner_id, [])
        report = collect(book, order, [book.orders[id] for id in ids if id in book.orders])
        if report.resting_lots:
            ids.append(order.order_id)
        return report

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


def _enter(dropped: list[Dropped], book: Book, order: Place, most_fills: int) -> Report:
    return enter(book, order, most_fills, dropped)


def _microseconds(moment: datetime | None) -> int:
    return 0 if moment is None else (moment - UNIX_EPOCH) // timedelta(microseconds=1)


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
    """The markets of one shard, the hold behind each live order, whose it is, and account ids.

    `orders_of` says of each person with live orders which these are, and of which market;
    `seen` what the ledger's accounts and holds were like.
    """

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.markets: dict[int, Trading] = {}
        self.hold_of: dict[int, int] = {}
        self.orders_of: dict[int, dict[int, int]] = {}
        self.exposure = Exposure()
        self.watched: dict[int | None, list[tuple[int, int]]] = {}
        """The orders (market, order) of API keys that have a dead man's switch."""
        self.has_instructions = False
        self.sequence = 0
        self.newest_order_id = 0
        self.seen = Seen()
        self._accounts: dict[tuple[int, int], int] = {}
        self._revision = 0

    def load(self) -> None:
        """Forget everything and read it again. About 4 s for a million resting orders."""
        self.markets.clear()
        self.hold_of.clear()
        self.orders_of.clear()
        self._accounts.clear()
        self.seen.clear()
        self.exposure.clear()
        self.watched.clear()
        self._revision = 0
        with transaction.atomic():
            self.refresh()

    def refresh(self) -> None:
        """Notice markets that an operator made or changed since the last batch.

        One small look-up when nothing changed. New markets are loaded with their orders.
        Inside a transaction.
        """
        journey = Journey()
        self.ask(journey)
        [changed] = journey.run()
        revision = self.hear(changed)
        if revision != self._revision:
            self._adopt_markets()
            self._revision = revision

    def ask(self, journey: Journey) -> None:
        """Ask whether anything has changed; see `hear`."""
        journey.add(HAS_CHANGED, self.shard)

    def hear(self, changed: Answered) -> int:
        """Take in the answer: the markets' revision, whether operators wait, the next sequence.

        Ids of batches differ by the sequence where two shards meet in one tick of the clock.
        """
        [[revision, self.has_instructions, self.sequence]] = changed.fetchall()
        return int(revision)

    def is_stale(self, changed: Answered | None = None) -> bool:
        """Say whether an operator changed a market, or asked for something. Changes no market."""
        if changed is None:
            journey = Journey()
            self.ask(journey)
            [changed] = journey.run()
        return self.hear(changed) != self._revision or self.has_instructions

    def _adopt_markets(self) -> None:
        markets = list(
            Market.objects.filter(shard=self.shard).select_related(
                "quote_asset", "base_asset__rules"
            )
        )
        for market_id in self.markets.keys() - {market.pk for market in markets}:
            self._let_go(market_id)
        fees = {
            market.pk: Purpose(None, market.quote_asset_id, FEES, f"market {market.code}"[:60])
            for market in markets
        }
        accounts = open_accounts(fees.values())
        for market in markets:
            known = self.markets.get(market.pk)
            if known is None:
                known = self.markets[market.pk] = self._opened(market)
                self._watch(market.pk)
            else:
                known.adopt(market)
            # Of a known one too: the batch that opened its account may have failed.
            known.fee_account_id = accounts[fees[market.pk]]

    def _watch(self, market_id: int) -> None:
        """Note the orders of watched keys in a market that has come here with its orders."""
        if not self.watched:
            return
        with connection.cursor() as cursor:
            cursor.execute(ORDERS_OF_KEYS, [market_id, list(self.watched)])
            for key_id, order_id in cursor.fetchall():
                noted = self.watched[key_id]
                if (market_id, order_id) not in noted:
                    noted.append((market_id, order_id))

    def _let_go(self, market_id: int) -> None:
        """Forget a market that was moved to another shard."""
        trading = self.markets.pop(market_id)
        book = trading.book
        live: list[Order | Place] = [*book.orders.values(), *book.stops.commands.values()]
        for order in live:
            self.set_hold(order.order_id, order.owner_id, market_id, None)
            left = book.lots_left(order.order_id)
            self._expose(trading, order.owner_id, -1, order.price_ticks, -left)
        self.exposure.forget()

    def _expose(
        self, trading: Trading, user_id: int, orders: int, price_ticks: int, lots: int
    ) -> None:
        notional_minor = price_ticks * lots * trading.tick_minor
        self.exposure.add(user_id, trading.quote_id, orders, notional_minor)

    def _opened(self, market: Market) -> Trading:
        trading = Trading(market)
        trading.book = self.book_of(trading)
        self.exposure.forget()
        with connection.cursor() as cursor:
            cursor.execute(NEWEST_ORDER, [[market.pk]])
            self.newest_order_id = max(self.newest_order_id, cursor.fetchone()[0])
        return trading

    def book_of(self, trading: Trading) -> Book:
        """Read a market's book: its live orders in their priority. Notes their holds."""
        with connection.cursor() as cursor:
            cursor.execute(LAST_PRICE, [trading.id])
            (last_ticks,) = cursor.fetchone() or (0,)
        stops: list[tuple[Place, int]] = []
        specials: dict[int, Special] = {}
        return Book.load(
            self._live_rows(trading, stops, specials),
            stops=stops, specials=_paired(specials), last_ticks=last_ticks,
        )  # fmt: skip

    def _live_rows(
        self, trading: Trading, stops: list[tuple[Place, int]], specials: dict[int, Special]
    ) -> Iterator[tuple[int, int, int, int, int]]:
        """The orders that wait in the book; those that wait for their price go to `stops`."""
        with transaction.atomic(), connection.chunked_cursor() as cursor:
            cursor.execute(LIVE_ORDERS, [trading.id])
            while rows := cursor.fetchmany(FETCH_ROWS):
                for *order, hold_id, beside in rows:
                    self.set_hold(order[0], order[1], trading.id, hold_id)
                    left = order[4] if beside is None else beside[0]
                    self._expose(trading, order[1], 1, order[3], left)
                    if beside is None or set_apart(order, beside, stops, specials):
                        yield tuple(order)
                    if beside is not None:
                        self.newest_order_id = max(self.newest_order_id, beside[-1])

    def set_hold(self, order_id: int, user_id: int, market_id: int, hold_id: int | None) -> None:
        """Note the hold of a live order; None: it lives no more."""
        if hold_id is not None:
            self.hold_of[order_id] = hold_id
            self.orders_of.setdefault(user_id, {})[order_id] = market_id
        elif self.hold_of.pop(order_id, None) is not None:
            own = self.orders_of[user_id]
            del own[order_id]
            if not own:
                del self.orders_of[user_id]

    def know_limits(self) -> None:
        """Read what people may have waiting."""
        own: dict[int, Limit] = {}
        self.exposure.everybodys = NO_LIMIT
        for row in TradingLimit.objects.all():
            limit = Limit(row.most_open_orders, row.most_open_notional)
            if row.user_id is None:
                self.exposure.everybodys = limit
            else:
                own[row.user_id] = limit
        self.exposure.own = own

    def forget_markets(self) -> None:
        """A batch failed: read again with the next what it may have turned or opened."""
        self._revision = 0

    def know_sequences(self, markets: Iterable[Trading]) -> None:
        """Read the numbers of markets' last changes, where they are not known."""
        missing = {trading.id: trading for trading in markets if trading.feed_sequence is None}
        if missing:
            for market_id, sequence in newest_sequences(missing).items():
                missing[market_id].feed_sequence = sequence

    # -- accounts ----------------------------------------------------------------------------

    def account(self, user_id: int, asset_id: int) -> int:
        """The id of a person's wallet for an asset; it is known here."""
        return self._accounts[user_id, asset_id]

    def find_account(self, user_id: int, asset_id: int) -> int | None:
        """The id of a person's wallet for an asset, if it is known here."""
        return self._accounts.get((user_id, asset_id))

    def know_accounts(
        self, wanted: Collection[tuple[int, int]]
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Find, or open, the wallets of (person, asset); answer also those that were not known.

        Inside the batch's transaction: if that fails, `forget_accounts` what was not known.
        """
        known = self._accounts
        missing = [pair for pair in wanted if pair not in known]
        if missing:
            found = open_accounts(Purpose(user_id, asset_id) for user_id, asset_id in missing)
            for purpose, account_id in found.items():
                assert purpose.owner_id is not None
                known[purpose.owner_id, purpose.asset_id] = account_id
        return [known[pair] for pair in wanted], missing

    def forget_accounts(self, pairs: Iterable[tuple[int, int]]) -> None:
        """The transaction that opened these failed: they may not exist."""
        for pair in pairs:
            self._accounts.pop(pair, None)


def set_apart(
    order: list[int],
    beside: list[int],
    stops: list[tuple[Place, int]],
    specials: dict[int, Special],
) -> bool:
    """Note what sets a live order apart, as it was read; say whether it waits in the book."""
    remaining, in_force, self_trade, stop, minimum, peak, expires, partner_id, turn, _ = beside
    order_id, owner_id, side, price_ticks, shown = order
    is_stop = stop > 0
    specials[order_id] = Special(
        peak_lots=0 if is_stop else peak,
        hidden_lots=0 if is_stop else remaining - shown,
        expires_us=expires,
        partner_id=partner_id,
    )
    if is_stop:
        conditions = Conditions(
            stop_ticks=stop, minimum_lots=minimum, peak_lots=peak, expires_us=expires
        )
        command = Place(
            order_id, owner_id, Side(side), price_ticks, remaining, TimeInForce(in_force),
            SelfTrade(self_trade), conditions,
        )  # fmt: skip
        stops.append((command, turn))
    return not is_stop


def _paired(specials: dict[int, Special]) -> Iterator[tuple[int, Special]]:
    """Leave out partners that do not live any more: such an order excludes nobody."""
    for order_id, special in specials.items():
        is_alone = special.partner_id not in specials
        yield order_id, msgspec.structs.replace(special, partner_id=0) if is_alone else special
