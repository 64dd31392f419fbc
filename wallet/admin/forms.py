"""What the back office asks: reasons, limits, periods."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from unfold.widgets import (
    INPUT_CLASSES,
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from edge.reasons import ReasonForm
from wallet.items import LARGEST_AMOUNT
from wallet.models import Account, AccountKind, Asset

LIMITS = ("floor", "ceiling", "largest_debit")
EARLIEST = date(2025, 1, 1)
LATEST = date(2199, 12, 31)


class LimitsForm(ReasonForm):
    """Three limits in the asset's own units, and why they change. Empty is no limit."""

    field_order = (*LIMITS, "reason")

    def __init__(self, *args: Any, of: Account | AccountKind, scale: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.unit = Decimal(1).scaleb(-scale)
        hints = {
            "floor": "The least that stays available.",
            "ceiling": "The most it may hold.",
            "largest_debit": "The most it may pay at once.",
        }
        for name in LIMITS:
            self.fields[name] = forms.DecimalField(
                required=False,
                decimal_places=scale,
                max_digits=20,
                initial=self._shown(getattr(of, name)),
                help_text=f"{hints[name]} Empty for no limit.",
                widget=UnfoldAdminDecimalFieldWidget(),
            )
        self.order_fields(self.field_order)

    def _shown(self, minor: int | None) -> Decimal | None:
        return None if minor is None else minor * self.unit

    def clean(self) -> dict[str, Any]:
        """Turn the limits into minor units."""
        cleaned = super().clean() or {}
        for name in LIMITS:
            shown = cleaned.get(name)
            cleaned[name] = None if shown is None else int(shown / self.unit)
            if cleaned[name] is not None and abs(cleaned[name]) > LARGEST_AMOUNT:
                self.add_error(name, "This is more than the ledger can count.")
        return cleaned


class DayInput(forms.DateInput):
    """The browser's own date picker."""

    input_type = "date"

    def __init__(self) -> None:
        super().__init__(attrs={"class": " ".join(INPUT_CLASSES)}, format="%Y-%m-%d")


class PeriodForm(forms.Form):
    """Days in UTC, both of them counted whole."""

    since = forms.DateField(required=False, label="From", widget=DayInput())
    until = forms.DateField(required=False, label="As of", widget=DayInput())

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name in ("since", "until"):
            day = cleaned.get(name)
            if day is not None and not EARLIEST <= day <= LATEST:
                self.add_error(name, f"The ledger knows {EARLIEST.year} to {LATEST.year}.")
        if cleaned.get("since") and cleaned.get("until") and cleaned["since"] > cleaned["until"]:
            self.add_error("until", "The period ends before it starts.")
        return cleaned

    @property
    def start(self) -> datetime | None:
        """The first moment of the first day."""
        day = self.cleaned_data.get("since")
        return None if day is None else _midnight(day)

    def end(self, now: datetime) -> datetime:
        """The moment after the last day, or now, whichever comes first."""
        day = self.cleaned_data.get("until")
        return now if day is None else min(now, _midnight(day + timedelta(days=1)))


class ExportForm(PeriodForm):
    """What a file covers."""

    asset = forms.CharField(
        required=False, max_length=40, label="Asset", widget=UnfoldAdminTextInputWidget()
    )
    by_effective_date = forms.BooleanField(
        required=False, label="By effective date", widget=UnfoldBooleanWidget()
    )

    def clean_asset(self) -> Asset | None:
        """Find the asset by its code, whatever the case."""
        code = self.cleaned_data["asset"].strip().upper()
        asset = Asset.objects.filter(code=code).first()
        if code and asset is None:
            raise forms.ValidationError("There is no such asset.")
        return asset


def _midnight(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time(), UTC)
