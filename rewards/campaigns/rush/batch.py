"""Many claims in one transaction: read together, decided one after the other, written together.

What one claim alone locks, reads and writes (`claiming`), a batch does in one statement for
all its claims: campaigns are held, counters locked in the same order, one pass through the
ledger's door pays everything. In between each claim is decided in turn by the same pure
`decide`, on counters and budgets that the claims before it have moved.

Where the ledger will not pay a claim after all, the batch ends before that claim; it comes
again, first in the next batch, and alone it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction
from msgspec.structs import replace

from accounts.models import User
from edge.idempotency_keys import KeyReused
from edge.problems import Refusal
from rewards.campaigns import budgets, conditions, counting, knowing, paying, standings
from rewards.campaigns.claiming import State
from rewards.campaigns.deciding import (
    ENDED,
    NOT_STARTED,
    PAUSED,
    Ask,
    Counter,
    Counts,
    Grant,
    Refused,
    Version,
    all_counters,
    decide,
    own_counter,
    refused,
)
from rewards.campaigns.directory import Compiled, compiled
from rewards.campaigns.facts import Facts, microseconds
from rewards.campaigns.models import Campaign, Claim
from rewards.campaigns.paying import Bill, Unpaid
from rewards.campaigns.problems import CampaignUnknown
from rewards.campaigns.rules import leaves
from rewards.campaigns.rush.writing import Written, write
from rewards.campaigns.terms import MOST_RECENT
from wallet.items import Refusal as LedgerReason
from wallet.people import PersonUnknown
from wallet.problems import LedgerRefusal

MOST_PAYMENTS = 1_500
"""A batch ends with the claim that reaches this; the ledger takes 2,000 at once."""
HOLD = """
SELECT id, code, state, revision FROM campaigns_campaign WHERE code = ANY(%s) ORDER BY id FOR SHARE
"""
CLOSED = {State.PAUSED: PAUSED, State.ENDED: ENDED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one person asks for, by ids."""

    campaign: str
    person: int
    request: UUID
    channel: str = ""
    order_key: str = ""
    referrer: str = ""


@dataclass(frozen=True, slots=True)
class Granted:
    """A claim, with what it is told by. `is_replay` if it was granted before."""

    claim: Claim
    campaign: str
    version: int
    is_replay: bool = False


@dataclass(frozen=True, slots=True)
class Denied:
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
    counters: list[Counter] = field(default_factory=list)
    decision: Grant | Refused | None = None
    claim_id: int = 0


def claim_all(wishes: Sequence[Wish], now: datetime) -> list[Outcome]:
    """Decide wishes in order, and write what was decided; answers the first k of them, k ≥ 1.

    Inside the caller's transaction. A request that was granted before gets that grant again.
    """
    upto = len(wishes)
    while True:
        try:
            with transaction.atomic():
                return _Batch(wishes[:upto], now).run()
        except _EndsBefore as end:
            if end.index == 0:
                return [_cannot_be_paid(wishes[0], end.reason, now)]
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
    return _Batch([wish], now, budget_is_gone=True).run()[0]


class _Batch:
    def __init__(
        self, wishes: Sequence[Wish], now: datetime, *, budget_is_gone: bool = False
    ) -> None:
        self._wishes = wishes
        self._now = now
        self._budget_is_gone = budget_is_gone
        self._settled: dict[int, Outcome] = {}
        self._denied: dict[int, tuple[int, Version | None, Refused]] = {}
        self._written = Written()

    def run(self) -> list[Outcome]:
        self._recall()
        cases = self._cases()
        decided = self._decide(cases)
        self._pay(cases)
        for index, (campaign, version, no) in sorted(self._denied.items()):
            if index < decided:
                self._written.deny(self._wishes[index], campaign, version, no, self._now)
        write(self._written)
        self._repeat_within()
        return [self._settled[index] for index in range(decided)]

    # -- what was granted before ---------------------------------------------------------

    def _recall(self) -> None:
        """Answer the requests that were granted before, as they were then."""
        rows = Claim.objects.filter(request__in=[wish.request for wish in self._wishes])
        earlier = {
            row.request: row for row in rows.select_related("campaign", "version", "referrer")
        }
        for index, wish in enumerate(self._wishes):
            if row := earlier.get(wish.request):
                self._settled[index] = _again(wish, row)

    def _repeat_within(self) -> None:
        """Give a request that came twice in this batch the first one's outcome."""
        first: dict[UUID, int] = {}
        for index, wish in enumerate(self._wishes):
            before = first.setdefault(wish.request, index)
            if index not in self._settled and before in self._settled:
                same = wish == self._wishes[before]
                self._settled[index] = self._settled[before] if same else KeyReused()

    # -- gathering -----------------------------------------------------------------------

    def _cases(self) -> dict[int, _Case]:
        campaigns = self._held()
        entries = compiled([row for row in campaigns.values() if row.state != State.DRAFT])
        cases: dict[int, _Case] = {}
        asked: set[UUID] = set()
        asks_tiers: dict[int, bool] = {}
        people = sorted({wish.person for wish in self._wishes})
        facts = knowing.facts_of_many(people, now=self._now)
        for index, wish in enumerate(self._wishes):
            if index in self._settled or wish.request in asked:
                continue
            asked.add(wish.request)
            row = campaigns.get(wish.campaign)
            entry = entries.get(row.pk) if row else None
            if row is None or entry is None:
                self._settled[index] = CampaignUnknown()
                continue
            version = entry.version_at(self._now)
            closed = NOT_STARTED if version is None else CLOSED.get(State(row.state))
            if version is None or closed is not None:
                self._deny(index, row.pk, version, refused(closed or NOT_STARTED))
                continue
            try:
                if version.id not in asks_tiers:
                    asks_tiers[version.id] = _asks_tiers(version)
                cases[index] = _case(
                    wish, entry, version, facts[wish.person], asks_tiers=asks_tiers[version.id]
                )
            except PersonUnknown as unknown:
                self._settled[index] = unknown
        return cases

    def _held(self) -> dict[str, Campaign]:
        """Read the campaigns and keep their states as they are until the commit."""
        with connection.cursor() as cursor:
            cursor.execute(HOLD, [sorted({wish.campaign for wish in self._wishes})])
            return {
                code: Campaign(id=id, code=code, state=state, revision=revision)
                for id, code, state, revision in cursor.fetchall()
            }

    # -- deciding ------------------------------------------------------------------------

    def _decide(self, cases: Mapping[int, _Case]) -> int:
        """Decide all cases in order; says how many wishes that settles, from the first."""
        used = counting.lock_rows({counter for case in cases.values() for counter in case.counters})
        left = _Left(cases.values(), is_gone=self._budget_is_gone)
        people = _People()
        payments = 0
        for index, case in cases.items():
            own = own_counter(case.version, case.wish.person)
            counts = counting.counts_from(used, case.counters, own)
            facts = people.facts(case.facts, case.version.campaign, counts.of(own))
            decision = decide(case.version, facts, case.ask, counts, left.of(case.entry))
            case.decision = decision
            if isinstance(decision, Refused):
                self._deny(index, case.entry.id, case.version, decision)
                continue
            payments += len(decision.payments)
            self._count(used, decision, own, counts)
            left.take(case.entry, decision)
            people.granted(case.wish.person, case.version.campaign, microseconds(self._now))
            if payments >= MOST_PAYMENTS:
                return index + 1
        return len(self._wishes)

    def _count(self, used: counting.Rows, grant: Grant, own: Counter, counts: Counts) -> None:
        for counter in grant.counted:
            before, recent = used.get(counter, (0, []))
            used[counter] = (before + 1, recent)
        recent = [*counts.recent, microseconds(self._now)][-MOST_RECENT:]
        used[own] = (used[own][0], recent)
        self._written.counters.update((counter, used[counter]) for counter in {*grant.counted, own})

    def _deny(self, index: int, campaign: int, version: Version | None, no: Refused) -> None:
        self._settled[index] = Denied(no)
        self._denied[index] = (campaign, version, no)

    # -- paying --------------------------------------------------------------------------

    def _pay(self, cases: Mapping[int, _Case]) -> None:
        yes = {i: case for i, case in cases.items() if isinstance(case.decision, Grant)}
        for case, claim_id in zip(yes.values(), _new_ids(len(yes)), strict=True):
            case.claim_id = claim_id
        index_of = {case.claim_id: index for index, case in yes.items()}
        bills = [
            Bill(case.entry, case.claim_id, case.decision.payments)
            for case in yes.values()
            if isinstance(case.decision, Grant)
        ]
        try:
            paid = paying.pay(bills, self._now)
        except Unpaid as unpaid:
            raise _EndsBefore(index_of[unpaid.claim_id], unpaid.reason) from None
        for index, case in yes.items():
            assert isinstance(case.decision, Grant)
            made = self._written.grant(
                case.wish, case.entry, case.version, case.ask, case.decision,
                case.claim_id, paid[case.claim_id], self._now,
            )  # fmt: skip
            self._settled[index] = Granted(made, case.entry.code, case.version.number)


class _Left:
    """What is left of each budget, as the claims before have left it."""

    def __init__(self, cases: Iterable[_Case], *, is_gone: bool) -> None:
        entries = {case.entry.id: case.entry for case in cases}
        accounts = {a.account_id for each in entries.values() for a in each.budgets.values()}
        self._left = dict.fromkeys(accounts, 0) if is_gone else budgets.left_in(accounts)

    def of(self, entry: Compiled) -> dict[str, int]:
        return {code: self._left[account.account_id] for code, account in entry.budgets.items()}

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

    def facts(self, known: Facts, campaign: str, own: int) -> Facts:
        """The facts of a person now. What the lock shows is truer than what was read before."""
        claims = dict(known.claims)
        claimed_at = dict(known.claimed_at)
        for code, (times, at_us) in self._claimed.get(known.person, {}).items():
            claims[code] = claims.get(code, 0) + times
            claimed_at[code] = at_us
        claims[campaign] = own
        return replace(known, claims=claims, claimed_at=claimed_at)


def _again(wish: Wish, row: Claim) -> Outcome:
    referrer = row.referrer.handle if row.referrer else ""
    before = (row.owner_id, row.campaign.code, row.channel, row.order_key, referrer)
    asked_referrer = wish.referrer.removeprefix("@").lower() if row.referrer else ""
    now = (wish.person, wish.campaign, wish.channel, wish.order_key, asked_referrer)
    if before != now:
        return KeyReused()
    return Granted(row, row.campaign.code, row.version.number, is_replay=True)


def _case(
    wish: Wish, entry: Compiled, version: Version, known: Facts, *, asks_tiers: bool
) -> _Case:
    facts = replace(
        known,
        channel=wish.channel,
        tiers=standings.ranks_of(wish.person, known.now) if asks_tiers else {},
        order=knowing.order_of(wish.person, wish.order_key, known.now) if wish.order_key else None,
    )
    case = _Case(wish, entry, version, facts, _ask(wish, version))
    case.counters = all_counters(version, facts, case.ask)
    return case


def _asks_tiers(version: Version) -> bool:
    return any(isinstance(leaf, conditions.Tier) for _, leaf in leaves(version.terms.rule, ""))


def _ask(wish: Wish, version: Version) -> Ask:
    if not wish.referrer or version.terms.referral is None:
        return Ask(request=wish.request.hex)
    referrer = knowing.referrer_of(User.objects.get(pk=wish.person), wish.referrer)
    if referrer is None:
        raise PersonUnknown
    return Ask(request=wish.request.hex, referrer=referrer)


def _new_ids(count: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('campaigns_claim_id') FROM generate_series(1, %s)", [count])
        return [id for (id,) in cursor.fetchall()]
