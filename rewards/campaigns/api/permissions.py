"""Who may ask what of campaigns: fans claim and read their own, marketing runs them."""

from __future__ import annotations

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import User
from accounts.permissions import HasScope
from accounts.roles import Role
from wallet.people import PersonUnknown

OWN = HasScope.of(read="rewards:read", write="rewards:write")


class Marketing(BasePermission):
    """Asks for the scope and for the role."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return OWN().has_permission(request, view) and works_in(request, Role.MARKETING)


class ReadByAll(Marketing):
    """Everybody who has the scope reads; marketing writes."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.method in SAFE_METHODS:
            return OWN().has_permission(request, view)
        return super().has_permission(request, view)


class StaffToRead(BasePermission):
    """Marketing and support read what concerns other people."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not OWN().has_permission(request, view):
            return False
        return works_in(request, Role.MARKETING) or works_in(request, Role.SUPPORT)


class FinanceToRead(BasePermission):
    """Finance and marketing read what is owed."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not OWN().has_permission(request, view):
            return False
        return works_in(request, Role.FINANCE) or works_in(request, Role.MARKETING)


def works_in(request: Request, role: Role) -> bool:
    return isinstance(request.user, User) and request.user.works_in(role)


def person(request: Request) -> User:
    """Who asks; the view's permission has let nobody else in."""
    assert isinstance(request.user, User)
    return request.user


def named(handle: str) -> User:
    """Find an active person by handle, or refuse."""
    found = User.objects.by_handle(handle)
    if found is None:
        raise PersonUnknown
    return found
