"""Markets, orders and fills in the admin: markets are run from here, the rest is read."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin

from accounts.models import User
from edge.admin import ReadOnlyAdmin
from edge.problems import Refusal
from edge.reasons import do_with_reason
from orderbook.actions import change_state, check_terms, open_market
from orderbook.models import Fill, Market, Order

TERMS = (
    "code", "base_asset", "quote_asset", "tick_minor", "lot_units", "maker_fee_bps",
    "taker_fee_bps",
)  # fmt: skip


class MarketForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable
    """A market's terms, checked as a whole."""

    class Meta:
        model = Market
        fields = (
            "code", "name", "base_asset", "quote_asset", "tick_minor", "lot_units", "least_lots",
            "most_lots", "least_price_ticks", "most_price_ticks", "maker_fee_bps",
            "taker_fee_bps", "shard",
        )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            market = Market(**{**_plain(self.instance), **cleaned})
            try:
                check_terms(market)
            except Refusal as refusal:
                raise forms.ValidationError(refusal.detail) from refusal
        return cleaned


@admin.register(Market)
class MarketAdmin(ModelAdmin):
    """Open a market; halt it, let it trade again, or close it, each with a reason."""

    form = MarketForm
    list_display = ("code", "name", "base_asset", "quote_asset", "state", "shard", "created_at")
    list_filter = ("state",)
    search_fields = ("code", "name")
    readonly_fields = ("state", "created_at")
    ordering = ("code",)
    actions = ("halt", "reopen", "close")

    def get_readonly_fields(self, request: HttpRequest, obj: Market | None = None) -> Any:
        fixed = (*TERMS, "shard") if obj is not None else ()
        return (*self.readonly_fields, *fixed)

    def has_delete_permission(self, request: HttpRequest, obj: Market | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Market, form: Any, change: bool) -> None:
        if change:
            obj.save()
        else:
            open_market(obj, actor=_clerk(request))

    @admin.action(description="Halt…", permissions=["change"])
    def halt(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._change_state(request, queryset, Market.State.HALTED, "halt")

    @admin.action(description="Let trade again…", permissions=["change"])
    def reopen(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._change_state(request, queryset, Market.State.OPEN, "reopen")

    @admin.action(description="Close for good…", permissions=["change"])
    def close(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._change_state(request, queryset, Market.State.CLOSED, "close")

    def _change_state(
        self, request: HttpRequest, queryset: QuerySet[Market], state: Market.State, action: str
    ) -> HttpResponse | None:
        def do(ids: list[int], reason: str) -> str:
            for market_id in ids:
                change_state(market_id, state, reason=reason, actor=_clerk(request))
            return f"{len(ids)} now {state.label.lower()}."

        question = f"Set these markets to “{state.label.lower()}”?"
        return do_with_reason(self, request, queryset, action=action, question=question, do=do)


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    """Orders of everybody: found by id, by person or by the client's own id."""

    list_display = (
        "id", "at", "market_id", "user_id", "side", "price_ticks", "quantity_lots",
        "remaining_lots", "state", "client_order_id",
    )  # fmt: skip
    list_filter = ("state", "side")
    search_fields = ("=id", "=user_id")
    ordering = ("-id",)
    show_full_result_count = False
    list_per_page = 50


@admin.register(Fill)
class FillAdmin(ReadOnlyAdmin):
    """Trades, newest first."""

    list_display = (
        "id", "at", "market_id", "taker_side", "price_ticks", "quantity_lots", "amount_minor",
        "maker_user_id", "taker_user_id",
    )  # fmt: skip
    search_fields = ("=id", "=maker_user_id", "=taker_user_id", "=maker_order_id")
    ordering = ("-id",)
    show_full_result_count = False
    list_per_page = 50


def _clerk(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _plain(market: Market) -> dict[str, Any]:
    """The fields of a market that the form may not show."""
    return {
        field.name: getattr(market, field.name)
        for field in Market._meta.concrete_fields
        if field.name != "id" and not field.is_relation
    }
