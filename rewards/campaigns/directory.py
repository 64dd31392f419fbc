"""Published versions, compiled once and kept in this process until the campaign changes.

A campaign's row carries a revision that grows with every change of what holds. Whoever reads
the row sees at once whether the compiled versions are still those; nothing has to be told
between processes, and nothing waits for a clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from django.conf import settings

from rewards.campaigns.chance import seed_from
from rewards.campaigns.deciding import Version
from rewards.campaigns.models import CampaignBudget, CampaignVersion
from rewards.campaigns.terms import load_terms
from rewards.sealing import KeysMissing

MOST_KEPT = 5_000


@dataclass(frozen=True, slots=True)
class BudgetAccount:
    """Where one asset of a campaign's budget lies."""

    asset_id: int
    account_id: int


@dataclass(frozen=True, slots=True)
class Compiled:
    """A campaign ready to decide by: its versions by start, and its budget accounts by asset."""

    id: int
    code: str
    revision: int
    versions: tuple[Version, ...]
    budgets: dict[str, BudgetAccount]

    def version_at(self, moment: datetime) -> Version | None:
        """The version that counts at a moment: the latest that has started, else the first."""
        started = [version for version in self.versions if version.starts_at <= moment]
        return started[-1] if started else next(iter(self.versions), None)


class Row(Protocol):
    """What a campaign's row says of whether its compiled form is still right."""

    @property
    def pk(self) -> int: ...
    @property
    def code(self) -> str: ...
    @property
    def revision(self) -> int: ...


class Seen(NamedTuple):
    """A campaign's row, as far as a decision needs it."""

    pk: int
    code: str
    state: str
    revision: int


_kept: dict[str, Compiled] = {}
"""By the campaign's code."""


def remembered(code: str) -> Compiled | None:
    """The compiled form of a campaign as this process has last seen it: perhaps not the latest."""
    return _kept.get(code)


def compiled(campaigns: Sequence[Row]) -> dict[int, Compiled]:
    """Give the compiled form of campaigns, by id. Reads only those whose revision is new."""
    if len(_kept) + len(campaigns) > MOST_KEPT:
        _kept.clear()
    stale = [row for row in campaigns if not _is_fresh(row)]
    if stale:
        _load(stale)
    return {row.pk: _kept[row.code] for row in campaigns}


def _is_fresh(row: Row) -> bool:
    kept = _kept.get(row.code)
    return kept is not None and (kept.id, kept.revision) == (row.pk, row.revision)


def _load(rows: Sequence[Row]) -> None:
    ids = [row.pk for row in rows]
    versions: dict[int, list[Version]] = {id: [] for id in ids}
    codes = {row.pk: row.code for row in rows}
    found = CampaignVersion.objects.filter(
        campaign__in=ids, state=CampaignVersion.State.PUBLISHED
    ).order_by("starts_at", "number")
    for version in found:
        versions[version.campaign_id].append(version_of(version, codes[version.campaign_id]))
    budgets: dict[int, dict[str, BudgetAccount]] = {id: {} for id in ids}
    for budget in CampaignBudget.objects.filter(campaign__in=ids).select_related("asset"):
        budgets[budget.campaign_id][budget.asset.code] = BudgetAccount(
            budget.asset_id, budget.account_id
        )
    for row in rows:
        _kept[row.code] = Compiled(
            row.pk, row.code, row.revision, tuple(versions[row.pk]), budgets[row.pk]
        )


def version_of(row: CampaignVersion, campaign: str) -> Version:
    """Compile one version, published or not."""
    return Version(
        id=row.pk,
        campaign=campaign,
        number=row.number,
        terms=load_terms(row.terms),
        seed=seed_of(bytes(row.nonce)),
    )


def seed_of(nonce: bytes) -> bytes:
    """The secret seed of a version's draws. It is made of a key that the database never holds."""
    if not settings.CODE_LOOKUP_KEY:
        raise KeysMissing("CODE_LOOKUP_KEY is not set")
    secret = hashlib.sha256(b"campaign draws\0" + settings.CODE_LOOKUP_KEY.encode()).digest()
    return seed_from(secret, nonce)
