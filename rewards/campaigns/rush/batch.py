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
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from typing import NamedTuple

import msgspec
from django.db import connection, transaction
from msgspec.structs import replace

from accounts.models import User
from edge.idempotency_keys import KeyReused
from edge.postgres import raw_cursor, uuid_array
from edge.problems import Refusal
from rewards.campaigns import budgets, counting, knowing, paying
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
from rewards.campaigns.directory import Compiled, Seen, compiled
from rewards.campaigns.facts import Facts, Needs, Order, microseconds
from rewards.campaigns.models import Claim
from rewards.campaigns.paying import Bill, Unpaid
from rewards.campaigns.problems import CampaignUnknown
from rewards.campaigns.rush.writing import Made, Written, write
from rewards.campaigns.terms import MOST_RECENT
from wallet.items import Refusal as LedgerReason
from wallet.people import PersonUnknown
from wallet.problems import LedgerRefusal

MOST_PAYMENTS = 1_500
"""A batch ends with the claim that reaches this; the ledger takes 2,000 at once."""
EARLIER = "SELECT request FROM campaigns_claim WHERE request = ANY(%s::uuid[])"
HOLD = f"""
SELECT id, code, state, revision, {counting.TURN_ALONE} FROM campaigns_campaign
 WHERE code = ANY(%s) ORDER BY id FOR SHARE
"""


class Wish(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one person asks for, by ids. `request` is the digest that names the claim."""

    campaign: str
    person: int
    request: bytes
    channel: str = ""
    order_key: str = ""
    referrer: str = ""


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
        self._versions: dict[int, Version | None] = {}
        self._denied: dict[int, tuple[int, Version | None, Refused]] = {}
        self._written = Written(now)

    def run(self) -> list[Outcome]:
        self._recall()
        cases = self._cases()
        decided = self._decide(cases)
        counting.add_rows(self._written.counters)
        self._pay(cases)
        for index, (campaign, version, no) in sorted(self._denied.items()):
            if index < decided:
                self._written.deny(self._wishes[index], campaign, version, no)
        write(self._written)
        self._repeat_within()
        return [self._settled[index] for index in range(decided)]

    # -- what was granted before ---------------------------------------------------------

    def _recall(self) -> None:
        """Answer the requests that were granted before, as they were then."""
        requests = uuid_array([wish.request for wish in self._wishes])
        with raw_cursor() as cursor:
            found = cursor.execute(EARLIER, (requests,), prepare=True).fetchall()
        if not found:
            return
        rows = Claim.objects.filter(request__in=[request for (request,) in found])
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
        campaigns = self._held()
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
        needs = reduce(or_, (version.needs for version in versions.values()), Needs())
        people = {self._wishes[index].person for index in asked}
        named = [self._wishes[index] for index in asked if self._wishes[index].order_key]
        orders = {(wish.person, wish.order_key) for wish in named}
        return _Known(
            knowing.facts_of_many(sorted(people), needs, now=self._now) if people else {},
            knowing.orders_of(orders, self._now) if orders else {},
        )

    def _held(self) -> dict[str, Seen]:
        """Read the campaigns, keep their states as they are, and have their counters alone."""
        with connection.cursor() as cursor:
            cursor.execute(HOLD, [sorted({wish.campaign for wish in self._wishes})])
            return {row[1]: Seen(*row[:-1]) for row in cursor.fetchall()}

    # -- deciding ------------------------------------------------------------------------

    def _decide(self, cases: Mapping[int, _Case]) -> int:
        """Decide all cases in order; says how many wishes that settles, from the first."""
        used = _counters_of(cases.values())
        left = _Left(cases.values(), is_gone=self._budget_is_gone)
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
                case.claim_id, paid[case.claim_id],
            )  # fmt: skip
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

    def __init__(self, cases: Iterable[_Case], *, is_gone: bool) -> None:
        entries = {case.entry.id: case.entry for case in cases}
        accounts = {a.account_id for each in entries.values() for a in each.budgets.values()}
        self._left = dict.fromkeys(accounts, 0) if is_gone else budgets.left_in(accounts)

    def of(self, entry: Compiled) -> dict[str, int]:
        left = self._left
        return {code: left[account.account_id] for code, account in entry.budgets.items()}

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
    referrer = row.referrer.handle if row.referrer else ""
    before = (row.owner_id, row.campaign.code, row.channel, row.order_key, referrer)
    asked_referrer = wish.referrer.removeprefix("@").lower() if row.referrer else ""
    now = (wish.person, wish.campaign, wish.channel, wish.order_key, asked_referrer)
    if before != now:
        return KeyReused()
    return Granted(row, row.campaign.code, row.version.number, is_replay=True)


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


def _new_ids(count: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('campaigns_claim_id') FROM generate_series(1, %s)", [count])
        return [id for (id,) in cursor.fetchall()]
