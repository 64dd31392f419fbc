"""What people fill in on the site."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.core.validators import RegexValidator
from django.utils import timezone

from accounts.models import User
from accounts.scopes import Scope, allowed_scopes
from rewards.models import Dispute, Partner, Series
from wallet.items import LONGEST_MEMO
from wallet.models import Account
from wallet.people import PersonUnknown
from web.amounts import read_amount

SCOPE_WORDS = {
    Scope.WALLET_READ: "See wallets and statements",
    Scope.WALLET_WRITE: "Pay and set money aside",
    Scope.ORDERS_READ: "See orders and trades",
    Scope.ORDERS_WRITE: "Place and cancel orders",
    Scope.REWARDS_READ: "See vouchers",
    Scope.REWARDS_WRITE: "Reveal codes",
    Scope.REDEMPTIONS_READ: "See redemptions (partners)",
    Scope.REDEMPTIONS_WRITE: "Redeem codes (partners)",
    Scope.FINANCE_READ: "Read the books (finance)",
}
LIVES_DAYS = (("30", "30 days"), ("90", "90 days"), ("365", "1 year"), ("0", "Until I revoke it"))


DECIMAL = {"inputmode": "decimal", "autocomplete": "off"}


def new_key() -> str:
    """Name one wish, so that asking twice for it does it once."""
    return secrets.token_urlsafe(16)


def name_of_wish(kind: str, who: User, what: object, key: str) -> UUID:
    """Name a wish for ever. The person is part of the name, so nobody can take another's."""
    digest = hashlib.sha256(f"{kind}\0{who.pk}\0{what}\0{key}".encode()).digest()
    return UUID(bytes=digest[:16])


class OnceForm(forms.Form):
    """A form that stands for one wish: sent twice it does its work once."""

    key = forms.CharField(
        widget=forms.HiddenInput,
        validators=[RegexValidator(r"^[A-Za-z0-9_-]{16,40}\Z", "This form is spoilt: reload it.")],
    )


class DisputeForm(OnceForm):
    """Say that a code did not work, and what can be checked about it."""

    problem = forms.ChoiceField(label="What happened?", choices=Dispute.Problem.choices)
    evidence = forms.CharField(
        label="Where and when, and what were you told?",
        min_length=10,
        max_length=2_000,
        widget=forms.Textarea(attrs={"rows": 4}),
    )


class PayForm(OnceForm):
    """Pay another person from one of one's wallets."""

    to = forms.CharField(
        label="To",
        max_length=31,
        help_text="The person's handle.",
        widget=forms.TextInput(
            attrs={"placeholder": "@handle", "autocapitalize": "none", "autocomplete": "off"}
        ),
    )
    asset = forms.ChoiceField(label="From your")
    amount = forms.CharField(
        label="Amount",
        max_length=30,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )
    memo = forms.CharField(label="Message", max_length=LONGEST_MEMO, required=False)

    def __init__(self, wallets: Sequence[Account], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.wallets = {wallet.asset.code: wallet for wallet in wallets}
        choices = [(code, wallet.asset.name) for code, wallet in self.wallets.items()]
        field = self.fields["asset"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def clean(self) -> dict[str, Any]:
        """Read the amount in the scale of the asset that was chosen."""
        cleaned = super().clean() or {}
        if "asset" in cleaned and "amount" in cleaned:
            scale = self.wallets[cleaned["asset"]].asset.scale
            try:
                cleaned["minor"] = read_amount(cleaned["amount"], scale)
            except ValueError as error:
                self.add_error("amount", str(error))
        return cleaned

    @property
    def wallet(self) -> Account:
        """The wallet that was chosen; the form is valid."""
        return self.wallets[self.cleaned_data["asset"]]


class ProfileForm(forms.ModelForm):  # type: ignore[type-arg]
    """What others may see of a person."""

    class Meta:
        model = User
        fields = ("name",)
        labels: ClassVar[dict[str, str]] = {"name": "Name"}
        help_texts: ClassVar[dict[str, str]] = {"name": "Shown to people who are about to pay you."}


class KeyForm(forms.Form):
    """A new API key."""

    name = forms.CharField(
        max_length=80, help_text="What will use it.", widget=forms.TextInput(attrs={"size": 30})
    )
    scopes = forms.MultipleChoiceField(
        label="It may", widget=forms.CheckboxSelectMultiple, choices=()
    )
    days = forms.ChoiceField(label="For", choices=LIVES_DAYS, initial="90")

    def __init__(self, *args: Any, works_in_finance: bool, **kwargs: Any) -> None:
        # The profile's form stands on the same page, and has a name too.
        kwargs.setdefault("auto_id", "key_%s")
        super().__init__(*args, **kwargs)
        allowed = allowed_scopes(works_in_finance=works_in_finance)
        field = self.fields["scopes"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(str(s), words) for s, words in SCOPE_WORDS.items() if s in allowed]

    @property
    def terms(self) -> dict[str, Any]:
        """What `accounts.actions.create_key` takes; the form is valid."""
        days = int(self.cleaned_data["days"])
        return {
            "name": self.cleaned_data["name"],
            "scopes": self.cleaned_data["scopes"],
            "expires_at": timezone.now() + timedelta(days=days) if days else None,
        }


class TillForm(OnceForm):
    """A code at the till; the second time also what it is to be used for."""

    code = forms.CharField(max_length=200, strip=True)
    partner_code = forms.ChoiceField(label="For")
    confirmed = forms.CharField(required=False, max_length=3)
    amount = forms.CharField(
        label="Spend", required=False, max_length=30, widget=forms.TextInput(DECIMAL)
    )
    order = forms.CharField(
        label="The customer buys for",
        required=False,
        max_length=30,
        widget=forms.TextInput(DECIMAL),
    )
    handle = forms.CharField(
        label="The customer's handle",
        required=False,
        max_length=31,
        widget=forms.TextInput(attrs={"placeholder": "@handle", "autocapitalize": "none"}),
    )

    def __init__(self, partners: Sequence[Partner], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._partners = {partner.code: partner for partner in partners}
        if len(partners) == 1:
            del self.fields["partner_code"]
        else:
            field = self.fields["partner_code"]
            assert isinstance(field, forms.ChoiceField)
            field.choices = [(partner.code, partner.name) for partner in partners]

    @property
    def partner(self) -> Partner:
        """For whom this is redeemed; the form is valid."""
        code = self.cleaned_data.get("partner_code") or next(iter(self._partners))
        return self._partners[code]

    def customer(self) -> User | None:
        """Whose voucher it is, if that was said; `PersonUnknown` for nobody."""
        handle: str = self.cleaned_data["handle"]
        if not handle:
            return None
        found = User.objects.by_handle(handle)
        if found is None:
            raise PersonUnknown
        return found

    def is_complete(self, series: Series) -> bool:
        """Read the amounts in the scale of the series' currency; say whether they are right."""
        asset = series.face_value_asset
        for name in ("amount", "order"):
            text = self.cleaned_data[name]
            if not text or asset is None:
                continue
            try:
                self.cleaned_data[f"{name}_minor"] = read_amount(text, asset.scale)
            except ValueError as error:
                self.add_error(name, str(error))
        return not self.errors
