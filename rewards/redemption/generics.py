"""Generic codes: one code that many people use, as often as its limit says and no more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from edge import audit
from edge.fields import format_time
from rewards.actions import checked_reason
from rewards.code_files import NEVER
from rewards.events import announce
from rewards.importing import SeriesClosed, SeriesUnknown
from rewards.models import GenericCode, Series
from rewards.redemption import money
from rewards.redemption.problems import (
    CodeUnknown,
    GenericExists,
    GenericInvalid,
    NotGeneric,
    NotRedeemedHere,
)
from rewards.redemption.rules import Kind
from rewards.units import post_all
from wallet.models import Code

MOST_USES = 1_000_000_000
_TEXT = re.compile(r"[A-Z0-9][A-Z0-9._-]{2,62}[A-Z0-9]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a generic code is good for: so many uses in all, and so many for each person."""

    text: str
    use_limit: int
    person_limit: int | None = None
    expires_at: datetime | None = None


def create(series_code: str, terms: Terms, *, actor: User | None, now: datetime) -> GenericCode:
    """Make a generic code and as many uses as its limit; what it may cost is booked as owed."""
    text = terms.text.strip().upper()
    _check(text, terms, now)
    with transaction.atomic():
        series = _series(series_code)
        try:
            with transaction.atomic():
                made = GenericCode.objects.create(
                    series=series,
                    text=text,
                    use_limit=terms.use_limit,
                    person_limit=terms.person_limit,
                    expires_at=terms.expires_at or series.expires_at or NEVER,
                    created_by=actor,
                )
        except IntegrityError:
            raise GenericExists from None
        if series.state == Series.State.DRAFT:
            Series.objects.filter(pk=series.pk).update(state=Series.State.ISSUED)
        uses = money.uses_of(made)
        story = {"code": text, "uses": terms.use_limit}
        _note(made, "create_generic_code", actor, after=story)
        post_all(
            [
                *money.transfer(
                    f"generic:{made.pk}", series.asset_id, uses.issuance, uses.left,
                    terms.use_limit, code=Code.ISSUE,
                ),
                *money.backing(series, terms.use_limit, f"generic:{made.pk}"),
            ]
        )  # fmt: skip
        announce("generic_code_created", series.code, series=series.code, **story)
    return made


def _check(text: str, terms: Terms, now: datetime) -> None:
    if not _TEXT.fullmatch(text):
        raise GenericInvalid("A code has 4 to 64 capitals, digits, hyphens, dots or underscores.")
    if not 1 <= terms.use_limit <= MOST_USES:
        raise GenericInvalid(f"A code is used 1 to {MOST_USES:,} times.")
    if terms.person_limit is not None and not 1 <= terms.person_limit <= terms.use_limit:
        raise GenericInvalid("A person's limit is at least 1, and at most the code's.")
    if terms.expires_at is not None and terms.expires_at <= now:
        raise GenericInvalid("It would have expired already.")


def _series(series_code: str) -> Series:
    series = (
        Series.objects.with_assets()
        .select_for_update(no_key=True, of=("self",))
        .filter(asset__code=series_code)
        .first()
    )
    if series is None:
        raise SeriesUnknown
    if series.state == Series.State.CLOSED:
        raise SeriesClosed
    if not series.is_redeemed_here:
        raise NotRedeemedHere
    if series.kind == Kind.GIFT:
        raise NotGeneric
    return series


def deactivate(generic_id: int, *, actor: User | None, reason: str) -> bool:
    """Let nobody use a generic code any more; what it could have cost is owed no longer.

    Uses reserved before are still confirmed. Says whether that changed anything.
    """
    reason = checked_reason(reason)
    with transaction.atomic():
        generic = _locked(generic_id)
        if not generic.is_active:
            return False
        generic.is_active = False
        generic.save(update_fields=["is_active"])
        _note(generic, "deactivate_generic_code", actor, reason=reason)
        uses, series = money.uses_of(generic), generic.series
        left = money.available(uses.left)
        if left:
            post_all(
                [
                    *money.transfer(
                        f"generic:{generic.pk}:end", series.asset_id, uses.left, uses.issuance,
                        left, code=Code.CLAWBACK,
                    ),
                    *money.unbacking(series, left, f"generic:{generic.pk}:end"),
                ]
            )  # fmt: skip
        announce("generic_code_deactivated", series.code, series=series.code, code=generic.text)
    return True


def extend(
    generic_id: int,
    expires_at: datetime,
    *,
    actor: User | None,
    reason: str,
    now: datetime | None = None,
) -> bool:
    """Let a generic code, not yet expired, be used for longer; say if that changed it."""
    reason = checked_reason(reason)
    with transaction.atomic():
        generic = _locked(generic_id)
        if not generic.is_active or generic.expires_at <= (now or timezone.now()):
            raise GenericInvalid("It has expired, or was taken out of use.")
        if expires_at <= generic.expires_at:
            return False
        before, generic.expires_at = generic.expires_at, expires_at
        generic.save(update_fields=["expires_at"])
        told = {"before": {"expires_at": format_time(before)},
                "after": {"expires_at": format_time(expires_at)}}  # fmt: skip
        _note(generic, "extend_generic_code", actor, reason=reason, **told)
        code = generic.series.code
        announce("generic_code_extended", code, series=code, code=generic.text)
    return True


def _locked(generic_id: int) -> GenericCode:
    found = (
        GenericCode.objects.select_related("series__asset", "series__face_value_asset")
        .select_for_update(no_key=True, of=("self",))
        .filter(pk=generic_id)
        .first()
    )
    if found is None:
        raise CodeUnknown
    return found


def _note(generic: GenericCode, deed: str, actor: User | None, **more: object) -> None:
    audit.record(
        actor=actor,
        action=f"rewards.{deed}",
        object_type="generic_code",
        object_id=generic.pk,
        **more,  # type: ignore[arg-type]
    )
