"""Django's common middleware, without redirects under /api/."""

from __future__ import annotations

from django.http import HttpRequest
from django.middleware.common import CommonMiddleware

from edge.answers import API_PREFIX


class ExactAddresses(CommonMiddleware):
    """Leads people to the address with its last slash, but no program.

    A program that follows the redirect of a POST sends a GET: it would read the list of
    payments and believe that it paid.
    """

    def should_redirect_with_slash(self, request: HttpRequest) -> bool:
        """Say whether to lead on; under /api/ an address without its slash is not there."""
        return not request.path.startswith(API_PREFIX) and super().should_redirect_with_slash(
            request
        )
