"""Markets, orders and fills in the admin: markets are run from here, the rest is read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin

from accounts.models import User
from edge.admin import ReadOnlyAdmin
from edge.problems import Refusal
from edge.reasons import ReasonForm, do_with_reason
from orderbook import busts
from orderbook.actions import check_terms, instruct, open_market, reschedule, set_limit
from orderbook.models import Bust, DeadMansSwitch, Fill, Instruction, Market, Order, TradingLimit
from sequencer.models import Shard

Deed = Instruction.Deed
TERMS = (
    "code", "base_asset", "quote_asset", "tick_minor", "lot_units", "maker_fee_bps",
    "taker_fee_bps",
)  # fmt: skip
MOVE = "move_to_"
MOST_SHARDS_SHOWN = 32
NOT_STORED = ("starts", "reason")
"""What the form asks beside a market's fields."""
QUESTIONS = {
    Deed.OPEN: "Begin the opening auction of these markets?",
    Deed.HALT: "Halt these markets, until somebody resumes them?",
    Deed.RESUME: "Resume these markets, each through an auction?",
    Deed.CALL: "Interrupt trading in these markets by an auction?",
    Deed.UNCROSS: "End the auctions of these markets now?",
    Deed.CLOSE: "Cancel every order of these markets and close them for good?",
    Deed.CANCEL: "Cancel every waiting order of these markets?",
}


class MarketForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable
    """A market's terms, checked as a whole, and why they are set."""

    reason = ReasonForm.base_fields["reason"]

    starts = forms.ChoiceField(
        choices=[("open", "open at once"), ("scheduled", "scheduled")],
        required=False,
        help_text="A scheduled market takes no orders until its opening auction.",
    )

    class Meta:
        model = Market
        fields = (
            "code", "name", "base_asset", "quote_asset", "tick_minor", "lot_units", "least_lots",
            "most_lots", "least_price_ticks", "most_price_ticks", "maker_fee_bps",
            "taker_fee_bps", "shard", "opens_at", "closes_at", "auction_s", "halt_s",
            "static_band_bps", "dynamic_band_bps", "minimum_life_s",
        )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            known = {name: cleaned[name] for name in cleaned if name not in NOT_STORED}
            market = Market(**{**_plain(self.instance), **known})
            try:
                check_terms(market)
            except Refusal as refusal:
                raise forms.ValidationError(refusal.detail) from refusal
        return cleaned


@admin.register(Market)
class MarketAdmin(ModelAdmin):
    """Make a market, change its times and bands, and tell its writer what to do, with a reason."""

    form = MarketForm
    list_display = (
        "code", "name", "base_asset", "quote_asset", "state", "state_until", "opens_at",
        "closes_at", "shard",
    )  # fmt: skip
    list_filter = ("state", "shard")
    search_fields = ("code", "name")
    readonly_fields = ("state", "state_until", "reference_ticks", "created_at")
    ordering = ("code",)
    actions = ("begin", "halt", "resume", "call", "uncross", "close", "cancel_all")

    def get_readonly_fields(self, request: HttpRequest, obj: Market | None = None) -> Any:
        fixed = (*TERMS, "shard") if obj is not None else ()
        return (*self.readonly_fields, *fixed)

    def has_delete_permission(self, request: HttpRequest, obj: Market | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Market | None = None) -> bool:
        is_over = obj is not None and obj.state in (Market.State.CLOSING, Market.State.CLOSED)
        return super().has_change_permission(request, obj) and not is_over

    def get_fields(self, request: HttpRequest, obj: Market | None = None) -> Any:
        """A market starts once, and only a change has a reason."""
        fields = list(super().get_fields(request, obj))
        gone = set() if obj is None else {"starts"}
        if obj is not None and not self.has_change_permission(request, obj):
            gone = set(NOT_STORED)
        return [name for name in fields if name not in gone]

    def save_model(self, request: HttpRequest, obj: Market, form: Any, change: bool) -> None:
        asked, actor = form.cleaned_data, _clerk(request)
        if not change:
            obj.state = Market.State(asked.get("starts") or Market.State.OPEN)
            open_market(obj, actor=actor, reason=asked["reason"])
            return
        changed = {name: asked[name] for name in form.changed_data if name not in NOT_STORED}
        if changed:
            reschedule(obj.pk, reason=asked["reason"], actor=actor, **changed)

    def get_actions(self, request: HttpRequest) -> Any:
        """Besides the deeds: a move to each shard whose writer runs, if there are several."""
        actions = super().get_actions(request)
        running = Shard.objects.filter(state=Shard.State.RUNNING).order_by("pk")
        shards = [shard.pk for shard in running[:MOST_SHARDS_SHOWN]]
        if len(shards) > 1 and self.has_change_permission(request):
            for shard in shards:
                name = f"{MOVE}{shard}"
                actions[name] = (partial(_move_to, shard), name, f"Move to shard {shard}…")
        return actions

    @admin.action(description="Begin opening auction…", permissions=["change"])
    def begin(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._instruct(request, queryset, Deed.OPEN, "begin")

    @admin.action(description="Halt…", permissions=["change"])
    def halt(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._instruct(request, queryset, Deed.HALT, "halt")

    @admin.action(description="Resume…", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._instruct(request, queryset, Deed.RESUME, "resume")

    @admin.action(description="Call an auction…", permissions=["change"])
    def call(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._instruct(request, queryset, Deed.CALL, "call")

    @admin.action(description="End the auction now…", permissions=["change"])
    def uncross(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._instruct(request, queryset, Deed.UNCROSS, "uncross")

    @admin.action(description="Cancel all orders…", permissions=["change"])
    def cancel_all(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._instruct(request, queryset, Deed.CANCEL, "cancel_all")

    @admin.action(description="Close for good…", permissions=["change"])
    def close(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._instruct(request, queryset, Deed.CLOSE, "close")

    def _instruct(
        self, request: HttpRequest, queryset: QuerySet[Market], deed: Deed, action: str
    ) -> HttpResponse | None:
        return _ask(self, request, queryset, deed, action, QUESTIONS[deed])


@admin.register(Instruction)
class InstructionAdmin(ReadOnlyAdmin):
    """What operators asked of the writers, and what came of it."""

    list_display = (
        "id", "created_at", "market", "deed", "arguments", "actor", "state", "outcome", "done_at",
        "reason",
    )  # fmt: skip
    list_filter = ("state", "deed")
    search_fields = ("market__code",)
    list_select_related = ("market", "actor")
    ordering = ("-id",)
    show_full_result_count = False


@admin.register(TradingLimit)
class TradingLimitAdmin(ModelAdmin):
    """What people may have waiting: one row for everybody, and exceptions by person."""

    list_display = ("__str__", "most_open_orders", "most_open_notional", "reason")
    autocomplete_fields = ("user",)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if "reason" in form.base_fields:
            form.base_fields["reason"].required = True
        return form

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("user",) if obj is not None else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: TradingLimit, form: Any, change: bool) -> None:
        limit = set_limit(
            obj.user_id, most_open_orders=obj.most_open_orders,
            most_open_notional=obj.most_open_notional, reason=obj.reason, actor=_clerk(request),
        )  # fmt: skip
        obj.pk = limit.pk


@admin.register(DeadMansSwitch)
class DeadMansSwitchAdmin(ReadOnlyAdmin):
    """Which API keys promised to be heard from, and which were not."""

    list_display = ("key", "shard", "timeout_s", "is_armed", "renewal", "fired_at")
    list_filter = ("is_armed",)
    ordering = ("-is_armed", "-id")


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
    actions = ("cancel",)

    @admin.action(description="Cancel on behalf of their owners…")
    def cancel(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponse | None:
        def do(ids: list[int], reason: str) -> str:
            orders = Order.objects.filter(pk__in=ids).resting()
            for order in orders:
                instruct(
                    order.market_id, Deed.CANCEL, reason=reason, actor=_clerk(request),
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
        "id", "at", "market_id", "taker_side", "price_ticks", "quantity_lots", "amount_minor",
        "maker_user_id", "taker_user_id",
    )  # fmt: skip
    search_fields = ("=id", "=maker_user_id", "=taker_user_id", "=maker_order_id")
    ordering = ("-id",)
    show_full_result_count = False
    list_per_page = 50
    actions = ("ask_bust",)

    @admin.action(description="Ask that these trades be undone…")
    def ask_bust(self, request: HttpRequest, queryset: QuerySet[Fill]) -> HttpResponse | None:
        def do(ids: list[int], reason: str) -> str:
            for fill_id in ids:
                busts.request_bust(fill_id, actor=_clerk(request), reason=reason)
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
            told = [busts.approve(bust_id, actor=_clerk(request))[1] for bust_id in ids]
            missing = [shortfall.words for shortfall in told if shortfall is not None]
            return " ".join([f"{len(ids) - len(missing)} undone.", *missing])

        return self._decide(request, queryset, "approve", "Undo these trades?", do)

    @admin.action(description="Let these trades stand…")
    def reject(self, request: HttpRequest, queryset: QuerySet[Bust]) -> HttpResponse | None:
        def do(ids: list[int], reason: str) -> str:
            for bust_id in ids:
                busts.reject(bust_id, actor=_clerk(request), note=reason)
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


def _ask(
    admin: ModelAdmin,
    request: HttpRequest,
    queryset: QuerySet[Market],
    deed: Deed,
    action: str,
    question: str,
    **arguments: int,
) -> HttpResponse | None:
    """Ask for a reason, then leave an instruction for each of the markets; all or none."""

    def do(ids: list[int], reason: str) -> str:
        with transaction.atomic():
            for market_id in ids:
                instruct(market_id, deed, reason=reason, actor=_clerk(request), **arguments)
        return f"{len(ids)} asked to {deed.label}; see the instructions for what came of it."

    return do_with_reason(admin, request, queryset, action=action, question=question, do=do)


def _move_to(
    shard: int, admin: ModelAdmin, request: HttpRequest, queryset: QuerySet[Market]
) -> HttpResponse | None:
    question = f"Move these markets to shard {shard}, orders and all, while they trade?"
    return _ask(admin, request, queryset, Deed.MOVE, f"{MOVE}{shard}", question, shard=shard)


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
