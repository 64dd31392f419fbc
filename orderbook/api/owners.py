"""One's own orders, fills and order events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.permissions import HasScope
from edge.fields import checked_query
from edge.pagination import CursorPage, Page, page, read_limit, write_cursor
from orderbook.api.own_serializers import OrderOut, OwnEventOut, OwnFillOut, PositionOut
from orderbook.api.serializers import FillQuery, OrderQuery, SequenceQuery
from orderbook.market_data.owners import (
    own_events_after,
    own_fills,
    own_order_named,
    own_orders,
    own_sequence,
)
from orderbook.models import Fill, Market, Order, OwnEvent

READ_ORDERS = HasScope.of(read="orders:read")


def _person_id(request: Request) -> int:
    assert request.user.pk is not None, "the permission lets only people in"
    return request.user.pk


def _markets_of(rows: Iterable[Any]) -> dict[int, Market]:
    """The markets that these orders, fills or events speak of."""
    named = {row.market_id for row in rows} - {None, 0}
    return Market.objects.select_related("base_asset", "quote_asset").in_bulk(named)


class _Listed(ListAPIView[Any]):
    """A list whose rows speak of markets."""

    permission_classes = (READ_ORDERS,)
    _page: Sequence[Any] = ()

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset)
        self._page = page or ()
        return page

    def get_serializer_context(self) -> dict[str, Any]:
        context = dict(super().get_serializer_context())
        return {**context, "markets": _markets_of(self._page), "user_id": self.request.user.pk}


class Orders(_Listed):
    """One's own orders on all markets, newest first; `?status=open` for those that wait."""

    serializer_class = OrderOut
    queryset = Order.objects.none()

    @extend_schema(operation_id="orders_list", parameters=[OrderQuery])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.list(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Order]:
        return own_orders(_person_id(self.request), checked_query(OrderQuery, self.request))


class OneOrder(APIView):
    """One of one's own orders."""

    permission_classes = (READ_ORDERS,)

    @extend_schema(operation_id="orders_read", responses=OrderOut)
    def get(self, request: Request, order_id: int) -> Response:
        order = Order.objects.of(_person_id(request)).filter(pk=order_id).first()
        if order is None:
            raise Http404
        return Response(OrderOut(order, context={"markets": _markets_of([order])}).data)


class OneOrderByName(APIView):
    """One of one's own orders, by its `client_order_id`."""

    permission_classes = (READ_ORDERS,)

    @extend_schema(operation_id="orders_read_by_client_id", responses=OrderOut)
    def get(self, request: Request, client_order_id: str) -> Response:
        order = own_order_named(_person_id(request), client_order_id)
        if order is None:
            raise Http404
        return Response(OrderOut(order, context={"markets": _markets_of([order])}).data)


class OwnEvents(_Listed):
    """What happened to one's own orders after a sequence, in order, without a gap."""

    serializer_class = OwnEventOut
    page_key = ("sequence",)
    queryset = OwnEvent.objects.none()

    @extend_schema(operation_id="orders_events", parameters=[SequenceQuery])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.list(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[OwnEvent]:
        asked = checked_query(SequenceQuery, self.request)
        return own_events_after(_person_id(self.request), asked["after"])


class OwnPosition(APIView):
    """How far one's own order events are numbered: read it, then the open orders, then follow."""

    permission_classes = (READ_ORDERS,)

    @extend_schema(operation_id="orders_events_position", responses=PositionOut)
    def get(self, request: Request) -> Response:
        return Response(PositionOut({"sequence": own_sequence(_person_id(request))}).data)


class FillPage(CursorPage):
    """Pages of fills as taker and as maker, merged: each list is a range of its own index."""

    def paginate_queryset(
        self, queryset: Any, request: Request, view: APIView | None = None
    ) -> list[Any]:
        self.request = request
        asked = checked_query(FillQuery, request)
        limit, cursor, scope = read_limit(asked.get("limit")), asked.get("cursor"), request.path
        parts = [
            page(fills, key=self.key, limit=limit, cursor=cursor, scope=scope)
            for fills in own_fills(_person_id(request), asked)
        ]
        rows = sorted((row for part in parts for row in part.rows), key=_id_of, reverse=True)
        has_more = len(rows) > limit or any(part.next_cursor for part in parts)
        rows = rows[:limit]
        following = None
        if has_more:
            # The scope that `page` gives its own cursors, so that each part takes this one back.
            following = write_cursor([rows[-1].pk], f"{scope}|{','.join(self.key)}")
        self.page = Page(rows, following)
        return rows


def _id_of(fill: Fill) -> int:
    return fill.pk


class Fills(_Listed):
    """One's own trades on all markets, newest first."""

    serializer_class = OwnFillOut
    pagination_class = FillPage
    queryset = Fill.objects.none()

    @extend_schema(operation_id="fills_list", parameters=[FillQuery])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.list(request, *args, **kwargs)
