"""Codes as text: what is shown of them, and what is taken for a typo."""

from __future__ import annotations

import pytest

from rewards.codes import CheckScheme, PlainCode, carries_check, cleaned, look_of, masked


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("ABCD-1234-WXYZ", "••••WXYZ"),
        ("ABCDEFGHIJKL", "••••IJKL"),
        ("ABCDEFGHIJK", "••••JK"),
        ("ABCDEFGH", "••••GH"),
        ("ABCDEFG", "••••"),
        ("", "••••"),
    ],
)
def test_mask_shows_at_most_a_third(code: str, shown: str) -> None:
    assert masked(code) == shown


def test_opened_code_does_not_print_itself() -> None:
    code = PlainCode("ABCD-1234-WXYZ")
    for text in (repr(code), str(code), f"{code}", f"{[code]}"):
        assert "1234" not in text
    assert code.for_its_owner() == "ABCD-1234-WXYZ"


@pytest.mark.parametrize(
    ("one", "other", "is_alike"),
    [
        ("O0QI1L", "000111", True),
        ("abcd-efgh", "ABCD EFGH", True),
        ("2Z5S8B", "ZZSSBB", True),
        ("ABCD", "ABCE", False),
        ("ÀBCD", "ABCD", False),
    ],
)
def test_looks_are_alike(one: str, other: str, is_alike: bool) -> None:
    assert (look_of(one) == look_of(other)) is is_alike


def test_cleaning_keeps_case_and_inner_blanks() -> None:
    assert cleaned("  aB cD-1 ") == "aB cD-1"
    assert cleaned("E\u0301ABC") == "\u00c9ABC"


@pytest.mark.parametrize(
    ("scheme", "code", "is_right"),
    [
        (CheckScheme.NONE, "ANYTHING", True),
        (CheckScheme.LUHN, "7992 7398 713", True),
        (CheckScheme.LUHN, "7992 7398 731", False),
        (CheckScheme.LUHN, "ABCD", False),
        (CheckScheme.ISO_7064, "a999-9999-9999-9999-9999-8", False),
        (CheckScheme.ISO_7064, "A12425GABC1234002M", True),
        (CheckScheme.ISO_7064, "A12425GABC1234020M", False),
        (CheckScheme.ISO_7064, "ÄÖÜ", False),
    ],
)
def test_check_character_finds_typos(scheme: CheckScheme, code: str, is_right: bool) -> None:
    assert carries_check(code, scheme) is is_right
