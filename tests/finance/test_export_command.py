"""`manage.py export_ledger`: whole files, clear errors."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.finance.ledgers import Ledger
from wallet.exports import EXPORTS, Scope
from wallet.exports.catalog import Export
from wallet.exports.snapshot import Snapshot


def export(*arguments: str) -> str:
    """Run the command; say what it wrote on stderr."""
    stderr = io.StringIO()
    call_command("export_ledger", *arguments, stderr=stderr)
    return stderr.getvalue()


def test_a_month_goes_into_a_file_named_for_it(ledger: Ledger, tmp_path: Path) -> None:
    said = export("journal", "--from", "2026-02-01", "--to", "2026-02-28", "--out", str(tmp_path))
    [file] = tmp_path.iterdir()
    assert file.name == "journal-20260201T000000Z-20260301T000000Z.csv"
    assert len(file.read_bytes().splitlines()) == 7
    assert "journal: 6 rows read" in said


def test_the_last_day_is_in_the_period(ledger: Ledger, tmp_path: Path) -> None:
    out = tmp_path / "t.csv"
    export("trial-balance", "--to", "2026-02-20", "--out", str(out))
    assert b"redeemed,,,,,7.00" in out.read_bytes()
    export("trial-balance", "--to", "2026-02-20T11:00:00+00:00", "--out", str(out))
    assert b"redeemed" not in out.read_bytes()


def test_a_moment_counts_in_its_own_zone(ledger: Ledger, tmp_path: Path) -> None:
    out = tmp_path / "t.csv"
    export("trial-balance", "--to", "2026-02-20T13:00:01+01:00", "--out", str(out))
    assert b"redeemed,,,,,7.00" in out.read_bytes()


@pytest.mark.parametrize("name", sorted(EXPORTS))
def test_every_export_can_be_asked_for(ledger: Ledger, tmp_path: Path, name: str) -> None:
    account = ("--account", str(ledger.ids["ben"])) if name == "statement" else ()
    export(name, "--to", "2026-03-31", "--out", str(tmp_path / "file"), *account)
    assert (tmp_path / "file").stat().st_size > 100


def test_asset_account_and_detail_reach_the_export(ledger: Ledger, tmp_path: Path) -> None:
    out = tmp_path / "file"
    export("trial-balance", "--asset", "PTS", "--by-account", "--effective", "--out", str(out))
    assert f"account,PTS,Liabilities,wallet,{ledger.ids['ann']}," in out.read_text()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["journal", "--to", "yesterday"], "neither a day like 2026-01-31 nor a moment"),
        (["journal", "--to", "9999-12-31"], "neither a day like 2026-01-31 nor a moment"),
        (["journal", "--to", "2026-02-30"], "neither a day like 2026-01-31 nor a moment"),
        (["journal", "--from", "2026-02-01T00:00:00"], "needs its time zone"),
        (["journal", "--asset", "NONE"], "There is no asset 'NONE'"),
        (["statement", "--to", "2026-03-01"], "Say which account"),
        (["statement", "--account", "0"], "There is no such account"),
        (["journal", "--from", "2026-03-02", "--to", "2026-03-01"], "ends before it starts"),
        (["beancount", "--effective"], "does not go by effective dates"),
        (["journal", "--out", "/nowhere/at/all.csv"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    ledger: Ledger, tmp_path: Path, arguments: list[str], error: str
) -> None:
    out = [] if "--out" in arguments else ["--out", str(tmp_path)]
    with pytest.raises(CommandError, match=error):
        export(*arguments, *out)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_whole_or_as_it_was_before(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Snapshot, __: Scope) -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("the books do not balance")

    journal = EXPORTS["journal"]
    assert isinstance(journal, Export)
    broken_export = Export(
        name="journal", title="journal", content_type="", extension="csv", write=broken
    )
    monkeypatch.setitem(EXPORTS, "journal", broken_export)
    out = tmp_path / "journal.csv"
    out.write_bytes(b"of last month")
    with pytest.raises(CommandError, match="the books do not balance"):
        export("journal", "--out", str(out))
    assert out.read_bytes() == b"of last month"
    assert list(tmp_path.iterdir()) == [out]
