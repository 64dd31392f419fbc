"""Who may ask what of the vouchers: fans reveal their own, marketing runs the series."""

from __future__ import annotations

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import User
from accounts.permissions import HasScope
from accounts.roles import Role
from wallet.api.permissions import SessionRequired

OWN_VOUCHERS = HasScope.of(read="rewards:read", write="rewards:write")


class MarketingOnly(BasePermission):
    """Asks for the scope and for the role: codes are worth money, and a fan's key has the scope."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not OWN_VOUCHERS().has_permission(request, view):
            return False
        assert isinstance(request.user, User)
        return request.user.works_in(Role.MARKETING)


class PublicToRead(MarketingOnly):
    """Everybody reads, signed in or not; marketing writes."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.method in SAFE_METHODS or super().has_permission(request, view)


def person(request: Request) -> User:
    """Who asks; the view's permission has let nobody else in."""
    assert isinstance(request.user, User)
    return request.user


class SupportOnly(BasePermission):
    """Asks for a signed-in person of our support: a program's key judges nobody."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not isinstance(request.user, User):
            return False
        if request.auth is not None:
            raise SessionRequired
        return request.user.works_in(Role.SUPPORT)
