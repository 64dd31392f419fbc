"""Markets in the admin: made, changed, halted, moved, each with a reason; and limits."""

from __future__ import annotations

from functools import partial
from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin

from edge.admin import ReadOnlyAdmin
from edge.problems import Refusal
from edge.reasons import ReasonForm, do_with_reason
from orderbook.actions import check_terms, instruct, open_market, reschedule, set_limit
from orderbook.admin.shown import brief, clerk, worded
from orderbook.market_data.days import feed_of
from orderbook.models import (
    DeadMansSwitch,
    Instruction,
    Market,
    TradingLimit,
)
from sequencer.models import Shard

Deed = Instruction.Deed
TERMS = (
    "code", "base_asset", "quote_asset", "tick_minor", "lot_units", "maker_fee_bps",
    "taker_fee_bps",
)  # fmt: skip
SIZES_SHOWN = ("least_lots", "most_lots", "least_price_ticks", "most_price_ticks")
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
        labels = {
            "tick_minor": "Tick", "lot_units": "Lot", "least_lots": "Smallest order, lots",
            "most_lots": "Largest order, lots", "least_price_ticks": "Lowest price, ticks",
            "most_price_ticks": "Highest price, ticks", "maker_fee_bps": "Maker's fee, bps",
            "taker_fee_bps": "Taker's fee, bps", "auction_s": "Auction, seconds",
            "halt_s": "Halt, seconds", "static_band_bps": "Static band, bps",
            "dynamic_band_bps": "Dynamic band, bps", "minimum_life_s": "Least life left, seconds",
        }  # fmt: skip

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
        "code", "name", "state", "until", "last_price", "best_prices", "closes", "shard",
    )  # fmt: skip
    list_filter = ("state", "shard")
    list_select_related = ("feed",)
    search_fields = ("code", "name")
    readonly_fields = ("state", "state_until", "reference_ticks", "created_at")
    ordering = ("code",)
    actions = ("begin", "halt", "resume", "call", "uncross", "close", "cancel_all")

    @admin.display(description="until", ordering="state_until")
    def until(self, market: Market) -> str:
        return brief(market.state_until)

    @admin.display(description="closes", ordering="closes_at")
    def closes(self, market: Market) -> str:
        return brief(market.closes_at)

    @admin.display(description="last price")
    def last_price(self, market: Market) -> str:
        return worded(feed_of(market).last_price)

    @admin.display(description="bid / ask")
    def best_prices(self, market: Market) -> str:
        feed = feed_of(market)
        return f"{worded(feed.bid_price)} / {worded(feed.ask_price)}"

    def get_readonly_fields(self, request: HttpRequest, obj: Market | None = None) -> Any:
        fixed = (*TERMS, "shard") if obj is not None else ()
        return (*self.readonly_fields, *fixed)

    def has_delete_permission(self, request: HttpRequest, obj: Market | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Market | None = None) -> bool:
        is_over = obj is not None and obj.state in (Market.State.CLOSING, Market.State.CLOSED)
        return super().has_change_permission(request, obj) and not is_over

    def get_fieldsets(self, request: HttpRequest, obj: Market | None = None) -> Any:
        """A market starts once, and only what is made or changed has a reason."""
        asked: tuple[str, ...] = ("starts", "reason") if obj is None else ("reason",)
        if obj is not None and not self.has_change_permission(request, obj):
            asked = ()
        now = ("state", "state_until", "reference_ticks", "created_at")
        return [
            (None, {"fields": ("name", *asked) if obj else ("code", "name", *asked)}),
            *([] if obj is None else [("Now", {"fields": now})]),
            ("Times", {"fields": ("opens_at", "closes_at", "auction_s", "halt_s")}),
            ("Bands", {"fields": ("static_band_bps", "dynamic_band_bps")}),
            ("Orders", {"fields": (*SIZES_SHOWN, "minimum_life_s")}),
            ("Fixed once it is made", {"fields": (*(TERMS if obj else TERMS[1:]), "shard")}),
        ]

    def save_model(self, request: HttpRequest, obj: Market, form: Any, change: bool) -> None:
        asked, actor = form.cleaned_data, clerk(request)
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
        "id", "asked", "market", "deed", "arguments", "actor", "state", "outcome", "done", "reason",
    )  # fmt: skip
    list_filter = ("state", "deed")
    search_fields = ("market__code",)
    list_select_related = ("market", "actor")
    ordering = ("-id",)
    show_full_result_count = False

    @admin.display(ordering="created_at")
    def asked(self, instruction: Instruction) -> str:
        return brief(instruction.created_at)

    @admin.display(ordering="done_at")
    def done(self, instruction: Instruction) -> str:
        return brief(instruction.done_at)


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
            most_open_notional=obj.most_open_notional, reason=obj.reason, actor=clerk(request),
        )  # fmt: skip
        obj.pk = limit.pk


@admin.register(DeadMansSwitch)
class DeadMansSwitchAdmin(ReadOnlyAdmin):
    """Which API keys promised to be heard from, and which were not."""

    list_display = ("key", "shard", "timeout_s", "is_armed", "renewal", "fired_at")
    list_filter = ("is_armed",)
    ordering = ("-is_armed", "-id")


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
                instruct(market_id, deed, reason=reason, actor=clerk(request), **arguments)
        return f"{len(ids)} asked to {deed.label}; see the instructions for what came of it."

    return do_with_reason(admin, request, queryset, action=action, question=question, do=do)


def _move_to(
    shard: int, admin: ModelAdmin, request: HttpRequest, queryset: QuerySet[Market]
) -> HttpResponse | None:
    question = f"Move these markets to shard {shard}, orders and all, while they trade?"
    return _ask(admin, request, queryset, Deed.MOVE, f"{MOVE}{shard}", question, shard=shard)


def _plain(market: Market) -> dict[str, Any]:
    """The fields of a market that the form may not show."""
    return {
        field.name: getattr(market, field.name)
        for field in Market._meta.concrete_fields
        if field.name != "id" and not field.is_relation
    }
