"""Voucher codes as text: what may be one, how it is shown, how a typo is noticed. Pure.

A code belongs to its issuer and is kept as it came, to the letter: some issuers tell
upper from lower case. Only blanks around it are dropped, and its accents are composed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from enum import StrEnum

from stdnum import luhn
from stdnum.exceptions import ValidationError
from stdnum.iso7064 import mod_37_36

SHORTEST_CODE = 4
LONGEST_CODE = 128
DELIMITERS = ",;\t|"
"""What may separate the fields of a file; so no code holds one of them."""
SEPARATORS = " -_."
"""What people write between the groups of a code."""
MASK = "•"

# The everyday code: visible ASCII without quote or delimiter, blanks only inside.
_PLAIN = re.compile(r"(?=[^ ])[ -~]{4,128}(?<=[^ ])", re.ASCII)
_FORBIDDEN = re.compile(r"[\",;|\t]")
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_LOOK_ALIKE = bytes.maketrans(b"OQILUZSB", b"0011V258")


class CodeProblem(StrEnum):
    """What is wrong with a code, or merely odd about it."""

    MISSING = "code_missing"
    TOO_SHORT = "code_too_short"
    TOO_LONG = "code_too_long"
    CHARACTERS = "code_characters"
    DELIMITER = "code_delimiter"
    CHECK_WRONG = "code_check_wrong"
    NOT_ASCII = "code_not_ascii"
    PATTERN = "code_pattern"


class CheckScheme(StrEnum):
    """How an issuer's codes carry a check character, so that a typo shows at once."""

    NONE = "none"
    LUHN = "luhn"
    ISO_7064 = "iso7064-37-36"


def cleaned(text: str) -> str:
    """Drop blanks around a code and compose its accents; nothing else changes."""
    text = text.strip()
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def problem_with(code: str) -> CodeProblem | None:
    """Say why a cleaned text cannot be a code, or that it is odd (`NOT_ASCII`)."""
    if _PLAIN.fullmatch(code) and not _FORBIDDEN.search(code):
        return None
    if not code:
        return CodeProblem.MISSING
    if len(code) < SHORTEST_CODE:
        return CodeProblem.TOO_SHORT
    if len(code) > LONGEST_CODE:
        return CodeProblem.TOO_LONG
    if _FORBIDDEN.search(code):
        return CodeProblem.DELIMITER
    if any(unicodedata.category(character) in _INVISIBLE for character in code):
        return CodeProblem.CHARACTERS
    return CodeProblem.NOT_ASCII


def carries_check(code: str, scheme: CheckScheme) -> bool:
    """Say whether the last character of a code agrees with the others (ISO 7064, Luhn)."""
    if scheme is CheckScheme.NONE:
        return True
    bare = code.upper().translate(dict.fromkeys(map(ord, SEPARATORS)))
    try:
        _VALIDATE[scheme](bare)
    except (ValidationError, ValueError):
        return False
    return True


_VALIDATE: dict[CheckScheme, Callable[[str], str]] = {
    CheckScheme.LUHN: luhn.validate,
    CheckScheme.ISO_7064: mod_37_36.validate,
}


def look_of(code: str) -> bytes:
    """Reduce a code to its looks: codes with equal looks are easily taken for each other.

    Case and separators go; O and Q look like 0, I and L like 1, U like V, Z like 2, S like
    5, B like 8. Letters beyond ASCII stay as they are.
    """
    return code.encode().upper().translate(_LOOK_ALIKE, SEPARATORS.encode())


def masked(code: str) -> str:
    """Show a code without giving it away: its last four characters when it has twelve or more.

    Shorter codes show two, and those under eight characters none.
    """
    shown = 4 if len(code) >= 12 else 2 if len(code) >= 8 else 0
    return MASK * 4 + code[len(code) - shown :]


class PlainCode:
    """An opened code on its way to its owner. Printing it, logging it or `repr` masks it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return f"<code {masked(self._text)}>"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlainCode) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    @property
    def masked(self) -> str:
        """The code as lists show it."""
        return masked(self._text)

    def for_its_owner(self) -> str:
        """The code itself: call this only where the answer goes to the owner."""
        return self._text
