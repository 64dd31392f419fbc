"""Codes of our own making: a pattern, an alphabet, a check character; drawn and read. Pure.

In a pattern `#` stands for a character drawn at random, `*` for the check character, and all
else for itself: `DRK-####-####-###*`. No two characters of an alphabet look alike, so what
somebody types is read by its looks: case and separators do not matter, O is taken for 0. The
check character is that of ISO 7064 (hybrid system MOD N+1, N): it finds every single wrong
character and nearly every pair that changed places, before anything is looked up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby, product
from struct import iter_unpack
from typing import NamedTuple

from stdnum.iso7064 import mod_37_36

from rewards.codes import SEPARATORS, CodeProblem, look_of

ALPHABET = "0123456789ACDEFGHJKMNPRTVWXY"
"""The usual alphabet: of characters that look alike (O and 0, I and 1, …) one each, 28 in all."""
USUAL_PATTERN = "####-####-####*"
RANDOM, CHECK = "#", "*"
FEWEST_RANDOM, MOST_RANDOM = 6, 40
LONGEST_PATTERN = 64
CHECKED_SIZES = (10, 12, 16, 18, 22, 28)
"""Sizes of alphabets that can carry a check character: one more is a prime."""
SPACE_PER_CODE = 1_000_000
"""Of so many possible codes at most one exists: guessing is hopeless."""
_LITERALS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" + SEPARATORS)
_DRAW_BYTES = 8
_DRAW_BITS = 58
_DROP = str.maketrans("", "", SEPARATORS)


class PatternInvalid(ValueError):
    """The pattern or its alphabet cannot make codes; the text says why."""


class Run(NamedTuple):
    """Neighbouring random characters drawn together: how many values, how they are written,
    and which state of the check each leads to from each."""

    base: int
    symbols: list[str]
    moves: list[list[int]]


@dataclass(frozen=True)
class Pattern:
    """How the codes of a series look. Make it with `pattern_of`."""

    text: str
    alphabet: str

    @property
    def random_count(self) -> int:
        """How many characters of a code are random."""
        return self.text.count(RANDOM)

    @property
    def space(self) -> int:
        """How many codes there can be."""
        return int(len(self.alphabet) ** self.random_count)

    @property
    def has_check(self) -> bool:
        return CHECK in self.text

    # -- reading ---------------------------------------------------------------------------

    @cached_property
    def _slots(self) -> str:
        return self.text.translate(_DROP)

    @cached_property
    def _by_look(self) -> dict[bytes, str]:
        return {look_of(character): character for character in self.alphabet}

    def read(self, typed: str) -> str | CodeProblem:
        """Say the code that somebody typed, written as it was made; or why it is none.

        Needs no look-up: what does not fit the pattern or its check character was never made.
        """
        bare = typed.strip().translate(_DROP)
        slots = self._slots
        if len(bare) != len(slots):
            return CodeProblem.TOO_SHORT if len(bare) < len(slots) else CodeProblem.TOO_LONG
        drawn = []
        for slot, character in zip(slots, bare, strict=True):
            look = look_of(character)
            if slot not in (RANDOM, CHECK):
                if look != look_of(slot):
                    return CodeProblem.PATTERN
            elif (known := self._by_look.get(look)) is None:
                return CodeProblem.CHARACTERS
            else:
                drawn.append(known)
        if self.has_check and not mod_37_36.is_valid("".join(drawn), self.alphabet):
            return CodeProblem.CHECK_WRONG
        return self._written(drawn)

    def _written(self, drawn: list[str]) -> str:
        given = iter(drawn)
        return "".join(next(given) if slot in (RANDOM, CHECK) else slot for slot in self.text)

    # -- drawing ---------------------------------------------------------------------------

    @property
    def bytes_per_code(self) -> int:
        """How much noise a code takes."""
        return _DRAW_BYTES * len(self._draws)

    @cached_property
    def _template(self) -> str:
        parts: list[str] = []
        for kind, group in groupby(self.text):
            count = len(list(group))
            if kind == RANDOM:
                parts.append("%s" * ((count + 1) // 2))
            else:
                parts.append("%s" if kind == CHECK else kind * count)
        return "".join(parts)

    @cached_property
    def _draws(self) -> list[list[Run]]:
        """The runs of characters, put together in draws of 64 bits."""
        draws: list[list[Run]] = []
        size = 1
        for kind, group in groupby(self.text):
            count = len(list(group))
            while kind == RANDOM and count:
                run = _run(self.alphabet, min(2, count))
                count -= min(2, count)
                if not draws or size * run.base > 1 << _DRAW_BITS:
                    draws.append([])
                    size = 1
                draws[-1].append(run)
                size *= run.base
        return draws

    def draw(self, noise: bytes) -> Iterator[str]:
        """Make codes of noise, `bytes_per_code` each; about a microsecond a code.

        Every code is as likely as any other: a draw that would favour some is passed over
        (one in 64 at most), so there may be fewer codes than the noise is enough for.
        """
        draws, template, check_of = self._draws, self._template, _check_of(self.alphabet)
        sizes = [_size(runs) for runs in draws]
        limits = [(1 << 64) // size * size for size in sizes]
        has_check = self.has_check
        start = len(self.alphabet) // 2
        for numbers in iter_unpack(f"!{len(draws)}Q", noise):
            parts: list[str] = []
            state = start
            for number, runs, limit in zip(numbers, draws, limits, strict=True):
                if number >= limit:
                    break
                rest = number
                for base, symbols, moves in runs:
                    rest, at = divmod(rest, base)
                    parts.append(symbols[at])
                    state = moves[state][at]
            else:
                if has_check:
                    parts.append(check_of[state])
                yield template % tuple(parts)


def _size(runs: list[Run]) -> int:
    size = 1
    for run in runs:
        size *= run.base
    return size


@lru_cache(maxsize=64)
def _run(alphabet: str, length: int) -> Run:
    """All runs of one or two characters, and how they move the check (as python-stdnum does)."""
    modulus = len(alphabet)

    def moved(state: int, positions: tuple[int, ...]) -> int:
        for position in positions:
            state = ((state or modulus) * 2 % (modulus + 1) + position) % modulus
        return state

    choices = list(product(range(modulus), repeat=length))
    symbols = ["".join(alphabet[position] for position in choice) for choice in choices]
    moves = [[moved(state, choice) for choice in choices] for state in range(modulus)]
    return Run(modulus**length, symbols, moves)


@lru_cache(maxsize=64)
def _check_of(alphabet: str) -> list[str]:
    """The check character that each state asks for."""
    modulus = len(alphabet)
    return [
        alphabet[(1 - (state or modulus) * 2 % (modulus + 1)) % modulus] for state in range(modulus)
    ]


@lru_cache(maxsize=256)
def pattern_of(text: str, alphabet: str = ALPHABET) -> Pattern:
    """Read a pattern and its alphabet, or raise `PatternInvalid` with why it makes no codes."""
    if not 0 < len(text) <= LONGEST_PATTERN:
        raise PatternInvalid(f"A pattern has 1 to {LONGEST_PATTERN} characters.")
    if foreign := sorted(set(text) - _LITERALS - {RANDOM, CHECK}):
        raise PatternInvalid(f"A pattern has capitals, digits, - _ . and blanks, not {foreign[0]}.")
    if text != text.strip():
        raise PatternInvalid("A pattern neither begins nor ends with a blank.")
    if not FEWEST_RANDOM <= text.count(RANDOM) <= MOST_RANDOM:
        raise PatternInvalid(f"A pattern has {FEWEST_RANDOM} to {MOST_RANDOM} characters {RANDOM}.")
    if text.count(CHECK) > 1 or (CHECK in text and text.rindex(RANDOM) > text.index(CHECK)):
        raise PatternInvalid(f"A pattern has at most one {CHECK}, after every {RANDOM}.")
    _check_alphabet(alphabet, has_check=CHECK in text)
    return Pattern(text, alphabet)


def _check_alphabet(alphabet: str, *, has_check: bool) -> None:
    letters = _LITERALS - set(SEPARATORS)
    if len(alphabet) < 2 or not letters.issuperset(alphabet):
        raise PatternInvalid("An alphabet has at least two capitals or digits, and nothing else.")
    looks: dict[bytes, str] = {}
    for character in alphabet:
        twin = looks.setdefault(look_of(character), character)
        if twin is not character or alphabet.count(character) > 1:
            raise PatternInvalid(f"{twin} and {character} of the alphabet look alike.")
    if has_check and len(alphabet) not in CHECKED_SIZES:
        sizes = ", ".join(map(str, CHECKED_SIZES))
        raise PatternInvalid(f"With a check character an alphabet has {sizes} characters.")
