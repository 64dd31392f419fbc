"""Where the money of a reversed redemption goes."""

from __future__ import annotations

from datetime import datetime

from rewards.models import GenericCode, Redemption, Voucher
from rewards.redemption import money, moves
from rewards.redemption.rules import Use
from wallet.items import Item


def reversal_of(
    found: Redemption, voucher: Voucher | None, now: datetime
) -> tuple[list[Item], Use | None]:
    """The moves that undo a redemption, the partner's first; and what the voucher is after it."""
    if found.generic_id is not None:
        return _generic(found, now), None
    assert voucher is not None and found.code is not None
    is_over = found.code.expires_at <= now or voucher.use in (Use.DEACTIVATED, Use.EXPIRED)
    if moves.is_gift(found):
        assert voucher.account_id is not None
        return [*moves.take_back(found, _breakage(found) if is_over else voucher.account_id)], None
    if is_over:
        return [*_to_breakage(found)], Use.EXPIRED if voucher.use == Use.USED else None
    return [*_to_liability(found)], Use.FREE


def _generic(found: Redemption, now: datetime) -> list[Item]:
    # Locked, so that the sweep of what was left does not pass by meanwhile.
    generic = GenericCode.objects.select_for_update(no_key=True).get(redemption=found)
    if generic.expires_at <= now or not generic.is_active:
        return [*_to_breakage(found)]
    return [*_to_liability(found), *moves.give_use_back(found, generic)]


def _to_liability(found: Redemption) -> list[Item]:
    if not found.series.backing_minor:
        return []
    liability = money.purse_of(found.series).liability
    return [*moves.take_back(found, liability), *moves.take_back_rest(found)]


def _to_breakage(found: Redemption) -> list[Item]:
    if not found.series.backing_minor:
        return []
    return [*moves.take_back(found, _breakage(found))]


def _breakage(found: Redemption) -> int:
    return money.purse_of(found.series).breakage
