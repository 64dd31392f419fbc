"""What campaigns did: claims, refusals, budgets, arms compared, and what is still owed of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count
from django.utils import timezone

from edge.ids import first_id_at, time_of
from edge.snapshots import one_snapshot
from rewards.campaigns import budgets
from rewards.campaigns.cohorts import Cohorts, Moved, Tag
from rewards.campaigns.models import Campaign, CampaignBudget, CampaignVersion, Claim, ClaimRefusal
from rewards.campaigns.problems import CampaignUnknown
from rewards.campaigns.terms import load_terms
from rewards.campaigns.uplift import Arm, compare
from wallet.accounts import BREAKAGE, WALLET
from wallet.models import Account, Asset, Code
from wallet.people import AssetUnknown
from wallet.statements import balances_as_of

ACCOUNTS_AT_ONCE = 10_000
ARMS = """
SELECT first.variant, count(*), count(*) FILTER (WHERE EXISTS (
           SELECT FROM campaigns_activity AS a JOIN campaigns_factname AS n ON n.id = a.kind_id
            WHERE a.person_id = first.owner_id AND n.code = %(event)s AND n.kind = 'activity'
              AND a.at > first.at AND a.at <= first.at + make_interval(days => %(days)s)))
  FROM (SELECT DISTINCT ON (owner_id) owner_id, variant, at FROM campaigns_claim
         WHERE campaign_id = %(campaign)s AND state = 'granted' AND variant <> ''
         ORDER BY owner_id, id) AS first
 GROUP BY 1
"""
# Reads only. What was taken from people for something they bought counts as redeemed.
MOVED = """
SELECT t.id, t.code, t.amount, t.expires_at, t.reverses_id,
       CASE WHEN d.kind_id = 'wallet' THEN d.id END,
       CASE WHEN c.kind_id = 'wallet' THEN c.id END,
       d.id, c.kind_id
  FROM wallet_transfer AS t
  JOIN wallet_account AS d ON d.id = t.debit_account_id
  JOIN wallet_account AS c ON c.id = t.credit_account_id
 WHERE t.asset_id = %(asset)s AND t.kind IN (1, 3) AND t.id < %(cut)s
   AND (d.kind_id = 'wallet' OR c.kind_id = 'wallet')
 ORDER BY t.id
"""


class LiabilityDoesNotTie(RuntimeError):
    """The lots differ from the wallets' balances: run `manage.py ledger verify`."""


def report_of(code: str) -> dict[str, Any]:
    """Sum up one campaign: claims, people, reasons of refusals, budgets, arms of its test."""
    campaign = Campaign.objects.filter(code=code).first()
    if campaign is None:
        raise CampaignUnknown
    claims = Claim.objects.filter(campaign=campaign)
    states = dict(claims.values_list("state").annotate(Count("id")))
    reasons = ClaimRefusal.objects.filter(campaign=campaign).values_list("code")
    return {
        "campaign": code,
        "state": campaign.state,
        "budgets": budget_rows(campaign),
        "granted": sum(states.values()),
        "reversed": states.get(Claim.State.REVERSED, 0),
        "people": claims.values("owner").distinct().count(),
        "refusals": dict(reasons.annotate(Count("id"))),
        "variants": _variants(campaign),
    }


def budget_rows(campaign: Campaign) -> list[dict[str, Any]]:
    """What was put into each budget and what is left."""
    rows = list(CampaignBudget.objects.filter(campaign=campaign).select_related("asset"))
    left = budgets.left_in(row.account_id for row in rows)
    return [
        {"asset": row.asset.code, "funded": row.funded, "left": left[row.account_id]}
        for row in rows
    ]


def _variants(campaign: Campaign) -> list[dict[str, Any]]:
    """The arms of the latest published version that tests any, each beside the first."""
    published = CampaignVersion.objects.filter(
        campaign=campaign, state=CampaignVersion.State.PUBLISHED
    )
    for version in published.order_by("-number"):
        terms = load_terms(version.terms)
        if terms.variants:
            break
    else:
        return []
    goal = terms.goal
    found = _arms(campaign, goal.event if goal else "", goal.within_days if goal else 0)
    arms = [Arm(each.code, *found.get(each.code, (0, 0))) for each in terms.variants]
    return [
        {"variant": one.arm.code, "people": one.arm.people, "converted": one.arm.converted,
         "rate": one.arm.rate, "uplift": one.uplift, "difference": one.difference,
         "low": one.low, "high": one.high}
        for one in compare(arms)
    ]  # fmt: skip


def _arms(campaign: Campaign, event: str, days: int) -> dict[str, tuple[int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(ARMS, {"campaign": campaign.pk, "event": event, "days": days})
        return {variant: (people, converted) for variant, people, converted in cursor.fetchall()}


# -- liability -----------------------------------------------------------------------------


def liability(asset_code: str, as_of: datetime | None = None) -> dict[str, Any]:
    """Say what people still hold of what each campaign granted in each month, as of a moment.

    Reads every transfer of the asset that touched a wallet and was written before then, in
    order, some 5 µs each, in one snapshot. Memory grows with the lots that people hold. What
    is outstanding sums to the wallets' balances, or `LiabilityDoesNotTie`.
    """
    asset = Asset.objects.filter(code=asset_code).first()
    if asset is None:
        raise AssetUnknown
    moment = as_of or timezone.now()
    with one_snapshot():
        cohorts = Cohorts()
        for moved in _moved(asset, moment):
            cohorts.apply(moved)
        held = _held(asset, moment)
    left = cohorts.outstanding()
    if sum(left.values()) != held:
        raise LiabilityDoesNotTie(f"{asset_code}: {sum(left.values())} in lots, {held} in wallets")
    tags = sorted({*cohorts.columns, *left})
    rows = [_liability_row(tag, cohorts.columns[tag], left.get(tag, 0)) for tag in tags]
    return {"asset": asset_code, "as_of": moment, "wallets": held, "rows": rows}


def _liability_row(tag: Tag, columns: dict[str, int], left: int) -> dict[str, Any]:
    row = {"campaign": tag.campaign or None, "cohort": tag.cohort}
    counts = {
        name: columns.get(name, 0) for name in ("granted", "taken_back", "expired", "redeemed")
    }
    return {**row, **counts, "outstanding": left}


def _moved(asset: Asset, moment: datetime) -> Iterator[Moved]:
    campaigns = {
        row.account_id: row.campaign.code
        for row in CampaignBudget.objects.filter(asset=asset).select_related("campaign")
    }
    with connection.chunked_cursor() as cursor:
        cursor.execute(MOVED, {"asset": asset.pk, "cut": first_id_at(moment)})
        for id, code, amount, expires_at, reverses_id, payer, receiver, source, sink in cursor:
            campaign = campaigns.get(source, "") if code == Code.CLAIM else ""
            tag = Tag(campaign, time_of(id).strftime("%Y-%m"))
            yield Moved(id, amount, expires_at, reverses_id, payer, receiver, tag, _out(code, sink))


def _out(code: int, kind: str) -> str:
    if code in (Code.CLAWBACK, Code.REVERSAL, Code.REPAYMENT):
        return "taken_back"
    return "expired" if kind == BREAKAGE else "redeemed"


def _held(asset: Asset, moment: datetime) -> int:
    """What the ledger says that all wallets held."""
    ids = list(Account.objects.filter(asset=asset, kind=WALLET).values_list("pk", flat=True))
    return sum(
        sum(balances_as_of(ids[at : at + ACCOUNTS_AT_ONCE], moment).values())
        for at in range(0, len(ids), ACCOUNTS_AT_ONCE)
    )
