"""Partners: set up by marketing, and found for whoever redeems."""

from __future__ import annotations

import re

from django.db import IntegrityError, transaction

from accounts.models import User
from edge import audit
from edge.problems import Refusal
from rewards.importing import SeriesUnknown
from rewards.models import Partner, Series
from rewards.redemption.problems import NotRedeemedHere, PartnerAmbiguous, PartnerUnknown

_CODE = re.compile(r"[a-z0-9][a-z0-9-]{1,39}", re.ASCII)
LONGEST_NAME = 120


class PartnerExists(Refusal):
    """There is a partner of this code."""

    code = "partner_exists"
    title = "There is a partner of this code already"
    status = 409


class PartnerInvalid(Refusal):
    """A partner's code or name is not one."""

    code = "partner_invalid"
    title = "A code has 2 to 40 small letters, digits and hyphens; a name 1 to 120 characters"
    status = 422


class NoSuchPartner(Refusal):
    """No partner has this code."""

    code = "partner_unknown"
    title = "There is no such partner"
    status = 404


def create(code: str, name: str, *, actor: User | None) -> Partner:
    """Set up a partner, with nobody who redeems and nothing to redeem yet."""
    name = name.strip()
    if not _CODE.fullmatch(code) or not 0 < len(name) <= LONGEST_NAME:
        raise PartnerInvalid
    try:
        with transaction.atomic():
            made = Partner.objects.create(code=code, name=name)
            _note(made, "create_partner", actor, {"name": name})
    except IntegrityError:
        raise PartnerExists from None
    return made


def set_staff(code: str, person: User, is_staff: bool, *, actor: User | None) -> bool:
    """Let a person redeem for a partner, or no more; say whether that changed anything."""
    with transaction.atomic():
        partner = _locked(code)
        if partner.staff.filter(pk=person.pk).exists() == is_staff:
            return False
        (partner.staff.add if is_staff else partner.staff.remove)(person)
        deed = "add_partner_staff" if is_staff else "remove_partner_staff"
        _note(partner, deed, actor, {"person": person.pk})
    return True


def set_series(code: str, series_code: str, is_taken: bool, *, actor: User | None) -> bool:
    """Let a partner redeem a series, or no more; say whether that changed anything."""
    with transaction.atomic():
        partner = _locked(code)
        series = Series.objects.filter(asset__code=series_code).first()
        if series is None:
            raise SeriesUnknown
        if is_taken and not series.is_redeemed_here:
            raise NotRedeemedHere
        if partner.series.filter(pk=series.pk).exists() == is_taken:
            return False
        (partner.series.add if is_taken else partner.series.remove)(series)
        deed = "add_partner_series" if is_taken else "remove_partner_series"
        _note(partner, deed, actor, {"series": series_code})
    return True


def partner_of(person: User, code: str | None = None) -> Partner:
    """Say for which partner a person redeems; who works for several names one.

    Whoever works for none learns nothing more, whatever else they sent.
    """
    partners = person.redeems_for.filter(is_active=True)
    if code is not None:
        partners = partners.filter(code=code)
    found = list(partners.order_by("pk")[:2])
    if not found:
        raise PartnerUnknown
    if len(found) > 1:
        raise PartnerAmbiguous
    return found[0]


def _locked(code: str) -> Partner:
    found = Partner.objects.select_for_update(no_key=True).filter(code=code).first()
    if found is None:
        raise NoSuchPartner
    return found


def _note(partner: Partner, deed: str, actor: User | None, after: dict[str, object]) -> None:
    audit.record(
        actor=actor,
        action=f"rewards.{deed}",
        object_type="partner",
        object_id=partner.code,
        after=after,
    )
