"""Reveals: a person gives up one unit and is shown one code, once and for all.

One transaction: take the code of the series that expires soonest, write down who takes
it, burn the unit, note the reveal. So a unit is burnt if and only if a code is given.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts.models import User
from edge import audit
from edge.fields import format_time
from edge.problems import Refusal, Unavailable
from rewards import units
from rewards.codes import MASK, PlainCode
from rewards.disputes.guarantees import cover, window_of
from rewards.events import announce
from rewards.importing import SeriesUnknown
from rewards.models import Reveal, Series, VoucherCode
from rewards.sealing import CannotOpen, sealer
from wallet.items import Refusal as Reason
from wallet.models import Code
from wallet.problems import LedgerRefusal

logger = logging.getLogger(__name__)

TAKE = """
UPDATE rewards_vouchercode SET state = 1
 WHERE id = (SELECT id FROM rewards_vouchercode
              WHERE series_id = %(series)s AND state = 0 AND expires_at > %(now)s
              ORDER BY expires_at, id LIMIT 1 FOR NO KEY UPDATE {waiting})
RETURNING id, expires_at, digest, sealed, nextval('rewards_reveal_id_seq')
"""
TAKE_FREE = TAKE.format(waiting="SKIP LOCKED")
TAKE_WAITING = TAKE.format(waiting="")


class NoUnits(Refusal):
    """Revealing costs one unit of the series, and the person has none to spend."""

    code = "no_units"
    title = "You have no unit of this series to spend"
    status = 422


class SeriesNotYetValid(Refusal):
    """The series' vouchers cannot be used before a date."""

    code = "series_not_yet_valid"
    title = "The series is not valid yet"
    status = 409


class CodesExpired(Refusal):
    """Every code that is left has expired; an expired code is never given."""

    code = "codes_expired"
    title = "Only expired codes are left"
    status = 409


class NoCodesLeft(Refusal):
    """Every code of the series has been given."""

    code = "no_codes_left"
    title = "No code is left"
    status = 409


class RevealUnknown(Refusal):
    """No reveal of this person has this id."""

    code = "reveal_unknown"
    title = "There is no such reveal"
    status = 404


class CodeUnavailable(Unavailable):
    """The code cannot be decrypted here and now; nothing was burnt."""

    code = "code_unavailable"
    title = "The code cannot be opened just now"


class Taken(NamedTuple):
    """A code taken within a transaction, and the number its reveal will have."""

    code: VoucherCode
    reveal_id: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A reveal with its code, for its owner's eyes. `is_replay`: it was revealed before."""

    reveal: Reveal
    code: PlainCode
    is_replay: bool = False


def reveal(
    *,
    series_code: str,
    owner: User,
    request: UUID,
    ip: str | None = None,
    now: datetime | None = None,
) -> Opened:
    """Burn one unit of a series and show its owner the code that expires soonest.

    `request` names this wish for ever: asked again, it brings the same code and burns
    nothing. Locks one code, then the owner's wallet and a stripe of the redeemed accounts.
    Raises `SeriesUnknown`, `SeriesNotYetValid`, `NoUnits`, `CodesExpired`, `NoCodesLeft`,
    `CodeUnavailable`, or what else the ledger refuses (a frozen wallet); then nothing moved.
    """
    if earlier := _earlier(owner, request, ip):
        return earlier
    try:
        with transaction.atomic():
            return _reveal(_valid_series(series_code, now), owner, request, ip, now)
    except (IntegrityError, Refusal):
        # The same request was at work at the same time and won; ours was undone.
        if earlier := _earlier(owner, request, ip):
            return earlier
        raise


def _earlier(owner: User, request: UUID, ip: str | None) -> Opened | None:
    found = Reveal.objects.of(owner.pk).filter(request=request).first()
    return Opened(found, _viewed(found, owner, ip), is_replay=True) if found else None


def _valid_series(series_code: str, now: datetime | None) -> Series:
    series = Series.objects.public().filter(asset__code=series_code).first()
    if series is None:
        raise SeriesUnknown
    if series.valid_from is not None and series.valid_from > (now or timezone.now()):
        raise SeriesNotYetValid(valid_from=format_time(series.valid_from))
    return series


def _reveal(
    series: Series, owner: User, request: UUID, ip: str | None, now: datetime | None
) -> Opened:
    wallet = units.wallet_of(owner.pk, series.asset_id)
    # This look without a lock keeps people without units off the codes; the ledger decides.
    if wallet is None or wallet.available < 1:
        raise NoUnits
    now = now or timezone.now()
    window_s = window_of(series.pk)
    taken = _take(series, now)
    audit.record(
        actor=owner,
        action="rewards.reveal",
        object_type="reveal",
        object_id=taken.reveal_id,
        after={"series": series.code, "code_id": str(taken.code.pk)},
        ip=ip,
    )
    code = _open(taken.code)
    made = Reveal.objects.create(
        pk=taken.reveal_id,
        code=taken.code,
        owner=owner,
        request=request,
        transfer_id=_burn(series, wallet.account_id, taken.reveal_id),
        at=now,
    )
    cover(made, series.pk, window_s)
    announce("code_revealed", series.code, reveal_id=str(made.pk), series=series.code)
    return Opened(made, code)


def _take(series: Series, now: datetime) -> Taken:
    """Take the code that expires soonest.

    Codes that others hold are skipped. When only such are left, wait for them: a holder
    who is refused by the ledger gives the code back, and then it is ours.
    """
    for statement in (TAKE_FREE, TAKE_WAITING):
        with connection.cursor() as cursor:
            cursor.execute(statement, {"series": series.pk, "now": now})
            if row := cursor.fetchone():
                code_id, expires_at, digest, sealed, reveal_id = row
                code = VoucherCode(
                    pk=code_id, series=series, expires_at=expires_at, digest=digest, sealed=sealed
                )
                return Taken(code, reveal_id)
    left = VoucherCode.objects.filter(series=series, state=VoucherCode.State.AVAILABLE)
    raise CodesExpired if left.exists() else NoCodesLeft


def _burn(series: Series, wallet_id: int, reveal_id: int) -> int:
    redeemed = units.redeemed_account(series.asset_id, reveal_id)
    try:
        return units.move(
            reference=f"reveal:{reveal_id}",
            asset_id=series.asset_id,
            debit=wallet_id,
            credit=redeemed,
            amount=1,
            code=Code.REVEAL,
        )
    except LedgerRefusal as refusal:
        if refusal.reason is Reason.INSUFFICIENT_FUNDS:
            raise NoUnits from None
        raise


def _open(code: VoucherCode) -> PlainCode:
    try:
        return sealer().open(code.series_id, code.digest.bytes, bytes(code.sealed))
    except CannotOpen as error:
        logger.error("code %s of series %s: %s", code.pk, code.series_id, error)
        raise CodeUnavailable from None


# -- seeing a code again -------------------------------------------------------------------


def view(*, reveal_id: int, owner: User, ip: str | None = None) -> Opened:
    """Show a revealed code to its owner again; each view is written down."""
    found = Reveal.objects.of(owner.pk).filter(pk=reveal_id).first()
    if found is None:
        raise RevealUnknown
    return Opened(found, _viewed(found, owner, ip), is_replay=True)


def _viewed(reveal: Reveal, owner: User, ip: str | None) -> PlainCode:
    code = _open(reveal.code)
    with transaction.atomic():
        audit.record(
            actor=owner,
            action="rewards.view_code",
            object_type="reveal",
            object_id=reveal.pk,
            ip=ip,
        )
    return code


def masked(reveal: Reveal) -> str:
    """Say a revealed code as lists show it; a code that cannot be opened shows nothing."""
    try:
        return _open(reveal.code).masked
    except CodeUnavailable:
        return MASK * 4
