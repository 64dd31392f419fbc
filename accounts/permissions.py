"""Who may ask what: an API key needs the scope, a signed-in person the right to it."""

from __future__ import annotations

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import ApiKey, User
from accounts.roles import Role
from accounts.scopes import FINANCE_SCOPES, Scope
from edge.problems import ScopeMissing


class HasScope(BasePermission):
    """Asks for one scope to read and one to write; make it with `HasScope.of(...)`.

    A person signed in by session has every scope over what is theirs. `finance:read`
    needs the finance role as well, by key or by session, at the moment of asking.
    """

    read: Scope
    write: Scope | None

    @staticmethod
    def of(*, read: str, write: str | None = None) -> type[HasScope]:
        """Make the permission of a view. Without `write` the view takes no writes."""
        scopes = {"read": Scope(read), "write": Scope(write) if write else None}
        return type("HasScope", (HasScope,), scopes)

    def has_permission(self, request: Request, view: APIView) -> bool:
        person = request.user
        if not isinstance(person, User):
            return False
        scope = self.read if request.method in SAFE_METHODS else self.write
        if scope is None:
            return False
        if isinstance(request.auth, ApiKey) and scope not in request.auth.scopes:
            raise ScopeMissing(scope)
        if scope in FINANCE_SCOPES and not person.works_in(Role.FINANCE):
            raise ScopeMissing(scope)
        return True


class IsSession(BasePermission):
    """Only a person signed in by browser: no API key can make or revoke API keys."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.user, User) and request.auth is None
