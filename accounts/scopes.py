"""What an API key may do. Pure."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache


class Scope(StrEnum):
    """One permission of a key: a room and whether it may write there."""

    WALLET_READ = "wallet:read"
    WALLET_WRITE = "wallet:write"
    ORDERS_READ = "orders:read"
    ORDERS_WRITE = "orders:write"
    REWARDS_READ = "rewards:read"
    REWARDS_WRITE = "rewards:write"
    REDEMPTIONS_READ = "redemptions:read"
    REDEMPTIONS_WRITE = "redemptions:write"
    FINANCE_READ = "finance:read"


FINANCE_SCOPES = frozenset({Scope.FINANCE_READ})
"""Scopes that speak of other people's money: their owner must work in finance."""
OWN_SCOPES = frozenset(Scope) - FINANCE_SCOPES
"""Scopes that everyone has over what is theirs."""


def allowed_scopes(*, works_in_finance: bool) -> frozenset[Scope]:
    """Say which scopes a person's keys can have."""
    return OWN_SCOPES | FINANCE_SCOPES if works_in_finance else OWN_SCOPES


@lru_cache(maxsize=1024)
def effective_scopes(scopes: frozenset[str], *, works_in_finance: bool) -> frozenset[Scope]:
    """Say what a key may do now: what it was made for, less what its owner lost since.

    Keys of the same scopes share one set.
    """
    allowed = allowed_scopes(works_in_finance=works_in_finance)
    return frozenset(scope for scope in allowed if scope in scopes)
