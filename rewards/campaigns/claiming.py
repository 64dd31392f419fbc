"""Qualify and claim: who gets what now, decided by the pure rules and paid by the ledger.

A claim is one transaction: the campaign's row is held (shared) so that it cannot be paused
or ended meanwhile, the counters of its limits are locked, the rules decide, the budget pays.
A refusal is kept with its reasons. The same request gets its first answer, for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from msgspec.structs import replace

from accounts.models import User
from live.events import Event
from rewards.campaigns import budgets, counting, paying, standings
from rewards.campaigns.conditions import Did, days_in_a_row, times_done
from rewards.campaigns.deciding import (
    BUDGET_EXHAUSTED,
    ENDED,
    NOT_STARTED,
    PAUSED,
    Ask,
    Bounds,
    Counts,
    Grant,
    Refused,
    Version,
    all_counters,
    bounds_of,
    counters_of,
    decide,
    own_counter,
    refused,
    stacking_counters,
)
from rewards.campaigns.directory import Compiled, Seen, compiled
from rewards.campaigns.events import announce, event
from rewards.campaigns.facts import Facts, Needs
from rewards.campaigns.knowing import facts_of, referrer_of
from rewards.campaigns.models import Campaign, Claim, ClaimRefusal
from rewards.campaigns.paying import Bill, Unpaid
from rewards.campaigns.problems import CampaignUnknown
from wallet.items import Refusal
from wallet.people import PersonUnknown
from wallet.problems import LedgerRefusal

ATTEMPTS = 3
NO_REQUEST = UUID(int=0)
"""The name of a dry run, which draws nothing."""
NEXT_ID = "SELECT nextval('campaigns_claim_id')"
State = Campaign.State


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody asks for. `places` is evidence of where they are that the caller checked."""

    campaign: str
    person: User
    request: UUID
    channel: str = ""
    order_key: str = ""
    referrer: str = ""
    places: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a wish: a claim, or a refusal."""

    claim: Claim | None = None
    refused: Refused | None = None
    is_replay: bool = False


class _BudgetGone(Exception):
    """The ledger found less in the budget than the decision saw; decide anew."""


def claim(wish: Wish, *, now: datetime | None = None) -> Outcome:
    """Grant what a campaign gives to a person now, or say why not. Idempotent by `request`.

    Raises `CampaignUnknown`, and the ledger's refusal where a wallet cannot receive.
    """
    for attempt in range(1, ATTEMPTS + 1):
        if earlier := earlier_claim(wish):
            return Outcome(claim=earlier, is_replay=True)
        try:
            with transaction.atomic():
                return _claim(wish, now)
        except _BudgetGone:
            continue
        except IntegrityError as error:
            # The same request was at work at the same time and won; ours was undone. If it is
            # nowhere to be seen, somebody else's claim has this name.
            lost_race = isinstance(error.__cause__, psycopg.errors.UniqueViolation)
            if not lost_race or attempt == ATTEMPTS:
                raise
    return _exhausted(wish, now)


def earlier_claim(wish: Wish) -> Claim | None:
    """The claim that this request made before."""
    found = Claim.objects.select_related("campaign", "version")
    return found.filter(request=wish.request, owner=wish.person).first()


def _claim(wish: Wish, now: datetime | None) -> Outcome:
    campaign = _held(wish.campaign)
    at = now or timezone.now()
    entry = compiled([campaign])[campaign.pk]
    version = entry.version_at(at)
    ask = _ask(wish, version)
    reason = _closed(campaign, version)
    if version is None or reason is not None:
        return _refuse(campaign, version, wish, refused(reason or NOT_STARTED), at)
    facts = _facts(wish, version.needs, at)
    own = own_counter(version, facts.person)
    counts = counting.locked(all_counters(version, facts, ask), own)
    decision = decide(version, _as_counted(facts, version, counts), ask, counts, _left(entry))
    if isinstance(decision, Refused):
        return _refuse(campaign, version, wish, decision, at)
    return Outcome(claim=_pay(entry, version, wish, ask, decision, counts, at))


def _held(code: str) -> Campaign:
    """Read a campaign and keep its state as it is until the transaction ends.

    Many claims hold it at once; pausing and ending wait for them, and they for those. A
    batch of claims holds it alone (`counting.TURN_ALONE`).
    """
    with connection.cursor() as cursor:
        cursor.execute(HOLD, [code])
        row = cursor.fetchone()
    if row is None:
        raise CampaignUnknown
    id, state, revision, _ = row
    if state == State.DRAFT:
        raise CampaignUnknown
    return Campaign(id=id, code=code, state=state, revision=revision)


HOLD = f"""
SELECT id, state, revision, {counting.TURN_TOGETHER} FROM campaigns_campaign
 WHERE code = %s FOR SHARE
"""


CLOSED: dict[str, tuple[str, str]] = {State.PAUSED.value: PAUSED, State.ENDED.value: ENDED}


def _closed(campaign: Campaign | Seen, version: Version | None) -> tuple[str, str] | None:
    """Why nothing of the campaign can be claimed, whoever asks."""
    if version is None:
        return NOT_STARTED
    return CLOSED.get(campaign.state)


def _ask(wish: Wish, version: Version | None) -> Ask:
    if not wish.referrer or version is None or version.terms.referral is None:
        return Ask(request=wish.request.hex)
    referrer = referrer_of(wish.person, wish.referrer)
    if referrer is None:
        raise PersonUnknown
    return Ask(request=wish.request.hex, referrer=referrer)


def _facts(wish: Wish, needs: Needs, now: datetime) -> Facts:
    return facts_of(
        wish.person.pk,
        needs,
        now=now,
        channel=wish.channel,
        order_key=wish.order_key,
        places=wish.places,
    )


def _as_counted(facts: Facts, version: Version, counts: Counts) -> Facts:
    """The facts with the person's own grants as the locked counter shows them.

    What was read before the lock may lack a grant that was made meanwhile.
    """
    used = counts.of(own_counter(version, facts.person))
    claimed_at = {code: at for code, at in facts.claimed_at.items() if code != version.campaign}
    if used and counts.recent:
        claimed_at[version.campaign] = counts.recent[-1]
    claims = {**facts.claims, version.campaign: used}
    return replace(facts, claims=claims, claimed_at=claimed_at)


def _left(entry: Compiled) -> dict[str, int]:
    left = budgets.left_in(account.account_id for account in entry.budgets.values())
    return {code: left[account.account_id] for code, account in entry.budgets.items()}


# -- yes -----------------------------------------------------------------------------------


def _pay(
    entry: Compiled,
    version: Version,
    wish: Wish,
    ask: Ask,
    grant: Grant,
    counts: Counts,
    now: datetime,
) -> Claim:
    with connection.cursor() as cursor:
        cursor.execute(NEXT_ID)
        (claim_id,) = cursor.fetchone()
    counting.count_up(grant.counted, own_counter(version, wish.person.pk), counts, now)
    try:
        payments = paying.pay([Bill(entry, claim_id, grant.payments, grant.at_worst)], now)[
            claim_id
        ]
    except Unpaid as unpaid:
        if unpaid.reason is Refusal.INSUFFICIENT_FUNDS:
            raise _BudgetGone from None
        raise LedgerRefusal(unpaid.reason) from None
    made = Claim.objects.create(
        id=claim_id,
        campaign_id=entry.id,
        version_id=version.id,
        owner=wish.person,
        request=wish.request,
        at=now,
        channel=wish.channel,
        order_key=wish.order_key,
        referrer_id=ask.referrer.person if ask.referrer else None,
        variant=grant.variant,
        payments=payments,
        drawn=msgspec.to_builtins(grant.drawn),
        counted=[list(counter) for counter in grant.counted],
    )
    announce(*risen([grant], now), claim_event("claim_granted", entry.code, version.number, made))
    return made


def risen(grants: Iterable[Grant], now: datetime) -> list[Event]:
    """Tell of levels that tier points have reached."""
    paid = {
        (each.asset, each.person)
        for grant in grants
        for each in grant.payments
        if each.kind == "tier_points"
    }
    return standings.follow_all(paid, now)


def claim_event(kind: str, campaign: str, version: int, made: Claim) -> Event:
    """What listeners are told of a claim: enough to count budgets and counters again."""
    return event(
        kind,
        campaign,
        claim_id=str(made.pk),
        version=version,
        person=str(made.owner_id),
        variant=made.variant,
        payments=made.payments,
        counted=made.counted,
    )


# -- no ------------------------------------------------------------------------------------


def _refuse(
    campaign: Campaign, version: Version | None, wish: Wish, refusal: Refused, now: datetime
) -> Outcome:
    ClaimRefusal.objects.create(
        campaign_id=campaign.pk,
        version_id=version.id if version else None,
        owner=wish.person,
        at=now,
        channel=wish.channel,
        order_key=wish.order_key,
        code=refusal.code,
        misses=msgspec.to_builtins(refusal.misses),
    )
    announce(
        event(
            "claim_refused",
            wish.campaign,
            person=str(wish.person.pk),
            version=version.number if version else None,
            reason=refusal.code,
        )
    )
    return Outcome(refused=refusal)


def _exhausted(wish: Wish, now: datetime | None) -> Outcome:
    """Others took the rest of the budget between each look and the payment."""
    with transaction.atomic():
        campaign = _held(wish.campaign)
        at = now or timezone.now()
        version = compiled([campaign])[campaign.pk].version_at(at)
        return _refuse(campaign, version, wish, refused(BUDGET_EXHAUSTED), at)


# -- dry run -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """What a claim of one campaign would meet now, and how far its missions have come."""

    campaign: str
    version: Version | None
    variant: str
    refused: Refused | None
    facts: Facts


@transaction.atomic
def qualify(
    wish: Wish, codes: list[str] | None = None, *, now: datetime | None = None
) -> list[Answer]:
    """Say for each live campaign, or these, whether the person could claim it now, and why not.

    Changes nothing and draws nothing. Some six queries, whatever the number of campaigns.
    """
    at = now or timezone.now()
    rows = Campaign.objects.order_by("id")
    if codes is None:
        rows = rows.filter(state=State.LIVE)
    else:
        rows = rows.filter(code__in=codes).exclude(state=State.DRAFT)
    # Plain rows: two hundred model instances cost more than all their decisions.
    campaigns = [Seen(*row) for row in rows.values_list("id", "code", "state", "revision")]
    entries = compiled(campaigns)
    pairs = [(row, entries[row.pk], entries[row.pk].version_at(at)) for row in campaigns]
    needs = Needs.of(version.needs for _, _, version in pairs if version)
    facts = _facts(wish, needs, at)
    ask = _ask(wish, next((v for _, _, v in pairs if v and v.terms.referral), None))
    bounds = {row.pk: bounds_of(version, facts, ask) for row, _, version in pairs if version}
    counts = _counts(pairs, facts, bounds)
    left = budgets.left_in(a.account_id for _, entry, _ in pairs for a in entry.budgets.values())

    def answer(row: Seen, entry: Compiled, version: Version | None) -> Answer:
        reason = _closed(row, version)
        if version is None or reason is not None:
            return Answer(row.code, version, "", refused(reason or NOT_STARTED), facts)
        mine = {code: left[account.account_id] for code, account in entry.budgets.items()}
        decision = decide(version, facts, ask, counts[row.pk], mine, bounds[row.pk])
        variant = version.arm(facts.person)[0]
        no = decision if isinstance(decision, Refused) else None
        return Answer(row.code, version, variant, no, facts)

    return [answer(*pair) for pair in pairs]


Pairs = list[tuple[Seen, Compiled, Version | None]]


def _counts(pairs: Pairs, facts: Facts, bounds: Mapping[int, Bounds]) -> dict[int, Counts]:
    """Read the counters of all campaigns at once."""
    wanted = {
        row.pk: counters_of(bounds[row.pk], stacking_counters(version, facts))
        for row, _, version in pairs
        if version is not None
    }
    found = counting.read_rows({counter for each in wanted.values() for counter in each})
    return {
        row.pk: counting.counts_from(found, wanted[row.pk], own_counter(version, facts.person))
        for row, _, version in pairs
        if version is not None
    }


def progress_of(answer: Answer) -> list[dict[str, Any]]:
    """How far the missions in a campaign's rule have come: done, of how many."""
    if answer.version is None:
        return []
    found: list[dict[str, Any]] = []
    for path, leaf in answer.version.missions:
        if isinstance(leaf, Did):
            done, needed = times_done(leaf, answer.facts, answer.campaign), leaf.times
        else:
            done, needed = days_in_a_row(leaf, answer.facts, answer.campaign), leaf.days
        found.append({"pointer": f"#{path}", "event": leaf.event, "done": done, "needed": needed})
    return found
