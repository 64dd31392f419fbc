"""How templates write amounts, times and what a movement was for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from edge.fields import format_time
from wallet.models import Code
from web.amounts import format_amount, plain_amount

register = template.Library()

NOTHING = "\u2013"
FORMATS = {"datetime": "j M Y, H:i", "date": "j M Y", "time": "H:i:s"}
WORDS = {
    Code.PAYMENT: ("Received", "Paid"),
    Code.GRANT: ("Given to you", "Given"),
    Code.ISSUE: ("Given to you", "Issued"),
    Code.CLAIM: ("Claimed", "Claimed"),
    Code.TRADE_UNITS: ("Bought on the market", "Sold on the market"),
    Code.TRADE_PRICE: ("Sale on the market", "Purchase on the market"),
    Code.TRADE_FEE: ("Trading fee", "Trading fee"),
    Code.REVEAL: ("Revealed a code", "Revealed a code"),
    Code.EXPIRY: ("Expired", "Expired"),
    Code.CLAWBACK: ("Taken back", "Taken back"),
    Code.REPAYMENT: ("Repayment", "Repayment"),
    Code.REVERSAL: ("Reversed", "Reversed"),
    Code.DEPOSIT: ("Deposit", "Deposit"),
    Code.WITHDRAWAL: ("Withdrawal", "Withdrawal"),
    Code.REDEMPTION: ("Redeemed", "Redeemed"),
    Code.ADJUSTMENT: ("Adjustment", "Adjustment"),
}
"""What people read for a movement: money in, money out."""


@register.filter
def amount(minor: int | None, asset: Any) -> str:
    """Write minor units in the asset's scale: `{{ wallet.available|amount:wallet.asset }}`."""
    return NOTHING if minor is None else format_amount(minor, asset.scale)


@register.filter
def signed(minor: int, asset: Any) -> str:
    """Write an amount with its sign, gains too."""
    return ("+" if minor > 0 else "") + format_amount(minor, asset.scale)


@register.filter
def typed(minor: int, asset: Any) -> str:
    """Write an amount as it is typed into a field."""
    return plain_amount(minor, asset.scale)


@register.filter
def percent(bps: int | None) -> str:
    """Write hundredths of a percent, with the sign of a change."""
    if bps is None:
        return NOTHING
    sign = {True: "+", False: "\u2212"}[bps > 0] if bps else ""
    return f"{sign}{abs(bps) / 100:.1f} %"


@register.filter
def fee(bps: int) -> str:
    """Write a fee of so many hundredths of a percent."""
    return f"{bps / 100:g} %"


@register.filter
def share(part: int, whole: int) -> str:
    """Say how many hundredths of a whole a part is: the length of a bar."""
    return f"{min(100, part * 100 / whole):.1f}" if whole else "0"


@register.simple_tag
def moment(at: datetime, style: str = "datetime") -> SafeString:
    """A time in UTC, which times.js rewrites for the reader's zone."""
    text = date_format(at, FORMATS[style]) + ("" if style == "date" else " UTC")
    return format_html(
        '<time datetime="{}" data-style="{}">{}</time>', format_time(at), style, text
    )


@register.filter
def words(line: Any) -> str:
    """Say what a line of a statement was for."""
    gained, lost = WORDS.get(line.code, (Code(line.code).label,) * 2)
    return gained if line.amount > 0 else lost
