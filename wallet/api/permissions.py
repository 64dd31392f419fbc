"""Who may do finance's deeds: a member of finance, signed in as a person."""

from __future__ import annotations

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import User
from accounts.permissions import HasScope
from edge.problems import Refusal

MAY_READ_BOOKS = HasScope.of(read="finance:read")


class SessionRequired(Refusal):
    """Deeds that need a person's judgement are not done by a program's key."""

    code = "session_required"
    title = "Sign in as a person to do this"
    status = 403


class FinanceDeed(BasePermission):
    """Reads need `finance:read`; writes a signed-in person with one right of the admin."""

    right = ""

    @staticmethod
    def of(right: str) -> type[FinanceDeed]:
        """Make the permission of a view, such as `FinanceDeed.of("wallet.freeze_account")`."""
        return type("FinanceDeed", (FinanceDeed,), {"right": right})

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.method in SAFE_METHODS:
            return MAY_READ_BOOKS().has_permission(request, view)
        if not isinstance(request.user, User):
            return False
        if request.auth is not None:
            raise SessionRequired
        return request.user.has_perm(self.right)
