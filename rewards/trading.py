"""The rules by which a series' units are owned and traded, said with the series.

They live with the asset (`wallet.ownership`), where the market and the wallet read them; a
series is only the place where they are said. While it is a draft they may be anything; once
people own units they only become looser.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from accounts.models import User
from rewards.importing import SeriesUnknown
from rewards.models import Series
from wallet.models import AssetRules
from wallet.ownership import set_rules


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingTerms:
    """Who may own a series' units, how long they are held back, and until when they trade."""

    is_transferable: bool = True
    holding_s: int = 0
    regions: tuple[str, ...] = ()
    stops_before_s: int = 0


def first_rules(series: Series, *, actor: User | None) -> None:
    """Note when a new series expires and what a unit is worth, for whoever trades it."""
    if series.expires_at is None and series.face_value_minor is None:
        return
    set_rules(series.asset, _rules(series, TradingTerms()), may_tighten=True, actor=actor)


def set_terms(
    series_code: str, terms: TradingTerms, *, actor: User | None, reason: str = ""
) -> AssetRules:
    """Say by which rules units are owned and traded. Audited; markets know with their next batch.

    Raises `SeriesUnknown`, `RulesInvalid`; and `RulesTightened` once codes have come in.
    """
    with transaction.atomic():
        found = Series.objects.select_for_update(no_key=True, of=("self",))
        series = found.select_related("asset").filter(asset__code=series_code).first()
        if series is None:
            raise SeriesUnknown
        is_draft = series.state == Series.State.DRAFT
        return set_rules(
            series.asset, _rules(series, terms), may_tighten=is_draft, actor=actor, reason=reason
        )


def terms_of(series: Series) -> TradingTerms:
    """Say by which rules a series' units are owned and traded."""
    rules = AssetRules.objects.filter(pk=series.asset_id).first()
    if rules is None:
        return TradingTerms()
    return TradingTerms(
        is_transferable=rules.is_transferable,
        holding_s=rules.holding_s,
        regions=tuple(rules.regions),
        stops_before_s=rules.stops_before_s,
    )


def extend(series_id: int, expires_at: datetime, *, actor: User | None) -> None:
    """Let a series whose expiry was moved trade for longer. In the mover's transaction."""
    series = Series.objects.select_related("asset").get(pk=series_id)
    series.expires_at = expires_at
    set_rules(series.asset, _rules(series, terms_of(series)), may_tighten=False, actor=actor)


def _rules(series: Series, terms: TradingTerms) -> AssetRules:
    return AssetRules(
        is_transferable=terms.is_transferable,
        holding_s=terms.holding_s,
        regions=sorted(terms.regions),
        expires_at=series.expires_at,
        stops_before_s=terms.stops_before_s,
        face_value_minor=series.face_value_minor,
        face_value_asset_id=series.face_value_asset_id,
    )
