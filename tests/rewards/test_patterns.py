"""Patterns of codes: what they make, what they read, and which typos they notice."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.iso7064 import mod_37_36

from rewards.codes import CodeProblem, look_of
from rewards.patterns import ALPHABET, PatternInvalid, pattern_of

SUN = pattern_of("SUN-####-####*")


def test_alphabet_has_no_two_characters_that_look_alike() -> None:
    assert len({look_of(character) for character in ALPHABET}) == len(ALPHABET) == 28


@given(st.binary(min_size=64, max_size=64))
def test_every_code_is_read_back_and_carries_the_librarys_check(noise: bytes) -> None:
    for code in SUN.draw(noise):
        assert SUN.read(code) == code
        assert mod_37_36.is_valid(code[4:].replace("-", ""), ALPHABET)


@given(st.binary(min_size=64, max_size=64), st.integers(0, 8), st.sampled_from(ALPHABET))
def test_every_single_wrong_character_is_noticed(noise: bytes, at: int, other: str) -> None:
    code = next(SUN.draw(noise))
    place = [4, 5, 6, 7, 9, 10, 11, 12, 13][at]
    typed = code[:place] + other + code[place + 1 :]
    expected = code if typed == code else CodeProblem.CHECK_WRONG
    assert SUN.read(typed) == expected


@given(st.binary(min_size=64, max_size=64))
def test_codes_are_read_by_their_looks(noise: bytes) -> None:
    code = next(SUN.draw(noise))
    typed = code.lower().replace("-", "").translate(str.maketrans("01258v", "oizsbu"))
    assert SUN.read(typed) == code


def test_swapped_neighbours_are_nearly_always_noticed() -> None:
    seen = missed = 0
    for code in SUN.draw(os.urandom(SUN.bytes_per_code * 500)):
        for at in (4, 5, 6, 9, 10, 11):
            if code[at] != code[at + 1]:
                swapped = code[:at] + code[at + 1] + code[at] + code[at + 2 :]
                seen += 1
                missed += SUN.read(swapped) == swapped
    assert missed / seen < 0.02


def test_every_character_is_as_likely_as_any_other() -> None:
    pattern = pattern_of("######")
    codes = list(pattern.draw(os.urandom(pattern.bytes_per_code * 20_000)))
    counts = [sum(code[0] == character for code in codes) for character in ALPHABET]
    expected = len(codes) / 28
    # Chi-squared with 27 degrees of freedom: over 70 once in a hundred thousand runs.
    assert sum((count - expected) ** 2 / expected for count in counts) < 70


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("SUN-123", CodeProblem.TOO_SHORT),
        ("SUN-1234-12345-6", CodeProblem.TOO_LONG),
        ("MON-0000-00000", CodeProblem.PATTERN),
        ("SUN-00%0-00000", CodeProblem.CHARACTERS),
        ("SUN-00é0-00000", CodeProblem.CHARACTERS),
    ],
)
def test_what_cannot_be_a_code_is_told(typed: str, problem: CodeProblem) -> None:
    assert SUN.read(typed) is problem


@pytest.mark.parametrize(
    ("text", "alphabet"),
    [
        ("", ALPHABET),
        ("#####", ALPHABET),
        ("#" * 65, ALPHABET),
        ("######**", ALPHABET),
        ("*######", ALPHABET),
        ("sun######", ALPHABET),
        (" ######", ALPHABET),
        ("######", "A"),
        ("######", "AAB"),
        ("######", "AB01O"),
        ("######", "ab"),
        ("######*", "ABC"),
    ],
)
def test_patterns_that_make_no_codes_are_refused(text: str, alphabet: str) -> None:
    with pytest.raises(PatternInvalid):
        pattern_of(text, alphabet)
