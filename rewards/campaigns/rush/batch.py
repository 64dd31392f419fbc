"""Many claims in one transaction: read together, decided one after the other, written together.

What one claim alone locks, reads and writes (`claiming`), a batch does in one statement for
all its claims: campaigns are held, counters locked in the same order, one pass through the
ledger's door pays everything. In between each claim is decided in turn by the same pure
`decide`, on counters and budgets that the claims before it have moved. Statements that need
nothing of each other travel together (`edge.journey`): a batch waits for five journeys.

Where the ledger will not pay a claim after all, the batch ends before that claim; it comes
again, first in the next batch, and alone it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from msgspec.structs import replace

from accounts.handles import normalise_handle
from accounts.models import User
from edge.idempotency_keys import KeyReused
from edge.journey import Journey
from edge.problems import Refusal
from rewards.campaigns import counting, knowing
from rewards.campaigns.claiming import CLOSED, State
from rewards.campaigns.deciding import (
    NOT_STARTED,
    Ask,
    Bounds,
    Counter,
    Grant,
    Refused,
    Version,
    bounds_of,
    counters_of,
    decide,
    own_counter,
    refused,
    stacking_counters,
)
from rewards.campaigns.directory import Compiled, compiled
from rewards.campaigns.facts import Facts, Needs, Order, microseconds
from rewards.campaigns.models import Claim, MergedPerson
from rewards.campaigns.paying import Bill, Payroll, Row, Unpaid
from rewards.campaigns.problems import CampaignUnknown
from rewards.campaigns.rush.reading import Wish, read
from rewards.campaigns.rush.writing import Made, Written
from rewards.campaigns.terms import MOST_RECENT
from wallet.door import locked, write_to
from wallet.items import Refusal as LedgerReason
from wallet.people import PersonUnknown
from wallet.problems import LedgerRefusal

MOST_PAYMENTS = 1_500
"""A batch ends with the claim that reaches this; the ledger takes 2,000 at once."""


class Granted(NamedTuple):
    """A claim, with what it is told by. `is_replay` if it was granted before."""

    claim: Claim | Made
    campaign: str
    version: int
    is_replay: bool = False


class Denied(NamedTuple):
    """No, by the campaign's own terms; kept with its reasons."""

    refused: Refused


Outcome = Granted | Denied | Refusal


@dataclass(slots=True)
class _Case:
    """One wish on its way to a decision."""

    wish: Wish
    entry: Compiled
    version: Version
    facts: Facts
    ask: Ask
    bounds: Bounds
    counters: list[Counter]
    decision: Grant | Refused | None = None


Tell = Callable[[Sequence[Outcome]], object]


def claim_all(wishes: Sequence[Wish], now: datetime, tell: Tell = bool) -> list[Outcome]:
    """Decide wishes in order, and write what was decided; answers the first k of them, k ≥ 1.

    Inside the caller's transaction. A request that was granted before gets that grant again.
    `tell` hears the outcomes while PostgreSQL still writes them: it may put them into words.
    """
    upto = len(wishes)
    while True:
        try:
            with transaction.atomic():
                return _Batch(wishes[:upto], now).run(tell)
        except _EndsBefore as end:
            if end.index == 0:
                refused = [_cannot_be_paid(wishes[0], end.reason, now)]
                tell(refused)
                return refused
            upto = end.index


class _EndsBefore(Exception):
    """The ledger will not pay this wish's claim: nothing of the batch is written."""

    def __init__(self, index: int, reason: LedgerReason) -> None:
        super().__init__(index, reason)
        self.index = index
        self.reason = reason


def _cannot_be_paid(wish: Wish, reason: LedgerReason, now: datetime) -> Outcome:
    """Refuse the one wish that cannot be paid: its budget is gone, or its wallet is shut."""
    if reason is not LedgerReason.INSUFFICIENT_FUNDS:
        return LedgerRefusal(reason)
    return _Batch([wish], now, budget_is_gone=True).run(bool)[0]


class _Batch:
    def __init__(
        self, wishes: Sequence[Wish], now: datetime, *, budget_is_gone: bool = False
    ) -> None:
        self._wishes = wishes
        self._now = now
        self._budget_is_gone = budget_is_gone
        self._settled: dict[int, Outcome] = {}
        self._versions: dict[int, Version | None] = {}
        self._read = read(wishes, now)
        self._denied: dict[int, tuple[int, Version | None, Refused]] = {}
        self._written = Written(now)

    def run(self, tell: Tell) -> list[Outcome]:
        self._recall()
        cases = self._cases()
        decided = self._decide(cases)
        journey = self._paid(cases)
        for index, (campaign, version, no) in sorted(self._denied.items()):
            if index < decided:
                self._written.deny(self._wishes[index], campaign, version, no)
        self._repeat_within()
        outcomes = [self._settled[index] for index in range(decided)]
        self._written.write(journey, meanwhile=lambda: tell(outcomes))
        return outcomes

    # -- what was granted before ---------------------------------------------------------

    def _recall(self) -> None:
        """Answer the requests that were granted before, as they were then."""
        if not self._read.earlier:
            return
        rows = Claim.objects.filter(request__in=self._read.earlier)
        earlier = {
            row.request.bytes: row for row in rows.select_related("campaign", "version", "referrer")
        }
        for index, wish in enumerate(self._wishes):
            if row := earlier.get(wish.request):
                self._settled[index] = _again(wish, row)

    def _repeat_within(self) -> None:
        """Give a request that came twice in this batch the first one's outcome."""
        first: dict[bytes, int] = {}
        for index, wish in enumerate(self._wishes):
            before = first.setdefault(wish.request, index)
            if index not in self._settled and before in self._settled:
                same = wish == self._wishes[before]
                self._settled[index] = self._settled[before] if same else KeyReused()

    # -- gathering -----------------------------------------------------------------------

    def _cases(self) -> dict[int, _Case]:
        asked = self._open_to_claims()
        known = self._known(asked)
        cases: dict[int, _Case] = {}
        for index, (entry, version) in asked.items():
            wish = self._wishes[index]
            try:
                cases[index] = _case(wish, entry, version, known)
            except PersonUnknown as unknown:
                self._settled[index] = unknown
        return cases

    def _open_to_claims(self) -> dict[int, tuple[Compiled, Version]]:
        """Which version each wish is decided by; the others are answered at once."""
        campaigns = self._read.campaigns
        entries = compiled([row for row in campaigns.values() if row.state != State.DRAFT])
        asked: set[bytes] = set()
        found: dict[int, tuple[Compiled, Version]] = {}
        for index, wish in enumerate(self._wishes):
            if index in self._settled or wish.request in asked:
                continue
            asked.add(wish.request)
            row = campaigns.get(wish.campaign)
            entry = entries.get(row.pk) if row else None
            if row is None or entry is None:
                self._settled[index] = CampaignUnknown()
                continue
            version = self._version_of(entry)
            closed = NOT_STARTED if version is None else CLOSED.get(row.state)
            if version is None or closed is not None:
                self._deny(index, row.pk, version, refused(closed or NOT_STARTED))
            else:
                found[index] = (entry, version)
        return found

    def _version_of(self, entry: Compiled) -> Version | None:
        if entry.id not in self._versions:
            self._versions[entry.id] = entry.version_at(self._now)
        return self._versions[entry.id]

    def _known(self, asked: Mapping[int, tuple[Compiled, Version]]) -> _Known:
        """Read what the rules ask about everybody, in as many statements as about one."""
        versions = {version.id: version for _, version in asked.values()}
        needs = Needs.of(version.needs for version in versions.values())
        named = [self._wishes[index] for index in asked if self._wishes[index].order_key]
        orders = {(wish.person, wish.order_key) for wish in named}
        return _Known(
            self._read.facts_for(needs),
            knowing.orders_of(orders, self._now) if orders else {},
        )

    # -- deciding ------------------------------------------------------------------------

    def _decide(self, cases: Mapping[int, _Case]) -> int:
        """Decide all cases in order; says how many wishes that settles, from the first."""
        used = _counters_of(cases.values())
        left = _Left({} if self._budget_is_gone else self._read.left)
        people = _People()
        payments, at_us = 0, microseconds(self._now)
        for index, case in cases.items():
            version, person = case.version, case.wish.person
            own = own_counter(version, person)
            counts = counting.counts_from(used, case.counters, own)
            facts = people.facts(case.facts, case.wish.channel, version.campaign, counts.of(own))
            decision = decide(version, facts, case.ask, counts, left.of(case.entry), case.bounds)
            case.decision = decision
            if isinstance(decision, Refused):
                self._deny(index, case.entry.id, version, decision)
                continue
            payments += len(decision.payments)
            self._count(used, decision, own)
            left.take(case.entry, decision)
            people.granted(person, version.campaign, at_us)
            if payments >= MOST_PAYMENTS:
                return index + 1
        return len(self._wishes)

    def _count(self, used: counting.Rows, grant: Grant, own: Counter) -> None:
        """Count a grant up, for the claims after it and to be written. `own` is among them."""
        more, at_us = self._written.counters, microseconds(self._now)
        for counter in grant.counted:
            now = [at_us] if counter == own else []
            for rows in (used, more):
                before, times = rows.get(counter, (0, []))
                rows[counter] = (before + 1, [*times, *now][-MOST_RECENT:])

    def _deny(self, index: int, campaign: int, version: Version | None, no: Refused) -> None:
        self._settled[index] = Denied(no)
        self._denied[index] = (campaign, version, no)

    # -- paying --------------------------------------------------------------------------

    def _paid(self, cases: Mapping[int, _Case]) -> Journey:
        """Pay all grants on locked accounts, and count them; gives what is to be written."""
        journey, first = Journey(), Journey()
        yes = {i: case for i, case in cases.items() if isinstance(case.decision, Grant)}
        claim_ids = {self._read.claim_ids[i]: i for i in yes}
        bills = [
            Bill(case.entry, claim_id, case.decision.payments, case.decision.at_worst)
            for claim_id, case in zip(claim_ids, yes.values(), strict=True)
            if isinstance(case.decision, Grant)
        ]
        payroll = Payroll(bills)
        counting.add_on(first, self._written.counters)
        if payroll.is_empty:
            journey.then(first)
            paid: Mapping[int, list[Row]] = {bill.claim_id: [] for bill in bills}
        else:
            # Counters before accounts, like everybody who locks both.
            ids, digests = payroll.account_ids, payroll.digests
            posting = locked(ids, digests=digests, now=self._now, first=first)
            try:
                paid = payroll.decide(posting)
            except Unpaid as unpaid:
                raise _EndsBefore(claim_ids[unpaid.claim_id], unpaid.reason) from None
            write_to(journey, posting)
        for claim_id, index in claim_ids.items():
            self._grant(index, cases[index], claim_id, paid[claim_id])
        return journey

    def _grant(self, index: int, case: _Case, claim_id: int, paid: list[Row]) -> None:
        assert isinstance(case.decision, Grant)
        made = self._written.grant(
            case.wish, case.entry, case.version, case.ask, case.decision, claim_id, paid
        )
        self._settled[index] = Granted(made, case.entry.code, case.version.number)


def _counters_of(cases: Iterable[_Case]) -> counting.Rows:
    """Read all counters, locking them unless the batch has them alone with their campaigns."""
    counters = {counter for case in cases for counter in case.counters}
    scopes = {counter.scope for counter in counters}
    if all(scope.startswith("campaign:") for scope in scopes):
        return counting.read_rows(counters)
    return counting.lock_rows(counters)


class _Left:
    """What is left of each budget, as the claims before have left it."""

    def __init__(self, left: Mapping[int, int]) -> None:
        self._left = dict(left)

    def of(self, entry: Compiled) -> dict[str, int]:
        left = self._left
        return {code: left.get(account.account_id, 0) for code, account in entry.budgets.items()}

    def take(self, entry: Compiled, grant: Grant) -> None:
        for payment in grant.payments:
            account = entry.budgets.get(payment.asset)
            if payment.kind != "tier_points" and account is not None:
                self._left[account.account_id] -= payment.amount


class _People:
    """What the batch itself has changed of what is known about people."""

    def __init__(self) -> None:
        self._claimed: dict[int, dict[str, tuple[int, int]]] = {}

    def granted(self, person: int, campaign: str, at_us: int) -> None:
        claimed = self._claimed.setdefault(person, {})
        times, _ = claimed.get(campaign, (0, 0))
        claimed[campaign] = (times + 1, at_us)

    def facts(self, known: Facts, channel: str, campaign: str, own: int) -> Facts:
        """The facts of a person now. What the lock shows is truer than what was read before."""
        claims, claimed_at = {**known.claims, campaign: own}, known.claimed_at
        if granted := self._claimed.get(known.person):
            for code, (times, _) in granted.items():
                if code != campaign:
                    claims[code] = claims.get(code, 0) + times
            claimed_at = {**claimed_at, **{code: at_us for code, (_, at_us) in granted.items()}}
        return replace(known, channel=channel, claims=claims, claimed_at=claimed_at)


def _again(wish: Wish, row: Claim) -> Outcome:
    before = (row.owner_id, row.campaign.code, row.channel, row.order_key)
    now = (wish.person, wish.campaign, wish.channel, wish.order_key)
    if before != now or (row.referrer and not _names(wish.referrer, row.referrer)):
        return KeyReused()
    return Granted(row, row.campaign.code, row.version.number, is_replay=True)


def _names(handle: str, referrer: User) -> bool:
    """Whether a wish names who a claim was referred by, or an account merged into that one."""
    handle = normalise_handle(handle)
    if handle == referrer.handle:
        return True
    named = knowing.named(handle)
    return named is not None and MergedPerson.objects.filter(old=named.pk, new=referrer.pk).exists()


class _Known(NamedTuple):
    """What the batch has read of people and of the orders they name."""

    facts: Mapping[int, Facts]
    orders: Mapping[tuple[int, str], Order]


def _case(wish: Wish, entry: Compiled, version: Version, known: _Known) -> _Case:
    facts = known.facts[wish.person]
    if wish.order_key:
        facts = replace(facts, order=known.orders.get((wish.person, wish.order_key)))
    ask = _ask(wish, version)
    bounds = bounds_of(version, facts, ask)
    counters = counters_of(bounds, stacking_counters(version, facts))
    return _Case(wish, entry, version, facts, ask, bounds, counters)


def _ask(wish: Wish, version: Version) -> Ask:
    if not wish.referrer or version.terms.referral is None:
        return Ask(request=wish.request.hex())
    referrer = knowing.referrer_of(User.objects.get(pk=wish.person), wish.referrer)
    if referrer is None:
        raise PersonUnknown
    return Ask(request=wish.request.hex(), referrer=referrer)
