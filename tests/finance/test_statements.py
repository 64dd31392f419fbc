"""What accounts hold and held."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from edge.ids import time_of
from tests.finance.ledgers import Ledger, day, done
from wallet import items, statements
from wallet.items import Transfer
from wallet.models import Account, Code


def test_balance_as_of_a_moment_is_what_was_written_before_it(ledger: Ledger) -> None:
    ben = ledger.ids["ben"]
    assert statements.balance_as_of(ben, day("02-03")) == 0
    assert statements.balance_as_of(ben, day("02-03", 13)) == 2_500
    assert statements.balance_as_of(ben, day("02-05")) == 3_500
    assert statements.balance_as_of(ben, day("12-31")) == 2_840
    assert statements.balance_as_of(0, day("12-31")) == 0


def test_an_entry_dated_back_counts_on_its_date_where_effective_dates_count(
    ledger: Ledger,
) -> None:
    ben = ledger.ids["ben"]
    assert statements.effective_balance_as_of(ben, day("02-10")) == 3_500
    assert statements.effective_balance_as_of(ben, day("02-10", 13)) == 3_540
    assert statements.balance_as_of(ben, day("02-10", 13)) == 3_500
    assert statements.effective_balance_as_of(ben, day("12-31")) == 2_840


def test_many_balances_come_at_once_as_each_would_alone(ledger: Ledger) -> None:
    ids = [*ledger.ids.values(), 0]
    moment = day("02-15")
    assert statements.balances_as_of(ids, moment) == {
        id: statements.balance_as_of(id, moment) for id in ledger.ids.values()
    }
    assert statements.balances_as_of(ids, moment, by_effective_date=True) == {
        id: statements.effective_balance_as_of(id, moment) for id in ledger.ids.values()
    }


def test_statement_has_both_balances_and_its_lines_newest_first(ledger: Ledger) -> None:
    read = statements.statement(ledger.ids["ben"], start=day("02-04", 0), end=day("03-01"))
    assert (read.opening, read.closing) == (2_500, 2_800)
    assert [(line.amount, line.balance_after) for line in read.page.lines] == [
        (-700, 2_800),
        (1_000, 3_500),
    ]
    assert read.page.next_before is None
    line = read.page.lines[0]
    assert line.counter_account_id == ledger.ids["redeemed"]
    assert line.code == Code.REDEMPTION
    assert line.written_at - day("02-20") < timedelta(microseconds=64)


def test_statement_of_an_account_that_never_moved_is_empty(ledger: Ledger) -> None:
    read = statements.statement(ledger.ids["fees"], end=day("03-01"))
    assert (read.opening, read.closing, read.page) == (0, 0, statements.Page([], None))


def test_pages_follow_each_other_without_a_gap_or_a_repeat(ledger: Ledger) -> None:
    done([ledger.transfer("issuance", "ann", 1) for _ in range(120)])
    ann, seen, before = ledger.ids["ann"], [], None
    while True:
        page = statements.page(ann, before=before)
        seen += [line.transfer_id for line in page.lines]
        before = page.next_before
        if before is None:
            break
        assert len(page.lines) == 50
    assert seen == list(statements.entries(ann).values_list("transfer_id", flat=True))
    assert len(seen) == 123


def test_a_page_that_ends_with_the_last_entry_is_the_last(ledger: Ledger) -> None:
    done([ledger.transfer("issuance", "ann", 1) for _ in range(47)])
    assert statements.page(ledger.ids["ann"]).next_before is None


def test_holds_show_while_they_are_open(ledger: Ledger) -> None:
    [first, second] = done(
        [
            items.Hold(
                reference=f"hold {n}",
                asset_id=ledger.asset.pk,
                debit_account_id=ledger.ids["ann"],
                credit_account_id=None,
                amount=n,
                code=Code.HOLD,
            )
            for n in (10, 20)
        ]
    )
    done([items.Void(reference="void", hold_id=first.transfer_id, code=Code.RELEASE)])
    assert [hold.id for hold in statements.open_holds(ledger.ids["ann"])] == [second.transfer_id]
    now = statements.balance_now(ledger.ids["ann"])
    assert (now.posted, now.held, now.available) == (7_495, 20, 7_475)


def test_balance_of_an_unknown_account_says_so(ledger: Ledger) -> None:
    with pytest.raises(Account.DoesNotExist):
        statements.balance_now(0)


def test_reads_touch_as_many_pages_in_a_long_history_as_in_a_short_one(ledger: Ledger) -> None:
    """Counted in pages of the database, not in time: an index descent and the page's rows."""
    ledger.open("short", "long")
    done([ledger.transfer("issuance", "short", 1) for _ in range(2_000)])
    for _ in range(4):
        done([ledger.transfer("issuance", "long", 1) for _ in range(4_000)])
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE wallet_entry")
    short, long = (_pages_read(ledger.ids[name]) for name in ("short", "long"))
    assert long <= short + 2


def _pages_read(account_id: int) -> int:
    page = statements.entries(account_id, end=day("12-31"))[:50]
    sql, parameters = page.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", parameters)
        plan = cursor.fetchone()[0]
    [read] = json.loads(plan) if isinstance(plan, str) else plan
    return int(read["Plan"]["Shared Hit Blocks"] + read["Plan"]["Shared Read Blocks"])


class Model(TestCase):
    """Reads against a plain list of what happened."""

    @settings(max_examples=20, deadline=None)
    @given(data=st.data())
    def test_balances_agree_with_adding_up(self, data: st.DataObject) -> None:
        ledger = Ledger()
        ledger.open("ann", "ben")
        hours = data.draw(st.lists(st.integers(0, 400), min_size=1, max_size=12).map(sorted))
        facts: list[tuple[int, Transfer]] = []
        for hour in hours:
            now = day("01-10") + timedelta(hours=hour)
            back = data.draw(st.none() | st.integers(0, 300))
            dated = None if back is None else now - timedelta(hours=back)
            asked = ledger.transfer(
                data.draw(st.sampled_from(["issuance", "clearing"])),
                data.draw(st.sampled_from(["ann", "ben"])),
                data.draw(st.integers(1, 1_000)),
                effective_at=dated,
            )
            facts.append((done([asked], now)[0].transfer_id, asked))
        for hour in data.draw(st.lists(st.integers(-300, 500), min_size=1, max_size=8)):
            moment = day("01-10") + timedelta(hours=hour)
            for name in ("ann", "ben", "issuance"):
                id = ledger.ids[name]
                written = [t for i, t in facts if time_of(i) < moment]
                dated_ = [t for i, t in facts if (t.effective_at or time_of(i)) < moment]
                assert statements.balance_as_of(id, moment) == _added(written, id)
                assert statements.effective_balance_as_of(id, moment) == _added(dated_, id)


def _added(transfers: list[Transfer], id: int) -> int:
    credits_ = sum(t.amount for t in transfers if t.credit_account_id == id)
    return credits_ - sum(t.amount for t in transfers if t.debit_account_id == id)
