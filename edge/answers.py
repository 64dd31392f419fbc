"""Errors of Django, DRF and PostgreSQL, told as problems.

`refusal_for` is the one table from exception to refusal. DRF calls `answer_exception`,
Django calls the four error views; both end there. What is no refusal is a bug: it is
logged and answered 500 without a word about the inside.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import redis
from django.core import exceptions as django_errors
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.template import TemplateDoesNotExist, loader
from django.views import defaults
from rest_framework import exceptions as drf
from rest_framework.views import set_rollback

from edge.problems import RateLimited, Refusal, Unavailable, answer

LONGEST_ERROR_LIST = 100
"""The most field errors one answer lists: a bad list of a million items gets a short answer."""
API_PREFIX = "/api/"
RETRY_CONNECTION_S = 2

Errors = list[dict[str, str]]


class InvalidQuery(drf.ValidationError):
    """Query parameters that do not validate: errors name a `parameter`, not a `pointer`."""


# -- the table -------------------------------------------------------------------------


def refusal_for(error: BaseException) -> Refusal | None:
    """Say which refusal an exception means, or `None` for a bug of ours."""
    if isinstance(error, Refusal):
        return error
    for kinds, make in _TABLE:
        if isinstance(error, kinds):
            refusal: Refusal | None = make(error)
            return refusal
    return None


def _validation(error: Any) -> Refusal:
    key = "parameter" if isinstance(error, InvalidQuery) else "pointer"
    errors: Errors = []
    for place, problem in _walk(error.detail, "" if key == "parameter" else "#"):
        errors.append({key: place.lstrip("/") if key == "parameter" else place, **problem})
        if len(errors) == LONGEST_ERROR_LIST:
            break
    return Refusal(
        "The request does not validate; `errors` says where.",
        code="invalid_request",
        title="The request is not valid",
        status=400,
        errors=errors,
    )


def _walk(detail: Any, place: str) -> Iterator[tuple[str, dict[str, str]]]:
    """List each error with its place, as a JSON Pointer in a URI fragment (RFC 6901)."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            token = str(name).replace("~", "~0").replace("/", "~1")
            yield from _walk(inner, place if name == "non_field_errors" else f"{place}/{token}")
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            is_nested = isinstance(inner, dict | list)
            yield from _walk(inner, f"{place}/{index}" if is_nested else place)
    else:
        yield place, {"code": getattr(detail, "code", "invalid"), "detail": str(detail)}


def _django_validation(error: Any) -> Refusal:
    return _validation(drf.ValidationError(detail=drf.ValidationError(error.messages).detail))


def _api(error: Any) -> Refusal:
    """Translate any other exception of DRF: its status, its code, its own words."""
    codes = error.get_codes()
    return Refusal(
        str(error.detail),
        code=_DRF_CODES.get(codes, codes) if isinstance(codes, str) else "invalid_request",
        title=HTTPStatus(error.status_code).phrase,
        status=error.status_code,
    )


def _unauthenticated(error: Any) -> Refusal:
    """Say 401 whatever the view accepts; DRF makes it 403 where there is only the session."""
    title = "Nobody is signed in"
    return Refusal(str(error.detail), code="unauthenticated", title=title, status=401)


_DRF_CODES = {
    "permission_denied": "forbidden",
    "throttled": "rate_limited",
    "parse_error": "malformed_body",
    "error": "server_error",
}


def _database(error: Any) -> Refusal:
    """Tell an unreachable database from one that is busy (deadlock, lock or statement timeout)."""
    sqlstate = getattr(error.__cause__, "sqlstate", None) or ""
    if sqlstate[:2] in {"40", "55"} or sqlstate == "57014":
        return Unavailable("Another request was in the way; try again.", code="busy")
    return Unavailable(
        "The database does not answer.",
        code="database_unavailable",
        retry_after_s=RETRY_CONNECTION_S,
    )


def _integrity(error: Any) -> Refusal | None:
    """A clash with another row is the caller's; any other broken constraint is our bug."""
    sqlstate = getattr(error.__cause__, "sqlstate", None)
    if sqlstate not in {"23505", "23503", "23P01"}:
        return None
    return _fixed("conflict", "The request clashes with what is already there", 409)(error)


def _fixed(code: str, title: str, status: int) -> Callable[[Any], Refusal]:
    return lambda _: Refusal(code=code, title=title, status=status)


def _throttled(error: Any) -> Refusal:
    return RateLimited("Slow down and try again later.", retry_after_s=error.wait or 1)


def _redis(error: Any) -> Refusal:
    return Unavailable(
        "The message server does not answer.",
        code="redis_unavailable",
        retry_after_s=RETRY_CONNECTION_S,
    )


_too_large = _fixed("body_too_large", "The request body is too large", 413)
_malformed = _fixed("malformed_body", "The request body cannot be read", 400)
_out_of_range = _fixed("value_out_of_range", "A value is out of range", 400)

# The first line that fits decides: narrower kinds stand above the kinds they belong to.
_TABLE: list[tuple[type[BaseException] | tuple[type[BaseException], ...], Callable[..., Any]]] = [
    (drf.ValidationError, _validation),
    (drf.Throttled, _throttled),
    ((drf.NotAuthenticated, drf.AuthenticationFailed), _unauthenticated),
    (drf.APIException, _api),
    (Http404, _fixed("not_found", "There is nothing here", 404)),
    (django_errors.ObjectDoesNotExist, _fixed("not_found", "There is nothing here", 404)),
    (django_errors.PermissionDenied, _fixed("forbidden", "You may not do this", 403)),
    (django_errors.ValidationError, _django_validation),
    (django_errors.RequestDataTooBig, _too_large),
    (django_errors.SuspiciousOperation, _fixed("bad_request", "The request is not valid", 400)),
    ((django_errors.BadRequest, MultiPartParserError, UnreadablePostError), _malformed),
    ((DataError, OverflowError), _out_of_range),
    (IntegrityError, _integrity),
    ((OperationalError, InterfaceError), _database),
    ((redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError), _redis),
]


# -- DRF -------------------------------------------------------------------------------


def problem_response(refusal: Refusal) -> HttpResponse:
    """The HTTP response that tells a refusal."""
    status, headers, body = answer(refusal)
    return HttpResponse(body, status=status, headers=headers)


def answer_exception(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """Answer an exception that left a DRF view; `None` lets a bug go on to handler500."""
    refusal = refusal_for(error)
    if refusal is None:
        return None
    set_rollback()
    return problem_response(refusal)


# -- Django's error views ----------------------------------------------------------------


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler400: problem+json under /api/, Django's page elsewhere."""
    if not _is_api(request):
        return defaults.bad_request(request, exception)
    refusal = refusal_for(exception)
    if refusal is None or refusal.status >= 500:
        refusal = _fixed("bad_request", "The request is not valid", 400)(exception)
    return problem_response(refusal)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler403: problem+json under /api/, Django's page elsewhere."""
    if not _is_api(request):
        return defaults.permission_denied(request, exception)
    return problem_response(_fixed("forbidden", "You may not do this", 403)(exception))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler404: problem+json under /api/, Django's page elsewhere."""
    if not _is_api(request):
        return defaults.page_not_found(request, exception)
    detail = "" if request.path.endswith("/") else "Addresses of the API end with a slash."
    refusal = Refusal(detail, code="not_found", title="There is nothing here", status=404)
    return problem_response(refusal)


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500: a database or Redis that does not answer is 503; the rest is a bug, 500."""
    error = sys.exc_info()[1]
    refusal = refusal_for(error) if error else None
    if _is_api(request):
        return problem_response(
            refusal or Refusal(code="server_error", title="Something went wrong here", status=500)
        )
    return _error_page(request, refusal) if refusal else defaults.server_error(request)


def _error_page(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """A page for people: the template `503.html` (or `400.html`, …), else one plain line."""
    try:
        text: str = loader.render_to_string(f"{refusal.status}.html", {"refusal": refusal})
    except TemplateDoesNotExist:
        text = f"<!doctype html><title>{refusal.title}</title><h1>{refusal.title}</h1>"
    response = HttpResponse(text, status=refusal.status)
    if retry_after := answer(refusal).headers.get("Retry-After"):
        response["Retry-After"] = retry_after
    return response


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith(API_PREFIX)
