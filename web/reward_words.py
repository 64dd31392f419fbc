"""What campaigns give, in words: "100 Points", "1 Stadium drink", "a draw: …"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewards.campaigns.models import TierProgram
from rewards.campaigns.terms import (
    BPS,
    AnyEffect,
    Cashback,
    Chance,
    Discount,
    Plain,
    Points,
    TierPoints,
    Units,
)
from wallet.models import Asset
from web.amounts import format_amount


@dataclass(frozen=True, slots=True)
class Names:
    """What assets and tier programs are called, by their codes."""

    assets: Mapping[str, Asset]
    programs: Mapping[str, str]

    @classmethod
    def of(cls, codes: Iterable[str]) -> Names:
        """Look names up: two queries, whatever the number."""
        programs = TierProgram.objects.values_list("code", "title")
        return cls(Asset.objects.in_bulk(list(set(codes)), field_name="code"), dict(programs))

    def sum_of(self, code: str, amount: int) -> str:
        """So much of an asset, or of a program's points."""
        asset = self.assets.get(code)
        if asset is None:
            return f"{amount:,} points towards {self.programs.get(code, code)}"
        if asset.kind == Asset.Kind.SERIES:
            return f"{amount:,} \u00d7 {asset.name}"
        return f"{format_amount(amount, asset.scale)} {asset.name}"


def words_of(effects: Sequence[AnyEffect], names: Names) -> list[str]:
    """What a claim would give, a line for each effect."""
    return [
        _draw(effect, names) if isinstance(effect, Chance) else _plain(effect, names)
        for effect in effects
    ]


def words_of_payments(payments: Iterable[Mapping[str, Any]], owner: int, names: Names) -> list[str]:
    """What a claim gave its owner; what went to who referred them is that person's affair."""
    return [
        names.sum_of(row["asset"], int(row["amount"]))
        for row in payments
        if row["person"] == str(owner)
    ]


def _plain(effect: Plain, names: Names) -> str:
    words = _gift(effect, names)
    return f"{words} for your friend" if effect.to == "referrer" else words


def _gift(effect: Plain, names: Names) -> str:
    if isinstance(effect, TierPoints):
        return names.sum_of(effect.program, effect.amount)
    if isinstance(effect, Units):
        return names.sum_of(effect.series, effect.amount)
    if isinstance(effect, Points):
        lapse = f", for {effect.expires_after_days} days" if effect.expires_after_days else ""
        return names.sum_of(effect.asset, effect.amount) + lapse
    share = f"{(effect.bps or 0) * 100 / BPS:g} %"
    if isinstance(effect, Cashback):
        return f"{share} of your order back"
    assert isinstance(effect, Discount)
    return f"{names.sum_of(effect.asset, effect.amount) if effect.amount else share} off your order"


def _draw(draw: Chance, names: Names) -> str:
    """The outcomes of a draw with their odds, as they are published."""
    total = sum(outcome.weight for outcome in draw.outcomes)
    told = []
    for outcome in draw.outcomes:
        prize = outcome.title or " and ".join(_plain(each, names) for each in outcome.effects)
        told.append(f"{prize or 'nothing'} ({outcome.weight * 100 / total:.3g} %)")
    return f"A draw: {', '.join(told)}"
