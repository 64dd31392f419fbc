"""Work on many codes: what it leaves behind, how it is held up, and what it refuses."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import User
from edge.models import AuditEvent
from edge.problems import Refusal
from jobs.models import Job
from rewards.actions import set_closed
from rewards.bulk import actions, assigning, changing, exporting, files, generating
from rewards.importing import AlreadyImported, CodeFile
from rewards.models import BulkJob, CodeImport, ImportFault, UploadBlock, VoucherCode
from rewards.redemption.rules import Reason, Use
from rewards.redemption.standing import lock_voucher
from rewards.sealing import sealer
from rewards.units import units_of
from rewards.verifying import faults_of as verify
from tests.rewards.bulk.conftest import SOON, job_of, run, run_job, tables
from tests.rewards.conftest import person
from tests.rewards.redemption.conftest import Till

pytestmark = pytest.mark.django_db


def refused(deed: Any, *args: Any, **named: Any) -> str:
    with pytest.raises(Refusal) as refusal:
        deed(*args, **named)
    assert not BulkJob.objects.exists()
    return refusal.value.code


def make(till: Till, count: int, owner: User | None = None) -> BulkJob:
    return run(generating.generate("OURS", count, actor=till.clerk, owner=owner))


def opened(series_id: int) -> list[str]:
    """All codes of a series, in the clear."""
    opener = sealer()
    return [
        opener.open(series_id, code.digest.bytes, bytes(code.sealed)).for_its_owner()
        for code in VoucherCode.objects.filter(series=series_id).order_by("pk")
    ]


# -- generate ------------------------------------------------------------------------------------


def test_codes_follow_the_pattern_are_unique_and_issued(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generating, "CODES_PER_STEP", 400)
    bulk = make(till, 1_000, owner=till.ann)
    series = till.series["OURS"]
    codes = opened(series.pk)
    assert len(set(codes)) == 1_000
    assert series.pattern is not None
    assert all(series.pattern.read(code) == code for code in codes)
    assert units_of(till.ann.pk, [series.asset_id]) == {series.asset_id: 1_000}
    made = CodeImport.objects.get()
    assert (made.source, made.code_count) == ("generated", 1_000)
    assert (bulk.state, bulk.done, bulk.report["codes"]) == ("done", 1_000, 1_000)
    assert verify(series, opens_codes=True) == []


def test_step_that_meets_an_existing_code_draws_again(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(till, 20)
    again = opened(till.series["OURS"].pk)
    drawn = generating._drawn
    turns = iter([True, False])

    def sometimes(pattern: Any) -> Any:
        return iter(again) if next(turns) else drawn(pattern)

    monkeypatch.setattr(generating, "_drawn", sometimes)
    make(till, 20)
    assert len(set(opened(till.series["OURS"].pk))) == 40
    assert verify(till.series["OURS"]) == []


def test_generation_is_refused_with_its_reason(till: Till) -> None:
    generate = generating.generate
    assert refused(generate, "TENOFF", 5, actor=None) == "series_without_pattern"
    assert refused(generate, "NONE", 5, actor=None) == "series_unknown"
    assert refused(generate, "OURS", 0, actor=None) == "too_many_codes"
    assert refused(generate, "OURS", 400_000, actor=None) == "pattern_too_small"
    past = timezone.now()
    assert refused(generate, "OURS", 5, actor=None, expires_at=past) == "expiry_past"
    set_closed("OURS", True, actor=None, reason="over")
    assert refused(generate, "OURS", 5, actor=None) == "series_closed"


# -- pause, resume, cancel -----------------------------------------------------------------------


def test_paused_work_goes_on_after_its_last_step(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generating, "CODES_PER_STEP", 100)
    bulk = generating.generate("OURS", 300, actor=till.clerk)
    make_step = generating._make

    def and_pause(*args: Any) -> None:
        make_step(*args)
        if not VoucherCode.objects.count() > 100:
            actions.pause(bulk.pk, actor=till.clerk, reason="the shop opens")

    monkeypatch.setattr(generating, "_make", and_pause)
    run_job(bulk)
    assert (bulk.done, actions.state_of(bulk)) == (100, "paused")
    actions.resume(bulk.pk, actor=till.clerk, reason="it is closed")
    run_job(bulk)
    assert (bulk.done, actions.state_of(bulk), bulk.state) == (300, "done", "done")
    assert verify(till.series["OURS"]) == []
    with pytest.raises(actions.BulkJobEnded):
        actions.pause(bulk.pk, actor=till.clerk, reason="late")


def test_cancelled_work_keeps_what_its_steps_did(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generating, "CODES_PER_STEP", 100)
    bulk = generating.generate("OURS", 300, actor=till.clerk)
    make_step = generating._make

    def and_cancel(*args: Any) -> None:
        make_step(*args)
        BulkJob.objects.filter(pk=bulk.pk).update(state="cancelled", ended_at=timezone.now())

    monkeypatch.setattr(generating, "_make", and_cancel)
    run_job(bulk)
    assert (bulk.done, bulk.state, job_of(bulk).state) == (100, "cancelled", 5)
    assert verify(till.series["OURS"]) == []


# -- import ----------------------------------------------------------------------------------------


def offer(till: Till, content: bytes, series: str = "TENOFF") -> BulkJob:
    file = CodeFile(io.BytesIO(content), "codes.csv")
    return files.import_in_steps(series_code=series, file=file, actor=till.clerk)


@pytest.fixture(params=[1, 7, 1_000])
def portions(request: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(files, "ROWS_PER_STEP", request.param)
    return int(request.param)


def test_large_file_is_taken_in_whole_whatever_the_portions(till: Till, portions: int) -> None:
    rows = "".join(f"CODE-{number:04}\r\n" for number in range(50))
    bulk = run(offer(till, f"\ufeffcode\r\n{rows}".encode()))
    assert (bulk.state, bulk.report["codes"]) == ("done", 50)
    made = CodeImport.objects.get()
    assert (made.state, made.code_count, made.has_bom, made.line_ends) == (
        "imported", 50, True, "CRLF",
    )  # fmt: skip
    assert sorted(opened(till.series["TENOFF"].pk)) == [f"CODE-{n:04}" for n in range(50)]
    assert till.euros("voucher_liability") == 50_000
    assert (list(tables()), UploadBlock.objects.count()) == ([], 0)
    assert verify(till.series["TENOFF"]) == []
    with pytest.raises(AlreadyImported):
        offer(till, f"\ufeffcode\r\n{rows}".encode())


BAD = (
    b"code,expires_at\n"
    b"GOOD-0001,\n"
    b"X,\n"
    b"GOOD-0002,2001-01-01\n" + b"L" * 3_000_000 + b",\n"
    b"GOOD-0003,2127-01-31\n"
    b"GOOD-0001,\n"
    b'"GOOD-\n0004",\n'
    b"\xff\xfe,\n"
    b"good-0003,\n"
)


def test_report_is_the_same_whatever_the_portions(till: Till, portions: int) -> None:
    from rewards.importing import import_codes

    whole = import_codes(
        series_code="SCARF", file=CodeFile(io.BytesIO(BAD), "bad.csv"), actor=None, is_dry_run=True
    )
    bulk = run(offer(till, BAD, "SCARF"))
    assert bulk.state == "refused"
    stored = ImportFault.objects.values_list("line", "column", "code")
    assert sorted(stored) == sorted((f.line, f.column, str(f.code)) for f in whole.report.faults)
    assert bulk.report["counts"] == dict(whole.report.counts)
    assert (CodeImport.objects.get().state, VoucherCode.objects.count()) == ("refused", 0)
    assert (list(tables()), UploadBlock.objects.count()) == ([], 0)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "file_empty"),
        (b"code\n", "file_without_codes"),
        (b"name\nAAAA\n", "header_missing"),
        (b"code,code\nAAAA,BBBB\n", "header_duplicate"),
        ("code\nAAAA-1\n".encode("utf-16"), "encoding_utf16"),
        (b'code\n"AAAA\n', "quote_broken"),
        (b"code;expires_at\nAAAA-1,\n", "column_count"),
        (b"code\n" + b"A" * 10_000_000, "line_too_long"),
    ],
)
def test_bad_file_is_refused_and_leaves_nothing(till: Till, content: bytes, code: str) -> None:
    bulk = run(offer(till, content, "SCARF"))
    assert (bulk.state, bulk.report["counts"]) == ("refused", {code: 1})
    assert (VoucherCode.objects.count(), list(tables())) == (0, [])


def test_rows_lost_by_a_crash_are_read_again(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import connection, transaction

    from rewards.bulk import steps

    monkeypatch.setattr(files, "ROWS_PER_STEP", 10)
    bulk = offer(till, b"code\n" + b"".join(b"CODE-%04d\n" % n for n in range(25)))
    for _ in range(3):
        with transaction.atomic():
            steps.step(bulk.pk)
    [table] = tables()
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {table}")
    assert run(bulk).report["codes"] == 25
    assert verify(till.series["TENOFF"]) == []


def test_cancelled_import_leaves_nothing(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import transaction

    from rewards.bulk import steps

    monkeypatch.setattr(files, "ROWS_PER_STEP", 10)
    bulk = offer(till, b"code\n" + b"".join(b"CODE-%04d\n" % n for n in range(25)))
    with transaction.atomic():
        steps.step(bulk.pk)
    actions.cancel(bulk.pk, actor=till.clerk, reason="wrong file")
    run(bulk)
    assert (list(tables()), UploadBlock.objects.count()) == ([], 0)
    assert (CodeImport.objects.get().state, VoucherCode.objects.count()) == ("cancelled", 0)


def test_import_whose_attempts_are_used_up_leaves_nothing_once_it_is_cancelled(till: Till) -> None:
    bulk = offer(till, b"code\nCODE-0001\n")
    set_closed("TENOFF", True, actor=None, reason="the season is over")
    while actions.state_of(bulk) == "queued":
        Job.objects.filter(pk=bulk.job_id or 0).update(due_at=timezone.now())
        run_job(bulk)
    assert actions.state_of(bulk) == "dead"
    assert list(tables()) == [f"rewards_staged_{bulk.pk}"]
    actions.cancel(bulk.pk, actor=till.clerk, reason="it will not be opened again")
    bulk.refresh_from_db()
    run_job(bulk)
    assert (list(tables()), UploadBlock.objects.count()) == ([], 0)
    assert (CodeImport.objects.get().state, bulk.state) == ("cancelled", "cancelled")


def test_kept_file_is_encrypted(till: Till) -> None:
    offer(till, b"code\nSECRET-0001\n")
    assert b"SECRET" not in bytes(UploadBlock.objects.get().sealed)


# -- export ----------------------------------------------------------------------------------------


def test_export_takes_codes_and_units_and_writes_both_formats(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "CODES_PER_STEP", 30)
    make(till, 100)
    bulk = run(exporting.export("OURS", 70, actor=till.clerk))
    assert (bulk.state, bulk.report) == ("done", {"codes": 70, "wanted": 70})
    text = b"".join(exporting.stream(bulk, "csv", actor=till.clerk)).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    parquet = b"".join(exporting.stream(bulk, "parquet", actor=till.clerk))
    table = pq.read_table(io.BytesIO(parquet))
    assert table.column("code").to_pylist() == [row["code"] for row in rows]
    assert len({row["code"] for row in rows}) == 70
    assert verify(till.series["OURS"]) == []
    downloads = AuditEvent.objects.filter(action="rewards.download_export")
    assert downloads.count() == 2
    # Whoever was handed a printed code can use it; nobody in particular owns it.
    assert till.use(rows[0]["code"]).redemption.state == 1


RUN_FOR_EACH_CODE = """
UPDATE rewards_vouchercode AS code SET state = 1, export_id = %(export)s
  FROM (SELECT id FROM rewards_vouchercode
         WHERE series_id = %(series)s AND state = 0 AND expires_at > %(now)s
         ORDER BY expires_at, id LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED) AS free
 WHERE code.id = free.id
"""


@pytest.mark.parametrize(
    ("take", "taken"),
    [(exporting.TAKE_FREE, 30), (exporting.TAKE_WAITING, 30), (RUN_FOR_EACH_CODE, 41)],
)
def test_export_takes_no_more_than_asked_when_the_planner_expects_one_code(
    till: Till, monkeypatch: pytest.MonkeyPatch, take: str, taken: int
) -> None:
    """The last is the control: a subquery that the planner puts inside a loop takes all."""
    make(till, 1)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE rewards_vouchercode; SET LOCAL enable_nestloop = on")
    make(till, 40)
    monkeypatch.setattr(exporting, "TAKE_FREE", take)
    assert run(exporting.export("OURS", 30, actor=till.clerk)).done == taken


def test_export_ends_when_the_treasury_is_empty(till: Till) -> None:
    make(till, 5)
    make(till, 5, owner=till.ann)
    bulk = run(exporting.export("OURS", 70, actor=till.clerk))
    assert bulk.report == {"codes": 5, "wanted": 70}
    assert verify(till.series["OURS"]) == []


def test_export_is_read_when_it_is_done(till: Till) -> None:
    make(till, 5)
    bulk = exporting.export("OURS", 5, actor=till.clerk)
    with pytest.raises(exporting.ExportNotReady):
        exporting.stream(bulk, "csv", actor=till.clerk)
    with pytest.raises(exporting.FormatUnknown):
        exporting.stream(run(bulk), "xls", actor=till.clerk)


# -- assign ----------------------------------------------------------------------------------------


def test_people_get_units_once_and_strangers_are_listed(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assigning, "PEOPLE_PER_STEP", 2)
    make(till, 7)
    fans = [person(f"fan_{number}") for number in range(4)]
    names = ["fan_0", "FAN_1", "nobody_here", "@fan_1", "fan_2", "fan_3"]
    bulk = run(assigning.assign("OURS", names, 2, actor=till.clerk))
    asset_id = till.series["OURS"].asset_id
    held = [units_of(fan.pk, [asset_id]).get(asset_id, 0) for fan in fans]
    assert held == [2, 2, 2, 0]
    assert bulk.report == {
        "given": 3, "unknown": 1, "refused": 1,
        "names": [{"handle": "nobody_here", "code": "person_unknown"},
                  {"handle": "fan_3", "code": "insufficient_funds"}],
    }  # fmt: skip
    with pytest.raises(assigning.PeopleInvalid):
        assigning.assign("OURS", [], 1, actor=None)


# -- extend and deactivate -------------------------------------------------------------------------


def test_extension_moves_what_has_not_expired(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changing, "CODES_PER_EXTENSION", 2)
    till.given("SCARF", "AAAA-1", "AAAA-2", "AAAA-3")
    till.given("SCARF", "BBBB-1", expires_at="2026-06-02")
    VoucherCode.objects.filter(expires_at__year=2027).update(expires_at="2120-01-01T00:00:00Z")
    VoucherCode.objects.filter(expires_at__year=2026).update(expires_at="2026-06-02T00:00:00Z")
    bulk = run(changing.extend("SCARF", SOON, actor=till.clerk, reason="the match was moved"))
    assert bulk.report["changed"] == 3
    assert VoucherCode.objects.filter(expires_at=SOON).count() == 3
    trail = AuditEvent.objects.get(action="rewards.extend_codes")
    assert (trail.reason, trail.after["codes"]) == ("the match was moved", 3)  # type: ignore[index]
    assert refused_code(changing.extend, "SCARF", timezone.now()) == "expiry_past"


def refused_code(deed: Any, *args: Any) -> str:
    with pytest.raises(Refusal) as refusal:
        deed(*args, actor=None, reason="because")
    return refusal.value.code


def test_deactivation_spares_used_and_reserved_ones(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changing, "CODES_PER_DEACTIVATION", 2)
    now = timezone.now()
    till.given("CARD", "CCCC-1", "CCCC-2", expires_at="2127-01-31")
    till.given("TENOFF", "AAAA-1", "AAAA-2", "AAAA-3", "AAAA-4", expires_at="2127-01-31")
    till.use("AAAA-1", now=now)
    till.use("AAAA-2", reserve_s=600, now=now)
    till.use("CCCC-1", amount_minor=1_500, now=now)
    for code in ("TENOFF", "CARD"):
        made = till.series[code].imports.get()
        bulk = changing.deactivate(code, actor=till.clerk, reason="leaked", import_id=made.pk)
        run(bulk)
        assert bulk.report["changed"] == 2
        assert verify(till.series[code]) == []
    # A voucher is used, one reserved, 35 euros left of a card: the rest was never a cost.
    assert till.euros("voucher_liability") == 1_000
    assert till.euros("gift_balance") == 0
    assert till.euros("voucher_cost") == -(1_000 + 1_000 + 1_500)
    with pytest.raises(Refusal) as refusal:
        till.use("AAAA-3", now=now)
    assert refusal.value.code == Reason.DEACTIVATED
    assert refused_code(changing.deactivate, "TENOFF") == "nothing_chosen"


def test_one_code_is_taken_out_of_use_once(till: Till) -> None:
    make(till, 2)
    till.given("TENOFF", "AAAA-1", expires_at="2127-01-31")
    for code in VoucherCode.objects.exclude(series=till.series["CARD"])[:3]:
        changing.deactivate_code(code.pk, actor=till.clerk, reason="misprint")
        with pytest.raises(changing.CodeInUse):
            changing.deactivate_code(code.pk, actor=till.clerk, reason="misprint")
    assert verify(till.series["OURS"]) == []
    assert verify(till.series["TENOFF"]) == []
    assert till.euros("voucher_liability") == 0


def test_one_code_is_extended(till: Till) -> None:
    till.given("TENOFF", "AAAA-1", expires_at="2127-01-31")
    code = VoucherCode.objects.get()
    later = code.expires_at + timedelta(days=5)
    changing.extend_code(code.pk, later, actor=till.clerk, reason="goodwill")
    code.refresh_from_db()
    assert code.expires_at == later
    with pytest.raises(changing.CodeInUse):
        changing.extend_code(code.pk, later, actor=till.clerk, reason="goodwill")
    assert lock_voucher(code.pk).use == Use.FREE
