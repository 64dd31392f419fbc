"""The till: a partner's staff scan or type a code, see what it is worth, and use it."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts.models import User
from edge.problems import Refusal
from rewards.models import Partner, Redemption
from rewards.redemption import actions
from rewards.redemption.actions import Verdict, Wish
from rewards.redemption.rules import TITLES, Kind, Reason
from web.forms import TillForm, new_key
from web.people import person

TO_BE_ASKED = {Reason.ORDER_MISSING, Reason.AMOUNT_MISSING, Reason.CUSTOMER_MISSING}
"""What a first look lacks, and the second form asks for."""
LATEST_SHOWN = 10


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def till(request: HttpRequest) -> HttpResponse:
    """Ask for a code, show what it is worth, and use it once for each form."""
    clerk = person(request)
    partners = list(clerk.redeems_for.filter(is_active=True).order_by("name"))
    if not partners:
        raise Http404
    form = TillForm(partners, request.POST if request.method == "POST" else None)
    context: dict[str, Any] = {"form": form, "latest": _latest(partners), "key": new_key()}
    if not form.is_valid():
        return render(request, "web/till.html", context)
    try:
        context |= _look(clerk, form)
        if form.cleaned_data["confirmed"] and form.is_complete(context["verdict"].found.series):
            context |= _use(clerk, form, context["verdict"])
    except Refusal as refusal:
        context["problem"] = refusal
        return render(request, "web/till.html", context, status=refusal.status)
    return render(request, "web/till.html", context)


def _latest(partners: list[Partner]) -> list[Redemption]:
    redemptions = Redemption.objects.with_story().filter(partner__in=partners)
    return list(redemptions.order_by("-id")[:LATEST_SHOWN])


def _look(clerk: User, form: TillForm) -> dict[str, Any]:
    wish = Wish(typed=form.cleaned_data["code"], customer=form.customer())
    verdict = actions.qualify(form.partner, wish, actor=clerk)
    against = [reason for reason in verdict.reasons if reason not in TO_BE_ASKED]
    return {
        "verdict": verdict,
        "series": verdict.found.series,
        "against": [TITLES[reason] for reason in against],
        "asks_amount": verdict.found.series.kind == Kind.GIFT,
        "asks_order": verdict.found.series.kind in (Kind.PERCENTAGE, Kind.AMOUNT),
        "asks_customer": Reason.CUSTOMER_MISSING in verdict.reasons,
    }


def _use(clerk: User, form: TillForm, verdict: Verdict) -> dict[str, Any]:
    said = form.cleaned_data
    wish = Wish(
        typed=said["code"],
        customer=form.customer(),
        amount_minor=said.get("amount_minor"),
        order_minor=said.get("order_minor"),
    )
    outcome = actions.redeem(
        form.partner, wish, request=_named(clerk, form.partner, said["key"]), actor=clerk
    )
    return {"redemption": outcome.redemption, "series": verdict.found.series}


def _named(clerk: User, partner: Partner, key: str) -> uuid.UUID:
    """Name a use for ever. Person and partner are part of it, so nobody can take another's."""
    digest = hashlib.sha256(f"till\0{clerk.pk}\0{partner.pk}\0{key}".encode()).digest()
    return uuid.UUID(bytes=digest[:16])


@login_required
@never_cache
@require_POST
def undo(request: HttpRequest, redemption_id: int) -> HttpResponse:
    """Reverse a use that was a mistake, with a reason."""
    clerk = person(request)
    partners = list(clerk.redeems_for.filter(is_active=True))
    found = Redemption.objects.filter(pk=redemption_id, partner__in=partners).first()
    if found is None:
        raise Http404
    context: dict[str, Any] = {"key": new_key()}
    try:
        reason = request.POST.get("reason", "").strip()[:500] or "undone at the till"
        outcome = actions.reverse(found.pk, partner=found.partner, actor=clerk, reason=reason)
        context["undone"] = outcome.redemption
    except Refusal as refusal:
        context["problem"] = refusal
    context |= {"form": TillForm(partners), "latest": _latest(partners)}
    problem = context.get("problem")
    return render(request, "web/till.html", context, status=problem.status if problem else 200)
