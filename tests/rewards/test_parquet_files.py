"""A Parquet file of codes is taken in, or refused, as the CSV it stands for."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command

from rewards import parquet_files
from rewards.models import CodeImport, VoucherCode
from rewards.parquet_files import ParquetUnreadable, readable
from tests.rewards.conftest import World
from tests.rewards.test_api import Caller, code_of


def parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue()


def csv_of(content: bytes) -> str:
    return readable(io.BytesIO(content)).read().decode()


def offer(world: World, content: bytes) -> Any:
    file = SimpleUploadedFile("drinks.parquet", content)
    return Caller(world.marla).post("series/DRINK/imports/", {"file": file}, form="multipart")


def test_rows_become_lines_with_times_and_dates_as_the_csv_spells_them() -> None:
    moment = datetime(2036, 6, 30, 18, tzinfo=UTC)
    times = pa.array([moment, None], pa.timestamp("us", "UTC"))
    assert csv_of(parquet(code=["AAA-1111", "BBB-2222"], expires_at=times)) == (
        "code,expires_at\r\nAAA-1111,2036-06-30T18:00:00+00:00\r\nBBB-2222,\r\n"
    )
    days = csv_of(parquet(code=["AAA-1111"], expires_at=[date(2036, 6, 30)]))
    assert days.endswith("AAA-1111,2036-06-30\r\n")


def test_whole_numbers_and_repeated_texts_are_codes_too() -> None:
    assert csv_of(parquet(code=[4711, 4712])) == "code\r\n4711\r\n4712\r\n"
    texts = pa.array(["AAA-1111", "BBB-2222"])
    for column in (texts.dictionary_encode(), texts.cast(pa.large_string())):
        assert csv_of(parquet(Code=column)) == "Code\r\nAAA-1111\r\nBBB-2222\r\n"
    assert csv_of(parquet(code=texts, expires_at=pa.nulls(2))).endswith("BBB-2222,\r\n")


def test_a_csv_is_left_alone() -> None:
    file = io.BytesIO(b"code\nPAR1-4711\n")
    assert readable(file) is file


@pytest.mark.django_db
def test_codes_come_in_and_as_many_units(world: World) -> None:
    made = offer(world, parquet(code=["AAA-1111", "BBB-2222"]))
    assert (made.status_code, made.json()["code_count"]) == (201, 2)
    assert VoucherCode.objects.count() == 2


@pytest.mark.django_db
def test_a_fault_is_told_by_its_row_and_nothing_comes_in(world: World) -> None:
    told = offer(world, parquet(code=["AAA-1111", "x", "AAA-1111"]))
    assert code_of(told) == (422, "file_refused")
    faults = [(each["line"], each["code"]) for each in told.json()["faults"]]
    assert faults == [(3, "code_too_short"), (4, "code_repeated")]
    assert VoucherCode.objects.count() == 0


BROKEN = {
    "cut short": b"PAR1",
    "noise": b"PAR1" + b"x" * 100 + b"PAR1",
    "half a file": parquet(code=["AAA-1111"] * 100)[:-30] + b"PAR1",
    "nested": parquet(code=[["AAA-1111"]]),
    "bytes": parquet(code=[b"AAA-1111"]),
    "fractions": parquet(code=[4711.0]),
    "decimals": parquet(code=[Decimal("4711.0")]),
    "truth values": parquet(Code=[True]),
    "dates for codes": parquet(code=[date(2036, 6, 30)]),
    "numbers for expiries": parquet(code=["AAA-1111"], expires_at=[1_782_000_000]),
    "too many columns": parquet(**{f"c{n}": ["x"] for n in range(30)}),
}


@pytest.mark.django_db
@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_is_no_table_of_codes_is_refused_and_kept_nowhere(
    world: World, content: bytes
) -> None:
    assert code_of(offer(world, content)) == (422, "parquet_unreadable")
    assert not CodeImport.objects.exists()


def test_what_unpacks_to_too_much_is_refused_before_it_fills_the_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parquet_files, "MOST_UNPACKED", 1_000_000)
    bomb = parquet(code=["A" * 10_000] * 200_000)
    assert len(bomb) < 100_000
    with pytest.raises(ParquetUnreadable):
        csv_of(bomb)
    monkeypatch.setattr(parquet_files, "MOST_ROWS", 1_000)
    with pytest.raises(ParquetUnreadable):
        csv_of(parquet(code=["A"] * 1_001))


@pytest.mark.django_db
def test_the_command_takes_parquet(world: World, tmp_path: Path) -> None:
    path = tmp_path / "drinks.parquet"
    path.write_bytes(parquet(code=["AAA-1111"]))
    call_command("import_codes", "DRINK", str(path))
    assert VoucherCode.objects.count() == 1
