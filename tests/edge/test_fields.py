"""Ids, amounts, asset codes and times: what comes in, what goes out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError

from edge.fields import (
    ASSET_CODE_PATTERN,
    LARGEST_AMOUNT,
    Amount,
    AssetCode,
    Id,
    UtcDateTime,
    format_time,
    parse_id,
)
from edge.ids import LARGEST_ID

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def accepts(field: Any, value: object) -> bool:
    try:
        field.to_internal_value(value)
    except ValidationError:
        return False
    return True


@given(st.integers(1, LARGEST_ID))
def test_id_survives_the_way_out_and_in(number: int) -> None:
    assert parse_id(Id().to_representation(number)) == number


@pytest.mark.parametrize(
    "bad", ["", "0", "-1", "01", "+1", " 1", "1 ", "1\n", "1.0", "٣", str(LARGEST_ID + 1), 1, None]
)
def test_what_is_no_id_is_refused(bad: object) -> None:
    assert parse_id(bad) is None
    assert not accepts(Id(), bad)


@given(st.integers(1, LARGEST_AMOUNT))
def test_amounts_in_range_pass_unchanged(amount: int) -> None:
    assert Amount().to_internal_value(amount) == amount


@given(anything)
@settings(max_examples=200)
def test_only_integers_in_range_are_amounts(value: object) -> None:
    is_amount = type(value) is int and 1 <= value <= LARGEST_AMOUNT
    assert accepts(Amount(), value) == is_amount


@given(anything)
@settings(max_examples=200)
def test_no_field_is_surprised_by_anything(value: object) -> None:
    for field in (Id(), AssetCode(), UtcDateTime()):
        accepts(field, value)


@given(st.from_regex(ASSET_CODE_PATTERN, fullmatch=True, alphabet=st.characters(codec="ascii")))
def test_asset_codes_pass(code: str) -> None:
    assert accepts(AssetCode(), code) == (not code.endswith("\n"))


@pytest.mark.parametrize("bad", ["", "E", "eur", "1EUR", "EUR\n", "EU R", "É" * 3, "A" * 41, 5])
def test_what_is_no_asset_code_is_refused(bad: object) -> None:
    assert not accepts(AssetCode(), bad)


def offsets() -> st.SearchStrategy[timezone]:
    return st.integers(-23 * 60, 23 * 60).map(lambda m: timezone(timedelta(minutes=m)))


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=offsets()))
def test_times_keep_their_instant_to_the_microsecond(moment: datetime) -> None:
    assert UtcDateTime().to_internal_value(moment.isoformat()) == moment
    assert UtcDateTime().to_internal_value(format_time(moment)) == moment


@pytest.mark.parametrize(
    "bad",
    [
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-01-31 12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T23:59:60Z",
        "2026-01-31T12:00:00+25:00",
        "0001-01-01T00:00:00+23:00",
        "9999-12-31T23:59:59-23:00",
        "2026-W05-6T12:00:00Z",
        "1769860800",
        1769860800,
        None,
    ],
)
def test_what_is_no_time_is_refused(bad: object) -> None:
    assert not accepts(UtcDateTime(), bad)


def test_time_goes_out_in_utc_with_a_z() -> None:
    moment = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(moment) == "2026-01-31T10:00:00.000000Z"
    assert format_time(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000000Z"
