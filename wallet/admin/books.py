"""The books as a whole: the trial balance as of a day, and the files that finance takes away."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.admin import ModelAdmin

from edge.callers import client_ip
from edge.fields import parse_id
from edge.problems import Refusal
from wallet.admin import words
from wallet.admin.forms import ExportForm
from wallet.admin.pages import clerk, page, require, told
from wallet.downloads import download
from wallet.exports import EXPORTS, Scope
from wallet.exports.balances import KindRow, kind_rows
from wallet.exports.snapshot import taken
from wallet.models import AccountKind


def addresses(admin: ModelAdmin) -> list[URLPattern]:
    """Where the books are found in the admin."""

    def books(request: HttpRequest) -> HttpResponse:
        return books_view(admin, request)

    def export(request: HttpRequest, name: str) -> HttpResponseBase:
        return export_view(admin, request, name)

    wrap = admin.admin_site.admin_view
    return [
        path("books/", wrap(books), name="wallet_books"),
        path("books/<slug:name>/", wrap(export), name="wallet_export"),
    ]


def books_view(admin: ModelAdmin, request: HttpRequest) -> HttpResponse:
    """The trial balance, and a button for each export of the same slice."""
    require(request, "wallet.export_ledger")
    return _books(admin, request, ExportForm(request.GET or None))


def export_view(admin: ModelAdmin, request: HttpRequest, name: str) -> HttpResponseBase:
    """Stream one file of the slice that the form says."""
    require(request, "wallet.export_ledger")
    export = EXPORTS.get(name)
    if export is None:
        raise Http404("There is no such export.")
    form = ExportForm(request.GET)
    if not form.is_valid():
        return _books(admin, request, form)
    try:
        scope = _scope(form, account_id=parse_id(request.GET.get("account")))
        return download(export, scope, actor=clerk(request), ip=client_ip(request))
    except Refusal as refusal:
        form.add_error(None, told(refusal))
        return _books(admin, request, form)


def _books(admin: ModelAdmin, request: HttpRequest, form: ExportForm) -> HttpResponse:
    is_good = not form.is_bound or form.is_valid()
    scope = _scope(form if form.is_bound else None) if is_good else None
    return page(
        admin,
        request,
        "books",
        "Trial balance and exports",
        opts=None,
        form=form,
        as_of=scope.end if scope else None,
        sheets=_sheets(scope) if scope else [],
        exports=[
            (export.title, reverse("admin:wallet_export", args=[export.name]), export.extension)
            for export in EXPORTS.values()
            if not export.needs_account
        ],
    )


def _scope(form: ExportForm | None, account_id: int | None = None) -> Scope:
    now = timezone.now()
    if form is None:
        return Scope(end=now)
    asset = form.cleaned_data.get("asset")
    return Scope(
        start=form.start,
        end=form.end(now),
        asset_id=asset.pk if asset else None,
        account_id=account_id,
        by_effective_date=form.cleaned_data.get("by_effective_date", False),
    )


def _sheets(scope: Scope) -> list[dict[str, Any]]:
    """One trial balance an asset: its kinds of account, and two totals that must agree."""
    names = dict(AccountKind.objects.values_list("code", "name"))
    with taken() as snapshot:
        rows = list(kind_rows(snapshot, scope))
    return [
        _sheet(asset, scale, list(kinds), names)
        for (asset, scale), kinds in groupby(rows, key=lambda row: (row.asset, row.scale))
    ]


def _sheet(asset: str, scale: int, kinds: list[KindRow], names: dict[str, str]) -> dict[str, Any]:
    debit = sum(-row.closing for row in kinds if row.closing < 0)
    credit = sum(row.closing for row in kinds if row.closing > 0)
    return {
        "asset": asset,
        "rows": [
            {
                "kind": names[row.kind],
                "side": row.side,
                "debit": words.amount(-row.closing, scale) if row.closing < 0 else "",
                "credit": words.amount(row.closing, scale) if row.closing > 0 else "",
            }
            for row in kinds
        ],
        "debit": words.amount(debit, scale),
        "credit": words.amount(credit, scale),
        "agrees": debit == credit,
    }
