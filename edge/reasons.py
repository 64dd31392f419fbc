"""A page in the admin that asks "why?" before something is done to the chosen rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextareaWidget

from edge.problems import Refusal

MOST_ROWS = 500
LONGEST_REASON = 500


class ReasonForm(forms.Form):
    """One text: why this is done. It goes into the audit trail."""

    reason = forms.CharField(
        min_length=3,
        max_length=LONGEST_REASON,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "autofocus": True}),
    )


def do_with_reason(
    admin: ModelAdmin,
    request: HttpRequest,
    queryset: QuerySet[Any],
    *,
    action: str,
    question: str,
    do: Callable[[list[int], str], str],
) -> HttpResponse | None:
    """Ask for a reason, then do it; call this from an admin action and return its answer.

    `action` is the action's own name. `do(ids, reason)` runs once the reason is given and
    returns what to tell the clerk. A refusal is shown, not raised. At most 500 rows.
    """
    ids = list(queryset.values_list("pk", flat=True).order_by("pk")[: MOST_ROWS + 1])
    if len(ids) > MOST_ROWS:
        messages.error(request, f"Choose at most {MOST_ROWS} rows.")
        return None
    form = ReasonForm(request.POST if "reason" in request.POST else None)
    if not form.is_valid():
        return _page(admin, request, form, ids, action, question)
    try:
        messages.success(request, do(ids, form.cleaned_data["reason"]))
    except Refusal as refusal:
        messages.error(request, f"{refusal.title}. {refusal.detail}".strip())
    return None


def _page(
    admin: ModelAdmin,
    request: HttpRequest,
    form: ReasonForm,
    ids: list[int],
    action: str,
    question: str,
) -> TemplateResponse:
    context = {
        **admin.admin_site.each_context(request),
        "title": question,
        "opts": admin.model._meta,
        "form": form,
        "rows": admin.model._default_manager.filter(pk__in=ids[:20]),
        "ids": ids,
        "action": action,
        "action_checkbox_name": ACTION_CHECKBOX_NAME,
    }
    return TemplateResponse(request, "edge/ask_reason.html", context)
