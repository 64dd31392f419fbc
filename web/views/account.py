"""One's own account: the name others see, and the API keys of one's programs."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.actions import create_key, revoke_keys
from accounts.models import ApiKey
from accounts.roles import Role
from edge.callers import client_ip
from edge.problems import Refusal
from web.forms import KeyForm, ProfileForm
from web.people import person

KEYS_SHOWN = 50


@login_required
@never_cache
@require_safe
def account(request: HttpRequest) -> HttpResponse:
    """Show who one is, and one's API keys."""
    return _account(request)


@login_required
@never_cache
@require_POST
def change_profile(request: HttpRequest) -> HttpResponse:
    """Change the name that others see."""
    form = ProfileForm(request.POST, instance=person(request))
    if not form.is_valid():
        return _account(request, status=422, profile=form)
    # What was read with it may have changed meanwhile: a person who was shut out stays out.
    form.save(commit=False).save(update_fields=form.changed_data)
    messages.success(request, "Saved.")
    return redirect("account")


@login_required
@never_cache
@require_http_methods(["POST"])
def make_key(request: HttpRequest) -> HttpResponse:
    """Make an API key and show it, this once."""
    owner = person(request)
    form = KeyForm(request.POST, works_in_finance=owner.works_in(Role.FINANCE))
    if form.is_valid():
        try:
            made = create_key(owner, ip=client_ip(request), **form.terms)
        except Refusal as refusal:
            form.add_error(None, f"{refusal.detail or refusal.title}.")
        else:
            return render(request, "web/new_key.html", {"made": made})
    return _account(request, status=422, key_form=form)


@login_required
@never_cache
@require_POST
def revoke_key(request: HttpRequest, key_id: int) -> HttpResponse:
    """Revoke one of one's keys, at once and for good."""
    owner = person(request)
    key = ApiKey.objects.filter(pk=key_id, owner=owner).first()
    if key is None:
        raise Http404
    revoke_keys([key.pk], by=owner, reason="", ip=client_ip(request))
    messages.success(request, f"The key “{key.name}” is revoked.")
    return redirect("account")


def _account(request: HttpRequest, *, status: int = 200, **forms: Any) -> HttpResponse:
    owner = person(request)
    now = timezone.now()
    keys = ApiKey.objects.filter(owner_id=owner.pk).order_by("-pk")[:KEYS_SHOWN]
    context = {
        "profile": ProfileForm(instance=owner),
        "keys": [{"key": key, "state": key.state_at(now)} for key in keys],
        "redeems": owner.redeems_for.filter(is_active=True).exists(),
        **forms,
    }
    if "key_form" not in context:
        context["key_form"] = KeyForm(works_in_finance=owner.works_in(Role.FINANCE))
    return render(request, "web/account.html", context, status=status)
