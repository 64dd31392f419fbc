"""Market data for everybody: terms, prices, book, changes, tape and candles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from edge.fields import checked_query
from edge.ids import EPOCH
from edge.pagination import CursorPage, Page, read_cursor, read_limit, write_cursor
from orderbook.api.serializers import (
    BookOut,
    BookQuery,
    CandleOut,
    CandleQuery,
    ChangeOut,
    MarketOut,
    SequenceQuery,
    TickerOut,
    TradeOut,
    ticker_of,
)
from orderbook.candles import INTERVALS
from orderbook.market_data.books import changes_after, depth
from orderbook.market_data.charts import candles
from orderbook.market_data.days import with_days
from orderbook.market_data.owners import id_at
from orderbook.models import BookChange, Fill, Market
from wallet.api.serializers import PageQuery, PeriodQuery


def find_market(code: str) -> Market:
    """Get a market by its code, or answer 404."""
    market = Market.objects.select_related("base_asset", "quote_asset").filter(code=code).first()
    if market is None:
        raise Http404
    return market


def _with_day(code: str) -> Market:
    market = with_days(Market.objects.filter(code=code), now=timezone.now()).first()
    if market is None:
        raise Http404
    return market


class Markets(ListAPIView[Market]):
    """All markets with their prices, in the order they were opened. One statement."""

    permission_classes = (AllowAny,)
    serializer_class = MarketOut
    page_key = ("id",)
    queryset = Market.objects.none()

    @extend_schema(operation_id="markets_list", parameters=[PageQuery])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.list(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Market]:
        return with_days(Market.objects.all(), now=timezone.now())


class OneMarket(APIView):
    """One market's terms and prices."""

    permission_classes = (AllowAny,)

    @extend_schema(operation_id="markets_read", responses=MarketOut)
    def get(self, request: Request, market: str) -> Response:
        return Response(MarketOut(_with_day(market)).data)


class MarketTicker(APIView):
    """The best bid and offer, the last trade, and the last 24 hours."""

    permission_classes = (AllowAny,)

    @extend_schema(operation_id="markets_ticker", responses=TickerOut)
    def get(self, request: Request, market: str) -> Response:
        return Response(TickerOut(ticker_of(_with_day(market))).data)


class MarketBook(APIView):
    """A snapshot of the book by price, as new as the last commit."""

    permission_classes = (AllowAny,)

    @extend_schema(operation_id="markets_book", parameters=[BookQuery], responses=BookOut)
    def get(self, request: Request, market: str) -> Response:
        asked = checked_query(BookQuery, request)
        return Response(BookOut(depth(find_market(market), asked["levels"])).data)


class MarketChanges(ListAPIView[BookChange]):
    """The changes after a sequence, in order; 410 `changes_gone` where they are too old."""

    permission_classes = (AllowAny,)
    serializer_class = ChangeOut
    page_key = ("sequence",)
    queryset = BookChange.objects.none()

    @extend_schema(operation_id="markets_changes", parameters=[SequenceQuery])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.list(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[BookChange]:
        asked = checked_query(SequenceQuery, self.request)
        return changes_after(find_market(self.kwargs["market"]), asked["after"])


class MarketTrades(ListAPIView[Fill]):
    """The tape: a market's trades, newest first."""

    permission_classes = (AllowAny,)
    serializer_class = TradeOut
    queryset = Fill.objects.none()

    @extend_schema(operation_id="markets_trades", parameters=[PeriodQuery])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.list(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Fill]:
        asked = checked_query(PeriodQuery, self.request)
        self.market = find_market(self.kwargs["market"])
        fills = Fill.objects.with_busts().filter(market_id=self.market.pk)
        if "since" in asked:
            fills = fills.filter(pk__gte=id_at(asked["since"]))
        return fills.filter(pk__lt=id_at(asked["to"])) if "to" in asked else fills

    def get_serializer_context(self) -> dict[str, Any]:
        market: Market | None = getattr(self, "market", None)
        markets = {market.pk: market} if market else {}
        return {**super().get_serializer_context(), "markets": markets}


class CandlePage(CursorPage):
    """Pages of candles: computed, because a candle without trades has no row."""

    def paginate_queryset(
        self, queryset: Any, request: Request, view: APIView | None = None
    ) -> list[Any]:
        assert view is not None
        self.request = request
        asked = checked_query(CandleQuery, request)
        market = find_market(view.kwargs["market"])
        interval_s = INTERVALS[asked["interval"]]
        scope = f"{request.path}|{interval_s}"
        limit = read_limit(asked.get("limit"))
        newest = timezone.now()
        if "to" in asked:
            newest = min(newest, max(asked["to"], EPOCH) - timedelta(microseconds=1))
        if "cursor" in asked:
            (last_s,) = read_cursor(asked["cursor"], scope, 1)
            newest = datetime.fromtimestamp(last_s, UTC)
        oldest_s = _oldest_start(asked.get("since"), interval_s)
        rows, has_older = candles(market, interval_s=interval_s, last=newest, count=limit)
        kept = [row for row in reversed(rows) if row.start_s >= oldest_s]
        has_older = has_older and len(kept) == limit and kept[-1].start_s > oldest_s
        following = write_cursor([kept[-1].start_s - interval_s], scope) if has_older else None
        self.page = Page(kept, following)
        return kept


def _oldest_start(since: datetime | None, interval_s: int) -> int:
    """The start of the first candle that lies wholly at or after a moment."""
    return 0 if since is None else ceil(since.timestamp() / interval_s) * interval_s


class MarketCandles(ListAPIView[Any]):
    """Candles, newest first, without gaps: where nothing traded the price holds."""

    permission_classes = (AllowAny,)
    serializer_class = CandleOut
    pagination_class = CandlePage
    queryset = Fill.objects.none()

    @extend_schema(operation_id="markets_candles", parameters=[CandleQuery])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.list(request, *args, **kwargs)
