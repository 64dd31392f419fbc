"""The rules of lots, by themselves."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.finance.ledgers import day
from wallet.lots import Lots, LotsDoNotTie, Movement, Part, Parts, Reversed, dated, fold

MAY, JUNE, JULY = day("05-01"), day("06-01"), day("07-01")


def credit(amount: int, after: int, **more: object) -> Movement:
    """A credit of a house account unless it says otherwise."""
    facts: dict[str, object] = {
        "transfer_id": 100,
        "account_id": 1,
        "code": 3,
        "amount": amount,
        "balance_after": after,
        "counter_id": 9,
        "is_between_people": False,
        "expires_at": None,
        "reverses": None,
    }
    return Movement(**{**facts, **more})  # type: ignore[arg-type]


def debit(amount: int, after: int, **more: object) -> Movement:
    return credit(-amount, after, **more)


def test_a_debit_takes_what_lapses_soonest_and_what_never_lapses_last() -> None:
    lots = Lots([Part(JULY, 30), Part(MAY, 10), Part(JUNE, 20)], undated=40)
    assert fold(lots, debit(45, 55), {}) == ((MAY, 10), (JUNE, 20), (JULY, 15))
    assert lots == Lots([Part(JULY, 15)], undated=40)
    assert fold(lots, debit(25, 30), {}) == ((JULY, 15), (None, 10))
    assert lots.parts == ((None, 30),)


def test_grants_that_lapse_together_are_one_lot() -> None:
    lots = Lots()
    fold(lots, credit(5, 5, expires_at=MAY), {})
    fold(lots, credit(7, 12, expires_at=MAY), {})
    assert lots.dated == [(MAY, 12)]


def test_what_another_person_paid_keeps_its_expiry() -> None:
    lots = Lots()
    taken: dict[int, Parts] = {100: (Part(MAY, 10), Part(JUNE, 5))}
    fold(lots, credit(20, 20, is_between_people=True), taken)
    assert lots.parts == ((MAY, 10), (JUNE, 5), (None, 5))


def test_a_payment_with_an_expiry_shortens_and_never_lengthens() -> None:
    lots = Lots()
    paid = credit(20, 20, is_between_people=True, expires_at=JUNE)
    fold(lots, paid, {100: (Part(MAY, 10), Part(JULY, 5))})
    assert lots.parts == ((MAY, 10), (JUNE, 10))


def test_a_reversed_spend_gives_back_what_it_took() -> None:
    lots = Lots()
    undone = Reversed(50, None, -20, is_between_people=False)
    fold(lots, credit(20, 20, reverses=undone), {50: (Part(MAY, 15),)})
    assert lots.parts == ((MAY, 15), (None, 5))


def test_a_reversed_grant_takes_its_own_lot_first() -> None:
    lots = Lots([Part(MAY, 10), Part(JULY, 30)])
    undone = Reversed(50, JULY, 25, is_between_people=False)
    assert fold(lots, debit(25, 15, reverses=undone), {}) == ((JULY, 25),)
    assert lots.dated == [(MAY, 10), (JULY, 5)]


def test_a_reversed_grant_that_is_partly_spent_takes_the_rest_soonest_first() -> None:
    lots = Lots([Part(MAY, 10), Part(JULY, 5)])
    undone = Reversed(50, JULY, 12, is_between_people=False)
    assert fold(lots, debit(12, 3, reverses=undone), {}) == ((JULY, 5), (MAY, 7))


def test_a_reversed_grant_without_expiry_leaves_the_lots_alone() -> None:
    lots = Lots([Part(MAY, 10)], undated=10)
    undone = Reversed(50, None, 10, is_between_people=False)
    assert fold(lots, debit(10, 10, reverses=undone), {}) == (Part(None, 10),)
    assert lots.dated == [(MAY, 10)]


def test_a_reversed_payment_takes_back_the_lots_it_brought() -> None:
    lots = Lots([Part(MAY, 10), Part(JUNE, 8)], undated=2)
    undone = Reversed(50, None, 10, is_between_people=True)
    taken: dict[int, Parts] = {50: (Part(JUNE, 8),)}
    assert fold(lots, debit(10, 10, reverses=undone), taken) == ((JUNE, 8), (None, 2))


def test_an_overdraft_is_repaid_by_what_lapses_soonest() -> None:
    lots = Lots([Part(MAY, 10)])
    assert fold(lots, debit(30, -20), {}) == ((MAY, 10), (None, 20))
    fold(lots, credit(15, -5, expires_at=JULY), {})
    assert lots.parts == (Part(None, -5),)
    fold(lots, credit(15, 10, expires_at=JUNE), {})
    assert lots.parts == ((JUNE, 10),)


def test_lots_that_differ_from_the_balance_are_an_error() -> None:
    with pytest.raises(LotsDoNotTie, match="account 1 after transfer 100: lots 5, balance 6"):
        fold(Lots(), credit(5, 6), {})


def test_lapsed_are_the_lots_of_this_moment_and_before() -> None:
    lots = Lots([Part(MAY, 1), Part(JUNE, 2), Part(JULY, 3)], undated=4)
    assert lots.lapsed(JUNE) == [(MAY, 1), (JUNE, 2)]
    assert lots.soonest == MAY
    assert dated(lots.parts) == ((MAY, 1), (JUNE, 2), (JULY, 3))


moments = st.sampled_from([MAY, JUNE, JULY, None])
some_parts = st.lists(st.tuples(moments, st.integers(1, 50)), max_size=6)


@given(parts=some_parts, first=some_parts, amount=st.integers(1, 200))
def test_taking_neither_makes_nor_loses_a_unit(
    parts: list[tuple[datetime | None, int]],
    first: list[tuple[datetime | None, int]],
    amount: int,
) -> None:
    lots = Lots([Part(*part) for part in parts])
    before = lots.total
    held: dict[datetime | None, int] = {}
    for expires_at, held_amount in parts:
        held[expires_at] = held.get(expires_at, 0) + held_amount
    took = lots.take(amount, first=[Part(*part) for part in first])
    assert sum(part.amount for part in took) == amount
    assert lots.total == before - amount
    assert all(part.amount > 0 for part in took)
    # Each dated part was there; only what never lapses can be overdrawn.
    assert all(part.amount <= held[part.expires_at] for part in took if part.expires_at)
    assert len({part.expires_at for part in took}) == len(took)
