"""What there is to count, and the kinds of account: added by finance, limits with a reason."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from unfold.admin import ModelAdmin

from edge.admin import ReadOnlyAdmin
from edge.audit import record
from edge.callers import client_ip
from wallet import freezing
from wallet.admin import words
from wallet.admin.forms import LIMITS, LimitsForm
from wallet.admin.pages import ask, clerk, page, require
from wallet.models import AccountKind, Asset


@admin.register(Asset)
class AssetAdmin(ModelAdmin):
    """Assets are added; what they are never changes, since amounts would change their meaning."""

    list_display = ("code", "name", "kind", "scale", "expires", "added_at")
    list_filter = ("kind", "expires")
    search_fields = ("=code", "name")
    fields = ("code", "name", "kind", "scale", "expires")
    ordering = ("code",)
    list_per_page = 50
    show_full_result_count = False
    actions = None

    @admin.display(description="Added (UTC)")
    def added_at(self, asset: Asset) -> str:
        return words.moment(asset.created_at)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(
        self, request: HttpRequest, obj: Asset, form: ModelForm[Asset], change: bool
    ) -> None:
        """Add the asset and write down who did."""
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            record(
                actor=clerk(request),
                action="wallet.add_asset",
                object_type="asset",
                object_id=obj.code,
                after={name: getattr(obj, name) for name in self.fields},
                ip=client_ip(request),
            )


@admin.register(AccountKind)
class AccountKindAdmin(ReadOnlyAdmin):
    """The purposes that accounts serve, and the limits that new ones are opened with."""

    list_display = ("code", "name", "side", "is_owned", *LIMITS)
    ordering = ("side", "code")
    sortable_by = ()
    actions = None

    @admin.display(description="Floor")
    def floor(self, kind: AccountKind) -> str:
        return words.number(kind.floor, 0)

    @admin.display(description="Ceiling")
    def ceiling(self, kind: AccountKind) -> str:
        return words.number(kind.ceiling, 0)

    @admin.display(description="Largest debit")
    def largest_debit(self, kind: AccountKind) -> str:
        return words.number(kind.largest_debit, 0)

    def get_urls(self) -> list[URLPattern]:
        """Add the page that changes the limits."""
        wrap = self.admin_site.admin_view
        address = path(
            "<slug:kind>/limits/", wrap(self.limits_view), name="wallet_accountkind_limits"
        )
        return [address, *super().get_urls()]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The kind's page."""
        require(request, "wallet.view_accountkind")
        kind = _kind(object_id)
        may_change = request.user.has_perm("wallet.change_accountkind")
        return page(
            self,
            request,
            "kind",
            kind.name,
            subtitle=f"Account kind {kind.pk}",
            facts=[
                ("Side of the books", kind.side),
                ("Belongs to", "a person" if kind.is_owned else "the house"),
                *((name.replace("_", " ").capitalize(), words.amount(getattr(kind, name), 0))
                  for name in LIMITS),
            ],
            limits=reverse("admin:wallet_accountkind_limits", args=[kind.pk]) * may_change,
        )  # fmt: skip

    def limits_view(self, request: HttpRequest, kind: str) -> HttpResponse:
        """Change what accounts of this kind are opened with."""
        require(request, "wallet.change_accountkind")
        found = _kind(kind)

        def do(said: dict[str, Any]) -> str:
            freezing.change_kind_limits(
                found.pk, actor=clerk(request), ip=client_ip(request), **said
            )
            return f"{found.name} has new limits."

        return ask(
            self,
            request,
            title=f"Limits of new accounts: {found.name}",
            explanation="In minor units. Accounts that are open keep the limits they have.",
            form=LimitsForm(request.POST or None, of=found, scale=0),
            facts=[("Kind", found.name), ("Side of the books", found.side)],
            back=reverse("admin:wallet_accountkind_change", args=[found.pk]),
            verb="Change limits",
            do=do,
        )


def _kind(code: str) -> AccountKind:
    kind = AccountKind.objects.in_bulk().get(code)
    if kind is None:
        raise Http404("There is no such kind of account.")
    return kind
