"""What the market's reads take and give. Prices are quote minor units for one lot, quantities
base units, amounts quote minor units; ids are texts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from edge.fields import Id, StrictSerializer, UtcDateTime
from edge.ids import time_of
from orderbook.answers import (
    SIDES,
    STATES,
)
from orderbook.candles import INTERVALS
from orderbook.feed_models import BookChange, Feed
from orderbook.market_data.books import DEPTH_LEVELS, MOST_LEVELS
from orderbook.market_data.days import change_bps, day_of, feed_of
from orderbook.market_data.faces import of_face_bps, rules_beside, trading_ends_at
from orderbook.market_data.messages import read_change
from orderbook.models import Fill, Market
from wallet.api.serializers import PageQuery, PeriodQuery

LARGEST_SEQUENCE = (1 << 62) - 1
OPTIONAL_INTEGER = serializers.IntegerField(allow_null=True)
SIDE_NAMES = ["buy", "sell"]


# -- in --------------------------------------------------------------------------------


class BookQuery(StrictSerializer):
    """How deep a snapshot goes."""

    levels = serializers.IntegerField(
        min_value=1, max_value=MOST_LEVELS, default=DEPTH_LEVELS, help_text="Levels a side."
    )


class SequenceQuery(PageQuery):
    """Where to go on in a feed."""

    after = serializers.IntegerField(
        min_value=0, max_value=LARGEST_SEQUENCE, help_text="The last sequence that you have."
    )


class CandleQuery(PeriodQuery):
    """Which candles."""

    interval = serializers.ChoiceField(list(INTERVALS), default="1h")


class OwnQuery(PeriodQuery):
    """What lists of one's own orders and fills may be narrowed to."""

    market = serializers.SlugRelatedField(
        slug_field="code", queryset=Market.objects.all(), required=False
    )
    side = serializers.ChoiceField(SIDE_NAMES, required=False)


class OrderQuery(OwnQuery):
    """Which of one's own orders."""

    status = serializers.ChoiceField(list(STATES.values()), required=False)


class FillQuery(OwnQuery):
    """Which of one's own fills."""

    role = serializers.ChoiceField(["maker", "taker"], required=False)
    order_id = Id(required=False)


# -- out: market data ------------------------------------------------------------------


class MarketFaceValueOut(serializers.Serializer[Any]):
    """What one unit of the base asset is worth to whoever redeems it."""

    amount = serializers.IntegerField()
    asset = serializers.CharField()


class MarketOut(serializers.Serializer[Market]):
    """A market's terms and its prices; null where there is none yet.

    `…_of_face_bps` is a price in hundredths of a percent of the face value: null where units
    have none, or one in another asset than the market's prices (points have no rate).
    """

    code = serializers.CharField()
    name = serializers.CharField()
    base_asset = serializers.CharField(source="base_asset.code")
    quote_asset = serializers.CharField(source="quote_asset.code")
    state = serializers.ChoiceField(Market.State.choices)
    tick = serializers.IntegerField(source="tick_minor")
    lot = serializers.IntegerField(source="lot_units")
    min_price = serializers.SerializerMethodField()
    max_price = serializers.SerializerMethodField()
    min_quantity = serializers.SerializerMethodField()
    max_quantity = serializers.SerializerMethodField()
    maker_fee_bps = serializers.IntegerField()
    taker_fee_bps = serializers.IntegerField()
    last_price = serializers.SerializerMethodField()
    best_bid = serializers.SerializerMethodField()
    best_ask = serializers.SerializerMethodField()
    change_24h_bps = serializers.SerializerMethodField()
    volume_24h = serializers.SerializerMethodField()
    face_value = serializers.SerializerMethodField()
    last_price_of_face_bps = serializers.SerializerMethodField()
    best_bid_of_face_bps = serializers.SerializerMethodField()
    best_ask_of_face_bps = serializers.SerializerMethodField()
    trading_ends_at = serializers.SerializerMethodField()

    def get_min_price(self, market: Market) -> int:
        return market.least_price_ticks * market.tick_minor

    def get_max_price(self, market: Market) -> int:
        return market.most_price_ticks * market.tick_minor

    def get_min_quantity(self, market: Market) -> int:
        return market.least_lots * market.lot_units

    def get_max_quantity(self, market: Market) -> int:
        return market.most_lots * market.lot_units

    @extend_schema_field(MarketFaceValueOut(allow_null=True))
    def get_face_value(self, market: Market) -> Any:
        rules = rules_beside(market)
        if rules is None or rules.face_value_asset is None:
            return None
        return {"amount": rules.face_value_minor, "asset": rules.face_value_asset.code}

    @extend_schema_field(OPTIONAL_INTEGER)
    def get_last_price_of_face_bps(self, market: Market) -> int | None:
        return of_face_bps(market, feed_of(market).last_price)

    @extend_schema_field(OPTIONAL_INTEGER)
    def get_best_bid_of_face_bps(self, market: Market) -> int | None:
        return of_face_bps(market, feed_of(market).bid_price)

    @extend_schema_field(OPTIONAL_INTEGER)
    def get_best_ask_of_face_bps(self, market: Market) -> int | None:
        return of_face_bps(market, feed_of(market).ask_price)

    @extend_schema_field(UtcDateTime(allow_null=True))
    def get_trading_ends_at(self, market: Market) -> str | None:
        moment = trading_ends_at(market)
        return UtcDateTime().to_representation(moment) if moment else None

    @extend_schema_field(OPTIONAL_INTEGER)
    def get_last_price(self, market: Market) -> int | None:
        return feed_of(market).last_price

    @extend_schema_field(OPTIONAL_INTEGER)
    def get_best_bid(self, market: Market) -> int | None:
        return feed_of(market).bid_price

    @extend_schema_field(OPTIONAL_INTEGER)
    def get_best_ask(self, market: Market) -> int | None:
        return feed_of(market).ask_price

    @extend_schema_field(OPTIONAL_INTEGER)
    def get_change_24h_bps(self, market: Market) -> int | None:
        return change_bps(market)

    def get_volume_24h(self, market: Market) -> int:
        return day_of(market).volume


class TickerOut(serializers.Serializer[Any]):
    """A market's best prices and last trade after the change `sequence`, and its last 24 hours.

    `open_24h` is the price of 24 hours ago. The day's window is whole minutes.
    """

    market = serializers.CharField()
    state = serializers.ChoiceField(Market.State.choices)
    sequence = serializers.IntegerField()
    best_bid = serializers.IntegerField(allow_null=True)
    best_bid_quantity = serializers.IntegerField(allow_null=True)
    best_ask = serializers.IntegerField(allow_null=True)
    best_ask_quantity = serializers.IntegerField(allow_null=True)
    last_price = serializers.IntegerField(allow_null=True)
    last_quantity = serializers.IntegerField(allow_null=True)
    last_trade_at = UtcDateTime(allow_null=True)
    open_24h = serializers.IntegerField(allow_null=True)
    high_24h = serializers.IntegerField(allow_null=True)
    low_24h = serializers.IntegerField(allow_null=True)
    volume_24h = serializers.IntegerField()
    turnover_24h = serializers.IntegerField()
    trades_24h = serializers.IntegerField()
    change_24h = serializers.IntegerField(allow_null=True)
    change_24h_bps = serializers.IntegerField(allow_null=True)


def ticker_of(market: Market) -> dict[str, Any]:
    """Lay out a market that came through `with_days`."""
    feed: Feed = feed_of(market)
    day = day_of(market)
    has_change = feed.last_price is not None and day.open is not None
    return {
        "market": market.code,
        "state": market.state,
        "sequence": feed.sequence,
        "best_bid": feed.bid_price,
        "best_bid_quantity": feed.bid_quantity,
        "best_ask": feed.ask_price,
        "best_ask_quantity": feed.ask_quantity,
        "last_price": feed.last_price,
        "last_quantity": feed.last_quantity,
        "last_trade_at": None if feed.last_fill_id is None else time_of(feed.last_fill_id),
        "open_24h": day.open,
        "high_24h": day.high,
        "low_24h": day.low,
        "volume_24h": day.volume,
        "turnover_24h": day.turnover,
        "trades_24h": day.trades,
        "change_24h": (feed.last_price or 0) - (day.open or 0) if has_change else None,
        "change_24h_bps": change_bps(market),
    }


class LevelOut(serializers.Serializer[Any]):
    """What waits at one price."""

    price = serializers.IntegerField()
    quantity = serializers.IntegerField()


class BookOut(serializers.Serializer[Any]):
    """The best prices of both sides, best first, after the change `sequence`.

    `has_more_…` says that a side goes on beyond these levels. `checksum` is over the best ten
    levels of each side.
    """

    sequence = serializers.IntegerField()
    checksum = serializers.IntegerField()
    bids = LevelOut(many=True)
    asks = LevelOut(many=True)
    has_more_bids = serializers.BooleanField()
    has_more_asks = serializers.BooleanField()


class ChangedLevelOut(LevelOut):
    """What waits at one price now; quantity 0: nothing any more."""

    side = serializers.ChoiceField(SIDE_NAMES)


class ChangeTradeOut(serializers.Serializer[Any]):
    """A trade within a change."""

    id = serializers.CharField(source="fill_id")
    taker_side = serializers.ChoiceField(SIDE_NAMES)
    price = serializers.IntegerField()
    quantity = serializers.IntegerField()
    amount = serializers.IntegerField()


class ChangeOut(serializers.Serializer[BookChange]):
    """What one commit did to a market: its trades, the levels it touched, its state after it."""

    sequence = serializers.IntegerField()
    checksum = serializers.IntegerField()
    at = UtcDateTime()
    state = serializers.ChoiceField(Market.State.choices)
    trades = ChangeTradeOut(many=True)
    levels = ChangedLevelOut(many=True)

    def to_representation(self, instance: BookChange) -> dict[str, Any]:
        change = read_change(instance.payload)
        return super().to_representation(
            {  # type: ignore[arg-type]  # laid out from the stored message
                "sequence": change.sequence,
                "checksum": change.checksum,
                "at": time_of(int(change.batch)),
                "state": change.state,
                "trades": change.trades,
                "levels": change.levels,
            }
        )


class TradeOut(serializers.Serializer[Fill]):
    """One trade on the tape; nobody is named."""

    id = Id()
    price = serializers.SerializerMethodField()
    quantity = serializers.SerializerMethodField()
    taker_side = serializers.SerializerMethodField()
    created_at = UtcDateTime(source="at")
    is_busted = serializers.BooleanField(help_text="The trade was undone later.")

    def _market(self, fill: Fill) -> Market:
        market: Market = self.context["markets"][fill.market_id]
        return market

    def get_price(self, fill: Fill) -> int:
        return fill.price_ticks * self._market(fill).tick_minor

    def get_quantity(self, fill: Fill) -> int:
        return fill.quantity_lots * self._market(fill).lot_units

    @extend_schema_field(serializers.ChoiceField(SIDE_NAMES))
    def get_taker_side(self, fill: Fill) -> str:
        return SIDES[fill.taker_side]


class CandleOut(serializers.Serializer[Any]):
    """The trades of one stretch of time; with `trades` 0 the price just held."""

    start = serializers.SerializerMethodField()
    open = serializers.IntegerField()
    high = serializers.IntegerField()
    low = serializers.IntegerField()
    close = serializers.IntegerField()
    volume = serializers.IntegerField()
    turnover = serializers.IntegerField()
    trades = serializers.IntegerField()

    @extend_schema_field(serializers.DateTimeField())
    def get_start(self, candle: Any) -> str:
        return f"{datetime.fromtimestamp(candle.start_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
