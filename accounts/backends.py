"""Gives people the permissions of their roles."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import BaseBackend

from accounts.models import User
from accounts.roles import Role, may


class RoleBackend(BaseBackend):
    """Answers `user.has_perm` from `accounts.roles`. Signs nobody in."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return any(may(role, perm) for role in roles_of(user_obj))

    def has_module_perms(self, user_obj: Any, app_label: str) -> bool:
        """Say whether the person may see a room in the admin at all."""
        return any(may(role, f"{app_label}.view_") for role in roles_of(user_obj))


def roles_of(user: Any) -> frozenset[Role]:
    """The roles of an active member of staff; one query for each object `user`."""
    if not isinstance(user, User) or not (user.is_active and user.is_staff):
        return frozenset()
    cached: frozenset[Role] | None = getattr(user, "_roles", None)
    if cached is None:
        names = user.groups.filter(name__in=list(Role)).values_list("name", flat=True)
        cached = frozenset(Role(name) for name in names)
        user._roles = cached  # type: ignore[attr-defined]
    return cached
