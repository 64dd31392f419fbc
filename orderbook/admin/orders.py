"""Orders, fills and busts in the admin: read, cancelled on behalf, undone by two people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse

from accounts.models import User
from edge.admin import ReadOnlyAdmin
from edge.reasons import do_with_reason
from orderbook import busts
from orderbook.actions import instruct
from orderbook.admin.shown import brief, clerk, handle_of, with_market
from orderbook.answers import TIMES_IN_FORCE, TYPES, cancel_reason
from orderbook.models import (
    Bust,
    Fill,
    Instruction,
    Order,
    OrderState,
    SpecialOrder,
)

Deed = Instruction.Deed


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    """Orders of everybody: found by id, by person or by the client's own id."""

    list_display = (
        "id", "placed", "market", "owner", "type", "side", "price", "waiting", "state", "reason",
    )  # fmt: skip
    list_filter = ("state", "side")
    search_fields = ("=id", "=user_id")
    search_help_text = "An order's id, a person's id or handle"
    ordering = ("-id",)
    show_full_result_count = False
    list_per_page = 50
    actions = ("cancel",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        special = SpecialOrder.objects.filter(pk=OuterRef("pk")).values("cause")
        found: QuerySet[Order] = super().get_queryset(request)
        beside = {"handle": handle_of("user_id"), "cause": Coalesce(Subquery(special), 0)}
        return found.annotate(**with_market(), **beside)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        """Find a person's orders by handle too, which is another table's."""
        found, repeats = super().get_search_results(request, queryset, search_term)
        if term := search_term.strip():
            person = User.objects.filter(handle=term.removeprefix("@").lower()).first()
            found = found | queryset.filter(user_id=person.pk) if person else found
        return found, repeats

    @admin.display(ordering="id")
    def placed(self, order: Order) -> str:
        return brief(order.at)

    @admin.display()
    def market(self, order: Any) -> str:
        return str(order.market_code)

    @admin.display()
    def owner(self, order: Any) -> str:
        return f"@{order.handle}"

    @admin.display()
    def type(self, order: Order) -> str:
        return f"{TYPES[order.kind]}, {TIMES_IN_FORCE[order.time_in_force]}"

    @admin.display()
    def price(self, order: Any) -> int:
        return int(order.price_ticks * order.tick_minor)

    @admin.display(description="waits")
    def waiting(self, order: Any) -> str:
        lots = order.remaining_lots if order.state == OrderState.OPEN else 0
        return f"{lots * order.lot_units} of {order.quantity_lots * order.lot_units}"

    @admin.display(description="why")
    def reason(self, order: Any) -> str:
        why = cancel_reason(order.entry_state, order.state, order.cause)
        return (why or order.refusal).replace("_", " ")

    @admin.action(description="Cancel on behalf of their owners…")
    def cancel(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponse | None:
        def do(ids: list[int], reason: str) -> str:
            orders = Order.objects.filter(pk__in=ids).resting()
            for order in orders:
                instruct(
                    order.market_id, Deed.CANCEL, reason=reason, actor=clerk(request),
                    order_id=order.pk,
                )  # fmt: skip
            return f"{len(orders)} of {len(ids)} asked to be cancelled."

        if not request.user.has_perm("orderbook.change_market"):
            raise PermissionDenied
        question = "Cancel these orders on behalf of their owners?"
        return do_with_reason(self, request, queryset, action="cancel", question=question, do=do)


@admin.register(Fill)
class FillAdmin(ReadOnlyAdmin):
    """Trades, newest first."""

    list_display = (
        "id", "traded", "market", "taker_side", "price", "quantity", "amount_minor", "maker",
        "taker",
    )  # fmt: skip
    search_fields = ("=id", "=maker_user_id", "=taker_user_id", "=maker_order_id")
    ordering = ("-id",)
    show_full_result_count = False
    list_per_page = 50
    actions = ("ask_bust",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Fill]:
        found: QuerySet[Fill] = super().get_queryset(request)
        people = {
            "maker_handle": handle_of("maker_user_id"),
            "taker_handle": handle_of("taker_user_id"),
        }
        return found.annotate(**with_market(), **people)

    @admin.display(ordering="id")
    def traded(self, fill: Fill) -> str:
        return brief(fill.at)

    @admin.display()
    def market(self, fill: Any) -> str:
        return str(fill.market_code)

    @admin.display()
    def price(self, fill: Any) -> int:
        return int(fill.price_ticks * fill.tick_minor)

    @admin.display()
    def quantity(self, fill: Any) -> int:
        return int(fill.quantity_lots * fill.lot_units)

    @admin.display()
    def maker(self, fill: Any) -> str:
        return f"@{fill.maker_handle}"

    @admin.display()
    def taker(self, fill: Any) -> str:
        return f"@{fill.taker_handle}"

    @admin.action(description="Ask that these trades be undone…")
    def ask_bust(self, request: HttpRequest, queryset: QuerySet[Fill]) -> HttpResponse | None:
        def do(ids: list[int], reason: str) -> str:
            for fill_id in ids:
                busts.request_bust(fill_id, actor=clerk(request), reason=reason)
            return f"{len(ids)} asked for: somebody else must approve, under Busts."

        if not request.user.has_perm("orderbook.bust_trade"):
            raise PermissionDenied
        question = "Ask that these trades be undone?"
        return do_with_reason(self, request, queryset, action="ask_bust", question=question, do=do)


@admin.register(Bust)
class BustAdmin(ReadOnlyAdmin):
    """Trades that somebody asks to undo; somebody else approves or lets the trade stand."""

    list_display = (
        "id", "state", "fill_id", "market", "reason", "requested_by", "requested_at",
        "decided_by", "decided_at", "last_refusal", "note",
    )  # fmt: skip
    list_filter = ("state",)
    list_select_related = ("market", "requested_by", "decided_by")
    search_fields = ("=fill_id", "reason")
    ordering = ("state", "-id")
    show_full_result_count = False
    actions = ("approve", "reject")

    @admin.action(description="Undo these trades…")
    def approve(self, request: HttpRequest, queryset: QuerySet[Bust]) -> HttpResponse | None:
        def do(ids: list[int], reason: str) -> str:  # noqa: ARG001 (asked for with the bust)
            told = [busts.approve(bust_id, actor=clerk(request))[1] for bust_id in ids]
            missing = [shortfall.words for shortfall in told if shortfall is not None]
            return " ".join([f"{len(ids) - len(missing)} undone.", *missing])

        return self._decide(request, queryset, "approve", "Undo these trades?", do)

    @admin.action(description="Let these trades stand…")
    def reject(self, request: HttpRequest, queryset: QuerySet[Bust]) -> HttpResponse | None:
        def do(ids: list[int], reason: str) -> str:
            for bust_id in ids:
                busts.reject(bust_id, actor=clerk(request), note=reason)
            return f"{len(ids)} rejected."

        return self._decide(request, queryset, "reject", "Let these trades stand?", do)

    def _decide(
        self,
        request: HttpRequest,
        queryset: QuerySet[Bust],
        action: str,
        question: str,
        do: Callable[[list[int], str], str],
    ) -> HttpResponse | None:
        if not request.user.has_perm("orderbook.bust_trade"):
            raise PermissionDenied
        return do_with_reason(self, request, queryset, action=action, question=question, do=do)
