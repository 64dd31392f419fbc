"""Forms of the admin: a series' terms, and a file of codes."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.validators import RegexValidator
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from accounts.models import User
from edge.fields import ASSET_CODE_PATTERN
from rewards.models import Series
from wallet.models import Asset

PROMISED = ("face_value_minor", "face_value_asset", "valid_from", "expires_at", "check_scheme")
"""What holders of units were promised: fixed once the series is made."""
SAID = ("title", "description", "issuer_name", "terms")


class SeriesForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable
    """What a series promises. Its code is also its asset's, and never changes."""

    code = forms.CharField(
        max_length=40,
        validators=[RegexValidator(ASSET_CODE_PATTERN)],
        widget=UnfoldAdminTextInputWidget,
        help_text="Capitals, digits, hyphen: STADIUM-DRINK. It cannot be changed later.",
    )

    class Meta:
        model = Series
        fields = (*SAID, *PROMISED)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            del self.fields["code"]

    def clean_code(self) -> str:
        """A code is free if no asset has it."""
        code: str = self.cleaned_data["code"]
        if Asset.objects.filter(code=code).exists():
            raise forms.ValidationError("There is an asset of this code already.")
        return code

    def clean(self) -> dict[str, Any]:
        """A face value has an amount and a currency; a series expires after it starts."""
        cleaned = super().clean() or {}
        amount, currency = cleaned.get("face_value_minor"), cleaned.get("face_value_asset")
        if (amount is None) != (currency is None):
            self.add_error("face_value_minor", "A face value has an amount and a currency.")
        if amount is not None and amount < 1:
            self.add_error("face_value_minor", "A face value is at least 1.")
        start, end = cleaned.get("valid_from"), cleaned.get("expires_at")
        if start and end and end <= start:
            self.add_error("expires_at", "A series expires after it becomes valid.")
        return cleaned


class UploadForm(forms.Form):
    """A file of codes, who gets the units, and whether it is only checked."""

    file = forms.FileField(
        allow_empty_file=True,
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".csv,.parquet,text/csv,text/plain"}),
        help_text="CSV in UTF-8, or Parquet, with columns `code` and perhaps `expires_at`.",
    )
    owner = forms.CharField(
        required=False,
        max_length=31,
        widget=UnfoldAdminTextInputWidget,
        help_text="The handle of whoever gets the units; left empty, the treasury does.",
    )
    is_dry_run = forms.BooleanField(
        required=False,
        label="Only check",
        widget=UnfoldBooleanSwitchWidget,
        help_text="Show the report and import nothing.",
    )

    def clean_owner(self) -> User | None:
        """Find the person, or nobody."""
        handle: str = self.cleaned_data["owner"]
        if not handle:
            return None
        owner = User.objects.by_handle(handle)
        if owner is None:
            raise forms.ValidationError("There is no such person.")
        return owner
