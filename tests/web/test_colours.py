"""Text stands out from what is behind it, in the light and in the dark (WCAG 2.2, AA)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STYLE = Path(__file__).parents[2] / "web" / "static" / "web" / "scrip.css"
LEAST_CONTRAST = 4.5
LEAST_EDGE = 3.0
LIGHT, DARK = (
    dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)
)
PAIRS = [
    *((text, back) for text in ("ink", "soft", "accent") for back in ("paper", "card", "sunk")),
    *(("ink", back) for back in ("tint", "buy-tint", "sell-tint")),
    *((text, back) for text in ("buy", "sell", "warn") for back in ("paper", "card")),
    *((kind, f"{kind}-tint") for kind in ("buy", "sell", "warn")),
    ("accent", "tint"), ("soft", "tint"), ("on-accent", "accent"),
    ("card", "buy"), ("card", "sell"),
]  # fmt: skip


def luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("pair", PAIRS, ids="-on-".join)
def test_text_is_readable(theme: dict[str, str], pair: tuple[str, str]) -> None:
    assert contrast(theme[pair[0]], theme[pair[1]]) >= LEAST_CONTRAST


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("back", ["paper", "card"])
def test_edges_of_fields_are_seen(theme: dict[str, str], back: str) -> None:
    assert contrast(theme["edge"], theme[back]) >= LEAST_EDGE
