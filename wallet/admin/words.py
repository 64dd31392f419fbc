"""How the back office writes amounts, accounts and codes. Pure but for links."""

from __future__ import annotations

from datetime import UTC, datetime

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from wallet.accounts import WALLET
from wallet.exports.amounts import decimal
from wallet.items import Kind, Status
from wallet.models import Account, Code

CODES = {code.value: str(code.label) for code in Code}
KINDS = {kind.value: kind.name.lower() for kind in Kind}


def amount(minor: int | None, scale: int) -> str:
    """Write minor units with their decimals and thousands: 1234567 at scale 2 is 12,345.67."""
    if minor is None:
        return "-"
    whole, point, fraction = decimal(minor, scale).partition(".")
    sign = "-" if whole.startswith("-") else ""
    return f"{sign}{int(whole.lstrip('-')):,}{point}{fraction}"


def number(minor: int | None, scale: int) -> SafeString:
    """An amount for a column of amounts: figures of one width, never broken."""
    css = "books-number books-negative" if minor is not None and minor < 0 else "books-number"
    return format_html('<span class="{}">{}</span>', css, amount(minor, scale))


def purpose(account: Account) -> str:
    """Say in a few words what an account is for: whose wallet, or which of the house's."""
    kind = account.kind.name
    name = f"@{account.owner.handle}, {kind.lower()}" if account.owner else kind
    return f"{name}: {account.label}" if account.label else name


def account_link(account: Account | None) -> SafeString | str:
    """A link to an account's page: a person's wallet by handle alone, others by purpose."""
    if account is None:
        return "-"
    is_plain = account.owner is not None and account.kind_id == WALLET and not account.label
    name = str(account.owner) if is_plain else purpose(account)
    address = reverse("admin:wallet_account_change", args=[account.pk])
    return format_html('<a class="books-link" href="{}">{}</a>', address, name)


def transfer_link(transfer_id: int | None) -> SafeString | str:
    """A link to a transfer's page."""
    if transfer_id is None:
        return "-"
    address = reverse("admin:wallet_transfer_change", args=[transfer_id])
    return format_html('<a class="books-link books-number" href="{}">{}</a>', address, transfer_id)


def moment(at: datetime | None) -> str:
    """A time to the second, in UTC."""
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def status_label(account: Account) -> str:
    """An account's condition in one word."""
    return Status(account.status).name.lower()
