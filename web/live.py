"""Pages that stay fresh: asked with `?live=1`, a page answers with only its moving parts.

live.js puts those parts in place of the old ones, so the same templates draw a page
whether or not the browser runs scripts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import conditional_page


def render_live(request: HttpRequest, template: str, context: Mapping[str, Any]) -> HttpResponse:
    """Draw a page, or only its moving parts (`…_live.html`) when asked for those.

    Parts that have not changed since the browser last asked are answered 304, without them.
    """
    if "live" not in request.GET:
        return render(request, template, dict(context))
    return _parts(request, template.replace(".html", "_live.html"), context)


@conditional_page
def _parts(request: HttpRequest, template: str, context: Mapping[str, Any]) -> HttpResponse:
    response = render(request, template, dict(context))
    response["Cache-Control"] = "private, no-cache"
    return response
