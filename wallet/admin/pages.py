"""What the pages of the back office have in common: the frame, the form that asks, the doing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin

from accounts.models import User
from edge.problems import Refusal

Facts = list[tuple[str, Any]]
"""What a page states: names and values, in order."""


def clerk(request: HttpRequest) -> User:
    """Who is at work; the admin has let nobody else in."""
    assert isinstance(request.user, User)
    return request.user


def require(request: HttpRequest, right: str) -> None:
    """Refuse the page to whoever lacks the right."""
    if not request.user.has_perm(right):
        raise PermissionDenied


def page(
    admin: ModelAdmin, request: HttpRequest, template: str, title: str, **context: Any
) -> TemplateResponse:
    """A page in the admin's frame."""
    request.current_app = admin.admin_site.name
    return TemplateResponse(
        request,
        f"wallet/admin/{template}.html",
        {
            **admin.admin_site.each_context(request),
            "opts": admin.model._meta,
            "title": title,
            **context,
        },
    )


def ask(
    admin: ModelAdmin,
    request: HttpRequest,
    *,
    title: str,
    explanation: str,
    form: Form,
    facts: Facts,
    back: str,
    verb: str,
    do: Callable[[dict[str, Any]], str],
    is_grave: bool = False,
) -> HttpResponse:
    """Show what is about to be done, ask what must be said, then do it and go back.

    `do` gets the form's values and says what was done. A refusal is shown on the page, and
    nothing has happened.
    """
    if request.method == "POST" and form.is_valid():
        try:
            messages.success(request, do(form.cleaned_data))
        except Refusal as refusal:
            form.add_error(None, told(refusal))
        else:
            return HttpResponseRedirect(back)
    return page(
        admin,
        request,
        "ask",
        title,
        explanation=explanation,
        form=form,
        facts=facts,
        back=back,
        verb=verb,
        is_grave=is_grave,
    )


def told(refusal: Refusal) -> str:
    """A refusal in words for a person."""
    return f"{refusal.title}. {refusal.detail}".strip()
