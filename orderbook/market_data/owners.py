"""Reads of one's own orders, fills and order events, each from an index of the owner's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from edge.ids import LARGEST_ID, batch_of, first_id, first_id_at
from orderbook.commands import client_order_digest
from orderbook.market_data.books import ChangesGone, SequenceUnknown
from orderbook.models import ClientOrder, Fill, Order, OrderState, OwnEvent, OwnFeed

SIDES = {"buy": 1, "sell": 2}
STATES = {state.name.lower(): state for state in OrderState}


def own_orders(user_id: int, asked: Mapping[str, Any]) -> QuerySet[Order]:
    """One's orders: by `market`, `side`, `status`, and when they were placed."""
    found = _between(Order.objects.of(user_id), asked)
    if "market" in asked:
        found = found.filter(market_id=asked["market"].pk)
    if "side" in asked:
        found = found.filter(side=SIDES[asked["side"]])
    if "status" in asked:
        found = found.filter(state=STATES[asked["status"]])
    return found


def own_order_named(user_id: int, client_order_id: str) -> Order | None:
    """The order that somebody placed under a name of their own, however long ago."""
    digest = client_order_digest(user_id, client_order_id)
    named = ClientOrder.objects.filter(digest=UUID(bytes=digest)).first()
    return None if named is None else Order.objects.filter(pk=named.order_id).first()


def own_fills(user_id: int, asked: Mapping[str, Any]) -> list[QuerySet[Fill]]:
    """One's fills as taker and as maker: two lists, because each has an index of its own.

    Nobody trades with themselves, so no fill is in both.
    """
    roles = [asked["role"]] if "role" in asked else ["taker", "maker"]
    return [_in_role(user_id, role, asked) for role in roles]


def _in_role(user_id: int, role: str, asked: Mapping[str, Any]) -> QuerySet[Fill]:
    found = _between(Fill.objects.with_busts().filter(**{f"{role}_user_id": user_id}), asked)
    if "market" in asked:
        found = found.filter(market_id=asked["market"].pk)
    if "side" in asked:
        side = SIDES[asked["side"]]
        found = found.filter(taker_side=side if role == "taker" else 3 - side)
    if "order_id" in asked:
        first, last = _life_of(user_id, asked["order_id"])
        found = found.filter(pk__gte=first, pk__lte=last, **{f"{role}_order_id": asked["order_id"]})
    return found


def _life_of(user_id: int, order_id: int) -> tuple[int, int]:
    """The range of ids that an order's fills lie in; an empty one for another's order."""
    order = Order.objects.of(user_id).filter(pk=order_id).first()
    if order is None:
        return 1, 0
    last = LARGEST_ID if order.ended_id is None else first_id(batch_of(order.ended_id) + 1) - 1
    return first_id(batch_of(order_id)), last


def _between(found: QuerySet[Any], asked: Mapping[str, Any]) -> QuerySet[Any]:
    if "since" in asked:
        found = found.filter(pk__gte=id_at(asked["since"]))
    if "to" in asked:
        found = found.filter(pk__lt=id_at(asked["to"]))
    return found


def id_at(moment: datetime) -> int:
    """The smallest id of a row written then or later, within what ids can be."""
    return min(first_id_at(moment), LARGEST_ID)


# -- events ----------------------------------------------------------------------------


def own_sequence(user_id: int) -> int:
    """How far one's own events are numbered; 0 before the first."""
    feed = OwnFeed.objects.filter(user_id=user_id).first()
    return feed.sequence if feed else 0


def own_events_after(user_id: int, sequence: int) -> QuerySet[OwnEvent]:
    """One's kept events after a sequence. Refuses one that is too old, or not made yet."""
    newest = own_sequence(user_id)
    if sequence > newest:
        raise SequenceUnknown(sequence=newest)
    kept = OwnEvent.objects.filter(user_id=user_id)
    oldest = kept.order_by("sequence").values_list("sequence", flat=True).first()
    if sequence < newest and sequence + 1 < (oldest or newest + 1):
        raise ChangesGone(sequence=(oldest or newest + 1) - 1)
    return kept.filter(sequence__gt=sequence)
