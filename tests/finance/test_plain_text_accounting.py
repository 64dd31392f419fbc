"""The files for beancount and hledger, read by the real tools."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.finance.ledgers import Ledger, day, done
from tests.support.needs import require
from wallet import items
from wallet.exports import EXPORTS, Scope
from wallet.exports.beancount import commodity
from wallet.models import Account, Code
from wallet.statements import balances_as_of

ODD_CODES = ("GOLD-", "GOLD", "NULL", "TRUE", "S_.-", "A.B_C-1", "X" * 40, "Q1")
YEAR = Scope(end=datetime(2027, 1, 1, tzinfo=UTC))
FEBRUARY = Scope(start=datetime(2026, 2, 1, tzinfo=UTC), end=datetime(2026, 3, 1, tzinfo=UTC))
Balances = dict[str, tuple[Decimal, str]]


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, Scope], Path]:
    def write(name: str, scope: Scope) -> Path:
        path = tmp_path / EXPORTS[name].filename(scope)
        path.write_bytes(b"".join(EXPORTS[name].stream(scope)))
        return path

    return write


File = Callable[[str, Scope], Path]


@pytest.fixture
def odd_ledger(ledger: Ledger) -> Ledger:
    """Beside the points: assets with awkward codes, every scale, posts and reversals."""
    for number, code in enumerate(ODD_CODES):
        other = Ledger(code, scale=number)
        other.open("zoe")
        moved = other.move("issuance", "zoe", 10**number + 1, at=day("02-07"), memo="; date:x")
        other.move("zoe", "issuance", 1, Code.REVERSAL, at=day("02-08"), reverses_id=moved)
    hold = items.Hold(
        reference="hold", asset_id=ledger.asset.pk, debit_account_id=ledger.ids["ann"],
        credit_account_id=None, amount=100, code=Code.ORDER_HOLD,
    )  # fmt: skip
    [held] = done([hold])
    done(
        [
            items.Post(
                reference="post", hold_id=held.transfer_id, code=Code.TRADE_PRICE, amount=60,
                credit_account_id=ledger.ids["ben"],
            )
        ]
    )  # fmt: skip
    return ledger


def ours(scope: Scope) -> Balances:
    """Our balances, in the tools' sign, by the account's id at the end of its name."""
    accounts = Account.objects.select_related("asset")
    balances = balances_as_of([account.pk for account in accounts], scope.end)
    return {
        str(account.pk): (
            Decimal(-balances[account.pk]).scaleb(-account.asset.scale),
            account.asset.code,
        )
        for account in accounts
        if balances[account.pk]
    }


def bean_check(path: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "bean-check"
    return subprocess.run([program, path], capture_output=True, text=True, check=False)


def hledger(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = require("hledger")
    return subprocess.run(
        [program, "-f", path, *arguments], capture_output=True, text=True, check=False
    )


def hledger_balances(path: Path) -> Balances:
    read = hledger(path, "balance", "--flat", "--no-total", "-O", "csv", "--layout=bare")
    assert read.returncode == 0, read.stderr
    return {
        row["account"].rpartition(":")[2]: (Decimal(row["balance"]), row["commodity"])
        for row in csv.DictReader(io.StringIO(read.stdout))
    }


def beancount_balances(path: Path) -> Balances:
    """Postings added up by beancount's own loader."""
    from beancount import loader
    from beancount.core import data

    loaded, errors, _ = loader.load_file(str(path))
    assert errors == []
    sums: Balances = {}
    for entry in loaded:
        for posting in entry.postings if isinstance(entry, data.Transaction) else ():
            id = posting.account.rpartition(":")[2]
            before = sums.get(id, (Decimal(0), ""))[0]
            assert posting.units is not None and posting.units.number is not None
            sums[id] = (before + posting.units.number, posting.units.currency)
    return {id: balance for id, balance in sums.items() if balance[0]}


@pytest.mark.parametrize("scope", [YEAR, FEBRUARY], ids=["as of", "period"])
def test_bean_check_accepts_the_file_and_its_balances_are_ours(
    odd_ledger: Ledger, file: File, scope: Scope
) -> None:
    path = file("beancount", scope)
    checked = bean_check(path)
    assert (checked.returncode, checked.stderr) == (0, "")
    ids = dict(Account.objects.values_list("asset__code", "asset_id"))
    assert beancount_balances(path) == {
        id: (amount, commodity(code, ids[code])) for id, (amount, code) in ours(scope).items()
    }


@pytest.mark.parametrize("scope", [YEAR, FEBRUARY], ids=["as of", "period"])
def test_hledger_accepts_the_file_and_its_balances_are_ours(
    odd_ledger: Ledger, file: File, scope: Scope
) -> None:
    path = file("hledger", scope)
    checked = hledger(path, "check", "--strict")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert hledger_balances(path) == ours(scope)


@pytest.mark.parametrize("name", ["beancount", "hledger"])
def test_a_file_that_was_tampered_with_is_refused_by_the_tool(
    ledger: Ledger, file: File, name: str
) -> None:
    """The control of the tests above: the files prove themselves by their last balances."""
    path = file(name, YEAR)
    text = path.read_text()
    assert " 25.00 " in text
    path.write_text(text.replace(" 25.00 ", " 25.01 ").replace(" -25.00 ", " -25.01 "))
    refused = bean_check(path) if name == "beancount" else hledger(path, "check")
    assert refused.returncode != 0
    assert "balance" in refused.stderr.lower()


def test_accounts_stand_on_the_side_of_their_kind(ledger: Ledger, file: File) -> None:
    text = file("hledger", YEAR).read_text()
    for kind, root in (
        ("ann", "Liabilities:Wallet"),
        ("issuance", "Equity:Issuance"),
        ("breakage", "Income:Breakage"),
        ("budget", "Liabilities:Budget"),
    ):
        assert f"account {root}:PTS:{ledger.ids[kind]}\n" in text


def test_an_entry_dated_back_keeps_both_dates(ledger: Ledger, file: File) -> None:
    assert "\n2026-03-03=2026-02-10 * (" in file("hledger", YEAR).read_text()
    assert "\n  effective: 2026-02-10\n" in file("beancount", YEAR).read_text()


def test_commodities_that_beancount_refuses_get_a_name_no_other_asset_has() -> None:
    assert commodity("PTS", 1) == "PTS"
    assert commodity("GOLD-", 7) == "GOLD'7"
    assert commodity("NULL", 8) == "NULL'8"
    assert commodity("S_.-", 9) == "S'9"


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(st.text(max_size=60), min_size=20, max_size=40))
def test_no_memo_or_reference_can_break_a_file(
    ledger: Ledger, file: File, texts: list[str]
) -> None:
    """Forty texts in one file, because starting the tools is what costs."""
    hostile = ["date:2020-99-99", "[2020-99-99]", '"', "\\", 'a"\n2026-01-01 open X', "\n\n~ x"]
    for text in [*texts, *hostile]:
        clean = text.replace("\x00", "")
        try:
            clean.encode()
        except UnicodeEncodeError:
            continue
        ledger.move("issuance", "ann", 1, at=day("05-05"), memo=clean, reference=_unique(clean))
    for name, check in (("beancount", bean_check), ("hledger", _hledger_check)):
        checked = check(file(name, YEAR))
        assert (checked.returncode, checked.stderr) == (0, "")
    assert hledger_balances(file("hledger", YEAR)) == ours(YEAR)


def _hledger_check(path: Path) -> subprocess.CompletedProcess[str]:
    return hledger(path, "check")


def _unique(text: str) -> str:
    return f"{text} {Account.objects.get(kind_id='issuance').entry_count}"
