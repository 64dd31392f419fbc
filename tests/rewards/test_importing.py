"""A file of codes is taken whole, with a unit for each code, or not at all, with a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.models import AuditEvent
from rewards import units
from rewards.importing import AlreadyImported, SeriesUnknown
from rewards.models import CodeImport, Series, VoucherCode
from rewards.sealing import sealer
from tests.rewards.conftest import World, everything, stored_faults, told
from wallet.models import Transfer

pytestmark = pytest.mark.django_db
THREE = "code,expires_at\nAAAA-1111,2027-01-31\nBBBB-2222,2026-12-31T18:00:00Z\nCCCC-3333,\n"


def opened(world: World) -> list[str]:
    codes = VoucherCode.objects.filter(series=world.drink).order_by("pk")
    return [
        sealer().open(world.drink.pk, code.digest.bytes, bytes(code.sealed)).for_its_owner()
        for code in codes
    ]


def test_clean_file_becomes_sealed_codes_and_units_in_the_treasury(world: World) -> None:
    outcome = world.offer(THREE)
    assert outcome.state == "imported"
    assert opened(world) == ["AAAA-1111", "BBBB-2222", "CCCC-3333"]
    expiries = VoucherCode.objects.order_by("pk").values_list("expires_at", flat=True)
    assert [moment.isoformat() for moment in expiries] == [
        "2027-02-01T00:00:00+00:00",
        "2026-12-31T18:00:00+00:00",
        "9999-12-31T00:00:00+00:00",
    ]
    counts = units.counts_of([world.drink.asset_id])[world.drink.asset_id]
    assert counts == units.UnitCounts(issued=3, in_treasury=3, revealed=0)
    world.drink.refresh_from_db()
    assert world.drink.state == Series.State.ISSUED


def test_import_is_written_down_with_its_transfer(world: World) -> None:
    made = world.offer(THREE, name="C:\\lists\\drink\x00s.csv").code_import
    assert made is not None
    assert (made.file_name, made.row_count, made.code_count) == ("drinks.csv", 3, 3)
    assert (made.delimiter, made.has_bom, made.line_ends, made.size_bytes) == (",", False, "LF", 79)
    assert made.transfer_id is not None
    transfer = Transfer.objects.get(pk=made.transfer_id)
    assert (transfer.reference, transfer.amount) == (f"import:{made.pk}", 3)
    event = AuditEvent.objects.get(action="rewards.import_codes")
    assert (event.actor_id, event.object_id) == (world.marla.pk, str(made.pk))
    assert event.after == {"series": "DRINK", "codes": 3}


def test_named_owner_gets_the_units(world: World) -> None:
    world.offer(THREE, owner=world.ann)
    assert world.units(world.ann) == 3
    counts = units.counts_of([world.drink.asset_id])[world.drink.asset_id]
    assert (counts.issued, counts.in_treasury) == (3, 0)


def test_one_bad_row_keeps_everything_out(world: World) -> None:
    before = everything()
    outcome = world.offer(THREE + "DDDD-4444,yesterday\n")
    assert outcome.state == "refused"
    assert told(outcome) == stored_faults(outcome) == [(5, "expires_at", "expiry_invalid")]
    assert everything() == before
    assert outcome.code_import is not None
    assert (outcome.code_import.code_count, outcome.code_import.row_count) == (0, 4)


def test_dry_run_reports_and_changes_nothing(world: World) -> None:
    before = everything()
    clean, bad = world.offer(THREE, is_dry_run=True), world.offer("code\nAB\n", is_dry_run=True)
    assert (clean.state, clean.is_clean, clean.report.row_count) == ("checked", True, 3)
    assert (bad.is_clean, told(bad)) == (False, [(2, "code", "code_too_short")])
    assert everything() == before
    assert not CodeImport.objects.exists()


def test_same_file_twice_is_refused_with_the_earlier_import(world: World) -> None:
    first = world.offer(THREE).code_import
    before = everything()
    with pytest.raises(AlreadyImported) as refused:
        world.offer(THREE, name="another-name.csv")
    assert first is not None
    assert refused.value.members == {"import_id": str(first.pk)}
    assert everything() == before


def test_refused_file_may_be_offered_again(world: World) -> None:
    assert world.offer("code\nAB\n").state == "refused"
    assert world.offer("code\nAB\n").state == "refused"


def test_codes_that_repeat_are_reported_with_the_first_line(world: World) -> None:
    outcome = world.offer("code\nAAAA\nBBBB\nAAAA\n\nAAAA\n")
    assert told(outcome) == [(4, "code", "code_repeated"), (6, "code", "code_repeated")]
    assert outcome.report.faults[1].message == "The same code stands in line 2."


def test_codes_stored_before_are_reported(world: World) -> None:
    world.offer("code\nAAAA\nBBBB\n")
    before = everything()
    outcome = world.offer("code\nCCCC\nBBBB\n")
    assert told(outcome) == [(3, "code", "code_stored")]
    assert everything() == before


def test_codes_that_look_alike_are_taken_with_a_warning(world: World) -> None:
    outcome = world.offer("code\nAB-O0I\nab00l\nABCDE\n")
    assert outcome.state == "imported"
    assert told(outcome) == [(3, "code", "code_looks_like")]
    assert outcome.report.warning_count == 1
    assert opened(world) == ["AB-O0I", "ab00l", "ABCDE"]


def test_first_thousand_faults_are_kept_in_order_and_all_are_counted(world: World) -> None:
    rows = ["AB"] * 700 + ["REPEATED"] * 701
    outcome = world.offer("code\n" + "\n".join(rows))
    assert outcome.report.counts == {"code_too_short": 700, "code_repeated": 700}
    faults = outcome.report.faults
    assert (len(faults), faults[699].line, faults[700].line) == (1000, 701, 703)
    assert outcome.code_import is not None
    assert outcome.code_import.fault_count == 1400


def test_unknown_series_is_refused(world: World) -> None:
    with pytest.raises(SeriesUnknown):
        world.offer(THREE, series_code="NO-SUCH")


def test_no_code_is_stored_in_the_clear_anywhere(world: World) -> None:
    from django.db import connection

    world.offer("code;expires_at\nSECRET-AAAA;2027-01-31\n", owner=world.ann)
    world.offer("SECRET-BBBB\nSECRET-CCCC\n")
    world.offer("code,expires_at\nSECRET-DDDD,SECRET-EEEE\nSECRET-DDDD,\nSECRET-FF;FF\n")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')"
            " AND relnamespace = 'public'::regnamespace"
        )
        rows: list[Any] = []
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{table}" AS t')
            rows += cursor.fetchall()
    assert "DRINK" in str(rows)
    assert "SECRET" not in str(rows)
    assert b"SECRET".hex() not in str(rows)


CODES = st.text("AB0O-1234567", min_size=1, max_size=8)
EXPIRIES = st.sampled_from(["", "2027-01-31", "2026-06-01", "soon", "9999-12-31"])
LINES = st.lists(st.tuples(CODES, EXPIRIES), max_size=12).map(
    lambda rows: "code,expires_at\n" + "".join(f"{code},{expiry}\n" for code, expiry in rows)
)
FILES = st.one_of(st.binary(max_size=100), LINES.map(str.encode))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(files=st.lists(FILES, min_size=1, max_size=3))
def test_whatever_comes_is_imported_whole_or_not_at_all(world: World, files: list[bytes]) -> None:
    """Codes stored, units issued and rows of clean files are always the same number."""
    with transaction.atomic():
        taken = 0
        for content in files:
            before = everything()
            try:
                outcome = world.offer(content)
            except AlreadyImported:
                assert everything() == before
                continue
            if outcome.is_clean:
                taken += outcome.report.row_count
            else:
                assert everything() == before
                assert outcome.report.faults
        counts = units.counts_of([world.drink.asset_id])[world.drink.asset_id]
        assert VoucherCode.objects.count() == counts.issued == counts.in_treasury == taken
        transaction.set_rollback(True)


@pytest.mark.parametrize(
    ("name", "delimiter", "has_bom", "line_ends", "count"),
    [
        ("stadium-drink.csv", ",", False, "LF", 400),
        ("fan-shop-10.csv", ",", True, "CRLF", 300),
        ("match-seat.csv", ";", False, "LF", 240),
    ],
)
def test_files_of_the_demo_are_clean(
    world: World, name: str, delimiter: str, has_bom: bool, line_ends: str, count: int
) -> None:
    content = (Path(__file__).resolve().parents[2] / "rewards" / "demo" / name).read_bytes()
    outcome = world.offer(content, name=name)
    assert told(outcome) == []
    made = outcome.code_import
    assert made is not None
    assert (made.delimiter, made.has_bom, made.line_ends) == (delimiter, has_bom, line_ends)
    assert made.code_count == count
