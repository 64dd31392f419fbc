"""Sealed codes open for their own row, with a key that is configured, and not otherwise."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from rewards.codes import PlainCode
from rewards.sealing import CannotOpen, KeysMissing, Sealer, key_id_in, new_key, sealer

CODE = "ABCD-1234-WXYZ"


def sealed_with(code: str = CODE) -> tuple[Sealer, bytes, bytes]:
    now = sealer()
    digest = now.digest(7, code)
    return now, digest, now.seal(7, digest, code)


def test_sealed_code_opens_in_its_row() -> None:
    now, digest, sealed = sealed_with()
    assert now.open(7, digest, sealed) == PlainCode(CODE)
    assert CODE.encode() not in sealed
    assert key_id_in(sealed) == now.current_key_id
    assert len(sealed) == 33 + len(CODE)


def test_same_code_seals_to_other_bytes_each_time() -> None:
    now, digest, sealed = sealed_with()
    assert now.seal(7, digest, CODE) != sealed


def test_code_moved_to_another_row_does_not_open() -> None:
    now, digest, sealed = sealed_with()
    for series_id, other in ((8, digest), (7, now.digest(7, "EFGH"))):
        with pytest.raises(CannotOpen):
            now.open(series_id, other, sealed)


@pytest.mark.parametrize("place", [0, 1, 4, 5, 16, 17, -17, -1])
def test_changed_byte_does_not_open(place: int) -> None:
    now, digest, sealed = sealed_with()
    changed = bytearray(sealed)
    changed[place] ^= 1
    with pytest.raises(CannotOpen):
        now.open(7, digest, bytes(changed))


@pytest.mark.parametrize("length", [0, 1, 5, 17, 32])
def test_cut_bytes_do_not_open(length: int) -> None:
    now, digest, sealed = sealed_with()
    with pytest.raises(CannotOpen):
        now.open(7, digest, sealed[:length])


def test_old_key_opens_and_new_key_seals(settings: Settings) -> None:
    _, digest, sealed = sealed_with()
    settings.CODE_KEYS = [new_key(), *settings.CODE_KEYS]
    rotated = sealer()
    assert rotated.open(7, digest, sealed) == PlainCode(CODE)
    fresh = rotated.reseal(7, digest, sealed)
    assert key_id_in(fresh) == rotated.current_key_id != key_id_in(sealed)
    assert rotated.open(7, digest, fresh) == PlainCode(CODE)


def test_code_of_a_key_taken_away_does_not_open(settings: Settings) -> None:
    _, digest, sealed = sealed_with()
    settings.CODE_KEYS = [new_key()]
    with pytest.raises(CannotOpen, match=key_id_in(sealed).hex()):
        sealer().open(7, digest, sealed)


def test_digest_belongs_to_series_and_lookup_key(settings: Settings) -> None:
    digests = {sealer().digest(7, CODE), sealer().digest(8, CODE), sealer().digest(7, CODE + "1")}
    settings.CODE_LOOKUP_KEY = new_key()
    digests.add(sealer().digest(7, CODE))
    assert len(digests) == 4
    assert {len(digest) for digest in digests} == {16}


@pytest.mark.parametrize(
    ("keys", "lookup"),
    [([], "x" * 43), (["short"], "x" * 43), (["x" * 43], ""), (["x" * 43] * 2, "y" * 43)],
)
def test_missing_or_short_keys_are_refused_without_showing_them(
    settings: Settings, keys: list[str], lookup: str
) -> None:
    settings.CODE_KEYS, settings.CODE_LOOKUP_KEY = keys, lookup
    with pytest.raises(KeysMissing) as refused:
        sealer()
    assert "short" not in str(refused.value).replace("shortest", "")
