"""Handles: the short public names that people send to each other by. Pure."""

from __future__ import annotations

HANDLE_PATTERN = r"^[a-z][a-z0-9_]{2,29}$"
HANDLE_RULE = "3 to 30 letters, digits or underscores, beginning with a letter"
RESERVED = frozenset(
    {
        "about", "account", "accounts", "admin", "administrator", "api", "billing", "everyone",
        "finance", "gateway", "help", "info", "legal", "mail", "marketing", "me", "moderator",
        "news", "nobody", "official", "operator", "owner", "payments", "platform", "root",
        "scrip", "security", "shop", "staff", "status", "support", "system", "team", "treasury",
        "wallet", "webmaster",
    }
)  # fmt: skip
"""Names that could be taken for us."""


def normalise_handle(text: str) -> str:
    """Write a handle as it is stored: small letters, without the leading @ people type."""
    return text.strip().removeprefix("@").lower()
