"""One's own vouchers: units by series, revealing a code, and the codes revealed so far."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import User
from edge.callers import client_ip
from edge.pagination import InvalidCursor, page
from edge.problems import Refusal
from orderbook.models import Market
from rewards.images import Form, drawn
from rewards.models import Cover, Reveal, Series
from rewards.revealing import Opened, RevealUnknown, masked, reveal, view
from web.forms import OnceForm, name_of_wish, new_key
from web.people import available_of, own_wallets, person

REVEALS_SHOWN = 20


@login_required
@never_cache
@require_safe
def vouchers(request: HttpRequest) -> HttpResponse:
    """Show the vouchers one can use, and the codes one has seen."""
    owner = person(request)
    try:
        reveals = page(
            Reveal.objects.of(owner.pk),
            key=("-id",),
            limit=REVEALS_SHOWN,
            cursor=request.GET.get("cursor"),
            scope=f"web.vouchers:{owner.pk}",
        )
    except InvalidCursor:
        raise Http404 from None
    context = {
        "vouchers": _own_vouchers(owner),
        "reveals": [{"reveal": each, "masked": masked(each)} for each in reveals.rows],
        "next_cursor": reveals.next_cursor,
        "is_first_page": "cursor" not in request.GET,
    }
    return render(request, "web/vouchers.html", context)


def _own_vouchers(owner: User) -> list[dict[str, Any]]:
    """The wallets that hold vouchers, each with its series and a market for it."""
    wallets = [wallet for wallet in own_wallets(owner.pk) if wallet.asset.kind == "series"]
    wallets = [wallet for wallet in wallets if wallet.balance > 0]
    asset_ids = [wallet.asset_id for wallet in wallets]
    series = {each.asset_id: each for each in Series.objects.public().filter(asset__in=asset_ids)}
    markets = _markets_of(asset_ids)
    return [
        {
            "wallet": wallet,
            "series": series[wallet.asset_id],
            "market": markets.get(wallet.asset_id),
        }
        for wallet in wallets
        if wallet.asset_id in series
    ]


def _markets_of(asset_ids: Iterable[int]) -> dict[int, str]:
    markets = Market.objects.filter(base_asset__in=list(asset_ids), state=Market.State.OPEN)
    return dict(markets.order_by("-code").values_list("base_asset_id", "code"))


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def reveal_code(request: HttpRequest, series: str) -> HttpResponse:
    """Ask whether to give up a unit for a code; then do it, once for each form."""
    owner = person(request)
    found = get_object_or_404(Series.objects.public(), asset__code=series)
    units = available_of(own_wallets(owner.pk), found.asset_id)
    form = OnceForm(request.POST if request.method == "POST" else None)
    context = {"series": found, "units": units, "key": new_key()}
    if not form.is_valid():
        return render(request, "web/reveal_confirm.html", context)
    try:
        opened = reveal(
            series_code=series,
            owner=owner,
            request=name_of_wish("web", owner, series, form.cleaned_data["key"]),
            ip=client_ip(request),
        )
    except Refusal as refusal:
        context["problem"] = refusal
        return render(request, "web/reveal_confirm.html", context, status=refusal.status)
    return _shown(request, opened)


@login_required
@never_cache
@require_POST
def show_code(request: HttpRequest, reveal_id: int) -> HttpResponse:
    """Show a revealed code to its owner again. Each look is written down."""
    try:
        opened = view(reveal_id=reveal_id, owner=person(request), ip=client_ip(request))
    except RevealUnknown:
        raise Http404 from None
    except Refusal as refusal:
        messages.error(request, f"{refusal.detail or refusal.title}.")
        return redirect("vouchers")
    return _shown(request, opened)


def _shown(request: HttpRequest, opened: Opened) -> HttpResponse:
    context = {
        "reveal": opened.reveal,
        "code": opened.code.for_its_owner(),
        "picture": _picture(opened.code.for_its_owner()),
        "is_replay": opened.is_replay,
        "has_guarantee": Cover.objects.filter(pk=opened.reveal.pk).exists(),
    }
    return render(request, "web/code.html", context)


def _picture(code: str) -> str:
    """The code as a QR code within the page, for a till to scan from the screen."""
    image = drawn(code, Form.QR).encode()
    return f"data:image/svg+xml;base64,{base64.b64encode(image).decode()}"
