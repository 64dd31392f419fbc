"""What marketing does to a campaign: draft a version, have another publish it, pause, end.

A version says everything and never changes. Publishing it funds its budgets in the same
transaction; claims granted before keep the version they were granted under.
"""

from __future__ import annotations

import re
import secrets
from datetime import datetime
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts.models import User
from edge import audit
from rewards.campaigns import budgets
from rewards.campaigns.chance import SEED_BYTES, commitment_of
from rewards.campaigns.counting import MERGE_LATER
from rewards.campaigns.directory import seed_of
from rewards.campaigns.events import announce, event
from rewards.campaigns.models import NAME, Campaign, CampaignVersion
from rewards.campaigns.names import known
from rewards.campaigns.problems import (
    CampaignExists,
    CampaignStateDiffers,
    CampaignUnknown,
    NameInvalid,
    OwnVersion,
    ReasonMissing,
    SeedSecret,
    TermsRefused,
    VersionDecided,
    VersionSuperseded,
    VersionUnknown,
)
from rewards.campaigns.terms import Terms, load_terms, read_terms, stored

LONGEST_REASON = 500
State = Campaign.State
VersionState = CampaignVersion.State


def create(
    *, code: str, title: str, description: str = "", partner: str = "", actor: User | None
) -> Campaign:
    """Set up a campaign. It gives nothing until a version of it is published."""
    if not re.fullmatch(NAME, code) or not title.strip():
        raise NameInvalid("A code has 1 to 60 letters, digits, . _ : or -; a title is not empty.")
    try:
        with transaction.atomic():
            campaign = Campaign.objects.create(
                code=code, title=title, description=description, partner=partner, created_by=actor
            )
            _note(actor, "create", campaign, after={"title": title, "partner": partner})
            announce(event("campaign_created", code))
    except IntegrityError:
        raise CampaignExists from None
    return campaign


def check(code: str, terms: Any, *, now: datetime | None = None) -> Terms:
    """Read terms as a version of this campaign, or refuse them with every fault and its path."""
    read, faults = read_terms(terms, campaign=code, known=known(), now=now or timezone.now())
    if read is None:
        raise TermsRefused(faults)
    return read


def draft(code: str, terms: Any, *, actor: User, now: datetime | None = None) -> CampaignVersion:
    """Write a version of a campaign, for somebody else to publish. Drafts decide nothing."""
    read = check(code, terms, now=now)
    nonce = secrets.token_bytes(SEED_BYTES)
    with transaction.atomic():
        campaign = _locked(code)
        if campaign.state == State.ENDED:
            raise CampaignStateDiffers("The campaign is over.")
        version = CampaignVersion.objects.create(
            campaign=campaign,
            number=campaign.versions.count() + 1,
            terms=stored(read),
            starts_at=read.starts_at,
            ends_at=read.ends_at,
            nonce=nonce,
            commitment=commitment_of(seed_of(nonce)),
            proposed_by=actor,
        )
        _note(actor, "draft_version", campaign, after={"number": version.number})
        announce(event("version_drafted", code, version=version.number))
    return version


def publish(code: str, number: int, *, actor: User, now: datetime | None = None) -> CampaignVersion:
    """Publish a version that somebody else wrote, and fund its budgets.

    It counts from its own start. What was granted under earlier versions stays. Locks the
    campaign, so no claim is decided meanwhile; then passes through the ledger's door.
    """
    now = now or timezone.now()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(MERGE_LATER)
        campaign, version = _locked_draft(code, number, actor)
        terms = load_terms(version.terms)
        _check_in_time(campaign, terms, now)
        _decide(version, VersionState.PUBLISHED, actor, now)
        if campaign.state == State.DRAFT:
            campaign.state = State.LIVE
        campaign.revision += 1
        campaign.save(update_fields=["state", "revision"])
        _note(actor, "publish_version", campaign, after={"number": number})
        moves = budgets.fund(campaign, terms.budgets, reference=f"fund:{version.pk}")
        announce(
            event("version_published", code, version=number, commitment=version.commitment),
            *funded(code, moves),
        )
    return version


def reject(
    code: str, number: int, *, actor: User, note: str, now: datetime | None = None
) -> CampaignVersion:
    """Turn down a version that somebody else wrote, and say why."""
    note = checked_reason(note)
    with transaction.atomic():
        campaign, version = _locked_draft(code, number, actor)
        version.note = note
        _decide(version, VersionState.REJECTED, actor, now or timezone.now())
        _note(actor, "reject_version", campaign, reason=note, after={"number": number})
        announce(event("version_rejected", code, version=number))
    return version


def pause(code: str, *, actor: User | None, reason: str) -> Campaign:
    """Stop claims for now. Those that are being decided are decided first."""
    return _change(code, "pause", {State.LIVE}, State.PAUSED, actor, reason)


def resume(code: str, *, actor: User | None, reason: str) -> Campaign:
    """Let claims in again."""
    return _change(code, "resume", {State.PAUSED}, State.LIVE, actor, reason)


def end(code: str, *, actor: User | None, reason: str) -> Campaign:
    """End a campaign for good, and give back what is left of its budgets.

    Once this has committed no claim of it is granted, not even one that began before.
    """
    return _change(code, "end", {State.LIVE, State.PAUSED, State.DRAFT}, State.ENDED, actor, reason)


def _change(
    code: str, verb: str, allowed: set[State], wanted: State, actor: User | None, reason: str
) -> Campaign:
    reason = checked_reason(reason)
    with transaction.atomic():
        campaign = _locked(code)
        if campaign.state not in allowed:
            raise CampaignStateDiffers(f"It is {campaign.state}.")
        before, campaign.state = campaign.state, wanted
        campaign.revision += 1
        campaign.ended_at = timezone.now() if wanted == State.ENDED else None
        campaign.save(update_fields=["state", "revision", "ended_at"])
        change = {"before": {"state": before}, "after": {"state": wanted}}
        _note(actor, verb, campaign, reason=reason, **change)
        moves = []
        if wanted == State.ENDED:
            moves = budgets.release(campaign, reference=f"release:{campaign.pk}")
        past = {"pause": "paused", "resume": "resumed", "end": "ended"}[verb]
        announce(event(f"campaign_{past}", code), *funded(code, moves))
    return campaign


def funded(code: str, moves: list[budgets.Move]) -> list[Any]:
    """Tell what was put into budgets, or taken out of them."""
    return [
        event(
            "budget_funded",
            code,
            asset=move.asset,
            account=str(move.account_id),
            amount=move.amount,
        )
        for move in moves
    ]


def revealed_seed(code: str, number: int, *, now: datetime | None = None) -> tuple[str, str]:
    """Give the commitment and the seed of a version whose draws are over, both in hex."""
    now = now or timezone.now()
    version = (
        CampaignVersion.objects.select_related("campaign")
        .filter(campaign__code=code, number=number, state=VersionState.PUBLISHED)
        .first()
    )
    if version is None:
        raise VersionUnknown
    later = CampaignVersion.objects.filter(
        campaign=version.campaign_id,
        state=VersionState.PUBLISHED,
        starts_at__lte=now,
        starts_at__gt=version.starts_at,
    )
    is_over = version.campaign.state == State.ENDED or (
        version.ends_at is not None and version.ends_at <= now
    )
    # A version that was overtaken could come back in no way: starts only ever lie further on.
    if not is_over and not later.exists():
        raise SeedSecret
    return version.commitment, seed_of(bytes(version.nonce)).hex()


def _check_in_time(campaign: Campaign, terms: Terms, now: datetime) -> None:
    if campaign.state == State.ENDED:
        raise CampaignStateDiffers("The campaign is over.")
    if terms.ends_at is not None and terms.ends_at <= now:
        raise VersionSuperseded("Its own end lies in the past.")
    overtaken = campaign.versions.filter(
        state=VersionState.PUBLISHED, starts_at__gt=terms.starts_at, starts_at__lte=now
    )
    if overtaken.exists():
        raise VersionSuperseded


def _decide(version: CampaignVersion, state: str, actor: User, now: datetime) -> None:
    version.state, version.decided_by, version.decided_at = state, actor, now
    version.save(update_fields=["state", "decided_by", "decided_at", "note"])


def _locked(code: str) -> Campaign:
    campaign = Campaign.objects.select_for_update(no_key=True).filter(code=code).first()
    if campaign is None:
        raise CampaignUnknown
    return campaign


def _locked_draft(code: str, number: int, actor: User) -> tuple[Campaign, CampaignVersion]:
    campaign = _locked(code)
    version = campaign.versions.filter(number=number).first()
    if version is None:
        raise VersionUnknown
    if version.state != VersionState.DRAFT:
        raise VersionDecided(f"It was {version.state}.")
    if version.proposed_by_id == actor.pk:
        raise OwnVersion
    return campaign, version


def checked_reason(reason: str) -> str:
    """Trim a reason, or refuse an empty one."""
    reason = reason.strip()[:LONGEST_REASON]
    if not reason or "\x00" in reason:
        raise ReasonMissing
    return reason


def _note(actor: User | None, deed: str, campaign: Campaign, **more: Any) -> None:
    audit.record(
        actor=actor,
        action=f"campaigns.{deed}",
        object_type="campaign",
        object_id=campaign.code,
        **more,
    )
