"""The roles people work in, and what each may do in the admin. Pure.

A role is a Django group of the same name, made by a migration. What a role may do is said
here, in code, so it is reviewed and tested like code; groups in the database only say who
has which role. A pattern `room.verb_*` covers the Django permissions that match it.
"""

from __future__ import annotations

from enum import StrEnum
from fnmatch import fnmatchcase


class Role(StrEnum):
    """A job people do here. Fans have none."""

    FINANCE = "finance"
    MARKETING = "marketing"
    SUPPORT = "support"
    OPERATOR = "operator"


PERMISSIONS: dict[Role, tuple[str, ...]] = {
    Role.FINANCE: ("wallet.*", "payments.*", "*.view_*"),
    Role.MARKETING: (
        "cms.*",
        "rewards.*",
        "campaigns.*",
        "geofences.*",
        "wagtail*",
        "orderbook.view_*",
        "taggit.*",
    ),
    Role.SUPPORT: (
        "accounts.view_*",
        "wallet.view_*",
        "orderbook.view_*",
        "rewards.view_*",
        "campaigns.view_*",
        "payments.view_*",
        "edge.view_*",
    ),
    Role.OPERATOR: (
        "accounts.*",
        "jobs.*",
        "live.*",
        "sequencer.*",
        "orderbook.bust_trade",
        "django_celery_beat.*",
        "*.view_*",
    ),
}


PERSONAL = ("account.", "mfa.", "sessions.")
"""People's addresses, second factors and sessions: theirs alone, whatever a role may see."""


def may(role: Role, permission: str) -> bool:
    """Say whether a role has a permission, such as `wallet.view_account`."""
    if permission.startswith(PERSONAL):
        return False
    return any(fnmatchcase(permission, pattern) for pattern in PERMISSIONS[role])
