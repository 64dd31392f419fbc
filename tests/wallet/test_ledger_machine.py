"""The real door on real PostgreSQL against the plain model, step by step and in threads.

Hypothesis makes up batches of every kind of item, good and bad, moves the clock, freezes
and closes accounts and asks again; after each step every law is checked and every read is
compared with the model's history. A second property lets threads loose on the same
accounts and looks for a serial order that explains all they were told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count, permutations
from typing import Any

import msgspec
import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.wallet import model
from tests.wallet.books import Books, pay, release
from tests.wallet.threads import at_once
from wallet import statements
from wallet.actions import post
from wallet.door import opened
from wallet.items import LARGEST_AMOUNT, HoldState, Item, Result, Status, Transfer
from wallet.models import Account, Entry, Hold

START = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
# Each example plays on days of its own, so that no two of them draw the same ids.
_days = count()

ACCOUNTS = {
    "issuer": {"floor": None},
    "ann": {},
    "bob": {},
    "low": {"floor": -50},
    "tim": {"largest_debit": 40},
    "cap": {"ceiling": 100},
}
NAMES = [*ACCOUNTS, "eva", "nobody"]


@dataclass(frozen=True)
class Ask:
    """An item in the making: Hypothesis shrinks these, `World.item` makes items of them."""

    kind: str
    debit: str
    credit: str | None
    amount: int | None
    hold: int
    linked: bool
    rest_is_kept: bool
    expires_s: int | None
    effective_s: int | None
    again: int | None
    changed: bool


def mostly(usual: list[Any], rare: list[Any]) -> st.SearchStrategy[Any]:
    """Nine times in ten something usual: a batch should get somewhere before it is refused."""
    return st.integers(0, 9).flatmap(lambda n: st.sampled_from(rare if n == 9 else usual))


SMALL = list(range(1, 31))
ASKS = st.builds(
    Ask,
    kind=st.sampled_from(["transfer", "hold", "hold", "post", "post", "void"]),
    debit=mostly(["issuer", "ann", "bob", "low", "tim"], [*NAMES]),
    credit=mostly(["ann", "bob", "cap", None], [*NAMES]),
    amount=mostly([*SMALL, *[None] * 10], [0, -1, 100, LARGEST_AMOUNT, LARGEST_AMOUNT + 1]),
    hold=mostly([0, 1, 2], [3, 4, 5, 6, 7]),
    linked=mostly([False], [True]),
    rest_is_kept=st.booleans(),
    expires_s=mostly([None, 2, 30], [-5, 0]),
    effective_s=mostly([None, None, -3600, -10], [5, 0]),
    again=mostly([None, None, None, None, 0, 1, 2], list(range(9))),
    changed=st.booleans(),
)
BATCHES = st.lists(ASKS, min_size=2, max_size=8)


class World:
    """The same accounts in the ledger and in the model."""

    def __init__(self) -> None:
        self.books = Books()
        self.others = Books()
        for name, limits in ACCOUNTS.items():
            if name != "issuer":
                self.books.open(name, **limits)  # type: ignore[arg-type]
        self.others.open("eva")
        foreign = {"eva": self.others.ids["eva"], "foreign": self.others.ids["issuer"]}
        self.ids = {**self.books.ids, **foreign, "nobody": 1 << 60}
        self.now = START + timedelta(days=next(_days))
        self.asked: list[Item] = []
        self.model = model.Model()
        for name, limits in {**ACCOUNTS, "eva": {}, "foreign": {"floor": None}}.items():
            self.model.accounts[self.ids[name]] = model.Account(
                asset_id=(self.others if name in foreign else self.books).asset.pk,
                floor=limits.get("floor", 0),  # type: ignore[attr-defined]
                ceiling=limits.get("ceiling"),  # type: ignore[attr-defined]
                limit=limits.get("largest_debit"),  # type: ignore[attr-defined]
            )
        for name in ("ann", "bob", "tim"):
            self.post([self.books.transfer("issuer", name, 60)])
        hold, soon = self.books.hold, self.now + 8 * SECOND
        self.post([hold("ann", "bob", 20), hold("ann", None, 20), hold("tim", "cap", 9)])
        self.post([hold("bob", "ann", 20, expires_at=soon), hold("issuer", "ann", 30)])

    def post(self, items: list[Item]) -> None:
        """Post a batch a second later, and compare the answers with the model's."""
        self.now += SECOND
        results = post(items, now=self.now)
        assert answers(results) == self.model.post(items, self.now, first_id(results))

    def items(self, asks: list[Ask]) -> list[Item]:
        """Make items of what is asked, and remember them to ask again."""
        made: list[Item] = []
        for ask in asks:
            made.append(self._item(ask))
            self.asked.append(made[-1])
        return made

    def _item(self, ask: Ask) -> Item:
        if ask.again is not None and self.asked:
            item = self.asked[-1 - ask.again % len(self.asked)]
            changes = {"amount": 7, "memo": "changed"} if ask.changed else {}
            return msgspec.structs.replace(item, linked=ask.linked, **changes)
        if ask.kind == "transfer":
            return self._transfer(ask)
        if ask.kind == "hold":
            return msgspec.structs.replace(
                self.books.hold("ann", "bob", ask.amount or 1, linked=ask.linked),
                debit_account_id=self.ids[ask.debit],
                credit_account_id=self.ids[ask.credit] if ask.credit else None,
                expires_at=self._moment(ask.expires_s),
            )
        if ask.kind == "void":
            return release(self._hold(ask), ask.amount, linked=ask.linked)
        return pay(
            self._hold(ask),
            ask.amount,
            credit_account_id=self.ids[ask.credit] if ask.credit else None,
            rest_is_kept=ask.rest_is_kept,
            linked=ask.linked,
        )

    def _transfer(self, ask: Ask) -> Transfer:
        return msgspec.structs.replace(
            self.books.transfer("ann", "bob", ask.amount or 1, linked=ask.linked),
            debit_account_id=self.ids[ask.debit],
            credit_account_id=self.ids[ask.credit or "bob"],
            effective_at=self._moment(ask.effective_s),
            expires_at=self._moment(ask.expires_s),
        )

    def _hold(self, ask: Ask) -> int:
        """One of the newest holds, or one that does not exist."""
        newest = [*list(self.model.holds)[:-8:-1], 1 << 60]
        return newest[ask.hold % len(newest)]

    def _moment(self, seconds: int | None) -> datetime | None:
        return None if seconds is None else self.now + seconds * SECOND

    # -- what must hold after every step -------------------------------------------------

    def check(self) -> None:
        """Compare all rows with the model and check the laws on them."""
        ids = list(self.model.accounts)
        entries: dict[int, list[tuple[int, int, int]]] = {id: [] for id in ids}
        for entry in Entry.objects.filter(account_id__in=ids).order_by("transfer_id"):
            row = (entry.transfer_id, entry.amount, entry.balance_after)
            entries[entry.account_id].append(row)
        sums: Counter[int] = Counter()
        for account in Account.objects.filter(pk__in=ids):
            self._check_account(account, entries[account.pk])
            sums[account.asset_id] += account.balance
        assert sums == {self.books.asset.pk: 0, self.others.asset.pk: 0}
        holds = {hold.pk: hold for hold in Hold.objects.filter(account_id__in=ids)}
        assert holds.keys() == self.model.holds.keys()
        for hold_id, expected in self.model.holds.items():
            self._check_hold(holds[hold_id], expected)

    def equals(self, other: model.Model) -> bool:
        """Say whether all rows are as another model has them."""
        self.model = other
        try:
            self.check()
        except AssertionError:
            return False
        return True

    def _check_account(self, account: Account, entries: list[tuple[int, int, int]]) -> None:
        amounts = (account.balance, account.held, account.incoming)
        expected = self.model.accounts[account.pk]
        assert amounts == (
            self.model.balance(account.pk),
            self.model.held(account.pk),
            self.model.incoming(account.pk),
        )
        assert account.floor is None or account.available >= account.floor
        assert account.ceiling is None or account.balance + account.incoming <= account.ceiling
        assert Status(account.status).name.lower() == expected.status
        assert entries == self.model.entries(account.pk)
        assert account.entry_count == len(entries)

    def _check_hold(self, hold: Hold, expected: model.Hold) -> None:
        assert (hold.account_id, hold.credit_account_id) == (expected.debit, expected.credit)
        assert (hold.amount, hold.remaining) == (expected.amount, expected.remaining)
        assert HoldState(hold.state).name.lower() == expected.state
        assert hold.expires_at == expected.expires_at

    def check_reads(self, moment: datetime, name: str) -> None:
        """Compare every way of reading the past with the model's history."""
        ids = list(self.model.accounts)
        written = {id: self.model.balance(id, moment) for id in ids}
        effective = {id: self.model.effective_balance(id, moment) for id in ids}
        assert statements.balances_as_of(ids, moment) == written
        assert statements.balances_as_of(ids, moment, by_effective_date=True) == effective
        id = self.ids[name]
        assert statements.balance_as_of(id, moment) == written[id]
        assert statements.effective_balance_as_of(id, moment) == effective[id]
        read = statements.statement(id, end=moment, limit=5)
        assert read.closing == written[id]
        self._check_pages(id, moment, read.page)

    def _check_pages(self, account_id: int, moment: datetime, page: statements.Page) -> None:
        lines = list(page.lines)
        while page.next_before is not None:
            page = statements.page(account_id, end=moment, before=page.next_before, limit=5)
            lines += page.lines
        moves = [move for move in self.model.accounts[account_id].moves if move.at < moment]
        rows = self.model.entries(account_id)[: len(moves)]
        assert [(line.transfer_id, line.amount, line.balance_after) for line in lines] == rows[::-1]


def answers(results: Sequence[Result]) -> list[model.Answer]:
    """Results as the model gives them."""
    return [(result.refusal.name, result.transfer_id, result.is_replay) for result in results]


def first_id(results: Sequence[Result]) -> int:
    """The id of the first transfer that these results made, or 0."""
    made = [r.transfer_id for r in results if r.is_created and not r.is_replay]
    return min(made, default=0)


class LedgerMachine(RuleBasedStateMachine):
    """One example: a world, played with in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(asks=BATCHES, seconds=st.integers(0, 5))
    def post_a_batch(self, asks: list[Ask], seconds: int) -> None:
        self.world.now += seconds * SECOND
        self.world.post(self.world.items(asks))

    @rule(asks=BATCHES)
    def post_a_chain(self, asks: list[Ask]) -> None:
        tied = [replace(ask, linked=ask is not asks[-1]) for ask in asks[:3]]
        self.world.post(self.world.items(tied))

    @rule(amount=st.integers(1, 30), paid=st.integers(1, 31), rest_is_kept=st.booleans())
    def hold_and_pay_in_one_pass(self, amount: int, paid: int, rest_is_kept: bool) -> None:
        """As the order engine does: a post of a hold that the same batch makes."""
        world = self.world
        world.now += SECOND
        with transaction.atomic(), opened(world.books.ids.values(), now=world.now) as posting:
            hold = world.books.hold("ann", None, amount, linked=True)
            payment = pay(
                posting.ledger.next_id,
                paid,
                credit_account_id=world.ids["bob"],
                rest_is_kept=rest_is_kept,
            )
            results = posting.apply([hold, payment])
            first = posting.ledger.next_id - 2 * results[0].is_created

        assert answers(results) == world.model.post([hold, payment], world.now, first)

    @rule(name=st.sampled_from(list(ACCOUNTS)), status=mostly(["OPEN"], ["FROZEN", "CLOSED"]))
    def change_status(self, name: str, status: str) -> None:
        world, account_id = self.world, self.world.ids[name]
        reads = (world.model.balance, world.model.held, world.model.incoming)
        if status == "CLOSED" and any(read(account_id) for read in reads):
            return
        Account.objects.filter(pk=account_id).update(status=Status[status])
        world.model.accounts[account_id].status = status.lower()

    @rule(seconds_ago=st.integers(0, 60), name=st.sampled_from([*ACCOUNTS, "eva"]))
    def look_back(self, seconds_ago: int, name: str) -> None:
        self.world.check_reads(self.world.now + SECOND / 2 - seconds_ago * SECOND, name)

    @invariant()
    def every_law_holds(self) -> None:
        self.world.check()


@pytest.mark.django_db
def test_ledger_equals_the_model_after_every_step() -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(max_examples=30, stateful_step_count=20, deadline=None),
    )


# -- several at once -----------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@given(
    start=st.lists(ASKS, min_size=2, max_size=4),
    batches=st.lists(st.lists(ASKS, min_size=1, max_size=4), min_size=2, max_size=3),
)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_threads_are_told_what_some_serial_order_explains(
    start: list[Ask], batches: list[list[Ask]]
) -> None:
    world = World()
    world.post(world.items(start))
    world.now += SECOND
    work = [world.items(asks) for asks in batches]

    told = at_once([partial(post, items, now=world.now) for items in work])
    results = [each for each in told if isinstance(each, list)]
    assert len(results) == len(work), told

    before = world.model

    def explains(order: Sequence[int]) -> bool:
        tried = deepcopy(before)
        answered = {n: tried.post(work[n], world.now, first_id(results[n])) for n in order}
        is_told = all(answers(results[n]) == answered[n] for n in order)
        return is_told and world.equals(tried)

    assert any(explains(order) for order in permutations(range(len(work)))), results
