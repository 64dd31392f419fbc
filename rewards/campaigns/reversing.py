"""Undoing a claim: everything it paid comes back to the budget, everything it counted goes down."""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from accounts.models import User
from edge import audit
from rewards.campaigns import budgets, counting, paying, publishing, standings
from rewards.campaigns.claiming import claim_event
from rewards.campaigns.deciding import EVER, Counter
from rewards.campaigns.events import announce
from rewards.campaigns.models import Campaign, Claim, MergedPerson
from rewards.campaigns.problems import ClaimReversed, ClaimUnknown
from rewards.campaigns.publishing import checked_reason

HOLD = "SELECT id, state FROM campaigns_campaign WHERE id = %s FOR SHARE"


def reverse(
    claim_id: int, *, actor: User | None, reason: str
) -> tuple[Claim, list[dict[str, Any]]]:
    """Reverse a claim, for both sides of a referral; say what was taken and what is owed now.

    The person may claim again where a limit was in the way. Points that are spent become a
    debt that later grants pay back. What comes back to a campaign that is over goes on to where
    its budget came from. Locks the claim, the campaign, counters, then the ledger's accounts.
    """
    reason = checked_reason(reason)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(counting.MERGE_LATER)
        found = Claim.objects.select_for_update(no_key=True, of=("self",))
        claim = found.select_related("campaign", "version").filter(pk=claim_id).first()
        if claim is None:
            raise ClaimUnknown
        if claim.state == Claim.State.REVERSED:
            raise ClaimReversed
        is_over = _held(claim.campaign_id).state == Campaign.State.ENDED
        counters = _counted_now([Counter(*each) for each in claim.counted])
        [own] = _counted_now([Counter(f"campaign:{claim.campaign.code}", claim.owner_id, EVER)])
        counting.count_down(counters, own, claim.at)
        claim.state, claim.reason = Claim.State.REVERSED, reason
        claim.reversed_at, claim.reversed_by = timezone.now(), actor
        claim.save(update_fields=["state", "reason", "reversed_at", "reversed_by"])
        audit.record(
            actor=actor,
            action="campaigns.reverse_claim",
            object_type="claim",
            object_id=claim.pk,
            reason=reason,
        )
        transfers, moves = budgets.returning(claim) if is_over else ([], [])
        taken = paying.take_back(claim, actor=actor, reason=reason, then=transfers)
        earned = {
            (row["asset"], int(row["person"]))
            for row in claim.payments
            if row["kind"] == "tier_points"
        }
        announce(
            *standings.follow_all(earned, claim.reversed_at),
            claim_event("claim_reversed", claim.campaign.code, claim.version.number, claim),
            *publishing.funded(claim.campaign.code, moves),
        )
    return claim, taken


def _held(campaign_id: int) -> Campaign:
    """Keep a campaign from ending until the transaction does, as claims do."""
    return Campaign.objects.raw(HOLD, [campaign_id])[0]


def _counted_now(counters: list[Counter]) -> list[Counter]:
    """Where these are counted today: with whom an account was merged into."""
    merged = MergedPerson.objects.in_bulk([counter.person for counter in counters])
    return sorted(
        counter._replace(person=merged[counter.person].new) if counter.person in merged else counter
        for counter in counters
    )
