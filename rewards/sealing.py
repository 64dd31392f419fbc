"""Keeps voucher codes sealed: encrypted by AES-256-GCM, found again by a keyed digest.

A sealed code is `version (1) | key id (4) | nonce (12) | ciphertext | tag (16)`. The key id
is the start of the key's own SHA-256, so a key needs no name and two machines cannot mean
different keys by one id. The series and the digest are authenticated with it: a sealed code
put into another row does not open.

Keys are made from long secrets in the settings: `CODE_KEYS` lists them, the first seals, the
others still open what they sealed; `CODE_LOOKUP_KEY` makes the digests and stays for ever.
With the embedded servers both are made once, in files that we alone can read.
`docs/decisions/0008-sealed-codes.md` says why so.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from functools import lru_cache
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from rewards.codes import PlainCode

VERSION = 1
KEY_BYTES = 32
SHORTEST_SECRET = 43
"""Characters: what 32 random bytes take in base64."""
DIGEST_BYTES = 16
_HEAD = 1 + 4
_NONCE = 12
_TAG = 16


class KeysMissing(RuntimeError):
    """There is no secret to seal codes with, or it is too short. The value is not shown."""


class CannotOpen(RuntimeError):
    """A sealed code does not open: its key is not in `CODE_KEYS`, or the row was changed."""


class Keys(NamedTuple):
    """All keys as configured: those that open, the first of which seals, and the digest key."""

    sealing: tuple[bytes, ...]
    lookup: bytes


class Sealer:
    """Seals codes, opens them, and says their digests. Holds the keys; prints none."""

    def __init__(self, keys: Keys) -> None:
        self._ciphers = {key_id_of(key): AESGCM(key) for key in keys.sealing}
        self.current_key_id = key_id_of(keys.sealing[0])
        self._head = bytes([VERSION]) + self.current_key_id
        self._current = self._ciphers[self.current_key_id]
        self._lookup = keys.lookup

    def digest(self, series_id: int, code: str) -> bytes:
        """Say the 16 bytes by which a code of a series is found: HMAC-SHA-256, cut in half.

        Bound to the series, so equal codes of two issuers cannot be told to be equal.
        """
        message = b"%d\0%s" % (series_id, code.encode())
        return hmac.digest(self._lookup, message, "sha256")[:DIGEST_BYTES]

    def seal(self, series_id: int, digest: bytes, code: str) -> bytes:
        """Encrypt a code for its row. About two microseconds."""
        nonce = os.urandom(_NONCE)
        bound = b"%d\0%s" % (series_id, digest)
        return self._head + nonce + self._current.encrypt(nonce, code.encode(), bound)

    def open(self, series_id: int, digest: bytes, sealed: bytes) -> PlainCode:
        """Decrypt a code; raises `CannotOpen` when key, row or bytes do not fit together."""
        cipher = self._ciphers.get(key_id_in(sealed))
        if sealed[:1] != bytes([VERSION]) or len(sealed) < _HEAD + _NONCE + _TAG or cipher is None:
            raise CannotOpen(f"no key with id {key_id_in(sealed).hex()} in CODE_KEYS")
        nonce, ciphertext = sealed[_HEAD : _HEAD + _NONCE], sealed[_HEAD + _NONCE :]
        try:
            plain = cipher.decrypt(nonce, ciphertext, b"%d\0%s" % (series_id, digest))
        except InvalidTag:
            raise CannotOpen("the sealed code does not belong to its row") from None
        return PlainCode(plain.decode())

    def seal_bytes(self, name: bytes, content: bytes) -> bytes:
        """Encrypt a piece of a file under a name; it opens under that name alone."""
        nonce = os.urandom(_NONCE)
        return self._head + nonce + self._current.encrypt(nonce, content, b"file\0" + name)

    def open_bytes(self, name: bytes, sealed: bytes) -> bytes:
        """Decrypt a piece of a file; raises `CannotOpen`."""
        cipher = self._ciphers.get(key_id_in(sealed))
        if cipher is None:
            raise CannotOpen(f"no key with id {key_id_in(sealed).hex()} in CODE_KEYS")
        nonce, ciphertext = sealed[_HEAD : _HEAD + _NONCE], sealed[_HEAD + _NONCE :]
        try:
            return cipher.decrypt(nonce, ciphertext, b"file\0" + name)
        except InvalidTag:
            raise CannotOpen("the piece of a file does not belong here") from None

    def reseal(self, series_id: int, digest: bytes, sealed: bytes) -> bytes:
        """Encrypt a sealed code again, by the current key."""
        code = self.open(series_id, digest, sealed).for_its_owner()
        return self.seal(series_id, digest, code)


def key_id_of(key: bytes) -> bytes:
    """Name a key by the first four bytes of its SHA-256."""
    return hashlib.sha256(b"scrip.code-key\0" + key).digest()[:4]


def key_id_in(sealed: bytes) -> bytes:
    """Say which key sealed this."""
    return sealed[1:_HEAD]


def sealer() -> Sealer:
    """The sealer for the keys configured now."""
    return _sealer(tuple(settings.CODE_KEYS), settings.CODE_LOOKUP_KEY)


@lru_cache(maxsize=8)
def _sealer(sealing: tuple[str, ...], lookup: str) -> Sealer:
    if not sealing:
        raise KeysMissing("Set CODE_KEYS; `manage.py series new-key` makes one.")
    keys = tuple(_key(secret, "CODE_KEYS") for secret in sealing)
    if len({key_id_of(key) for key in keys}) < len(keys):
        raise KeysMissing("CODE_KEYS names a key twice.")
    return Sealer(Keys(keys, _key(lookup, "CODE_LOOKUP_KEY")))


def _key(secret: str, name: str) -> bytes:
    secret = secret.strip()
    if len(secret) < SHORTEST_SECRET:
        raise KeysMissing(f"{name} needs a secret of at least {SHORTEST_SECRET} characters.")
    # What a secret is for is part of the key, so one secret given twice makes two keys.
    purpose = b"scrip:" + name.encode()
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose).derive(
        secret.encode()
    )


def new_key() -> str:
    """Make a secret for `CODE_KEYS` or `CODE_LOOKUP_KEY`."""
    return secrets.token_urlsafe(KEY_BYTES)
