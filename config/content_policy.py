"""What a browser may load on our pages: our own files, and nothing else.

Two corners need more: the admin's theme evaluates expressions in attributes and sets
inline styles, and the API docs carry one style block. Neither ever loads a foreign file.
"""

from __future__ import annotations

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest, HttpResponseBase

STRICT: dict[str, list[str]] = {
    "default-src": [NONE],
    "script-src": [SELF],
    "style-src": [SELF],
    "img-src": [SELF, "data:"],
    "font-src": [SELF],
    "connect-src": [SELF],
    "manifest-src": [SELF],
    "form-action": [SELF],
    "base-uri": [NONE],
    "frame-ancestors": [NONE],
    "object-src": [NONE],
}
LOOSER: dict[str, dict[str, list[str]]] = {
    "/admin/": {"script-src": [UNSAFE_EVAL], "style-src": [UNSAFE_INLINE]},
    "/api/docs/": {"style-src": [UNSAFE_INLINE]},
}
RECAPTCHA: dict[str, list[str]] = {
    "script-src": ["https://www.google.com/recaptcha/", "https://www.gstatic.com/recaptcha/"],
    "frame-src": ["https://www.google.com/recaptcha/"],
}
"""What Google's widget needs, where an operator has chosen to use it."""


def site_policy(*, with_recaptcha: bool) -> dict[str, list[str]]:
    """The policy of every page, before what single corners add."""
    extra = RECAPTCHA if with_recaptcha else {}
    names = {**STRICT, **extra}
    return {name: [*STRICT.get(name, []), *extra.get(name, [])] for name in names}


class ContentPolicy(CSPMiddleware):
    """Sends the policy with every answer."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        for prefix, added in LOOSER.items():
            if request.path.startswith(prefix) and parts.update is None:
                parts.update = dict(added)
        return parts
