"""A written key reads back; a mistyped one is refused without a look-up."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.key_format import PREFIXES, read_token, write_token

KEY = write_token(prefix_number=1, secret=b"\x01" * 32)
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

prefixes = st.integers(0, PREFIXES - 1)
secrets = st.binary(min_size=32, max_size=32)


def test_key_looks_as_documented() -> None:
    assert re.fullmatch(r"scrip_live_\w{8}_\w{43}_\w{6}", KEY)
    assert KEY.startswith("scrip_live_00000001_")


@given(prefixes, secrets)
def test_written_key_reads_back(prefix_number: int, secret: bytes) -> None:
    text = write_token(prefix_number=prefix_number, secret=secret)
    token = read_token(text)
    _, _, prefix, written_secret, _ = text.split("_")
    assert token is not None
    assert token.prefix == prefix
    assert token.digest == hashlib.sha256(written_secret.encode()).digest()


@given(secrets, secrets)
def test_other_secret_has_another_digest(one: bytes, other: bytes) -> None:
    tokens = [read_token(write_token(prefix_number=0, secret=s)) for s in (one, other)]
    assert (tokens[0] == tokens[1]) == (one == other)


@given(st.integers(0, len(KEY) - 1), st.sampled_from(ALPHABET + "_- "))
def test_one_wrong_character_is_noticed(place: int, character: str) -> None:
    wrong = KEY[:place] + character + KEY[place + 1 :]
    assert (read_token(wrong) is None) == (wrong != KEY)


@given(st.integers(0, len(KEY) - 2))
def test_two_swapped_characters_are_noticed(place: int) -> None:
    wrong = KEY[:place] + KEY[place + 1] + KEY[place] + KEY[place + 2 :]
    assert (read_token(wrong) is None) == (wrong != KEY)


@pytest.mark.parametrize(
    "text",
    ["", "x", KEY[:-1], KEY + "0", " " + KEY, KEY + "\n", KEY.upper(), KEY.replace("_", "-")],
)
def test_something_else_is_no_key(text: str) -> None:
    assert read_token(text) is None


@given(st.text(max_size=100))
def test_no_text_surprises_the_reader(text: str) -> None:
    assert read_token(text) is None
