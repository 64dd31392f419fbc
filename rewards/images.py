"""Codes as pictures for a scanner: a QR code or a Code 128, as SVG. Pure.

Both hold the code and nothing else, so any till's scanner types it. Letters beyond A to Z
do not fit a Code 128.
"""

from __future__ import annotations

import io
from enum import StrEnum
from typing import Any

import segno
from barcode.codex import Code128

QUIET_MODULES = 10
MODULE_PX = 2
HEIGHT_PX = 80


class Form(StrEnum):
    """How a code is drawn."""

    QR = "qr"
    CODE_128 = "code128"


class NotDrawable(ValueError):
    """The code has characters that this kind of picture cannot hold."""


def drawn(code: str, form: Form) -> str:
    """Draw a code as SVG, black on white, sized by its own measure."""
    return _qr(code) if form is Form.QR else _code_128(code)


def _qr(code: str) -> str:
    text = io.BytesIO()
    made: Any = segno.make(code, error="m", micro=False)
    made.save(text, kind="svg", scale=8, border=4, light="white", xmldecl=False, svgclass=None)
    return text.getvalue().decode()


def _code_128(code: str) -> str:
    if not code.isascii():
        raise NotDrawable("A Code 128 holds letters A to Z, digits and signs.")
    [modules] = Code128(code).build()
    width = (len(modules) + 2 * QUIET_MODULES) * MODULE_PX
    bars = []
    at = 0
    while at < len(modules):
        end = at
        while end < len(modules) and modules[end] == modules[at]:
            end += 1
        if modules[at] == "1":
            left, wide = (at + QUIET_MODULES) * MODULE_PX, (end - at) * MODULE_PX
            bars.append(f"M{left} 0h{wide}v{HEIGHT_PX}h-{wide}z")
        at = end
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT_PX}" '
        f'width="{width}" height="{HEIGHT_PX}"><path fill="white" d="M0 0h{width}v{HEIGHT_PX}H0z"/>'
        f'<path d="{"".join(bars)}"/></svg>'
    )
