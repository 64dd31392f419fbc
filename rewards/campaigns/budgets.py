"""Budgets: a ledger account for each asset of a campaign, funded when a version is published.

Every claim is a transfer out of it, so it cannot be overspent, whoever claims at the same
time. Points come from their issuance, units from the series' treasury, currency from our
promotions account, or from what a partner owes us.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.db.models import F

from edge.journey import Answered, Journey, ask
from edge.postgres import array, text_array
from rewards import units
from rewards.campaigns.models import Campaign, CampaignBudget, Claim
from rewards.campaigns.problems import BudgetBelowSpent, SourceMissing
from wallet.accounts import BUDGET, ISSUANCE, Purpose, open_accounts
from wallet.actions import post
from wallet.items import Refusal, Transfer
from wallet.models import Asset, Code
from wallet.problems import LedgerRefusal

LEFT = "SELECT id, balance - held FROM wallet_account WHERE id = ANY($1::bigint[])"
LEFT_OF = """
SELECT a.id, a.balance - a.held
  FROM campaigns_campaign AS c
  JOIN campaigns_campaignbudget AS b ON b.campaign_id = c.id
  JOIN wallet_account AS a ON a.id = b.account_id
 WHERE c.code = ANY($1::varchar[])
"""
PROMOTION = "promotion"
RECEIVABLE = "receivable"


@dataclass(frozen=True, slots=True)
class Move:
    """What funding changed: so much more (or less) of an asset in its budget account."""

    asset: str
    account_id: int
    amount: int


def fund(campaign: Campaign, budgets: Mapping[str, int], *, reference: str) -> list[Move]:
    """Bring budgets to these totals: what was put in so far is topped up, or taken out again.

    All of it or nothing. Opens accounts at first use; passes through the door, once, so the
    caller has nothing left to lock. Refused where more was given than the new total.
    """
    rows = _rows(campaign, budgets)
    moves = [
        (row, budgets[row.asset.code] - row.funded)
        for row in rows
        if budgets[row.asset.code] != row.funded
    ]
    _move(moves, reference, campaign)
    for row, change in moves:
        CampaignBudget.objects.filter(pk=row.pk).update(funded=row.funded + change)
    return [Move(row.asset.code, row.account_id, change) for row, change in moves]


def release(campaign: Campaign, *, reference: str) -> list[Move]:
    """Give back what is left when a campaign is over. The caller keeps claims away."""
    rows = list(CampaignBudget.objects.filter(campaign=campaign).select_related("asset"))
    left = left_in(row.account_id for row in rows)
    return fund(
        campaign,
        {row.asset.code: row.funded - left[row.account_id] for row in rows},
        reference=reference,
    )


def returning(claim: Claim) -> tuple[list[Transfer], list[Move]]:
    """What a claim of a campaign that is over gives back goes on to where it came from.

    The transfers are for whoever reverses the claim, in the same pass through the door, after
    those that bring it back. The caller holds the campaign.
    """
    back = Counter[int]()
    for row in claim.payments:
        if row["budget"] is not None:
            back[int(row["budget"])] += row["amount"]
    budgets = CampaignBudget.objects.filter(account_id__in=back).select_related("asset")
    rows = list(budgets.order_by("pk"))
    transfers = [
        _transfer(row, -back[row.account_id], f"release:claim:{claim.pk}", claim.campaign)
        for row in rows
    ]
    for row in rows:
        less = F("funded") - back[row.account_id]
        CampaignBudget.objects.filter(pk=row.pk).update(funded=less)
    return transfers, [Move(row.asset.code, row.account_id, -back[row.account_id]) for row in rows]


def left_in(account_ids: Iterable[int]) -> dict[int, int]:
    """What is left to give in each budget account, without a lock."""
    return hear_left(ask(LEFT, array(account_ids)))


def ask_left(journey: Journey, codes: Iterable[str]) -> None:
    """Ask what is left in the budgets of campaigns, without a lock."""
    journey.add(LEFT_OF, text_array(codes))


def hear_left(found: Answered) -> dict[int, int]:
    """Take in the answer: what is left, by budget account."""
    return dict(found.fetchall())


def _rows(campaign: Campaign, budgets: Mapping[str, int]) -> list[CampaignBudget]:
    """The budget rows of these assets, in order, made where there are none."""
    rows = {
        row.asset.code: row
        for row in CampaignBudget.objects.filter(campaign=campaign).select_related("asset")
    }
    for asset in Asset.objects.filter(code__in=budgets.keys() - rows.keys()):
        own = Purpose(None, asset.pk, BUDGET, f"campaign:{campaign.pk}")
        source = _source(campaign, asset)
        opened = open_accounts([own, source])
        rows[asset.code] = CampaignBudget.objects.create(
            campaign=campaign, asset=asset, account_id=opened[own], source_id=opened[source]
        )
    if missing := budgets.keys() - rows.keys():
        raise SourceMissing(f"There is no asset {min(missing)}.")
    return [rows[code] for code in sorted(budgets)]


def _source(campaign: Campaign, asset: Asset) -> Purpose:
    if asset.kind == Asset.Kind.POINTS:
        return Purpose(None, asset.pk, ISSUANCE)
    if asset.kind == Asset.Kind.SERIES:
        return Purpose(None, asset.pk, BUDGET, units.TREASURY)
    if campaign.partner:
        return Purpose(None, asset.pk, RECEIVABLE, campaign.partner)
    return Purpose(None, asset.pk, PROMOTION)


def _move(moves: list[tuple[CampaignBudget, int]], reference: str, campaign: Campaign) -> None:
    """Move all changes as one chain."""
    chain = [
        _transfer(row, change, reference, campaign, linked=index < len(moves) - 1)
        for index, (row, change) in enumerate(moves)
    ]
    for (row, change), result in zip(moves, post(chain), strict=True):
        if result.is_created or result.refusal is Refusal.CHAIN_REFUSED:
            continue
        if result.refusal is Refusal.INSUFFICIENT_FUNDS and change < 0:
            raise BudgetBelowSpent(asset=row.asset.code)
        raise LedgerRefusal(result.refusal, f"The source of {row.asset.code} cannot fund it.")


def _transfer(
    row: CampaignBudget, change: int, reference: str, campaign: Campaign, *, linked: bool = False
) -> Transfer:
    """Into a budget from its source, or back where the change is below zero."""
    return Transfer(
        reference=f"{reference}:{row.pk}",
        asset_id=row.asset_id,
        debit_account_id=row.source_id if change > 0 else row.account_id,
        credit_account_id=row.account_id if change > 0 else row.source_id,
        amount=abs(change),
        code=Code.ISSUE,
        memo=f"budget of {campaign.code}",
        linked=linked,
    )
