"""Reading and setting an asset's rules, and holding people to them when they pass units on.

A check stands in the transaction that moves the units, with the accounts locked as the door
locks them, so nothing can come in or go out between the look and the deed. The order engine
asks the same rules of its own locked accounts (`orderbook.eligibility`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connection, transaction

from accounts.regions import regions_of
from edge.audit import record
from edge.ids import first_id_at
from edge.postgres import array, raw_cursor
from edge.problems import Refusal
from wallet.models import Account, Asset, AssetRules, Code
from wallet.ownership_rules import (
    FREE,
    LONGEST_HOLDING_S,
    MOST_REGIONS,
    REGION_PATTERN,
    STATUSES,
    TITLES,
    Barred,
    Ownership,
    is_looser,
    passing_fault,
    region_fault,
)

# A reversal brings back what somebody had before: that does not make it new. The bound on ids
# comes twice, so that PostgreSQL leaves out the months before it in both tables.
RECEIVED = """
SELECT e.account_id, sum(e.amount)::bigint
  FROM wallet_entry AS e JOIN wallet_transfer AS t ON t.id = e.transfer_id
 WHERE e.account_id = ANY(%s::bigint[]) AND e.transfer_id >= %s AND t.id >= %s
   AND e.amount > 0 AND t.code <> %s
 GROUP BY e.account_id
"""


class OwnershipBarred(Refusal):
    """The asset's own rules forbid it; the code says which of them."""

    def __init__(self, barred: Barred, detail: str = "") -> None:
        super().__init__(detail, code=barred.value, title=TITLES[barred], status=STATUSES[barred])
        self.barred = barred


class RulesInvalid(Refusal):
    """Such rules cannot be kept."""

    code = "ownership_rules_invalid"
    title = "An asset cannot have these rules"
    status = 422


class RulesTightened(Refusal):
    """Somebody owns units already: what they may do with them is not taken away."""

    code = "ownership_rules_only_loosen"
    title = "Rules of units that people own may only become looser"
    status = 409


# -- the rules ---------------------------------------------------------------------------------


def rules_of(asset_id: int) -> Ownership:
    """Say the rules of one asset."""
    found = AssetRules.objects.filter(pk=asset_id).first()
    return found.ownership if found else FREE


def set_rules(
    asset: Asset,
    wanted: AssetRules,
    *,
    may_tighten: bool,
    actor: AbstractBaseUser | None,
    reason: str = "",
) -> AssetRules:
    """Give an asset rules, or change them, audited. Inside the caller's transaction.

    Unless `may_tighten`, the new rules take nothing away from owners (`RulesTightened`).
    """
    check_rules(wanted)
    wanted.asset = asset
    before = AssetRules.objects.select_for_update().filter(pk=asset.pk).first()
    earlier = before.ownership if before else FREE
    if not may_tighten and not is_looser(earlier, wanted.ownership):
        raise RulesTightened
    if before is not None and _story(before) == _story(wanted):
        return before
    wanted.save(force_insert=before is None, force_update=before is not None)
    record(
        actor=actor,
        action="wallet.set_ownership_rules",
        object_type="asset",
        object_id=asset.code,
        reason=reason,
        before=_story(before) if before else None,
        after=_story(wanted),
    )
    return wanted


def check_rules(wanted: AssetRules) -> None:
    """Refuse regions that are none, and times out of range."""
    if any(not re.fullmatch(REGION_PATTERN, region) for region in wanted.regions):
        raise RulesInvalid("A region is a country (DE) or a part of one (DE-BY).")
    if len(set(wanted.regions)) != len(wanted.regions) or len(wanted.regions) > MOST_REGIONS:
        raise RulesInvalid(f"At most {MOST_REGIONS} regions, each once.")
    for seconds in (wanted.holding_s, wanted.stops_before_s):
        if not 0 <= seconds <= LONGEST_HOLDING_S:
            raise RulesInvalid(f"A time is 0 to {LONGEST_HOLDING_S} seconds.")


def _story(rules: AssetRules) -> dict[str, object]:
    return {
        "is_transferable": rules.is_transferable,
        "holding_s": rules.holding_s,
        "regions": sorted(rules.regions),
        "expires_at": rules.expires_at.isoformat() if rules.expires_at else None,
        "stops_before_s": rules.stops_before_s,
        "face_value_minor": rules.face_value_minor,
    }


# -- keeping them ------------------------------------------------------------------------------


def received_since(account_ids: Iterable[int], since: datetime) -> dict[int, int]:
    """Say how many units came into each account since then, reversals left out.

    One range of the entries' primary key an account. Call it with the accounts locked.
    """
    first = first_id_at(since)
    with raw_cursor() as cursor:
        values = (array(account_ids), first, first, Code.REVERSAL.value)
        rows = cursor.execute(RECEIVED, values, prepare=True).fetchall()
    return {int(account_id): int(amount) for account_id, amount in rows}


def check_passing(
    *,
    asset_id: int,
    sender_account: int,
    receiver_account: int,
    receiver_id: int,
    amount: int,
    now: datetime | None = None,
) -> None:
    """Refuse (`OwnershipBarred`) what the asset's rules forbid a person to send another.

    In the transaction that then moves it. Costs one look-up for an asset without rules; with
    rules it locks both accounts in id order, as the door will.
    """
    rules = rules_of(asset_id)
    if not rules.binds:
        return
    assert connection.in_atomic_block
    if barred := region_fault(rules, regions_of([receiver_id]).get(receiver_id, "")):
        raise OwnershipBarred(barred)
    pair = [sender_account, receiver_account]
    accounts: Mapping[int, Account] = {
        account.pk: account
        for account in Account.objects.select_for_update(no_key=True)
        .filter(pk__in=pair)
        .order_by("pk")
    }
    sender = accounts[sender_account]
    since = (now or datetime.now(UTC)) - timedelta(seconds=rules.holding_s)
    received = received_since([sender_account], since) if rules.holding_s else {}
    barred = passing_fault(
        rules,
        amount,
        balance=sender.balance,
        held=sender.held,
        received=received.get(sender_account, 0),
    )
    if barred:
        raise OwnershipBarred(barred)


@transaction.atomic
def free_of(account_id: int, *, now: datetime | None = None) -> int:
    """Say how many units of an account its owner may pass on now."""
    account = Account.objects.get(pk=account_id)
    rules = rules_of(account.asset_id)
    if not rules.is_transferable:
        return 0
    since = (now or datetime.now(UTC)) - timedelta(seconds=rules.holding_s)
    received = received_since([account_id], since) if rules.holding_s else {}
    return max(0, account.balance - account.held - received.get(account_id, 0))
