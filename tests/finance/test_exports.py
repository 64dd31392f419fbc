"""Finance's CSV and Parquet files: exact content, and the laws they keep."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pyarrow.parquet as pq
import pytest
from django.db import InternalError, connection
from hypothesis import given
from hypothesis import strategies as st

from tests.finance.ledgers import Ledger, day
from wallet.exports import EXPORTS, ExportRefused, Scope
from wallet.exports.account_statement import StatementDoesNotTie
from wallet.exports.amounts import decimal
from wallet.exports.csv_rows import csv_chunks, guarded
from wallet.exports.roll_forward import CATEGORIES, RollForwardDoesNotTie
from wallet.exports.snapshot import taken
from wallet.exports.trial_balance import BooksDoNotBalance
from wallet.models import Account

QUARTER = Scope(end=datetime(2026, 4, 1, tzinfo=UTC))
OUTSIDE = "export_out_of_range"
FEBRUARY = Scope(start=datetime(2026, 2, 1, tzinfo=UTC), end=datetime(2026, 3, 1, tzinfo=UTC))


def exported(name: str, scope: Scope) -> bytes:
    return b"".join(EXPORTS[name].stream(scope))


def rows(name: str, scope: Scope) -> list[dict[str, str]]:
    text = exported(name, scope).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_journal_has_both_entries_of_each_transfer_in_order(ledger: Ledger) -> None:
    read = rows("journal", FEBRUARY)
    ids = ledger.ids
    assert [(r["account_id"], r["amount_minor"], r["amount"]) for r in read] == [
        (str(ids["ann"]), "-2500", "-25.00"),
        (str(ids["ben"]), "2500", "25.00"),
        (str(ids["budget"]), "-1000", "-10.00"),
        (str(ids["ben"]), "1000", "10.00"),
        (str(ids["ben"]), "-700", "-7.00"),
        (str(ids["redeemed"]), "700", "7.00"),
    ]
    first = read[0]
    assert first["asset"] == "PTS"
    assert first["code"] == "payment"
    assert first["owner_id"] == str(ledger.owners["ann"])
    assert first["balance_after_minor"] == "7500"
    assert first["counter_account_id"] == str(ids["ben"])
    assert first["written_at"] == "2026-02-03T12:00:00.000000Z"
    assert first["effective_at"] == ""


def test_entries_of_the_journal_sum_to_zero_and_to_every_balance(ledger: Ledger) -> None:
    sums: dict[int, int] = {}
    for row in rows("journal", QUARTER):
        account = int(row["account_id"])
        sums[account] = sums.get(account, 0) + int(row["amount_minor"])
    assert sum(sums.values()) == 0
    moved = Account.objects.filter(entry_count__gt=0)
    assert sums == dict(moved.values_list("id", "balance"))


def test_journal_of_one_account_is_that_accounts_entries(ledger: Ledger) -> None:
    read = rows("journal", Scope(end=QUARTER.end, account_id=ledger.ids["ben"]))
    assert [int(row["amount_minor"]) for row in read] == [2_500, 1_000, -700, 40]
    assert read[-1]["effective_at"] == "2026-02-10T12:00:00.000000Z"


def test_journal_of_one_asset_leaves_the_others_out(ledger: Ledger) -> None:
    other = Ledger("EUR")
    other.move("issuance", "clearing", 3, at=day("02-03"))
    read = rows("journal", Scope(end=QUARTER.end, asset_id=other.asset.pk))
    assert [row["asset"] for row in read] == ["EUR", "EUR"]


def test_typed_text_cannot_run_as_a_formula(ledger: Ledger) -> None:
    [debit, _] = [row for row in rows("journal", FEBRUARY) if "cmd" in row["reference"]]
    assert debit["reference"] == "'=cmd"
    assert debit["memo"] == '\'+1 "beer"; thanks'


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\tx", "\rx", " =1", "\uff1d1"])
def test_text_that_starts_a_formula_is_guarded(text: str) -> None:
    assert guarded(text) == "'" + text


@pytest.mark.parametrize("text", ["", "1-1", "a=b", "ordinary", "  "])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert guarded(text) == text


def test_csv_lines_end_and_quote_as_the_rfc_says() -> None:
    [chunk] = csv_chunks(("a", "b"), [('say "hi"', "1,2"), (None, "line\nbreak")])
    assert chunk == b'a,b\r\n"say ""hi""","1,2"\r\n,"line\nbreak"\r\n'


@given(amount=st.integers(-(2**62), 2**62), scale=st.integers(0, 8))
def test_decimals_are_exact(amount: int, scale: int) -> None:
    written = decimal(amount, scale)
    assert int(written.replace(".", "")) == amount
    assert len(written.partition(".")[2]) == scale


def test_parquet_says_what_the_csv_says(ledger: Ledger) -> None:
    table = pq.read_table(io.BytesIO(exported("parquet", QUARTER)))
    read = rows("journal", QUARTER)
    for column in ("transfer_id", "account_id", "amount_minor", "balance_after_minor"):
        assert table[column].to_pylist() == [int(row[column]) for row in read]
    assert table["code"].to_pylist() == [row["code"] for row in read]
    assert table["memo"][4].as_py() == '+1 "beer"; thanks'
    assert table["written_at"][0].as_py() == day("01-05")
    assert table["scale"].unique().to_pylist() == [2]


def test_empty_slices_still_make_whole_files(ledger: Ledger) -> None:
    empty = Scope(start=day("12-01"), end=day("12-02"))
    assert rows("journal", empty) == []
    assert pq.read_table(io.BytesIO(exported("parquet", empty))).num_rows == 0
    before = Scope(end=datetime(2026, 1, 1, tzinfo=UTC))
    assert rows("trial-balance", before) == rows("roll-forward", before) == []


def test_trial_balance_has_equal_columns(ledger: Ledger) -> None:
    read = rows("trial-balance", FEBRUARY)
    assert [(r["row"], r["account_kind"], r["debit"], r["credit"]) for r in read] == [
        ("kind", "issuance", "150.00", ""),
        ("kind", "redeemed", "", "7.00"),
        ("kind", "budget", "", "40.00"),
        ("kind", "wallet", "", "103.00"),
        ("total", "", "150.00", "150.00"),
    ]


def test_trial_balance_by_account_names_each(ledger: Ledger) -> None:
    scope = Scope(end=FEBRUARY.end, by_account=True)
    wallets = [r for r in rows("trial-balance", scope) if r["account_kind"] == "wallet"]
    assert [(int(r["account_id"]), r["credit"]) for r in wallets] == [
        (ledger.ids["ann"], "75.00"),
        (ledger.ids["ben"], "28.00"),
    ]


def test_trial_balance_by_effective_date_counts_what_was_dated_back(ledger: Ledger) -> None:
    scope = Scope(end=FEBRUARY.end, by_effective_date=True)
    [wallet] = [r for r in rows("trial-balance", scope) if r["account_kind"] == "wallet"]
    assert wallet["credit"] == "103.40"


def test_statement_goes_from_the_opening_to_the_closing_balance(ledger: Ledger) -> None:
    scope = Scope(start=day("02-04", 0), end=FEBRUARY.end, account_id=ledger.ids["ben"])
    read = rows("statement", scope)
    assert [(r["row"], r["debit"], r["credit"], r["balance"]) for r in read] == [
        ("opening balance", "", "", "25.00"),
        ("entry", "", "10.00", "35.00"),
        ("entry", "7.00", "", "28.00"),
        ("closing balance", "", "", "28.00"),
    ]


def test_roll_forward_says_what_came_and_went_and_why(ledger: Ledger) -> None:
    [budget, wallet] = rows("roll-forward", FEBRUARY)
    assert _movements(budget) == ("50.00", {"issued": "-10.00"}, "40.00")
    assert _movements(wallet) == ("100.00", {"issued": "10.00", "redeemed": "-7.00"}, "103.00")


def test_roll_forward_by_effective_date_moves_the_adjustment_into_its_month(
    ledger: Ledger,
) -> None:
    scope = Scope(start=FEBRUARY.start, end=FEBRUARY.end, by_effective_date=True)
    assert _movements(rows("roll-forward", scope)[1]) == (
        "100.00",
        {"issued": "10.40", "redeemed": "-7.00"},
        "103.40",
    )
    march = Scope(start=FEBRUARY.end, end=QUARTER.end, by_effective_date=True)
    [_, wallet] = rows("roll-forward", march)
    assert _movements(wallet) == ("103.40", {"expired": "-0.05"}, "103.35")


def _movements(row: dict[str, str]) -> tuple[str, dict[str, str], str]:
    moved = {name: row[name] for name in CATEGORIES if row[name] != "0.00"}
    return row["opening"], moved, row["closing"]


@pytest.mark.parametrize("by_effective_date", [False, True])
def test_periods_of_the_roll_forward_join_up(ledger: Ledger, by_effective_date: bool) -> None:
    moments = [None, day("01-20"), day("02-10"), day("02-10", 13), day("03-02", 6), day("06-01")]
    closings: dict[str, str] = {}
    for start, end in pairwise(moments):
        assert end is not None
        scope = Scope(start=start, end=end, by_effective_date=by_effective_date)
        for row in rows("roll-forward", scope):
            assert row["opening"] == closings.get(row["account_kind"], "0.00")
            closings[row["account_kind"]] = row["closing"]
    assert closings == {"budget": "40.00", "wallet": "103.35"}


def test_damaged_books_are_not_exported(ledger: Ledger) -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN; SET LOCAL session_replication_role = replica")
        cursor.execute(
            "UPDATE wallet_entry SET amount = amount + 1, balance_after = balance_after + 1"
            " WHERE account_id = %s AND transfer_id = (SELECT max(transfer_id)"
            " FROM wallet_entry WHERE account_id = %s)",
            [ledger.ids["ann"]] * 2,
        )
        cursor.execute("COMMIT")
    as_of = Scope(end=day("03-02", 23))
    Account.objects.filter(pk=ledger.ids["ann"]).update(balance=7_496)
    with pytest.raises(BooksDoNotBalance):
        exported("trial-balance", as_of)
    with pytest.raises(RollForwardDoesNotTie):
        exported("roll-forward", as_of)
    Account.objects.filter(pk=ledger.ids["ann"]).update(balance=7_495)
    with pytest.raises(StatementDoesNotTie):
        exported("statement", Scope(end=day("03-02", 23), account_id=ledger.ids["ann"]))


def test_an_export_sees_one_moment_only(ledger: Ledger) -> None:
    """What commits while a file is being made is in no part of it; a later file has it."""
    scope = Scope(end=datetime.now(UTC) + timedelta(days=1))
    write = EXPORTS["trial-balance"].write
    with taken() as snapshot:
        first = b"".join(write(snapshot, scope))
        ledger.move("issuance", "ann", 1)
        assert b"".join(write(snapshot, scope)) == first
    assert exported("trial-balance", scope) != first


def test_an_export_can_write_nothing(ledger: Ledger) -> None:
    with pytest.raises(InternalError, match="read-only"), taken() as snapshot:
        list(snapshot.rows("SELECT nextval('wallet_batch_sequence')"))


def test_an_abandoned_export_gives_its_connection_back(ledger: Ledger) -> None:
    chunks = EXPORTS["journal"].stream(QUARTER)
    next(chunks)
    assert _snapshots_open() == 1
    chunks.close()  # type: ignore[attr-defined]
    assert _snapshots_open() == 0


def _snapshots_open() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
            " AND datname = current_database()"
        )
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize(
    ("name", "scope", "code"),
    [
        ("journal", Scope(start=day("03-01"), end=day("02-01")), "export_period_empty"),
        ("journal", Scope(end=day("03-01"), asset_id=0), "asset_unknown"),
        ("journal", Scope(end=day("03-01"), account_id=0), "account_unknown"),
        ("journal", Scope(end=datetime(2026, 1, 1)), "export_zone_missing"),
        ("journal", Scope(end=day("03-01"), by_account=True), "export_option_unknown"),
        ("beancount", Scope(end=day("03-01"), by_effective_date=True), "export_option_unknown"),
        ("statement", Scope(end=day("03-01")), "export_account_missing"),
        ("journal", Scope(start=datetime(1, 1, 1, tzinfo=UTC), end=day("03-01")), OUTSIDE),
        ("hledger", Scope(end=datetime(9999, 12, 31, tzinfo=UTC)), OUTSIDE),
        ("journal", Scope(end=datetime(2020, 1, 1, tzinfo=UTC)), "export_period_empty"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_byte(
    db: None, name: str, scope: Scope, code: str
) -> None:
    with pytest.raises(ExportRefused) as refused:
        EXPORTS[name].stream(scope)
    assert refused.value.code == code


def test_files_are_named_for_what_they_hold() -> None:
    assert EXPORTS["journal"].filename(FEBRUARY) == (
        "journal-20260201T000000Z-20260301T000000Z.csv"
    )
    one = Scope(end=QUARTER.end, account_id=7)
    assert EXPORTS["statement"].filename(one) == "statement-account-7-20260401T000000Z.csv"
