"""Pictures of codes: a scanner must read what was drawn."""

from __future__ import annotations

import re

import pytest
from barcode.codex import Code128

from rewards.images import Form, NotDrawable, drawn


def test_barcode_has_the_bars_of_its_code() -> None:
    svg = drawn("SUN-7KQ4", Form.CODE_128)
    [modules] = Code128("SUN-7KQ4").build()
    bars = [(int(x), int(w)) for x, w in re.findall(r"M(\d+) 0h(\d+)v80", svg)]
    shown = ["0"] * len(modules)
    for left, wide in bars[1:] if bars[0][0] == 0 else bars:
        start = left // 2 - 10
        shown[start : start + wide // 2] = "1" * (wide // 2)
    assert "".join(shown) == modules


def test_qr_is_svg_without_anything_else() -> None:
    svg = drawn("SUN-7K04-A8CDT", Form.QR)
    assert svg.startswith("<svg")
    assert "SUN-7KQ4" not in svg
    assert "<script" not in svg


def test_barcode_of_other_letters_is_refused() -> None:
    with pytest.raises(NotDrawable):
        drawn("ÄÖÜ-1234", Form.CODE_128)
    assert drawn("ÄÖÜ-1234", Form.QR)
