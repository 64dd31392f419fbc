"""Checks that what is owed for a series is what its vouchers say, and names what is not."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connection
from django.db.models import Sum

from rewards.models import GenericCode, Redemption, Series
from rewards.redemption import money
from rewards.redemption.rules import State
from wallet.models import Account

# Codes whose face value is still owed in whole: in use, not swept, and not touched in a way
# that moved it on.
OWED = """
SELECT count(*) FROM rewards_vouchercode AS code
  LEFT JOIN rewards_voucher AS voucher ON voucher.code_id = code.id
  LEFT JOIN rewards_expirysweep AS sweep ON sweep.series_id = code.series_id
 WHERE code.series_id = %s AND code.state IN (0, 1)
   AND (sweep.series_id IS NULL OR (code.expires_at, code.id) > (sweep.through, sweep.code_id))
   AND (voucher.code_id IS NULL OR (voucher.use IN (0, 1) AND voucher.account_id IS NULL))
"""


def verify_money(series: Series) -> list[str]:
    """List what does not add up in the money of a series; an empty list is good.

    Owed must be the face values not moved on, with the uses that generic codes have left; and
    what partners were credited must be their confirmed redemptions. Reads every code.
    """
    if not series.backing_minor:
        return []
    return [f"{series.code}: {fault}" for fault in _faults(series)]


def _faults(series: Series) -> Iterator[str]:
    with connection.cursor() as cursor:
        cursor.execute(OWED, [series.pk])
        (codes,) = cursor.fetchone()
    uses = sum(_uses_owed(generic) for generic in GenericCode.objects.filter(series=series))
    expected = (codes + uses) * series.backing_minor
    accounts = Account.objects.filter(pk=money.purse_of(series).liability)
    owed = accounts.values_list("balance", flat=True).get()
    if owed != expected:
        yield f"{owed} owed, vouchers say {expected}"
    confirmed = Redemption.objects.filter(series=series, state=State.CONFIRMED)
    unpaid = confirmed.filter(value_minor__gt=0, transfer_id__isnull=True).count()
    if unpaid:
        yield f"{unpaid} redemptions without their transfer"
    overspent = (
        confirmed.filter(code__isnull=False)
        .values("code")
        .annotate(value=Sum("value_minor"))
        .filter(value__gt=series.backing_minor)
        .count()
    )
    if overspent:
        yield f"{overspent} vouchers spent beyond their face value"


def _uses_owed(generic: GenericCode) -> int:
    """Uses left, with those that reservations hold."""
    return Account.objects.get(pk=money.uses_of(generic).left).balance
