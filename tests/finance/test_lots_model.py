"""Lots derived from history against a model that keeps them eagerly, on random lives."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from django.db import connection
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.finance.ledgers import Ledger, day
from wallet import items, lot_history, points
from wallet.actions import post
from wallet.expiry import expire_due
from wallet.lot_upkeep import fold_all, rebuild, verify
from wallet.models import Account, Code

PEOPLE = ("ann", "ben", "cid", "dan")
BEGINNING = day("02-01")
DAYS = (3, 10, 40, None)
NEVER = datetime.max.replace(tzinfo=UTC)
_lives = count(1)

people = st.sampled_from(PEOPLE)
amounts = st.integers(1, 60)
steps = st.one_of(
    st.tuples(st.just("grant"), people, amounts, st.sampled_from(DAYS)),
    st.tuples(st.just("pay"), people, people, amounts),
    st.tuples(st.just("trade"), people, people, amounts, st.integers(1, 59)),
    st.tuples(st.just("spend"), people, amounts),
    st.tuples(st.just("reverse"), st.integers(0, 30)),
    st.tuples(st.just("clawback"), st.integers(0, 30)),
    st.tuples(st.just("wait"), st.integers(1, 15)),
    st.tuples(st.just("expire")),
    st.tuples(st.just("ask"), people),
    st.tuples(st.just("fold")),
)
Step = tuple[object, ...]


@dataclass
class Move:
    """A transfer that the model knows how to take back."""

    transfer_id: int
    payer: str
    paid: str
    amount: int
    took: Counter[datetime]
    brought: Counter[datetime]
    is_grant: bool = False


@dataclass
class Life:
    """The model beside the ledger: every lot of every person, kept as things happen."""

    ledger: Ledger
    now: datetime
    lots: dict[str, Counter[datetime]] = field(
        default_factory=lambda: {name: Counter() for name in PEOPLE}
    )
    debts: Counter[str] = field(default_factory=Counter)
    moves: list[Move] = field(default_factory=list)
    done: set[int] = field(default_factory=set)

    def run(self, step: Step) -> None:
        self.now += timedelta(minutes=1)
        getattr(self, str(step[0]))(*step[1:])

    # -- the model's own rules -----------------------------------------------------------------

    def take(self, name: str, amount: int, first: Counter[datetime]) -> Counter[datetime]:
        """Take one unit after another: the named lots first, then whatever lapses soonest."""
        held, took = self.lots[name], Counter[datetime]()
        wanted = list(first.elements())
        for _ in range(amount):
            named = next((expires_at for expires_at in wanted if held[expires_at]), None)
            if named is not None:
                wanted.remove(named)
            unit = named or min(held)
            took[unit] += 1
            held[unit] -= 1
            if not held[unit]:
                del held[unit]
        return took

    # -- steps -----------------------------------------------------------------------------------

    def grant(self, name: str, amount: int, days: int | None) -> None:
        expires_at = None if days is None else self._midnight(days)
        asked = points.Grant(
            reference=self._reference(), owner_id=self.ledger.owners[name],
            asset_id=self.ledger.asset.pk, amount=amount, expires_at=expires_at,
        )  # fmt: skip
        [result] = points.grant([asked], now=self.now)
        assert result.is_created
        brought = Counter({expires_at or NEVER: amount})
        self.lots[name].update(brought)
        made = Move(result.transfer_id, "issuance", name, amount, Counter(), brought, True)
        self.moves.append(made)
        repaid = min(self.debts[name], amount)
        self.take(name, repaid, Counter())
        self.debts[name] -= repaid

    def pay(self, payer: str, paid: str, amount: int) -> None:
        if payer == paid:
            return
        before = self.everybody()
        if self._post(self._transfer(payer, paid, amount)):
            assert self.everybody() == before, "paying makes no lot and ends none"

    def trade(self, buyer: str, seller: str, amount: int, part: int) -> None:
        """An order's hold, filled in part to one person, the rest released, in one batch."""
        if buyer == seller or self._free(buyer) < amount:
            return
        hold = items.Hold(
            reference=self._reference(), asset_id=self.ledger.asset.pk, amount=amount,
            debit_account_id=self.ledger.ids[buyer], credit_account_id=None, code=Code.ORDER_HOLD,
        )  # fmt: skip
        [held] = post([hold], now=self.now)
        fill = items.Post(
            reference=self._reference(), hold_id=held.transfer_id, code=Code.TRADE_PRICE,
            amount=min(part, amount), credit_account_id=self.ledger.ids[seller],
        )  # fmt: skip
        [filled] = post([fill], now=self.now)
        assert filled.is_created
        self._moved(filled.transfer_id, buyer, seller, min(part, amount))

    def spend(self, name: str, amount: int) -> None:
        self._post(self._transfer(name, "redeemed", amount, Code.REDEMPTION))

    def reverse(self, index: int) -> None:
        index = index % max(1, len(self.moves))
        if not self.moves or index in self.done:
            return
        undone = self.moves[index]
        back = self._transfer(
            undone.paid, undone.payer, undone.amount, Code.REVERSAL, undone.transfer_id
        )
        [result] = post([back], now=self.now)
        if not result.is_created:
            return
        self.done.add(index)
        took = Counter[datetime]()
        if undone.paid in self.lots:
            took = self.take(undone.paid, undone.amount, undone.brought)
        if undone.payer in self.lots:
            self.lots[undone.payer].update(took if undone.paid in self.lots else undone.took)

    def clawback(self, index: int) -> None:
        grants = [number for number, move in enumerate(self.moves) if move.is_grant]
        index = grants[index % len(grants)] if grants else 0
        if not grants or index in self.done:
            return
        granted = self.moves[index]
        back = points.clawback(granted.transfer_id, actor=None, reason="test", now=self.now)
        self.done.add(index)
        assert back.taken == min(granted.amount, self._free(granted.paid))
        self.take(granted.paid, back.taken, granted.brought)
        self.debts[granted.paid] += back.owed

    def wait(self, days: int) -> None:
        self.now += timedelta(days=days)

    def expire(self) -> None:
        lapsed = {
            name: Counter({at: n for at, n in held.items() if at <= self.now})
            for name, held in self.lots.items()
        }
        swept = expire_due(now=self.now)
        assert swept.amount == sum(gone.total() for gone in lapsed.values())
        for name, gone in lapsed.items():
            self.lots[name] -= gone

    def ask(self, name: str) -> None:
        derived = Counter({p.expires_at: p.amount for p in points.expiring(self.ledger.ids[name])})
        assert derived == Counter({at: n for at, n in self.lots[name].items() if at != NEVER})

    def fold(self) -> None:
        fold_all()

    # -- what is true of all ----------------------------------------------------------------------

    def everybody(self) -> Counter[datetime]:
        """How much lapses when, over all people, as derived."""
        total = Counter[datetime]()
        for name in PEOPLE:
            account = Account.objects.get(pk=self.ledger.ids[name])
            lots = points.expiring(account.pk)
            dated = {part.expires_at: part.amount for part in lots if part.expires_at}
            total.update(dated)
            total[NEVER] += account.balance - sum(dated.values())
        return total

    def check(self) -> None:
        for name in PEOPLE:
            self.ask(name)
            balance = Account.objects.get(pk=self.ledger.ids[name]).balance
            assert balance == self.lots[name].total()

    def _post(self, item: items.Transfer) -> bool:
        [result] = post([item], now=self.now)
        names = {id: name for name, id in self.ledger.ids.items()}
        payer, paid = names[item.debit_account_id], names[item.credit_account_id]
        assert result.is_created == (self._free(payer) >= item.amount)
        if result.is_created:
            self._moved(result.transfer_id, payer, paid, item.amount)
        return result.is_created

    def _moved(self, transfer_id: int, payer: str, paid: str, amount: int) -> None:
        took = self.take(payer, amount, Counter())
        if paid in self.lots:
            self.lots[paid].update(took)
        brought = took if paid in self.lots else Counter[datetime]()
        self.moves.append(Move(transfer_id, payer, paid, amount, took, brought))

    def _transfer(
        self,
        payer: str,
        paid: str,
        amount: int,
        code: Code = Code.PAYMENT,
        undone: int | None = None,
    ) -> items.Transfer:
        return self.ledger.transfer(payer, paid, amount, code, reverses_id=undone)

    def _free(self, name: str) -> int:
        return self.lots[name].total()

    def _midnight(self, days: int) -> datetime:
        """Expiries fall together, so that lots of several grants meet."""
        return (self.now + timedelta(days=days)).replace(hour=0, minute=0, microsecond=0)

    def _reference(self) -> str:
        return self.ledger.transfer("ann", "ben", 1).reference


def live(lived: list[Step]) -> None:
    with connection.cursor() as cursor:
        # Every life begins in the same February, though never in the same millisecond.
        cursor.execute("UPDATE wallet_lot_sweep SET scheduled_until = '2025-01-01 00:00+00'")
    life_number = next(_lives)
    ledger = Ledger(f"LIFE{life_number}", expires=True)
    ledger.open(*PEOPLE)
    life = Life(ledger, BEGINNING + timedelta(milliseconds=life_number))
    for step in lived:
        life.run(step)
    life.check()
    assert verify() == []
    rebuild()
    life.check()
    life.wait(60)
    life.expire()
    assert all(at == NEVER for held in life.lots.values() for at in held)
    life.check()


lives = st.lists(steps, min_size=5, max_size=40)
quick = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@quick
@given(lived=lives)
@example([("grant", "ann", 5, 3), ("pay", "ann", "ben", 5), ("fold",), ("reverse", 1), ("expire",)])
@example([("grant", "ann", 5, 3), ("grant", "ann", 5, 10), ("clawback", 1), ("ask", "ann")])
@example([("grant", "ann", 5, 3), ("grant", "ann", 5, 10), ("reverse", 1), ("ask", "ann")])
def test_derived_lots_are_those_an_eager_model_keeps(
    transactional_db: None, lived: list[Step]
) -> None:
    live(lived)


@quick
@given(lived=lives)
def test_they_are_however_little_a_round_reads(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, lived: list[Step]
) -> None:
    monkeypatch.setattr(lot_history, "ACCOUNTS_A_ROUND", 2)
    monkeypatch.setattr(lot_history, "ENTRIES_A_ROUND", 2)
    monkeypatch.setattr(lot_history, "MOST_UNWRITTEN", 1)
    live(lived)
