"""What time ends: reservations that lapse, and face values that become breakage.

Breakage is posted a day after a voucher expired, when no reservation of it can be open any
more. The sweep goes along the index of codes by expiry, series by series, and notes how far it
came with what it posted, in one transaction; so it may be stopped at any moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from django.db import connection, transaction
from django.utils import timezone

from edge import audit
from rewards.events import announce
from rewards.models import ExpirySweep, GenericCode, Redemption, Series, Voucher
from rewards.redemption import actions, money
from rewards.redemption.rules import LONGEST_RESERVATION, State, Use
from rewards.units import post_all
from wallet.accounts import BREAKAGE, Purpose, open_accounts
from wallet.items import Item
from wallet.models import Account, Code

RESERVATIONS_AT_ONCE = 200
CODES_AT_ONCE = 2_000
START = datetime(2025, 1, 1, tzinfo=UTC)

# The codes after the last one looked at, by (expiry, id), of those that are given or still to give.
EXPIRED = """
SELECT code.id, code.expires_at, voucher.use, voucher.account_id
  FROM ((SELECT id, expires_at FROM rewards_vouchercode
          WHERE series_id = %(series)s AND state = 0 AND expires_at <= %(until)s
            AND (expires_at, id) > (%(through)s, %(code)s)
          ORDER BY expires_at, id LIMIT %(most)s)
        UNION ALL
        (SELECT id, expires_at FROM rewards_vouchercode
          WHERE series_id = %(series)s AND state = 1 AND expires_at <= %(until)s
            AND (expires_at, id) > (%(through)s, %(code)s)
          ORDER BY expires_at, id LIMIT %(most)s)) AS code
  LEFT JOIN rewards_voucher AS voucher ON voucher.code_id = code.id
 ORDER BY code.expires_at, code.id LIMIT %(most)s
"""


# -- reservations --------------------------------------------------------------------------


def lapse_reservations(now: datetime | None = None) -> int:
    """End the reservations whose time is over, and free their vouchers; say how many.

    Each is a transaction of its own, so one that cannot be ended stops no other.
    """
    now = now or timezone.now()
    due = Redemption.objects.filter(state=State.RESERVED, reserved_until__lte=now)
    ids = list(due.order_by("reserved_until").values_list("pk", flat=True)[:RESERVATIONS_AT_ONCE])
    return sum(actions.lapse(redemption_id, now=now) for redemption_id in ids)


# -- breakage ------------------------------------------------------------------------------


class Expired(NamedTuple):
    """One code of a page: what it is now, and where its balance lies."""

    code_id: int
    expires_at: datetime
    use: int | None
    account_id: int | None


def break_expired(now: datetime | None = None) -> int:
    """Post the breakage of one page of one series, or of a generic code; say how many codes.

    0 means that nothing is due. Call it until then.
    """
    until = (now or timezone.now()) - LONGEST_RESERVATION
    for series in _due(until):
        with transaction.atomic():
            locked = Series.objects.with_assets().select_for_update(
                skip_locked=True, no_key=True, of=("self",)
            )
            found = locked.filter(pk=series.pk).first()
            count = _break_page(found, until) if found else 0
        if count:
            return count
    return _break_generic(until)


def _due(until: datetime) -> list[Series]:
    """Series that were issued here and not looked through up to now. Few at any time."""
    series = Series.objects.filter(is_redeemed_here=True, face_value_minor__isnull=False)
    return list(series.exclude(sweep__through__gte=until).order_by("pk"))


def _break_page(series: Series, until: datetime) -> int:
    sweep, _ = ExpirySweep.objects.get_or_create(series=series, defaults={"through": START})
    with connection.cursor() as cursor:
        cursor.execute(
            EXPIRED,
            {
                "series": series.pk,
                "until": until,
                "through": sweep.through,
                "code": sweep.code_id,
                "most": CODES_AT_ONCE,
            },
        )
        page = [Expired(*row) for row in cursor.fetchall()]
    if not page:
        sweep.through, sweep.code_id = until, 0
        sweep.save(update_fields=["through", "code_id"])
        return 0
    items, broken = _broken(series, page)
    sweep.through, sweep.code_id = page[-1].expires_at, page[-1].code_id
    sweep.broken_minor += broken
    sweep.save(update_fields=["through", "code_id", "broken_minor"])
    ended = [each.code_id for each in page if each.use in (Use.FREE, Use.RESERVED)]
    Voucher.objects.filter(pk__in=ended).update(use=Use.EXPIRED, reserved_until=None)
    story = {"codes": len(page), "amount": broken}
    _note(series, "break_expired", story)
    if items:
        post_all(items)
    announce("vouchers_expired", series.code, series=series.code, **story)
    return len(page)


def _broken(series: Series, page: list[Expired]) -> tuple[list[Item], int]:
    """What each code of a page leaves: its face value, or what is left of its balance."""
    purse, asset_id = money.purse_of(series), series.face_value_asset_id or 0
    accounts = [each.account_id for each in page if each.account_id is not None]
    left = {account.pk: account.available for account in Account.objects.filter(pk__in=accounts)}
    items: list[Item] = []
    untouched = 0
    for each in page:
        if each.account_id is None:
            untouched += each.use not in (Use.USED, Use.DEACTIVATED, Use.EXPIRED)
        else:
            # Of one taken out of use, what a reservation gave back afterwards.
            items += money.transfer(
                f"breakage:code:{each.code_id}", asset_id, each.account_id, purse.breakage,
                left[each.account_id], code=Code.EXPIRY,
            )  # fmt: skip
    last = page[-1]
    items += money.transfer(
        f"breakage:{series.pk}:{last.expires_at.timestamp()}:{last.code_id}", asset_id,
        purse.liability, purse.breakage, untouched * series.backing_minor, code=Code.EXPIRY,
    )  # fmt: skip
    return items, sum(item.amount or 0 for item in items)


def _break_generic(until: datetime) -> int:
    with transaction.atomic():
        generic = (
            GenericCode.objects.select_related("series__asset", "series__face_value_asset")
            .select_for_update(skip_locked=True, no_key=True, of=("self",))
            .filter(expires_at__lte=until, is_expired=False)
            .first()
        )
        if generic is None:
            return 0
        generic.is_expired = True
        generic.save(update_fields=["is_expired"])
        series, uses = generic.series, money.uses_of(generic)
        left = money.available(uses.left)
        broken = left * series.backing_minor
        _note(series, "break_generic_code", {"code": generic.text, "uses": left, "amount": broken})
        if left:
            post_all(_broken_generic(generic, uses, left, broken))
        announce(
            "generic_code_expired", series.code, series=series.code, code=generic.text,
            uses=left, amount=broken,
        )  # fmt: skip
    return 1


def _broken_generic(generic: GenericCode, uses: money.Uses, left: int, broken: int) -> list[Item]:
    series = generic.series
    purpose = Purpose(None, series.asset_id, BREAKAGE)
    units_to = open_accounts([purpose])[purpose]
    name = f"breakage:generic:{generic.pk}"
    items: list[Item] = [
        *money.transfer(name, series.asset_id, uses.left, units_to, left, code=Code.EXPIRY)
    ]
    if broken:
        purse, asset_id = money.purse_of(series), series.face_value_asset_id or 0
        items += money.transfer(
            f"{name}:owed", asset_id, purse.liability, purse.breakage, broken, code=Code.EXPIRY
        )
    return items


def _note(series: Series, deed: str, story: Mapping[str, object]) -> None:
    audit.record(
        actor=None,
        action=f"rewards.{deed}",
        object_type="series",
        object_id=series.code,
        after=story,
    )
